"""Reads YAML that came from elsewhere into plain data: no aliases, no tags, bounded throughout."""

from __future__ import annotations

from typing import Any

import yaml

from edge.catalogue.text import plain
from edge.errors import CardError
from edge.yaml_scalar import plain_value

MAX_DEPTH = 20
STANDARD = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))


def read_plain_yaml(content: bytes, *, name: str, max_bytes: int) -> dict[str, Any]:
    """Return the mapping that the file `name` holds. Raises CardError."""
    if len(content) > max_bytes:
        raise CardError(f"{name}: is larger than {max_bytes >> 10} KiB, and no more is read")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CardError(f"{name}: is not text in UTF-8") from error
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise CardError(f"{name}{line}: is no plain YAML: {plain(str(error.problem))}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise CardError(f"{name}: is no plain YAML: {reason}") from error
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(node, yaml.MappingNode):
        raise CardError(f"{name}: must be a mapping: lines of `key: value`")
    value: dict[str, Any] = _value(node, name)
    return value


class _Loader(yaml.SafeLoader):
    """Composes nodes and constructs nothing."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  as the base class has it; `_value` resolves
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node, unless it is an alias or lies too deep."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, "aliases (*) are not used here", event.start_mark
            )
        if self._depth >= MAX_DEPTH:
            raise yaml.composer.ComposerError(
                None, None, f"it is nested deeper than {MAX_DEPTH} levels", event.start_mark
            )
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _value(node: yaml.Node, name: str) -> Any:
    where = f"{name}:{node.start_mark.line + 1}"
    if node.tag not in STANDARD:
        raise CardError(f"{where}: tags (!) are not used here")
    if isinstance(node, yaml.ScalarNode):
        return plain_value(node.value) if node.style is None else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, name) for item in node.value]
    found: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise CardError(f"{where}: a key must be text")
        if key.value in found:
            line = key.start_mark.line + 1
            raise CardError(
                f"{name}:{line}: `{plain(key.value)}` stands here a second time: keep one"
            )
        found[key.value] = _value(value, name)
    return found

"""Reads YAML text into plain data and the lines it stands on; never makes objects, never guesses.

Scalars follow YAML 1.2 (`off`, `no` and 2024-01-01 are text); size, depth and aliases are
bounded. `${NAME}` takes its value from the environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from edge.config.problems import Document, Place, Problem, yaml_in_plain_words
from edge.errors import ConfigError
from edge.yaml_scalar import plain_value

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 1 << 20
MAX_VALUES = 50_000  # with aliases expanded: what a billion laughs is stopped by
MAX_DEPTH = 50
NEVER_IN_CLEAR: frozenset[Place] = frozenset(
    {("mqtt", "password"), ("mqtt", "tls", "key_password")}
)

STANDARD = "tag:yaml.org,2002:"
CONVERTING_TAGS: dict[str, tuple[type, ...]] = {
    STANDARD + "int": (int,),
    STANDARD + "float": (int, float),
    STANDARD + "bool": (bool,),
    STANDARD + "null": (type(None),),
}
FOREIGN_TAG = re.compile(STANDARD + r"((?:python/|binary|timestamp|omap|pairs|set)[\w./:-]{0,60})")
VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?")


def parse_yaml(content: bytes, *, name: str, environ: Mapping[str, str]) -> Document:
    """Parse the content of the file `name`. Raises ConfigError when no data can be had from it."""
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{name}: is larger than 1 MiB, too large for a configuration")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}:{line}: is not text in UTF-8: save the file as UTF-8") from None
    return _Composer(text, name, environ).document()


@dataclass
class _Node:
    """A value in the file; an alias puts the same node in a second place."""

    line: int
    value: Any = None  # a scalar, a list of nodes, or keys with their lines and nodes
    size: int = 1
    depth: int = 1
    variables: tuple[str, ...] = ()
    all_variables: bool = False
    """Whether nothing of it stands in the file itself."""
    unsure: bool = False

    def hold(self, child: _Node) -> None:
        self.size += child.size
        self.depth = max(self.depth, child.depth + 1)


class _Composer:
    """Builds nodes from the parser's events, counting as it goes."""

    def __init__(self, text: str, name: str, environ: Mapping[str, str]) -> None:
        self._text = text
        self._name = name
        self._environ = environ
        self._size = 0
        self._anchors: dict[str, _Node] = {}
        self._open_anchors: list[str] = []
        self._found = Document()
        try:
            self._events = yaml.SafeLoader(text)  # for its events: it constructs nothing
        except yaml.YAMLError as error:
            self._fail(*yaml_in_plain_words(error, text))

    def document(self) -> Document:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            raise ConfigError(f"{self._name}: is empty")
        root = self._node(self._next(), (), level=1)
        self._next()
        if not isinstance(after := self._next(), yaml.StreamEndEvent):
            self._fail(_line(after), "a second document begins here; one file is one device")
        if root.value is None and not root.unsure:
            raise ConfigError(f"{self._name}: is empty")
        if not isinstance(root.value, dict) and not root.unsure:
            self._fail(root.line, "must be a mapping: lines of `key: value`")
        self._found.data = self._spread(root, ()) if isinstance(root.value, dict) else {}
        return self._found

    def _spread(self, node: _Node, place: Place) -> Any:
        """Return the plain data, noting what is known of each place."""
        found = self._found
        found.lines.setdefault(place, node.line)
        if node.variables:
            found.variables[place] = node.variables
        if node.unsure:
            found.unsure.add(place)
        if isinstance(node.value, list):
            return [self._spread(child, (*place, i)) for i, child in enumerate(node.value)]
        if isinstance(node.value, dict):
            found.lines.update({(*place, k): line for k, (line, _) in node.value.items()})
            return {k: self._spread(child, (*place, k)) for k, (_, child) in node.value.items()}
        in_clear = not node.all_variables and not node.unsure and node.value is not None
        if in_clear and place in NEVER_IN_CLEAR:
            found.unsure.add(place)
            text = "must not stand in the file in clear: write ${NAME} and set it in the "
            text += f"environment, or use `{place[-1]}_file`"
            self._note(found.lines[place], place, text)
        return node.value

    def _node(self, event: yaml.Event, place: Place, *, level: int) -> _Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, level=level)
        self._count(event, size=1, level=level)
        node = _Node(_line(event))
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._open_anchors.append(anchor)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, node, place)
            self._substitute(node, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._sequence(node, place, level=level)
            self._check_tag(event.tag, "seq", node, place)
        elif isinstance(event, yaml.MappingStartEvent):
            self._mapping(node, place, level=level)
            self._check_tag(event.tag, "map", node, place)
        if anchor is not None:
            self._open_anchors.remove(anchor)
            self._anchors[anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent, *, level: int) -> _Node:
        name = str(event.anchor)
        if name in self._open_anchors:
            self._fail(_line(event), "an alias (*) stands inside of what it refers to")
        if name not in self._anchors:
            words = "an alias (*) refers to no anchor (&) above: quote a text that begins with *"
            self._fail(_line(event), words)
        node = self._anchors[name]
        self._count(event, size=node.size, level=level + node.depth - 1)
        return node

    def _sequence(self, node: _Node, place: Place, *, level: int) -> None:
        node.value = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            child = self._node(event, (*place, len(node.value)), level=level + 1)
            node.value.append(child)
            node.hold(child)

    def _mapping(self, node: _Node, place: Place, *, level: int) -> None:
        node.value = {}
        seen: dict[str, int] = {}
        merged: list[_Node] = []
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._key(event, place, level=level)
            child = self._node(self._next(), (*place, key or ""), level=level + 1)
            node.hold(child)
            if key is None:
                continue
            if key in seen:
                text = f"stands here a second time, first on line {seen[key]}: keep one"
                self._note(_line(event), (*place, key), text)
                continue
            seen[key] = _line(event)
            if key == "<<" and _resolves(event):
                merged += child.value if isinstance(child.value, list) else [child]
            else:
                node.value[key] = (_line(event), child)
        for base in merged:
            for base_key, entry in base.value.items() if isinstance(base.value, dict) else ():
                node.value.setdefault(base_key, entry)
            if not isinstance(base.value, dict) and not base.unsure:
                text = "takes a mapping, or a list of mappings, such as *name"
                self._note(seen["<<"], (*place, "<<"), text)

    def _key(self, event: yaml.Event, place: Place, *, level: int) -> str | None:
        """Return the key, or None when it is no text, which is noted then."""
        node = _Node(_line(event))
        if isinstance(event, yaml.ScalarEvent):
            self._count(event, size=1, level=level)
            self._scalar(event, node, place)
        else:
            self._node(event, place, level=level + 1)
        if isinstance(node.value, str):
            return node.value
        if not node.unsure:
            key = event.value if isinstance(event, yaml.ScalarEvent) else "?"
            self._note(node.line, (*place, key), "a key must be text: put quotes around it")
        return None

    def _scalar(self, event: yaml.ScalarEvent, node: _Node, place: Place) -> None:
        tag = str(event.tag or "")
        kinds = CONVERTING_TAGS.get(tag)
        node.value = plain_value(event.value) if kinds or _resolves(event) else event.value
        if kinds is None:
            self._check_tag(event.tag, "str", node, place)
        elif type(node.value) not in kinds:
            node.unsure = True
            self._note(node.line, place, f"is no {tag.removeprefix(STANDARD)}, as !! claims")
        elif float in kinds:
            node.value = float(node.value)

    def _check_tag(self, tag: str | None, expected: str, node: _Node, place: Place) -> None:
        if tag in {None, "!", STANDARD + expected}:
            return
        node.value, node.unsure = None, True
        if foreign := FOREIGN_TAG.fullmatch(str(tag)):
            text = f"the tag `!!{foreign[1]}` is not allowed: only plain data is read"
        else:  # not named: it may be a secret that begins with !
            text = "tags are not used here: put quotes around a text that begins with !"
        self._note(node.line, place, text)

    def _substitute(self, node: _Node, place: Place) -> None:
        """Put in what the environment holds, as text: it is never parsed."""
        if not isinstance(node.value, str):
            return
        pieces, at, problems, used = [], 0, [], []
        for match in VARIABLE.finditer(node.value):
            pieces.append(node.value[at : match.start()])
            at, name = match.end(), match[1]
            if match[0] == "$${":
                pieces.append("${")
            elif name is None:
                problems.append("`${` must be followed by NAME}; `$${` stands for a literal `${`")
            elif name not in self._environ:
                problems.append(f"the environment variable {name} is not set")
            else:
                used.append(name)
                pieces.append(self._environ[name])
                self._found.secrets.add(self._environ[name])
        pieces.append(node.value[at:])
        node.all_variables = bool(used) and VARIABLE.sub("", node.value) == ""
        if sum(map(len, pieces)) > MAX_BYTES:
            problems.append("is longer than 1 MiB with what the environment holds")
        elif not problems:
            node.value = "".join(pieces)
            if "\0" in node.value or any("\ud800" <= sign <= "\udfff" for sign in node.value):
                problems.append("holds a character that is no text")
        node.unsure, node.variables = bool(problems), tuple(dict.fromkeys(used))
        for text in dict.fromkeys(problems):
            self._note(node.line, place, text)

    def _count(self, event: yaml.Event, *, size: int, level: int) -> None:
        self._size += size
        if level > MAX_DEPTH:
            self._fail(_line(event), f"is nested deeper than {MAX_DEPTH} levels")
        if self._size > MAX_VALUES:
            words = f"more than {MAX_VALUES} values stand here, with the aliases (*) written out"
            self._fail(_line(event), words)

    def _next(self) -> yaml.Event:
        try:
            event: yaml.Event = self._events.get_event()  # type: ignore[no-untyped-call]
        except yaml.YAMLError as error:
            self._fail(*yaml_in_plain_words(error, self._text))
        except (ValueError, OverflowError):  # PyYAML on "\UFFFFFFFF", more than Unicode has
            self._fail(self._events.line + 1, "a number here is larger than YAML allows")
        return event

    def _note(self, line: int, place: Place, text: str) -> None:
        self._found.problems.append(Problem(line, place, text))

    def _fail(self, line: int, words: str) -> NoReturn:
        raise ConfigError(f"{self._name}:{line}: {words}") from None


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _resolves(event: yaml.Event) -> bool:
    """Whether a scalar may be something else than text: it has neither quotes nor a tag."""
    return isinstance(event, yaml.ScalarEvent) and event.tag is None and bool(event.implicit[0])

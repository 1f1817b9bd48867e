"""Puts other values into a YAML text and leaves all else as it was written, comments above all."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config.problems import Place

PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+@-]*")
"""Paths that need no quotes, wherever they stand."""
AROUND = re.compile(r"\A((?:[&!]\S*\s+)*).*?(\s*)\Z", re.DOTALL)
"""An anchor or a tag before a scalar, and the line feed that ends a block."""


def with_values(text: str, values: Mapping[Place, str]) -> str:
    """Return a YAML text with these scalars in their places, each of which is there already."""
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    spots = {}
    for place, value in values.items():
        node = functools.reduce(_below, place, root)
        spots[node.start_mark.index] = (node.end_mark.index, value)
    pieces, at = [], 0
    for start, (end, value) in sorted(spots.items()):
        before, after = AROUND.search(text[start:end]).groups()  # type: ignore[union-attr]
        shown = value if PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
        pieces += [text[at:start], before, shown, after]
        at = end
    return "".join([*pieces, text[at:]])


def _below(node: Any, step: str | int) -> Any:
    """Return the node at a key or an index; a key may come from a merged mapping."""
    if isinstance(step, int):
        return node.value[step]
    merged: list[Any] = []
    for key, value in node.value:
        if key.value == step:
            return value
        if key.value == "<<":
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
    for base in merged:
        try:
            return _below(base, step)
        except KeyError:
            continue
    raise KeyError(step)

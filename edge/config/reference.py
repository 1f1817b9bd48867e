"""What the YAML may hold, told from the models: in words, as a JSON Schema, as field tables."""

from __future__ import annotations

import re
import socket
import types
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from edge.config.device import Device

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Alternative = tuple[Any, "list[Any]"]
"""One type a field may have, with the constraints on it."""

SPOKEN_DEFAULTS = {socket.gethostname: "the host name"}
"""Defaults that differ from machine to machine."""


def alternatives(annotation: Any, constraints: Iterable[Any] = ()) -> list[Alternative]:
    """Take an annotation apart into the types it allows."""
    constraints = list(constraints)
    if origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        for one in more:
            constraints += one.metadata if isinstance(one, FieldInfo) else [one]
        return alternatives(annotation, constraints)
    if origin(annotation) in {Union, types.UnionType}:
        return [a for member in get_args(annotation) for a in alternatives(member, constraints)]
    return [(annotation, constraints)]


def alternatives_of(field: FieldInfo) -> list[Alternative]:
    """Return the types that a field may have."""
    return alternatives(field.annotation, field.metadata)


def origin(kind: Any) -> Any:
    """Return what a generic type is made of: list for list[str]."""
    return get_origin(kind)


def is_model(kind: Any) -> bool:
    """Whether a type is a part of the YAML with fields of its own."""
    # Python 3.10 takes list[str] for a type.
    return origin(kind) is None and isinstance(kind, type) and issubclass(kind, BaseModel)


def plugins(choices: Iterable[Alternative]) -> dict[str, type[BaseModel]]:
    """Return the options classes among these types by their `type:`, if it tells them apart."""
    models = [kind for kind, _ in choices if is_model(kind)]
    if not models or "type" not in models[0].model_fields:
        return {}
    return {get_args(model.model_fields["type"].annotation)[0]: model for model in models}


def allowed(choices: Iterable[Alternative], *, nothing: bool = False) -> str:
    """Say in words what these types allow; `nothing` says whether null is worth a word."""
    choices = list(choices)
    if names := plugins(choices):
        return f"a mapping with `type`: {listed(names)}"
    words = [_in_words(kind, limits) for kind, limits in choices if kind is not type(None)]
    if nothing and len(words) < len(choices):
        words.append("`null`")
    return ", or ".join(words)


def listed(names: Iterable[Any]) -> str:
    """Return `a`, `b` or `c`."""
    *first, last = [f"`{name}`" for name in names]
    return f"{', '.join(first)} or {last}" if first else last


def _in_words(kind: Any, limits: list[Any]) -> str:
    if origin(kind) is Literal:
        return listed(get_args(kind))
    if origin(kind) is list:
        return f"a list of {_length(limits)}{_plural(get_args(kind)[0])}"
    if origin(kind) is dict or is_model(kind):
        return f"a mapping {f'with {_length(limits)}names' if limits else '(`key: value`)'}"
    if kind in {str, SecretStr}:
        length = _length(limits)
        return f"text of {length}characters" if length else "text"
    words = {int: "a whole number", float: "a number", bool: "`true` or `false`"}
    return words.get(kind, "a path") + _range(limits)


def _plural(annotation: Any) -> str:
    choices = alternatives(annotation)
    if names := plugins(choices):
        return f"mappings with `type`: {listed(names)}"
    kind = choices[0][0]
    if origin(kind) is Literal:
        return listed(get_args(kind))
    if is_model(kind):
        return "mappings"
    return {str: "texts", float: "numbers", int: "whole numbers"}.get(kind, "paths")


def _length(limits: list[Any]) -> str:
    low = next((limit.min_length for limit in limits if isinstance(limit, MinLen)), None)
    high = next((limit.max_length for limit in limits if isinstance(limit, MaxLen)), None)
    if high is None:
        return {None: "", 1: "one or more "}.get(low, f"{low} or more ")
    if low is None:
        return f"at most {high} "
    return f"{low} " if low == high else f"{low} to {high} "


def _range(limits: list[Any]) -> str:
    found: dict[type, Any] = {}
    for limit in limits:
        for kind in (Ge, Gt, Le, Lt):
            if isinstance(limit, kind):
                found[kind] = getattr(limit, kind.__name__.lower())
    if Ge in found and Le in found:
        return f" from {_figure(found[Ge])} to {_figure(found[Le])}"
    words = {Ge: "at least", Gt: "more than", Le: "at most", Lt: "less than"}
    parts = [f"{words[kind]} {_figure(found[kind])}" for kind in words if kind in found]
    return f", {' and '.join(parts)}" if parts else ""


def _figure(value: float) -> str:
    """Return 0.5, 10 for 10.0, and 1000000 in full."""
    return str(int(value) if value == int(value) else value)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the device YAML, for editors."""
    from pydantic.json_schema import GenerateJsonSchema

    class Untitled(GenerateJsonSchema):
        """Leaves out the titles made of field names: they say nothing new."""

        def field_title_should_be_set(self, schema: Any) -> bool:
            del schema
            return False

    return {
        "$schema": Untitled.schema_dialect,
        **Device.model_json_schema(schema_generator=Untitled),
        "title": "edge: a device",
        "description": "The YAML file of one device that runs `edge`.",
    }


def markdown_reference() -> str:
    """Return the tables of all fields, for the README."""
    places: dict[type[BaseModel], str] = {}
    parts = [part for part in _all_parts() if _is_new(part, places)]
    return "\n\n".join(_table(title, model, places) for title, _, model in parts) + "\n"


def _is_new(part: Part, places: dict[type[BaseModel], str]) -> bool:
    """Whether a part stands in no table yet; note where it does."""
    _, path, model = part
    return places.setdefault(model, path) == path


Part = tuple[str, str, "type[BaseModel]"]
"""A heading, the place in the YAML, and what may stand there."""


def _all_parts() -> list[Part]:
    """Every part of the YAML: the mappings first, then the plugins that may stand in them."""
    chosen: list[Part] = []
    return [*_parts("", "The device", Device, chosen), *chosen]


def _parts(path: str, title: str, model: type[BaseModel], chosen: list[Part]) -> Iterator[Part]:
    """Yield a mapping and those below it; the plugins are added to `chosen`."""
    yield title, path, model
    for name, field in model.model_fields.items():
        below = f"{path}.{name}".lstrip(".")
        choices = alternatives_of(field)
        found = plugins(choices)
        if len(found) > 1:
            chosen += [(f"`{name}`, `type: {key}`", below, one) for key, one in found.items()]
            continue
        for kind, _ in choices:
            if is_model(kind):
                yield from _parts(below, f"`{below}`", kind, chosen)
            elif origin(kind) is list:
                choices = alternatives(get_args(kind)[0])
                items = plugins(choices)
                for item, _ in choices if not items else ():
                    if is_model(item):
                        yield from _parts(below, f"`{below}`", item, chosen)
                chosen += [(f"`{name}`, `type: {key}`", below, one) for key, one in items.items()]
            elif origin(kind) is dict and is_model(named := get_args(kind)[1]):
                yield from _parts(f"{below}.NAME", f"`{below}.NAME`", named, chosen)


def _table(title: str, model: type[BaseModel], places: dict[type[BaseModel], str]) -> str:
    rows = [f"### {title}", "", "| field | values | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        cells = (
            f"`{name}`",
            _values(name, field, places),
            _default(field),
            field.description or "",
        )
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)


def _values(name: str, field: FieldInfo, places: dict[type[BaseModel], str]) -> str:
    choices = alternatives_of(field)
    if found := plugins(choices):
        return f"{'see below, ' if len(found) > 1 else ''}`type`: {listed(found)}"
    kind = choices[0][0]
    if is_model(kind):
        return f"see `{places[kind]}`"
    inner = get_args(kind)[1] if origin(kind) is dict else None
    named = plugins(alternatives(inner))
    if inner is not None and (named or inner in places):
        return f"names, for each see {f'`{name[:-1]}`' if named else f'`{places[inner]}`'}"
    if origin(kind) is list and get_args(kind)[0] in places:
        return f"list, for each see `{places[get_args(kind)[0]]}`"
    words = allowed(choices, nothing=field.default is not None)
    return re.sub(r"(^|, or )an? (?=\w)", r"\1", words)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    for factory, spoken in SPOKEN_DEFAULTS.items():
        if field.default_factory is factory:
            return spoken
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        given = value.model_dump(mode="json", exclude_unset=True)
        return ", ".join(f"`{key}: {one}`" for key, one in given.items()) or "its defaults"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{_figure(value) if isinstance(value, float) else value}`"

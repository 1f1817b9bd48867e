"""Says what is wrong with a YAML file, in words for the person who wrote it, all at once.

Values from the environment, and secrets, never appear in what it says.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import yaml
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo

    from edge.config.reference import Alternative

Place = tuple["str | int", ...]
"""Where a value stands: keys and list indices, as in ("pipelines", "porch", "deadline_ms")."""

MOST_LINES = 100
LONGEST = 60  # characters shown of a key or a value

SYNTAX = (  # a part of PyYAML's reason, and what a person can do; {0} is what it quotes first
    (r"'\t'", "a tab cannot stand at the beginning: indent with spaces"),
    ("cannot start any token", "a text cannot begin with {0}: put quotes around it"),
    (
        "mapping values are not",
        "`: ` cannot stand here: check this line and the one above, or quote",
    ),
    ("sequence entries are not", "a list item (`- `) cannot stand here: check the indentation"),
    ("could not find expected ':'", "a `: ` is missing after the key"),
    ("expected <block end>", "does not fit the lines above: check the indentation and the quotes"),
    ("document start", "does not fit the lines above: check the indentation and the quotes"),
    ("chomping", "after | or > a text begins on the next line"),
    ("expected ',' or", "{0} or {1} is missing before this"),
    ("node content", "a value is missing here"),
    ("end of stream", "a quote is opened here and not closed"),
    ("document separator", "a quote is opened here and not closed"),
    ("escape", r"between double quotes \ begins an escape: write \\, or use '...'"),
    ("alphabetic or numeric", "put quotes around a text that begins with * or &"),
    ("undefined tag", "tags are not used here: put quotes around a text that begins with !"),
)
BEGINS_EARLIER = ("could not find expected", "end of stream", "document separator")


@dataclass(frozen=True)
class Problem:
    """Something wrong in a file."""

    line: int
    place: Place
    text: str


@dataclass
class Document:
    """A YAML file as plain data, with what a message about it needs."""

    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Place, int] = field(default_factory=dict)
    """The line of each key, and of each item of a list."""
    variables: dict[Place, tuple[str, ...]] = field(default_factory=dict)
    """The environment variables that went into a value."""
    secrets: set[str] = field(default_factory=set)
    """The values of these variables."""
    problems: list[Problem] = field(default_factory=list)
    """What is wrong already, though the rest could be read."""
    unsure: set[Place] = field(default_factory=set)
    """Where a problem left a value that the writer did not mean."""

    def line_of(self, place: Place) -> int:
        """Return the line of a place, or of the mapping it is missing from."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def doubts(self, place: Place) -> bool:
        """Whether a value there was not read as it was meant."""
        return any(place[:length] in self.unsure for length in range(len(place) + 1))

    def at(self, place: Place) -> Any:
        """Return the value at a place, None where there is none."""
        value: Any = self.data
        for step in place:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value


def in_lines(problems: Iterable[Problem], name: str) -> str:
    """Return the problems of the file `name`, one a line, in the order of the file."""
    ordered = sorted(problems, key=lambda problem: problem.line)
    lines = [f"{name}:{p.line}: {_dotted(p.place)}{p.text}" for p in ordered[:MOST_LINES]]
    if len(ordered) > MOST_LINES:
        lines.append(f"{name}: and {len(ordered) - MOST_LINES} more")
    return "\n".join(lines)


def yaml_in_plain_words(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """Return the line of a syntax error and what is wrong there."""
    if hasattr(error, "character"):  # a ReaderError
        line = text.count("\n", 0, error.position) + 1  # type: ignore[attr-defined]
        return line, f"the character 0x{int(error.character):02x} cannot stand in YAML"
    reason = str(getattr(error, "problem", None) or "it cannot be read")
    begins_earlier = any(part in reason for part in BEGINS_EARLIER)
    mark = getattr(error, "context_mark" if begins_earlier else "problem_mark", None)
    line = int(mark.line) + 1 if mark else 1
    if reason.endswith("but got '{'") and "${" in "".join(text.splitlines()[line - 1 : line]):
        return line, 'between { } or [ ] write "${NAME}" in quotes'
    quoted = [f"`{sign}`" for sign in re.findall(r"'([^']*)'", reason)]
    for part, words in SYNTAX:
        if part in reason:
            return line, words.format(*quoted)
    return line, f"is no YAML: {reason}"


def model_problems(error: ValidationError, document: Document) -> list[Problem]:
    """Return what the models found wrong."""
    from edge.config.device import Device

    found: list[Problem] = []
    unions: dict[Place, list[_Spot]] = {}
    for details in error.errors(include_url=False, include_context=False):
        spot = _Spot(details["type"], details["msg"], choices=[(Device, [])])
        spot.follow(details["loc"])
        if spot.union is not None:
            unions.setdefault(spot.union, []).append(spot)
        else:
            found.append(spot.problem(document))
    for place, spots in unions.items():
        inside = [spot for spot in spots if len(spot.place) > len(place)]
        told = [spot for spot in spots if spot.error == "value_error"]
        found += [spot.problem(document) for spot in inside or told[:1] or spots[:1]]
    return found


@dataclass
class _Spot:
    """Where an error of pydantic's lies, in the file and among the models."""

    error: str
    message: str
    place: Place = ()
    choices: Sequence[Alternative] = ()
    owner: type[BaseModel] | None = None
    field: FieldInfo | None = None
    union: Place | None = None
    """The field of several types in which the error lies, which has one error for each."""
    is_key: bool = False

    def follow(self, loc: Sequence[int | str]) -> None:
        """Walk the models along `loc`, which also names plugins and members of unions."""
        from edge.config.reference import alternatives, alternatives_of, is_model, origin, plugins

        for step in loc:
            container = list if isinstance(step, int) else dict
            inner = [kind for kind, _ in self.choices if origin(kind) is container]
            models = [kind for kind, _ in self.choices if is_model(kind)]
            if len(models) > 1:
                self.choices = [(plugins(self.choices).get(str(step)), [])]
            elif step == "[key]" and not inner and self.error not in {"extra_forbidden", "missing"}:
                self.is_key = True
            elif models:
                self.place, self.owner = (*self.place, step), models[0]
                self.field = models[0].model_fields.get(str(step))
                self.choices = alternatives_of(self.field) if self.field else []
            elif inner:
                self.place = (*self.place, step)
                self.choices = alternatives(get_args(inner[0])[-1])
            elif self.union is None:
                self.union = self.place

    def problem(self, document: Document) -> Problem:
        """Say it."""
        from edge.config.reference import listed, plugins

        place, described = self.place, self.field.description if self.field else ""
        own_words = self.message.removeprefix("Value error, ")
        if self.error in {"union_tag_invalid", "union_tag_not_found"}:
            place = (*place, "type")
            names = listed(plugins(self.choices))
            text = f"must be {names}{_but(place, document, self.choices)}"
            if self.error == "union_tag_not_found":
                text = f"is missing: it must be {names}"
        elif self.error == "missing":
            text = f"is missing: {described}"
        elif self.error == "extra_forbidden" and self.owner is not None:
            text = _unknown(str(place[-1]), self.owner.model_fields)
        elif self.is_key:
            text = f"the name {own_words if self.error == 'value_error' else 'must be text'}"
        elif self.error == "value_error":
            text = own_words
            if any(secret and secret in own_words for secret in _secrets_in(place, document)):
                text = f"is not allowed: {described}"
        elif self.error == "string_pattern_mismatch":
            text = f"does not fit{_but(place, document, self.choices)}: {described}"
        else:
            nothing = self.field is not None and self.field.default is not None
            text = must_be(place, document, self.choices, nothing=nothing)
        return Problem(document.line_of(place), place, text)


def must_be(place: Place, document: Document, choices: Sequence[Alternative], **more: bool) -> str:
    """Say what stands at a place, and what these types allow there."""
    from edge.config.reference import allowed

    return f"must be {allowed(choices, **more)}{_but(place, document, choices)}"


def _but(place: Place, document: Document, choices: Sequence[Alternative]) -> str:
    """Say what stands there instead, as far as that may be said, and what was meant perhaps."""
    from edge.config.reference import plugins

    kinds = [kind for kind, _ in choices]
    value = document.at(place)
    if names := document.variables.get(place):
        return f", not what {' and '.join(f'${{{name}}}' for name in names)} holds"
    if value is None:
        return ", but it is empty"
    if any(kind is SecretStr for kind in kinds):
        return ""
    words = f", not {_shown(value)}"
    if str in kinds and isinstance(value, int | float):
        return f"{words}: put quotes around it"
    known = [
        *plugins(choices),
        *(n for k in kinds if get_origin(k) is Literal for n in get_args(k)),
    ]
    near = _nearest(value, known) if isinstance(value, str) else None
    return f"{words}; did you mean `{near}`?" if near else words


def _unknown(key: str, known: Iterable[str]) -> str:
    near = _nearest(key.lower().replace("-", "_"), known)
    hint = f"did you mean `{near}`?" if near else f"known are {', '.join(f'`{k}`' for k in known)}"
    return f"is not known here; {hint}"


def _nearest(word: str, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word[:LONGEST], known, n=1)), None)


def _secrets_in(place: Place, document: Document) -> set[str]:
    """The values from the environment at and below a place."""
    inside = any(where[: len(place)] == place for where in document.variables)
    return document.secrets if inside else set()


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):  # a URL where it does not belong may hold a password
        value = re.sub(r"://.*@", "://***@", value, flags=re.DOTALL)[:LONGEST]
    text = repr(value)
    return text if len(text) <= LONGEST + 2 else text[:LONGEST] + "..."


def _dotted(place: Place) -> str:
    """Return `pipelines.porch.labels[2]: `, on one line whatever the keys are."""
    text = ""
    for step in place:
        shown = str(step)[:LONGEST]
        shown = shown if shown.isprintable() and shown else repr(shown)
        text += f"[{step}]" if isinstance(step, int) else f".{shown}"
    return f"{text.removeprefix('.')}: " if text else ""

"""Writes a model's folder: `card.yaml`, README.md and the files they name, in one stroke.

It is the one writer of such folders; `edge.catalogue.card` reads them.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from edge import __version__
from edge.catalogue.card import CARD, parse_card
from edge.catalogue.place import check_replaceable, put_in_place
from edge.errors import CardError, ConfigError, EdgeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

README = "README.md"
WIDTH = 96
PACKAGES = ("tensorflow", "keras", "ai-edge-quantizer", "ai-edge-litert", "scikit-learn", "numpy")


@dataclass(frozen=True, slots=True)
class File:
    """A file of a model's folder."""

    role: str
    """model, labels, golden, sample, anchors or network (a .keras)."""
    data: bytes


def write_folder(out: Path, card: dict[str, Any], files: Mapping[str, File]) -> None:
    """Write a model's folder whole, or leave all as it was.

    `card` has name, version, description and licence, and whatever else people should know; the
    digests of `files` and a README.md are added here. A model's folder that is there is replaced.
    Raises ConfigError as `check_out` does, CardError where the card is none that can be read, and
    EdgeError where it cannot be written.
    """
    check_out(out)
    page = File("readme", readme(card).encode())
    files = {**files, README: page}
    listed = {
        name: {
            "role": file.role,
            "size_bytes": len(file.data),
            "sha256": hashlib.sha256(file.data).hexdigest(),
        }
        for name, file in files.items()
    }
    head = ("name", "version", "description", "licence")
    whole = {key: card[key] for key in head} | {"files": listed}
    whole |= {key: value for key, value in card.items() if key not in head}
    text = as_yaml(whole).encode()
    parse_card(text, str(out / CARD))
    contents = {name: file.data for name, file in files.items()} | {CARD: text}
    out = out.absolute()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            beside.chmod(0o755)
            for name, data in contents.items():
                (beside / name).write_bytes(data)
            put_in_place(beside, out)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise EdgeError(f"{out}: cannot be written: {error.strerror or error}") from error


def check_out(out: Path) -> None:
    """Find out, before any work, whether a model's folder may be written there.

    A new or an empty folder will do, or a model's folder, which is then replaced. Raises
    ConfigError for anything else: nothing that is not a model's own is ever deleted.
    """
    try:
        check_replaceable(out)
    except CardError as error:
        raise ConfigError(str(error)) from error


def check_head(head: dict[str, Any]) -> None:
    """Find out, before any work, whether a card may begin so. Raises ConfigError."""
    a_file = {"role": "model", "size_bytes": 1, "sha256": "0" * 64}
    try:
        parse_card(as_yaml(head | {"files": {"model.tflite": a_file}}).encode(), "the card")
    except CardError as error:
        raise ConfigError(str(error)) from error


def read_old(out: Path) -> dict[str, Any] | None:
    """Return the card of a model's folder that will be replaced; None where there is none."""
    try:
        card = yaml.safe_load((out / CARD).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return card if isinstance(card, dict) and isinstance(card.get("files"), dict) else None


def as_yaml(card: dict[str, Any]) -> str:
    """Return a card's text: in the order given, and without aliases, which no reader takes."""
    text: str = yaml.dump(card, Dumper=_Plain, sort_keys=False, width=WIDTH, allow_unicode=True)
    return text


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def versions() -> str:
    """Return what the bytes of a model depend on: `python 3.11.7 on x86_64, tensorflow ...`."""
    told = [f"python {platform.python_version()} on {platform.machine()}"]
    told.append(f"edge-runtime {__version__}")
    for name in PACKAGES:
        for distribution in (name, f"{name}-cpu"):
            try:
                told.append(f"{name} {metadata.version(distribution)}")
            except metadata.PackageNotFoundError:
                continue
            break
    return ", ".join(told)


def readme(card: dict[str, Any]) -> str:
    """Return a card as a page: the same facts, a section each."""
    lines = [f"# {card['name']} {card['version']}", "", card["description"], ""]
    lines += [f"Licence: {card['licence']}", "", "Written together with card.yaml, which says the"]
    lines[-1] += " same and holds the files' digests."
    for title, section in card.items():
        if isinstance(section, (dict, list)):
            lines += ["", f"## {_words(title).capitalize()}", "", *_section(section)]
    return "\n".join(lines) + "\n"


def _section(section: dict[str, Any] | list[Any], indent: str = "") -> Iterator[str]:
    if isinstance(section, list):
        yield from _table(section)
        return
    for name, value in section.items():
        if isinstance(value, dict):
            yield f"{indent}- {_words(name)}:"
            yield from _section(value, f"{indent}  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from ["", f"{_words(name).capitalize()}:", "", *_table(value), ""]
        else:
            yield f"{indent}- {_words(name)}: {_plain(value)}"


def _table(rows: Sequence[Any]) -> Iterator[str]:
    if not all(isinstance(row, dict) for row in rows):
        yield from (f"- {_plain(row)}" for row in rows)
        return
    header = list(dict.fromkeys(key for row in rows for key in row))
    yield f"| {' | '.join(map(_words, header))} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        cells = (_plain(row.get(key, "")).replace("|", "\\|") for key in header)
        yield f"| {' | '.join(cells)} |"


def _words(key: Any) -> str:
    return str(key).replace("_", " ")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)

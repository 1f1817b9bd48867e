"""The card of a model: what its folder holds, vouched for by digests, and how a pipeline runs it.

A card comes from elsewhere: nothing in it may name a file outside its folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.catalogue.plain_yaml import read_plain_yaml
from edge.catalogue.text import plain, printable
from edge.errors import CardError

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

CARD = "card.yaml"
SIGNATURE = f"{CARD}.minisig"
MAX_CARD_BYTES = 256 << 10
MAX_FILE_BYTES = 512 << 20  # as for any model: edge.engines.model_file.MAX_MODEL_BYTES
MAX_FILES = 64
CHUNK_BYTES = 1 << 20

Role = Literal["model", "labels", "golden", "sample", "readme", "anchors", "network"]
SEVERAL: frozenset[Role] = frozenset({"sample"})
"""Roles that more than one file may have."""
MODEL_OPTIONS = frozenset({"resize", "interpolation", "colour", "mean", "std"})
"""What a card may say of a pipeline's `model`: what its frames become, never what runs it."""


def _file_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", name):
        raise ValueError("must be a plain file name: letters, digits, - _ and . but not in front")
    if name.lower() in {CARD, SIGNATURE}:
        raise ValueError(f"{name} cannot be among its own files")
    return name


Line = Annotated[str, Field(max_length=1000), AfterValidator(printable)]
Version = Annotated[str, Field(max_length=32), AfterValidator(printable)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ModelName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]
FileName = Annotated[str, AfterValidator(_file_name)]


class CardFile(BaseModel):
    """A file that travels with a model."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    role: Role
    size_bytes: int = Field(ge=1, le=MAX_FILE_BYTES)
    sha256: Sha256

    @classmethod
    def of(cls, path: Path, role: Role) -> Self:
        """Describe a file. Raises CardError where it cannot be read, or is empty or too large."""
        size_bytes, sha256 = _measured(path)
        try:
            return cls(role=role, size_bytes=size_bytes, sha256=sha256)
        except ValidationError as error:
            raise CardError(problems_in_lines(error, str(path))) from error


class PipelinePart(BaseModel):
    """What of a pipeline's YAML belongs to the model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decode: dict[str, Any] | None = None
    model: dict[str, Any] = {}

    @model_validator(mode="after")
    def _harmless(self) -> Self:
        if unknown := sorted(set(self.model) - MODEL_OPTIONS):
            allowed = ", ".join(sorted(MODEL_OPTIONS))
            raise ValueError(f"`model` may hold {allowed}, and not {unknown[0]!r}")
        if self.decode is not None and not isinstance(self.decode.get("type"), str):
            raise ValueError("`decode` must have a `type`")
        for text in _texts([self.decode, self.model]):
            if text.startswith(("/", "~")) or ".." in text.split("/"):
                raise ValueError(f"{text!r} is a path out of the model's folder")
        return self


class Card(BaseModel):
    """A model's card. Other keys than these are for people: they are in `model_extra`."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: ModelName
    version: Version
    description: Line
    licence: Line
    files: dict[FileName, CardFile] = Field(min_length=1, max_length=MAX_FILES)
    pipeline: PipelinePart = Field(default_factory=PipelinePart)

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        roles = [file.role for file in self.files.values()]
        if "model" not in roles:
            raise ValueError("one of the files must have the role `model`")
        for role in dict.fromkeys(roles):
            if role not in SEVERAL and roles.count(role) > 1:
                raise ValueError(f"only one of the files can have the role `{role}`")
        if len({name.lower() for name in self.files}) < len(self.files):
            raise ValueError("two of the files differ in capital letters only")
        return self

    @property
    def model(self) -> str:
        """The name of the model file."""
        return next(name for name, file in self.files.items() if file.role == "model")

    @property
    def size_bytes(self) -> int:
        """Of all its files together, without the card."""
        return sum(file.size_bytes for file in self.files.values())

    def file_of(self, role: Role) -> str | None:
        """Return the name of the first file with this role, None where there is none."""
        return next((name for name, file in self.files.items() if file.role == role), None)

    def pipeline_options(self, folder: Path) -> dict[str, Any]:
        """Return `model` and `decode` as they stand in the YAML of a pipeline that runs it.

        Files of its folder are named by their full paths; `decode` is left out where the card
        has none.
        """
        model: dict[str, Any] = {"path": str(folder / self.model), **self.pipeline.model}
        for role in ("labels", "golden"):
            if name := self.file_of(role):
                model[role] = str(folder / name)
        decode = self.pipeline.decode
        return {"model": model} | ({"decode": decode} if decode is not None else {})


def parse_card(content: bytes, name: str = CARD) -> Card:
    """Read a card's bytes; `name` is what messages call it. Raises CardError."""
    data = read_plain_yaml(content, name=name, max_bytes=MAX_CARD_BYTES)
    try:
        return Card.model_validate(data)
    except ValidationError as error:
        raise CardError(problems_in_lines(error, name)) from error


def read_card(folder: Path) -> Card:
    """Read the card of a model's folder; its files are not looked at. Raises CardError."""
    return parse_card(read_card_bytes(folder), str(folder / CARD))


def read_card_bytes(folder: Path, name: str = CARD) -> bytes:
    """Return what the card's file holds, or that of its signature. Raises CardError."""
    path = folder / name
    with os.fdopen(_opened(path), "rb") as file:
        content = file.read(MAX_CARD_BYTES + 1)
    if len(content) > MAX_CARD_BYTES:
        raise CardError(f"{path}: is larger than {MAX_CARD_BYTES >> 10} KiB, and no more is read")
    return content


def sha256_of(content: bytes) -> str:
    """Return the digest by which catalogues know a card."""
    return hashlib.sha256(content).hexdigest()


def check_files(card: Card, folder: Path) -> None:
    """Compare the files of a folder with what the card says. Raises CardError, all in one."""
    problems = []
    for name, file in card.files.items():
        try:
            size_bytes, sha256 = _measured(folder / name)
        except CardError as error:
            problems.append(str(error))
            continue
        if size_bytes != file.size_bytes:
            problems.append(f"{folder / name}: has {size_bytes:,} bytes, not {file.size_bytes:,}")
        elif sha256 != file.sha256:
            problems.append(
                f"{folder / name}: has the sha256 {sha256[:12]}..., not {file.sha256[:12]}... as "
                "its card says"
            )
    if problems:
        raise CardError("\n".join(problems))


def _measured(path: Path) -> tuple[int, str]:
    """Return size and SHA-256 of a regular file; links are not followed."""
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with os.fdopen(_opened(path), "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
    except OSError as error:
        raise CardError(f"{path}: cannot be read: {error.strerror or error}") from error
    return size_bytes, digest.hexdigest()


def _opened(path: Path) -> int:
    """Return a descriptor of a regular file, to read; a link or a pipe is refused."""
    try:
        # O_NONBLOCK: opening a FIFO would wait for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise CardError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        if path.is_symlink():
            raise CardError(f"{path}: is a symbolic link, and none is followed") from None
        reason = getattr(error, "strerror", None) or error
        raise CardError(f"{path}: cannot be read: {reason}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CardError(f"{path}: is not a regular file")
    return descriptor


def _texts(value: Any) -> list[str]:
    """Return every text in plain data."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def problems_in_lines(error: ValidationError, name: str) -> str:
    """Return what is wrong with the file `name`, one problem a line."""
    lines = []
    for details in error.errors(include_url=False, include_context=False):
        place = plain(".".join(str(step) for step in details["loc"] if step != "[key]"))
        said = details["msg"].removeprefix("Value error, ")
        said = "is missing" if details["type"] == "missing" else said[:1].lower() + said[1:]
        lines.append(f"{name}: {place}: {said}" if place else f"{name}: {said}")
    return "\n".join(lines)

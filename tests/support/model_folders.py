"""Models' folders for tests: small ones, with a card, and signed where that is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from edge.catalogue.card import CARD, SIGNATURE, CardFile

if TYPE_CHECKING:
    from pathlib import Path

    from edge.catalogue.card import Role
    from edge.catalogue.secret_key import SecretKey

ROLES: dict[str, Role] = {".tflite": "model", ".txt": "labels", ".npz": "golden"}


def model_folder(
    folder: Path,
    files: dict[str, bytes] | None = None,
    *,
    key: SecretKey | None = None,
    **card: Any,
) -> Path:
    """Write a folder with these files and their card, signed with the key."""
    folder.mkdir(parents=True, exist_ok=True)
    files = files or {"tiny.tflite": b"a model" * 1000, "labels.txt": b"yes\nno\n"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    described = {
        name: CardFile.of(
            folder / name, ROLES.get(f".{name.rsplit('.', 1)[-1]}", "sample")
        ).model_dump()
        for name in files
    }
    whole = {
        "name": "tiny",
        "version": "1.0",
        "description": "Nothing much.",
        "licence": "CC0-1.0",
        "files": described,
    } | card
    (folder / CARD).write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    if key is not None:
        sign_folder(folder, key)
    return folder


def sign_folder(folder: Path, key: SecretKey) -> None:
    """Sign the card that is there."""
    from edge.catalogue.signature import sign

    signature = sign((folder / CARD).read_bytes(), key, comment="by a test")
    (folder / SIGNATURE).write_text(signature, encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder, file by file."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}

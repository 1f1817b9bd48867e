from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edge.errors import ConfigError
from edge.workshop.card import File, as_yaml, check_out, readme, write_folder

if TYPE_CHECKING:
    from pathlib import Path

CARD: dict[str, Any] = {
    "name": "toy",
    "version": "1.0",
    "description": "Nothing much.",
    "licence": "Apache-2.0",
    "pipeline": {"decode": {"type": "classification"}},
    "figures": {"size_bytes": 3, "rows": [{"what": "float", "p50_ms": 0.5}, {"what": "int8"}]},
}
FILES = {"toy.tflite": File("model", b"abc"), "labels.txt": File("labels", b"a\nb\n")}


def test_a_folder_holds_the_files_the_page_and_a_card_with_their_digests(tmp_path: Path) -> None:
    write_folder(tmp_path / "toy", CARD, FILES)
    assert {path.name for path in (tmp_path / "toy").iterdir()} == {
        "card.yaml", "README.md", "toy.tflite", "labels.txt",
    }  # fmt: skip
    card = yaml.safe_load((tmp_path / "toy" / "card.yaml").read_text())
    assert list(card)[:5] == ["name", "version", "description", "licence", "files"]
    for name, role in (("toy.tflite", "model"), ("labels.txt", "labels"), ("README.md", "readme")):
        data = (tmp_path / "toy" / name).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        assert card["files"][name] == {"role": role, "size_bytes": len(data), "sha256": digest}


def test_a_models_folder_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "toy"
    write_folder(out, CARD, FILES)
    (out / "card.yaml.minisig").write_text("of the old card")
    write_folder(out, CARD, {"other.tflite": File("model", b"new")})
    assert {path.name for path in out.iterdir()} == {"card.yaml", "README.md", "other.tflite"}
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_what_is_no_models_own_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("dear diary")
    with pytest.raises(ConfigError, match="is there already, and is no model's folder"):
        write_folder(tmp_path / "notes", CARD, FILES)
    write_folder(tmp_path / "toy", CARD, FILES)
    (tmp_path / "toy" / "diary.txt").write_text("dear diary")
    with pytest.raises(ConfigError, match=r"holds diary.txt, which its card.yaml does not name"):
        check_out(tmp_path / "toy")
    (tmp_path / "link").symlink_to(tmp_path / "toy")
    with pytest.raises(ConfigError, match="is no folder"):
        check_out(tmp_path / "link")
    assert (tmp_path / "notes" / "diary.txt").read_text() == "dear diary"


def test_a_card_has_no_aliases_for_what_it_says_twice() -> None:
    shape = [1, 2]
    assert yaml.safe_load(as_yaml({"a": shape, "b": shape})) == {"a": [1, 2], "b": [1, 2]}
    assert "&" not in as_yaml({"a": shape, "b": shape})


def test_the_page_says_what_the_card_says() -> None:
    page = readme(CARD)
    assert page.startswith("# toy 1.0\n\nNothing much.\n")
    assert "- size bytes: 3" in page
    assert "| what | p50 ms |\n|---|---|\n| float | 0.5 |\n| int8 |  |" in page

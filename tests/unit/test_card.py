from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edge.catalogue.card import (
    CARD,
    MAX_CARD_BYTES,
    CardFile,
    check_files,
    parse_card,
    read_card,
    read_card_bytes,
)
from edge.errors import CardError

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "2e0af40c565466292525e73c11377e76abaf2e3d80e561af607f78326e36e37c"
MODEL = {"role": "model", "size_bytes": 33304, "sha256": DIGEST}


def card(**changes: Any) -> dict[str, Any]:
    return {
        "name": "digits",
        "version": "1.0",
        "description": "One digit.",
        "licence": "Apache-2.0",
        "files": {"digits.tflite": MODEL},
    } | changes


def parse(data: dict[str, Any]) -> Any:
    return parse_card(json.dumps(data).encode())  # which is YAML


def test_a_card_says_what_travels_and_the_rest_is_free() -> None:
    found = parse(card(accuracy={"int8": 0.99}, pipeline={"decode": {"type": "classification"}}))
    assert found.model == "digits.tflite"
    assert found.files["digits.tflite"].size_bytes == 33304
    assert found.model_extra == {"accuracy": {"int8": 0.99}}
    assert found.file_of("labels") is None


def test_a_pipeline_gets_the_files_of_the_folder_and_what_the_card_says(tmp_path: Path) -> None:
    files = {"m.tflite": MODEL, "l.txt": MODEL | {"role": "labels"}}
    files["g.npz"] = MODEL | {"role": "golden"}
    found = parse(card(files=files, pipeline={"model": {"mean": 127.5, "std": 127.5}}))
    assert found.pipeline_options(tmp_path) == {
        "model": {
            "path": str(tmp_path / "m.tflite"),
            "mean": 127.5,
            "std": 127.5,
            "labels": str(tmp_path / "l.txt"),
            "golden": str(tmp_path / "g.npz"),
        }
    }


@pytest.mark.parametrize(
    "name",
    ["../x", "a/b", "/etc/passwd", ".hidden", "..", "", "a\\b", "x\0", "ä.bin", "card.yaml",
     "CARD.YAML.minisig", "a" * 129, "-rf", "x\n"],
)  # fmt: skip
def test_a_file_cannot_be_named_out_of_the_folder(name: str) -> None:
    with pytest.raises(CardError, match=r"card\.yaml: files"):
        parse(card(files={"m.tflite": MODEL, name: MODEL | {"role": "sample"}}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Digits"}, "name: string should match"),
        ({"name": "../digits"}, "name: string should match"),
        ({"version": 1.0}, "version: input should be a valid string"),
        ({"version": "1" * 33}, "version: string should have at most 32"),
        ({"description": "two\nlines"}, "description: must be one line"),
        ({"licence": "\x1b[31mred"}, "licence: must be one line of printable text"),
        ({"files": {}}, "files: dictionary should have at least 1"),
        ({"files": {"a.txt": MODEL | {"role": "labels"}}}, "must have the role `model`"),
        ({"files": {"a.tflite": MODEL, "b.tflite": MODEL}}, "only one of the files can have"),
        ({"files": {"a.x": MODEL, "A.x": MODEL | {"role": "sample"}}}, "capital letters only"),
        ({"files": {"a": MODEL | {"role": "script"}}}, r"files\.a\.role: input should be 'model'"),
        ({"files": {"a": MODEL | {"sha256": DIGEST.upper()}}}, r"files\.a\.sha256: string should"),
        ({"files": {"a": MODEL | {"sha256": f"{DIGEST}\n"}}}, r"files\.a\.sha256: string should"),
        ({"files": {"a": MODEL | {"size_bytes": 0}}}, r"files\.a\.size_bytes: input should be gr"),
        ({"files": {"a": MODEL | {"size_bytes": True}}}, r"files\.a\.size_bytes: input should be"),
        ({"files": {"a": MODEL | {"size_bytes": 1 << 30}}}, r"files\.a\.size_bytes: input should"),
        ({"files": {"a": MODEL | {"url": "x"}}}, r"files\.a\.url: extra inputs are not"),
        ({"pipeline": {"source": {}}}, r"pipeline\.source: extra inputs"),
        ({"pipeline": {"model": {"accelerator": {"library": "x.so"}}}}, "and not 'accelerator'"),
        ({"pipeline": {"decode": {"top_k": 1}}}, "`decode` must have a `type`"),
        ({"pipeline": {"decode": {"type": "x", "f": ["/etc/shadow"]}}}, "path out of the model's"),
        ({"pipeline": {"decode": {"type": "x", "f": "a/../../b"}}}, "path out of the model's"),
    ],
)
def test_what_is_wrong_with_a_card_is_said_with_its_place(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(CardError, match=said):
        parse(card(**changes))


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(card(files={"a.tflite": MODEL, "\x1b[31mred": MODEL})).encode(),
        b'"\\e[31mred": 1\n"\\e[31mred": 2\n',
        b'a: "\\e[31m\n',
    ],
)
def test_what_is_said_of_a_card_is_safe_on_a_terminal(content: bytes) -> None:
    with pytest.raises(CardError) as raised:
        parse_card(content)
    assert all(line.isprintable() for line in str(raised.value).splitlines())


def test_all_that_is_wrong_is_said_at_once_and_what_is_missing() -> None:
    with pytest.raises(CardError) as raised:
        parse({"name": "x", "files": {"a.tflite": MODEL}})
    assert str(raised.value).splitlines() == [
        "card.yaml: version: is missing",
        "card.yaml: description: is missing",
        "card.yaml: licence: is missing",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must be a mapping"),
        (b"- a\n", "must be a mapping"),
        (b"a: &x 1\nb: *x\n", "card.yaml:2: is no plain YAML: aliases"),
        (b"a: !!python/object/apply:os.system [x]\n", "card.yaml:1: tags"),
        (b"a: !!int 3\n", "card.yaml:1: tags"),
        (b"a: 1\na: 2\n", "card.yaml:2: `a` stands here a second time"),
        (b"? [a]\n: 1\n", "card.yaml:1: a key must be text"),
        (b"a: [\n", "card.yaml:2: is no plain YAML"),
        (b"a: 1\n---\nb: 2\n", "card.yaml:2: is no plain YAML"),
        (b"\xff\xfe", "is not text in UTF-8"),
        (b"a: \x01\n", "is no plain YAML"),
        (b"a: " + b"[" * 30 + b"]" * 30, "nested deeper than 20 levels"),
        (b"a: " + b"[" * 50_000, "nested deeper than 20 levels"),
        (b"a: " + b"x" * MAX_CARD_BYTES, "is larger than 256 KiB"),
        (b'a: "\\UFFFFFFFF"\n', "is no plain YAML"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_in_one_line(content: bytes, said: str) -> None:
    with pytest.raises(CardError) as raised:
        parse_card(content)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_scalars_are_those_of_yaml_1_2() -> None:
    text = yaml.safe_dump(card()) + "when: 2024-01-01\nratio: 16:9\nmode: off\nrate: 1e-3\n"
    extra = parse_card(text.encode()).model_extra
    assert extra == {"when": "2024-01-01", "ratio": "16:9", "mode": "off", "rate": 0.001}


def folder(tmp_path: Path) -> Path:
    (tmp_path / "m.tflite").write_bytes(b"model")
    (tmp_path / "l.txt").write_bytes(b"labels")
    files = {
        "m.tflite": CardFile.of(tmp_path / "m.tflite", "model").model_dump(),
        "l.txt": CardFile.of(tmp_path / "l.txt", "labels").model_dump(),
    }
    (tmp_path / CARD).write_text(yaml.safe_dump(card(files=files), sort_keys=False))
    return tmp_path


def test_a_folder_that_is_what_its_card_says_passes(tmp_path: Path) -> None:
    check_files(read_card(folder(tmp_path)), tmp_path)


def test_every_file_that_is_not_what_the_card_says_is_named(tmp_path: Path) -> None:
    card = read_card(folder(tmp_path))
    (tmp_path / "m.tflite").write_bytes(b"madel")
    (tmp_path / "l.txt").write_bytes(b"labels and more")
    with pytest.raises(CardError) as raised:
        check_files(card, tmp_path)
    first, second = str(raised.value).splitlines()
    assert "m.tflite: has the sha256 " in first
    assert second.endswith("l.txt: has 15 bytes, not 6")


def test_a_link_is_not_followed_and_a_pipe_not_waited_for(tmp_path: Path) -> None:
    card = read_card(folder(tmp_path))
    (tmp_path / "m.tflite").rename(tmp_path / "elsewhere")
    (tmp_path / "m.tflite").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "l.txt").unlink()
    os.mkfifo(tmp_path / "l.txt")
    with pytest.raises(CardError) as raised:
        check_files(card, tmp_path)
    first, second = str(raised.value).splitlines()
    assert first.endswith("m.tflite: is a symbolic link, and none is followed")
    assert second.endswith("l.txt: is not a regular file")
    (tmp_path / CARD).rename(tmp_path / "other.yaml")
    (tmp_path / CARD).symlink_to("other.yaml")
    with pytest.raises(CardError, match="is a symbolic link"):
        read_card(tmp_path)


def test_a_folder_without_a_card_or_with_a_huge_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"card\.yaml: there is no such file"):
        read_card(tmp_path)
    with (tmp_path / CARD).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CardError, match="larger than 256 KiB"):
        read_card_bytes(tmp_path)
    with pytest.raises(CardError, match="there is no such file"):
        read_card(tmp_path / "nowhere")


def test_an_empty_file_cannot_travel(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").touch()
    with pytest.raises(CardError, match=r"m\.tflite: size_bytes: input should be greater"):
        CardFile.of(tmp_path / "m.tflite", "model")

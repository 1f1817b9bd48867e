"""`updates:` and `canary:` of a device YAML: whose models, from where, and how they are tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge.config.load import load
from edge.config.updates import Updates
from edge.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
FILE = f"untrusted comment: minisign public key E7620F1842B4E81F\n{KEY}\n"
PREFIX = "https://models.example.com/porch/"
PIPELINES = "pipelines: {cam: {source: {type: synthetic}, model: {path: a.tflite}"


def device(folder: Path, updates: str, canary: str = "") -> Updates:
    path = folder / "device.yaml"
    path.write_text(f"device: dev\nupdates: {updates}\n{PIPELINES}{canary}}}}}\n", encoding="utf-8")
    return load(path).updates


def test_keys_are_given_as_they_are_or_as_files_beside_the_yaml(tmp_path: Path) -> None:
    (tmp_path / "factory.pub").write_text(FILE, encoding="utf-8")
    found = device(tmp_path, f"{{keys: [{KEY}, factory.pub], fetch_from: ['{PREFIX}']}}")
    assert found.keys == [KEY, str(tmp_path / "factory.pub")]
    assert [key.text for key in found.public_keys()] == [KEY, KEY]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        ("RWQf", "is no minisign public key"),
        ("untrusted comment: minisign encrypted secret key\nRWRTY0Iy\n", "is a secret key"),
        ("\udcff", "text"),
    ],
)
def test_a_file_that_holds_no_public_key_is_told(
    tmp_path: Path, content: str | None, words: str
) -> None:
    path = tmp_path / "factory.pub"
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    options = Updates.model_validate({"keys": [str(path)], "fetch_from": [PREFIX]})
    with pytest.raises(ConfigError, match=rf"updates\.keys.*{words}"):
        options.public_keys()


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        (f"{{keys: [{KEY}]}}", "`keys` and `fetch_from` go together"),
        (f"{{fetch_from: ['{PREFIX}']}}", "`keys` and `fetch_from` go together"),
        (f"{{keys: [{'A' * 56}], fetch_from: ['{PREFIX}']}}", "is no minisign public key"),
        (f"{{keys: [{KEY}], fetch_from: ['https://host']}}", "must end with /"),
        (f"{{keys: [{KEY}], fetch_from: ['ftp://host/']}}", "must begin with https://HOST/"),
        (f"{{keys: [{KEY}], fetch_from: ['https:///']}}", "must begin with https://HOST/"),
        (f"{{keys: [{KEY}], fetch_from: ['https://a:b@host/']}}", "no user, password"),
        (f"{{keys: [{KEY}], fetch_from: ['https://host:x/']}}", "is no URL"),
        ("{keys: [], fetch_from: [], max_mb: 0}", "updates.max_mb"),
    ],
)
def test_what_cannot_work_is_told_with_its_line(tmp_path: Path, updates: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"device\.yaml:2: .*" + words.replace("/", "/")):
        device(tmp_path, updates)


@pytest.mark.parametrize(
    "canary", ["share: 0", "min_agreement: 1.5", "promote: never", "frames: -1", "max_starts: 0"]
)
def test_a_canary_out_of_bounds_is_told(tmp_path: Path, canary: str) -> None:
    with pytest.raises(ConfigError, match=f"cam.canary.{canary.partition(':')[0]}"):
        device(tmp_path, "{}", f", canary: {{{canary}}}")


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example.com/porch/digits/card.yaml",
        "https://MODELS.example.com:443/porch/card.yaml",
    ],
)
def test_what_lies_below_may_be_fetched(url: str) -> None:
    assert Updates(keys=[KEY], fetch_from=[PREFIX]).may_fetch(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example.com/porch/card.yaml",
        "https://models.example.com/other/card.yaml",
        "https://models.example.com/porchlight/card.yaml",
        "https://models.example.com/porch/../other/card.yaml",
        "https://models.example.com/porch/%2e%2E/other/card.yaml",
        "https://models.example.com/porch/..%2fother/card.yaml",
        "https://models.example.com:8443/porch/card.yaml",
        "https://models.example.com.evil.net/porch/card.yaml",
        "https://models.example.com@evil.net/porch/card.yaml",
        "https://a@models.example.com/porch/card.yaml",
        "https://models.example.com/porch/card.yaml?x=1",
        "https://models.example.com/porch/a card.yaml",
        "https://models.example.com/porch/card.yaml\n",
        "https://[models/porch/",
        "file:///porch/card.yaml",
        "",
    ],
)
def test_nothing_else_may(url: str) -> None:
    assert not Updates(keys=[KEY], fetch_from=[PREFIX]).may_fetch(url)


def test_a_stick_is_a_place_to_fetch_from() -> None:
    options = Updates(keys=[KEY], fetch_from=["file:///media/stick/"])
    assert options.may_fetch("file:///media/stick/digits/card.yaml")
    assert not options.may_fetch("file:///media/stick/../../etc/passwd")
    assert not options.may_fetch("https://media/stick/card.yaml")


def test_without_keys_nothing_may_be_fetched() -> None:
    assert not Updates().may_fetch("https://models.example.com/porch/card.yaml")

"""What README.md and CHANGELOG.md say of the project is so."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

import edge
from edge.accelerators.base import Cause
from edge.cli import COMMANDS, main
from edge.config.load import load
from edge.errors import ConfigError
from edge.health import Health
from edge.messages import Event, Info, Message, Metrics, Result
from edge.states import State
from edge.workshop.readme import README, with_parts

ROOT = README.parent
TEXT = README.read_text(encoding="utf-8")
WRITTEN = TEXT.partition("<!-- begin: configuration -->")[0]
FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")
PROSE = FENCE.sub("", WRITTEN)
ROOMS = ("edge/", "tests/", "models/", "device_configs/", "systemd/", ".ci/")
PAYLOADS: dict[str, type[Message]] = {
    kind.topic_name: kind for kind in (Result, Metrics, Health, Info, Event, State)
}


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return [body for name, body in FENCE.findall(WRITTEN) if name == language]


def is_meant_to_fail(block: str) -> bool:
    """A YAML block that shows mistakes says so by its name."""
    return block.startswith("# mistakes.yaml\n")


def is_whole_device(block: str) -> bool:
    """A YAML block is a whole configuration when it has pipelines at its top."""
    return "pipelines" in yaml.safe_load(block) and not is_meant_to_fail(block)


def test_the_generated_parts_are_what_make_docs_writes() -> None:
    assert with_parts(TEXT) == TEXT, "run `make docs`"


def test_a_text_without_the_markers_is_refused() -> None:
    with pytest.raises(ConfigError, match="begin: combinations"):
        with_parts("# a page\n")


def test_every_cause_of_an_accelerators_trouble_has_its_cure() -> None:
    section = TEXT.partition("### Causes and cures\n")[2].partition("\n#")[0]
    named = re.findall(r"(?m)^\| `(\w+)` \|", section)
    assert named == list(get_args(Cause))


def test_links_lead_to_files_and_headings_that_exist() -> None:
    headings = {slug(line) for line in re.findall(r"(?m)^#+ (.*)$", FENCE.sub("", TEXT))}
    targets = re.findall(r"\]\(([^)]+)\)", PROSE)
    assert targets
    for target in targets:
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        assert not file or (ROOT / file).exists(), target
        assert not anchor or anchor in headings, target


def slug(heading: str) -> str:
    """Return the anchor that GitHub and its like give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def test_files_named_exist() -> None:
    spans = re.findall(r"`([^`\s]+)`", PROSE)
    named = [span for span in spans if span.startswith(ROOMS) and not is_a_topic(span)]
    assert named
    for name in named:
        assert (ROOT / name).exists(), name


def is_a_topic(name: str) -> bool:
    """Whether it is a topic: they begin with `edge/` too, and name DEVICE in capitals."""
    return "DEVICE" in name or "porch-pi/" in name


@pytest.mark.parametrize("block", [each for each in blocks("yaml") if is_whole_device(each)])
def test_whole_configurations_load(block: str, tmp_path: Path) -> None:
    file = tmp_path / "device.yaml"
    file.write_text(block, encoding="utf-8")
    load(file, dict.fromkeys(re.findall(r"\$\{(\w+)\}", block), "a value"))


def test_a_configuration_that_names_its_file_is_that_file() -> None:
    named = [block for block in blocks("yaml") if block.startswith("# device_configs/")]
    assert named
    for block in named:
        file = ROOT / block.partition("\n")[0].removeprefix("# ")
        assert yaml.safe_load(block) == yaml.safe_load(file.read_text(encoding="utf-8"))


def test_mistakes_are_told_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (wrong,) = (block for block in blocks("yaml") if is_meant_to_fail(block))
    command = "$ edge check mistakes.yaml\n"
    (shown,) = (block for block in blocks("console") if block.startswith(command))
    (tmp_path / "mistakes.yaml").write_text(wrong, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["check", "mistakes.yaml"]) == ConfigError.exit_status
    assert capsys.readouterr().err == shown.removeprefix(command)


def test_payloads_have_the_fields_of_their_messages() -> None:
    sections = re.findall(r"(?ms)^### `edge/DEVICE/(\S+)`\n(.*?)(?=^##)", WRITTEN)
    shown: dict[str, Any] = {}
    for topic, section in sections:
        for language, body in FENCE.findall(section):
            if language == "json":
                shown[topic.rpartition("/")[2]] = json.loads(body)
    assert shown.keys() == PAYLOADS.keys()
    for name, payload in shown.items():
        assert list(payload) == [each.name for each in fields(PAYLOADS[name])]


def test_commands_shown_exist() -> None:
    shown = re.findall(r"(?m)(?:^\$ |`|/)edge ([a-z-]+)", WRITTEN)
    assert set(shown) == set(COMMANDS)


def test_make_targets_shown_exist() -> None:
    shown = set(re.findall(r"(?m)(?:^\$ |`)make ([a-z-]+)", WRITTEN))
    targets = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert {"demo", "test", "docs"} <= shown <= set(targets)


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (newest, *_) = re.findall(r"(?m)^## \[(\S+)\] - ", changelog)
    assert newest == edge.__version__

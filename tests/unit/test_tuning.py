"""The tuning's file: found, void, damaged or foreign, it is advice and never a failure."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from edge.engines import choose as choose_module
from edge.engines import cpu as cpu_module
from edge.engines.choose import choose
from edge.engines.cpu import Cpu, this_cpu
from edge.engines.tuning import (
    Tuned,
    Tuning,
    find_tuning,
    tuning_file,
    write_tuning,
)
from edge.errors import ConfigError, EngineError
from edge.state import state_directory

if TYPE_CHECKING:
    from pathlib import Path

BOTH = {"litert": "2.3.0", "tflite-runtime": "2.14.0"}
PI = Cpu(model="Raspberry Pi 4 Model B Rev 1.4", cores=4)
RULE = "auto: it is the faster one and is installed"
WON = "3 threads, P99 6.12 ms against 9.41 with litert, 1 thread"


def tuning(device: str = "porch-pi", **changes: Any) -> Tuning:
    """A tuning that chose three threads of tflite-runtime for the pipeline `door`."""
    tuned: dict[str, Any] = {
        "engine": "tflite-runtime",
        "threads": 3,
        "because": WON,
        "holds_deadline": True,
        "digest": "ab" * 32,
        "engines": BOTH,
        "evidence": {},
    }
    return Tuning(
        device=device,
        at="2026-11-25T10:00:00.000Z",
        clock_synced=True,
        cpu=PI,
        pipelines={"door": Tuned.model_validate(tuned | changes)},
    )


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with both engines that is a Pi 4, and its state directory."""
    monkeypatch.setattr(choose_module, "installed", lambda: dict(BOTH))
    monkeypatch.setattr(cpu_module, "this_cpu", lambda: PI)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    return tmp_path


def chosen(
    engine: str = "auto", threads: Any = "auto", *, made: Any = None, digest: str = "ab" * 32
) -> tuple[str, int, str]:
    """Return engine, threads and reason for a configuration."""
    made = tuning() if made is None else made
    choice = choose(engine, threads, tuning=made, pipeline="door", digest=digest)
    return choice.name, choice.threads, choice.reason


def test_auto_takes_the_tuning_and_says_so() -> None:
    assert chosen() == ("tflite-runtime", 3, f"tuned 2026-11-25: {WON}")
    assert chosen(threads=3)[:2] == ("tflite-runtime", 3)
    assert chosen("tflite-runtime")[:2] == ("tflite-runtime", 3)


def test_what_the_configuration_says_wins() -> None:
    assert chosen("litert", 2) == ("litert", 2, "asked for by name")


def test_without_a_tuning_auto_keeps_its_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = choose("auto", "auto")
    assert (choice.name, choice.version, choice.threads, choice.reason) == (
        "litert", "2.3.0", 1, RULE,
    )  # fmt: skip
    assert choose("auto", 4).threads == 4
    monkeypatch.setattr(choose_module, "installed", lambda: {"tflite-runtime": "2.14.0"})
    assert choose("auto").reason == "auto: LiteRT is not installed"
    with pytest.raises(EngineError, match="litert is not installed"):
        choose("litert")


@pytest.mark.parametrize(
    ("void", "why"),
    [
        ({"digest": "cd" * 32}, "the model is another one"),
        ({"engines": BOTH | {"litert": "2.2.0"}}, "litert was 2.2.0 and is 2.3.0"),
        ({"engines": {"tflite-runtime": "2.14.0"}}, "litert was not installed and is 2.3.0"),
        ({"engines": BOTH | {"new": "1"}}, "new was 1 and is not installed"),
    ],
)
def test_another_model_or_engine_voids_the_choice(void: dict[str, Any], why: str) -> None:
    reason = f"{RULE}; the tuning of 2026-11-25 is void: {why}"
    assert chosen(made=tuning(**void)) == ("litert", 1, reason)


def test_another_processor_voids_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    for other in (Cpu(model=PI.model, cores=2), Cpu(model="Raspberry Pi 5", cores=4)):
        monkeypatch.setattr(cpu_module, "this_cpu", lambda other=other: other)
        name, threads, reason = chosen()
        assert (name, threads) == ("litert", 1)
        assert f"another processor ({PI}), this is {other}" in reason


def test_a_tuning_of_another_question_is_no_answer() -> None:
    name, threads, reason = chosen("litert")
    assert (name, threads) == ("litert", 1)
    assert "it chose tflite-runtime, and the configuration asks for litert" in reason
    name, threads, reason = chosen(threads=2)
    assert (name, threads) == ("litert", 2)
    assert "made with 3 threads, the configuration asks for 2" in reason


def test_a_fixed_engine_does_not_care_about_the_others() -> None:
    made = tuning(engines=BOTH | {"litert": "2.2.0"})
    assert chosen("tflite-runtime", made=made)[:2] == ("tflite-runtime", 3)


def test_the_file_is_found_by_its_device_and_pipeline(machine: Path) -> None:
    made = tuning()
    path = write_tuning(made, machine)
    assert path == tuning_file(machine, "porch-pi") == machine / "porch-pi.tuning.json"
    assert find_tuning("porch-pi", "door") == made
    assert find_tuning("porch-pi", "garden") is None
    assert find_tuning("other", "door") is None
    assert list(machine.iterdir()) == [path], "no temporary file is left"


def test_the_file_is_for_people_and_for_a_service_with_a_user_of_its_own(machine: Path) -> None:
    path = write_tuning(tuning(), machine / "new" / "folder")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.read_text(encoding="utf-8").startswith('{\n  "format": "edge-runtime tuning",\n')


@pytest.mark.parametrize("device", ["Küche / oben"[:5], "../../etc", "a b", "ü" * 128, "."])
def test_any_name_of_a_device_makes_a_file_in_the_folder(device: str, machine: Path) -> None:
    path = write_tuning(tuning(device), machine)
    assert path.parent == machine
    assert find_tuning(device, "door") == tuning(device)


GOOD = tuning().model_dump()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"{}",
        b"[]",
        b'{"format": ',
        json.dumps(GOOD | {"version": 2}).encode(),
        json.dumps(GOOD | {"format": "something else"}).encode(),
        json.dumps(GOOD | {"pipelines": {"door": {"engine": "litert"}}}).encode(),
        b"\xff" + json.dumps(GOOD).encode(),
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_told_and_the_rule_holds(content: bytes, machine: Path) -> None:
    path = machine / "porch-pi.tuning.json"
    path.write_bytes(content)
    found = find_tuning("porch-pi", "door")
    assert found == f"{path} is damaged or no tuning; `edge tune` writes it anew"
    assert chosen(made=found) == ("litert", 1, f"{RULE}; {found}")


def test_a_file_that_cannot_be_used_is_told(machine: Path) -> None:
    path = machine / "porch-pi.tuning.json"
    path.write_bytes(b" " * (2 << 20))
    assert "too large" in str(find_tuning("porch-pi", "door"))
    write_tuning(tuning("somebody"), machine).replace(path)
    assert "the tuning of another device, somebody" in str(find_tuning("porch-pi", "door"))
    path.unlink()
    path.mkdir()
    assert "cannot be read: Is a directory" in str(find_tuning("porch-pi", "door"))


def test_a_folder_that_cannot_be_written_is_told_and_nothing_is_left(machine: Path) -> None:
    (machine / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written: Not a directory"):
        write_tuning(tuning(), machine / "file" / "below")
    tuning_file(machine, "porch-pi").mkdir()
    with pytest.raises(ConfigError, match="cannot be written: Is a directory"):
        write_tuning(tuning(), machine)
    assert sorted(path.name for path in machine.iterdir()) == ["file", "porch-pi.tuning.json"]


def test_the_state_directory_is_systemds_else_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/x"}
    assert str(state_directory(given)) == "/var/lib/a"
    assert str(state_directory({"XDG_STATE_HOME": "/x"})) == "/x/edge-runtime"
    monkeypatch.setenv("HOME", "/home/pi")
    for environ in ({}, {"XDG_STATE_HOME": "relative"}, {"STATE_DIRECTORY": ""}):
        assert str(state_directory(environ)) == "/home/pi/.local/state/edge-runtime"


CPUINFO = {
    "x86": ("processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n", "", "AMD EPYC"),
    "Pi, 32 bit": (
        "model name\t: ARMv7 Processor rev 3 (v7l)\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
        "",
        "Raspberry Pi 4 Model B Rev 1.4, ARMv7 Processor rev 3 (v7l)",
    ),
    "Pi, 64 bit": (
        "processor\t: 0\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n",
        "Raspberry Pi 5 Model B Rev 1.0\0",
        "Raspberry Pi 5 Model B Rev 1.0",
    ),
    "a board of which only the device tree tells": (
        "processor\t: 0\nCPU part\t: 0xd08\n",
        "Radxa ROCK 5B\0",
        "Radxa ROCK 5B",
    ),
    "an old kernel": ("Hardware\t: Allwinner sun8i\n", "", "Allwinner sun8i"),
}


@pytest.mark.parametrize(("cpuinfo", "tree", "model"), CPUINFO.values(), ids=CPUINFO.keys())
def test_a_processor_is_named_by_what_tells_most(
    cpuinfo: str, tree: str, model: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("CPUINFO", cpuinfo), ("DEVICE_TREE", tree)):
        path = machine / name
        path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(cpu_module, name, path)
    assert this_cpu().model == model
    assert this_cpu().cores >= 1


def test_a_machine_that_tells_nothing_has_its_architecture(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CPUINFO", "DEVICE_TREE"):
        monkeypatch.setattr(cpu_module, name, machine / "absent")
    assert this_cpu().model

"""The installer's own decisions; `make test-arm` runs it on the systems that it is for."""

import importlib.util
import platform
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path
from types import ModuleType

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"


@pytest.fixture(scope="module")
def requirements() -> ModuleType:
    spec = importlib.util.spec_from_file_location("requirements", SYSTEMD / "requirements.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names_of(lines: list[str]) -> set[str]:
    return {line.split(">")[0].split("<")[0].split("=")[0].lower() for line in lines}


@pytest.mark.parametrize("kernel", ["armv7l", "aarch64"])
def test_on_32_bit_arm_the_kernel_has_no_say_in_what_pip_brings(
    requirements: ModuleType, monkeypatch: pytest.MonkeyPatch, kernel: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: kernel)
    names = names_of(requirements.for_this_python(requires("edge-runtime"), bits=32))
    assert names >= {"numpy", "pydantic", "paho-mqtt", "iotcore"}
    assert ("tflite-runtime" in names) == (sys.version_info < (3, 12))
    assert not names & {"ai-edge-litert", "opencv-python-headless", "pytest"}


def test_on_64_bit_arm_pip_brings_everything_but_the_extras(
    requirements: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    names = names_of(requirements.for_this_python(requires("edge-runtime"), bits=64))
    assert names >= {"numpy", "ai-edge-litert", "opencv-python-headless", "iotcore", "tflite"}
    assert not names & {"pytest", "tensorflow"}


def test_what_apt_brings_in_place_of_pip_is_still_asked_for(requirements: ModuleType) -> None:
    asked = names_of([line.split(";")[0] for line in requires("edge-runtime") or []])
    for ours, debians in requirements.FROM_THE_DISTRIBUTION.items():
        assert ours in asked
        assert debians in installer("32 3.11 armv7l", "--packages").stdout.split()


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("64 3.9 aarch64", "has Python 3.9, and 3.10 is the oldest"),
        ("32 3.9 armv7l", "has Python 3.9, and 3.10 is the oldest"),
        ("32 3.13 armv7l", "is a 32-bit system with Python 3.13, and no inference engine"),
        ("32 3.13 aarch64", "is a 32-bit system with Python 3.13, and no inference engine"),
        ("32 3.11 armv6l", "this processor is an ARMv6 (Pi 1, Pi Zero, Pi Zero W)"),
        ("32 3.11 i686", "no inference engine is built for a 32-bit Python on i686"),
        ("32 3.11 x86_64", "no inference engine is built for a 32-bit Python on x86_64"),
        ("64 3.13 riscv64", "no inference engine is built for a 64-bit Python on riscv64"),
    ],
)
def test_an_unsupported_system_is_named_before_anything_is_done(python: str, said: str) -> None:
    done = installer(python)
    assert done.returncode == 1
    assert said in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("python", ["64 3.10 aarch64", "64 3.14 x86_64", "64 3.13 aarch64"])
def test_64_bit_systems_need_little_of_apt(python: str) -> None:
    packages = installer(python, "--packages").stdout.split()
    assert packages[:2] == ["python3-venv", "python3-numpy"]
    assert "python3-opencv" not in packages


def test_a_wrong_option_is_wrong_usage() -> None:
    done = installer("64 3.11 aarch64", "--uninstall")
    assert done.returncode == 2
    assert "usage:" in done.stderr


def installer(python: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the installer where the distribution's Python says that it is `python`."""
    script = (SYSTEMD / "install.sh").read_text(encoding="utf-8")
    real = "PYTHON=/usr/bin/python3"
    assert real in script
    told = f"PYTHON=told; told() {{ echo {python}; }}; apt-get() {{ false; }}"
    script = script.replace(real, told).replace('[ -x "$PYTHON" ]', "true")
    return subprocess.run(
        ["bash", "-s", "--", *arguments],
        input=script,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

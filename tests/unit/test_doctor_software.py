"""The doctor on Python, engines, numpy and page sizes."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from edge.doctor.aside import Said
from edge.doctor.checks import engines, numpy_version, page_size, python
from edge.doctor.checks.dependencies import Dependencies
from edge.doctor.elf import load_alignment
from edge.doctor.packages import numbers, shared_objects, version_of
from edge.doctor.patient import Patient

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("version", "bits", "machine", "level", "words"),
    [
        ((3, 11, 2), 64, "aarch64", "ok", "3.11.2, 64-bit, on aarch64"),
        ((3, 13, 5), 64, "x86_64", "ok", "64-bit"),
        ((3, 14, 0), 64, "x86_64", "warning", "newer than"),
        ((3, 11, 2), 32, "armv7l", "warning", "only tflite-runtime"),
        ((3, 11, 2), 32, "aarch64", "warning", "under a 64-bit kernel"),
        ((3, 13, 5), 32, "armv7l", "problem", "no engine has a 32-bit build"),
        ((3, 11, 2), 32, "armv6l", "problem", "ARMv6"),
    ],
)
def test_what_python_on_which_processor_has_an_engine(
    version: tuple[int, ...], bits: int, machine: str, level: str, words: str
) -> None:
    finding = python.judge(version, bits=bits, machine=machine)
    assert finding.level == level
    assert words in finding.says
    assert (finding.cure is None) == (level == "ok")


def numpy_in(folder: Path, version: str) -> str:
    (folder / "numpy").mkdir(parents=True)
    (folder / "numpy/__init__.py").touch()
    told = folder / f"numpy-{version}.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: numpy\nVersion: {version}\n")
    return str(folder)


def test_debians_numpy_behind_the_environments_own_is_told(tmp_path: Path) -> None:
    ours, debians = numpy_in(tmp_path / "venv", "1.26.4"), numpy_in(tmp_path / "deb", "1.24.2")
    found = numpy_version.numpys([str(tmp_path), ours, debians, ours])
    assert found == {ours: "1.26.4", debians: "1.24.2"}
    finding = numpy_version.judge(found, tflite_runtime="2.14.0")
    assert finding.level == "ok"
    assert f"before 1.24.2 in {debians}" in finding.says


def test_numpy_2_and_tflite_runtime_are_a_clash() -> None:
    finding = numpy_version.judge({"/venv": "2.2.1"}, tflite_runtime="2.14.0")
    assert finding.level == "problem"
    assert finding.cure is not None
    assert finding.cure.endswith("-m pip install 'numpy<2'")
    assert numpy_version.judge({"/venv": "2.2.1"}, tflite_runtime=None).level == "ok"
    assert numpy_version.judge({}, tflite_runtime=None).level == "problem"


def test_a_numpy_of_another_abi_than_debians_is_a_warning() -> None:
    finding = numpy_version.judge({"/venv": "2.2.1", "/deb": "1.24.2"}, tflite_runtime=None)
    assert finding.level == "warning"
    assert "'numpy==1.24.2'" in (finding.cure or "")


def elf(*alignments: int, bits: int = 64, order: str = "<") -> bytes:
    """Return a header and its program headers: a note, and a segment to load of each alignment."""
    wide = bits == 64
    start, size = (64, 56) if wide else (52, 32)
    kinds = [(4, 4), *((1, each) for each in alignments)]
    magic = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    word = "Q" if wide else "I"
    header = struct.pack(
        f"{order}HHI3{word}I6H", 3, 62, 1, 0, start, 0, 0, start, size, len(kinds), 0, 0, 0
    )
    if wide:
        table = [struct.pack(f"{order}2I6Q", kind, 5, 0, 0, 0, 0, 0, at) for kind, at in kinds]
    else:
        table = [struct.pack(f"{order}8I", kind, 0, 0, 0, 0, 0, 5, at) for kind, at in kinds]
    return magic + header + b"".join(table) + bytes(64)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_smallest_alignment_of_what_is_loaded_is_read(
    bits: int, order: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.so"
    path.write_bytes(elf(0x10000, 0x1000, bits=bits, order=order))
    assert load_alignment(path) == 0x1000


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"#!/bin/sh\n" * 20, elf()[:70]])
def test_what_is_no_whole_elf_file_has_no_alignment(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.so"
    path.write_bytes(content)
    assert load_alignment(path) is None


def test_libraries_for_4_kb_are_a_problem_under_a_pi_5s_kernel(tmp_path: Path) -> None:
    small, large = tmp_path / "small.so", tmp_path / "large.so"
    small.write_bytes(elf(0x1000))
    large.write_bytes(elf(0x10000))
    libraries = {"tflite-runtime": [small], "numpy": [large]}
    assert page_size.judge(libraries, page_bytes=4096).level == "ok"
    finding = page_size.judge(libraries, page_bytes=16384)
    assert finding.level == "problem"
    assert "tflite-runtime cannot be loaded" in finding.says
    assert "kernel8.img" in (finding.cure or "")
    assert finding.facts["too_small"] == {str(small): 4096}


def test_this_machines_own_libraries_can_be_mapped_as_they_were() -> None:
    files = shared_objects("numpy")
    assert files
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    assert all((load_alignment(path) or page_bytes) >= page_bytes for path in files)


def test_a_release_is_read_of_a_version() -> None:
    assert numbers("1.26.4.post1") == (1, 26, 4)
    assert numbers("2.14.0rc1") == (2, 14, 0)
    assert numbers("of unknown version") == ()
    assert version_of("no-such-package-anywhere") is None


def test_our_own_requirements_are_met_where_the_tests_run() -> None:
    (finding,) = Dependencies().look(Patient())
    assert finding.level == "ok", finding
    assert {"paho-mqtt", "pydantic", "pyserial"} <= set(finding.facts["versions"])


@pytest.mark.parametrize(
    ("said", "trouble", "cure"),
    [
        (Said([{"first_invoke_ms": 1.0}], ""), "", None),
        (Said([], "killed by SIGILL"), "killed by SIGILL", "write `engine: litert`"),
        (Said([], "said nothing more for 25 s"), "said nothing more for 25 s", "--force-reinstall"),
        (
            Said([{"failed": "EngineError", "message": "version `GLIBC_2.35' not found"}], ""),
            "version `GLIBC_2.35' not found",
            "Bookworm",
        ),
        (
            Said([{"failed": "EngineError", "message": "numpy.core.multiarray failed"}], ""),
            "numpy.core.multiarray failed",
            "'numpy<2'",
        ),
    ],
)
def test_why_an_engine_does_not_work_has_a_cure(said: Said, trouble: str, cure: str | None) -> None:
    assert engines.trouble_of(said) == trouble
    assert cure is None or cure in engines.cure("tflite-runtime", trouble, ["litert"])

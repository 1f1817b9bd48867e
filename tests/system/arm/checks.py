"""What must hold on each system, in the order in which a Pi owner meets it."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from edge.doctor.elf import load_alignment
from system.arm.root import INSTALLER
from system.arm.system import CHECKOUT, Failed, System
from system.arm.targets import Target

PLACE = "/opt/edge-runtime"
PAGE_BYTES = 16 << 10
"""The Raspberry Pi 5's."""
DEMO_S, LEAST_FRAMES, LEAST_ACCURACY = 20, 100, 0.97
"""The model is right in 99 of 100 of these pictures; qemu runs it at the camera's pace or below."""

TOOLS = "pytest pytest-xdist hypothesis jsonschema"  # all have wheels for 32-bit ARM
UNIT_TESTS = (
    # Where an architecture can tell: numbers and their formats, memory, clocks, processes,
    # pictures, models and engines. What is logic in Python alone is the same on every machine.
    *("cache", "cpu", "deadline", "decoders", "delegation", "digits_model", "figures", "flight"),
    *("hdr_codec", "histogram", "jpeg", "lens", "loop", "macs", "mailbox", "messages"),
    *("model_file", "model_load_failure", "pacing", "payload", "preprocess", "rehearsal"),
    *("sensors", "shared_frames", "signature", "sources", "spool", "stalls", "tuning", "wire"),
    "yuyv",
)
UNIT_TESTS_LIMIT_S = 3600
NOT_UNDER_QEMU = (
    # Thousands of rounds of one thing, a minute each here and an hour under qemu.
    *("flipped_bits", "after_a_kill_at_any_moment", "hdrhistogram_and_we"),
    # Counts to the frame what a machine that keeps up has done when it is stopped.
    "several_sources_are_all_answered",
)
NOT_ON_32_BIT = (
    *("test_digits_model", "engines_own_threads_are_watched"),  # by LiteRT, which is not there
    "engine_counts_as_many_operators",  # tflite-runtime has no XNNPACK there, and replaces none
    "test_yuyv",  # makes its frames by a conversion that OpenCV has since 4.8
    "stream_of_jpegs_is_decoded_small",  # OpenCV 4.6 gives no JPEGs: it decodes them whole
    "every_frame_that_was_due_was_either",  # hypothesis wants subnormal numbers; NEON has none
)

LOOK = f"""{PLACE}/bin/python - <<'END'
import json, platform, shutil, sys
import cv2, numpy, yaml
from edge.engines.choose import choose
print(json.dumps({{
    "machine": platform.machine(),
    "bits": 64 if sys.maxsize > 2**32 else 32,
    "python": platform.python_version(),
    "engine": choose("auto").name,
    "engine version": choose("auto").version,
    "numpy": numpy.__version__,
    "numpy's file": numpy.__file__,
    "OpenCV": cv2.__version__,
    "PyYAML": yaml.__version__,
    "compilers": [name for name in ("cc", "gcc", "tcc", "clang") if shutil.which(name)],
}}))
END"""

Say = Callable[[str], None]


def refuses(device: System, target: Target, say: Say) -> None:
    """The installer says by name that this system is unsupported, and changes nothing."""
    said = device.run(INSTALLER, status=1)
    _must(target.refused in said, f"the installer does not say `{target.refused}`:\n{said}")
    _must(not device.path(PLACE).exists(), f"{PLACE} was made all the same")
    say(said.strip())


def installs(device: System, _: Target, say: Say) -> None:
    """The README's command installs it."""
    said = device.run(f"{INSTALLER}")
    _must("is installed" in said, f"the installer does not say that it is done:\n{said}")
    say(said.strip())


def installs_again(device: System, _: Target, say: Say) -> None:
    """The same command, again, is an upgrade."""
    said = device.run(f"{INSTALLER}")
    _must("all there" in said, f"it asked apt for what is there:\n{said}")
    say("the same again")


def has_the_right_parts(device: System, target: Target, say: Say) -> None:
    """Python, engine and numpy are those that were meant, and nothing was compiled."""
    found = json.loads(device.run(LOOK).splitlines()[-1])
    wanted = {
        "machine": target.machine,
        "bits": target.bits,
        "engine": target.engine,
        "compilers": [],
    }
    for what, value in wanted.items():
        _must(found[what] == value, f"{what} is {found[what]}, not {value}: {found}")
    # One numpy for us and for what apt brings beside it (picamera2).
    _must(found["numpy's file"].startswith("/usr/lib/"), f"numpy is not Debian's: {found}")
    say(", ".join(f"{what} {value}" for what, value in found.items() if value))


def fits_large_pages(device: System, _: Target, say: Say) -> None:
    """Every library can be loaded by the kernel of a Raspberry Pi 5."""
    aligned = {
        library: alignment
        for library in sorted(device.path(PLACE).rglob("*.so*"))
        if not library.is_symlink() and (alignment := load_alignment(library)) is not None
    }
    small = [f"{library}: {size}" for library, size in aligned.items() if size < PAGE_BYTES]
    _must(bool(aligned), "no library was found")
    _must(not small, "built for pages below 16 KB:\n" + "\n".join(small))
    say(f"{len(aligned)} libraries, the least aligned to {min(aligned.values()) >> 10} KB")


def gives_right_answers(device: System, _: Target, say: Say) -> None:
    """The demo runs, and its predictions are true."""
    said = device.run(f"edge demo --seconds {DEMO_S}")
    found = re.search(r"^([\d,]+) frames, accuracy ([\d.]+)% of ([\d,]+)", said, re.MULTILINE)
    _must(found is not None, f"the demo does not say how right it was:\n{said}")
    assert found is not None
    frames, accuracy = int(found[3].replace(",", "")), float(found[2]) / 100
    _must(
        frames >= LEAST_FRAMES and accuracy >= LEAST_ACCURACY,
        f"{frames} results with an accuracy of {accuracy:.2%}:\n{said}",
    )
    say(said.strip())


def is_well(device: System, target: Target, say: Say) -> None:
    """The doctor finds nothing wrong with the software, but that 32-bit is second best."""
    said = device.run("edge doctor --json || true")
    told = json.loads(said[said.index("{") :])
    software = [each for each in told["findings"] if each["group"] == "software"]
    _must(bool(software), f"the doctor says nothing of the software:\n{said}")
    ill = {each["check"]: each for each in software if each["level"] != "ok"}
    if target.bits == 32:
        warned = ill.pop("python", {"level": "nothing"})
        _must(warned["level"] == "warning", f"the doctor does not warn of 32-bit: {warned}")
    _must(not ill, f"the doctor finds: {json.dumps(ill, indent=2)}")
    say(device.run("edge doctor || true").strip())


def configures_itself(device: System, _: Target, say: Say) -> None:
    """`edge init` writes a configuration that is right."""
    said = device.run(
        "mkdir porch && cd porch && edge init --broker embedded && edge check device.yaml"
    )
    say(said.strip())


def passes_unit_tests(device: System, target: Target, say: Say) -> None:
    """The unit tests in which an architecture can tell."""
    device.run(f"{PLACE}/bin/pip install -q --only-binary=:all: {TOOLS}")
    data = Path(os.environ.get("EDGE_TESTDATA", CHECKOUT.parent / "shared/testdata"))
    if data.is_dir():
        device.share(data, "/testdata")
    left_out = (*NOT_UNDER_QEMU, *(NOT_ON_32_BIT if target.bits == 32 else ()))
    names = [f"test_{name}" for name in UNIT_TESTS]
    files = " ".join(f"/checkout/tests/unit/{name}.py" for name in names if name not in left_out)
    said = device.run(
        f"EDGE_TESTDATA=/testdata {PLACE}/bin/pytest -c /checkout/pyproject.toml "
        "--rootdir /checkout -p no:cacheprovider -q -n 2 "
        f"-k 'not ({' or '.join(left_out)})' {files}",
        limit_s=UNIT_TESTS_LIMIT_S,
    )
    say(said.splitlines()[-1])


STEPS = (
    installs,
    installs_again,
    has_the_right_parts,
    fits_large_pages,
    gives_right_answers,
    is_well,
    configures_itself,
    passes_unit_tests,
)


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)

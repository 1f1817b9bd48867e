"""Why a shared object cannot be loaded, told from its header and the linker's word."""

import platform
import struct
import sys
from pathlib import Path

import pytest

from edge.accelerators.shared_object import MACHINES, Library, explain

OURS = struct.unpack_from("<H", Path(sys.executable).read_bytes()[:20], 18)[0]
OTHER = 40 if OURS != 40 else 183


def elf(machine: int) -> bytes:
    """Return the beginning of an ELF header."""
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HH", 3, machine) + bytes(44)


def why(name: str, said: str = "", root: Path = Path("/nowhere")) -> tuple[str, str]:
    return explain(Library("the stick", name, "do this"), said, root=root)


def test_one_that_is_not_there(tmp_path: Path) -> None:
    told = why("libx.so.1", root=tmp_path)
    assert told == (
        "library_missing",
        "libx.so.1, which the stick needs, is not installed: do this",
    )
    assert why(str(tmp_path / "libx.so"))[0] == "library_missing"


def test_one_for_another_machine(tmp_path: Path) -> None:
    library = tmp_path / "libx.so"
    library.write_bytes(elf(OTHER))
    # glibc says nothing of it where only the machine differs
    cause, told = why(str(library), f"{library}: cannot open shared object file: No such file")
    assert cause == "library_unusable"
    assert f"is built for {MACHINES[OTHER]}, and this Python for {MACHINES[OURS]}" in told


def test_one_for_another_machine_where_the_linker_looks(tmp_path: Path) -> None:
    folder = tmp_path / f"usr/lib/{platform.machine()}-linux-gnu"
    folder.mkdir(parents=True)
    (folder / "libx.so.1").write_bytes(elf(OTHER))
    assert "is built for" in why("libx.so.1", root=tmp_path)[1]
    beside = tmp_path / "usr/local/lib"
    beside.mkdir(parents=True)
    (beside / "libx.so.1").write_bytes(elf(OURS))
    said = "libx.so.1: cannot open shared object file: No such file or directory"
    assert (
        "is not among what the linker knows: `sudo ldconfig`" in why("libx.so.1", said, tmp_path)[1]
    )


def test_no_library_at_all(tmp_path: Path) -> None:
    library = tmp_path / "libx.so"
    for contents in (b"", b"a text", b"\x7fELF"):
        library.write_bytes(contents)
        assert "is no shared library" in why(str(library))[1]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "libusb-1.0.so.0: cannot open shared object file: No such file or directory",
            "needs libusb-1.0.so.0: `sudo apt install libusb-1.0-0`",
        ),
        ("libfoo.so.2: cannot open shared object file: x", "needs libfoo.so.2: install that"),
        (
            "/lib/libc.so.6: version `GLIBC_2.38' not found (required by libx.so)",
            "needs GLIBC_2.38, which is newer than this system: take the build for this release",
        ),
        ("libx.so: undefined symbol: foo", "cannot be loaded (libx.so: undefined symbol: foo)"),
    ],
)
def test_what_a_library_lacks(said: str, told: str, tmp_path: Path) -> None:
    library = tmp_path / "libx.so"
    library.write_bytes(elf(OURS))
    assert told in why(str(library), said)[1]

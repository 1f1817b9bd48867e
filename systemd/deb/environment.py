"""Makes the virtual environment that is in the package: all wheels in it, nothing of the build.

It sees the distribution's packages behind its own, for picamera2 comes from apt only; and on 32-bit
ARM NumPy, OpenCV, PyYAML and cryptography do, which have no wheels there, or need what has none.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PLACE = "/opt/edge-runtime"
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
DISTRIBUTION = Path("/usr/lib/python3/dist-packages")
NARROW_APT = ("python3-numpy", "python3-opencv", "python3-yaml", "python3-cryptography")
NARROW_PIP = ("numpy", "PyYAML", "cryptography")
"""What 32-bit ARM takes from the distribution, and by which names pip knows those it asks for."""
NOT_NEEDED = (
    "**/tests",
    "**/*.pyi",
    "**/*.h",
    "**/*.pxd",
    "**/*.a",
    "cv2/data/*.xml",  # cascades of OpenCV's own detectors
    "cv2/load_config_py2.py",
    "ai_edge_litert/libLiteRtWebGpuAccelerator.so",
    "ai_edge_litert/tools",  # a benchmark
    "ai_edge_litert/vendors",  # dispatchers for the accelerators of phones and laptops
    # What pip noted for itself: sums of files that are no more, and the address of this checkout.
    "*.dist-info/RECORD",
    "*.dist-info/direct_url.json",
)
OLDEST_LIBC = (2, 17)  # of the tag manylinux2014
COMMAND = f"""\
#!{PLACE}/bin/python
import sys

from edge.cli import main

if __name__ == "__main__":
    sys.exit(main())
"""


class BuildError(Exception):
    """What keeps the package from being built, in words for who builds it."""


@dataclass(frozen=True)
class Bundled:
    """A Python package that the environment brings."""

    name: str
    version: str
    licence: str


@dataclass(frozen=True)
class Environment:
    """The environment as it lies in the stage."""

    packages: Path
    """Its site-packages."""
    bundled: list[Bundled]
    libraries: list[str]
    """Debian packages of the C libraries that it needs."""


def make(folder: Path, stage: Path, moment: int, *, narrow: bool) -> Environment:
    """Make it in `stage`, with the time `moment` (s since 1970) on its files; work in `folder`.

    Raises BuildError.
    """
    place = stage / PLACE.lstrip("/")
    packages = place / "lib" / PYTHON / "site-packages"
    do(sys.executable, "-m", "venv", folder / "tools")
    do(sys.executable, "-m", "venv", "--without-pip", place)
    python = str(folder / "tools/bin/python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    do(*pip, "wheel", "--no-deps", "--wheel-dir", folder, CHECKOUT)
    (wheel,) = folder.glob("edge_runtime-*.whl")
    asked_for = do(python, CHECKOUT / "systemd/requirements.py", wheel)
    write(folder / "requirements.txt", asked_for)
    install = [*pip, f"--python={place}/bin/python", "install", "--only-binary=:all:"]
    install += ["--no-compile", "--no-warn-script-location"]
    with _told_of(NARROW_PIP if narrow else (), packages):
        do(*install, "--requirement", folder / "requirements.txt")
    do(*install, "--no-deps", wheel)
    _strip(place, packages)
    _compile(stage, place, moment)
    return Environment(packages, _bundled(packages), _libraries(packages))


@contextmanager
def _told_of(names: Iterable[str], packages: Path) -> Iterator[None]:
    """Let pip know the distribution's packages of these names for a while, and no others.

    The other ones that this machine happens to have need not be where the package is installed.
    """
    known, path_file = packages / "known-to-pip", packages / "known-to-pip.pth"
    known.mkdir()
    path_file.write_text(f"{known}\n", encoding="utf-8")
    for name in names:
        found = [
            *DISTRIBUTION.glob(f"{name}-*.dist-info"),
            *DISTRIBUTION.glob(f"{name}-*.egg-info"),
        ]
        if not found:
            raise BuildError(f"{name} is not installed: sudo apt install {' '.join(NARROW_APT)}")
        (known / found[0].name).symlink_to(found[0])
    yield
    path_file.unlink()
    shutil.rmtree(known)


def _strip(place: Path, packages: Path) -> None:
    """Leave what runs, under the paths that it will have."""
    for pattern in NOT_NEEDED:
        for path in list(packages.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in ("bin", "include", "share"):
        shutil.rmtree(place / name, ignore_errors=True)
    commands = place / "bin"
    commands.mkdir()
    (commands / PYTHON).symlink_to(f"/usr/bin/{PYTHON}")
    for name in ("python", "python3"):
        (commands / name).symlink_to(PYTHON)
    write(commands / "edge", COMMAND, mode=0o755)
    version = ".".join(map(str, sys.version_info[:3]))
    settings = f"home = /usr/bin\ninclude-system-site-packages = true\nversion = {version}\n"
    write(place / "pyvenv.cfg", settings)
    for installer in packages.glob("*.dist-info/INSTALLER"):
        installer.write_text("dpkg\n", encoding="utf-8")  # so that pip does not touch them
    for path in files(packages):
        is_program = path.stat().st_mode & 0o100 and ".so" not in path.suffixes and _is_elf(path)
        path.chmod(0o755 if is_program else 0o644)


def _compile(stage: Path, place: Path, moment: int) -> None:
    """Compile all modules: the service may not write, and starts the faster.

    Their time stands in what is compiled, so it is set before.
    """
    for path in files(place):
        os.utime(path, (moment, moment))
    compileall = (sys.executable, "-m", "compileall", "-q", "-f")
    # A fixed seed, for the order of constant sets.
    do(*compileall, "-s", stage, "-p", "/", place, PYTHONHASHSEED="0")


def _bundled(packages: Path) -> list[Bundled]:
    """Return the Python packages that are in it, from their metadata."""
    found = []
    for file in sorted(packages.glob("*.dist-info/METADATA")):
        metadata = Parser().parsestr(file.read_text(encoding="utf-8"))
        classified = [
            each.rpartition(" :: ")[2]
            for each in metadata.get_all("Classifier", [])
            if each.startswith("License :: ")
        ]
        licence = metadata["License-Expression"] or ", ".join(classified) or metadata["License"]
        licence = (licence or "see its files").splitlines()[0]
        found.append(Bundled(metadata["Name"], metadata["Version"], licence))
    return found


def _libraries(packages: Path) -> list[str]:
    """Return the Debian packages of the C libraries that the compiled modules need."""
    compiled = [path for path in files(packages) if _is_elf(path)]
    command = ["/usr/bin/ldd", *map(str, compiled)]  # which fails where one is a static program
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    needed = set(re.findall(r"^\t(\S+) => (not found|/\S+)", printed, re.MULTILINE))
    brought = {path.name for path in compiled}  # some find one another only once they are loaded
    absent = sorted(name for name, where in needed if where == "not found" and name not in brought)
    if absent:
        raise BuildError(f"compiled modules need what is not installed here: {' '.join(absent)}")
    paths = {Path(os.path.realpath(where)) for _, where in needed if where != "not found"}
    owners = {_owner(path) for path in paths if not path.is_relative_to(packages)}
    tags = " ".join(each.read_text() for each in packages.glob("*.dist-info/WHEEL"))
    asked_for = [tuple(map(int, pair)) for pair in re.findall(r"manylinux_(\d+)_(\d+)", tags)]
    libc = ".".join(map(str, max([OLDEST_LIBC, *asked_for])))
    return [f"{name} (>= {libc})" if name == "libc6" else name for name in sorted(owners)]


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _owner(library: Path) -> str:
    """Return the package that a file is from; dpkg may know it by a path from before /usr/lib."""
    for path in (library, Path("/", library.relative_to("/usr"))):
        with suppress(BuildError):
            return do("dpkg-query", "--search", path).split(":")[0]
    raise BuildError(f"{library}, which compiled modules need, is from no Debian package")


def files(folder: Path) -> list[Path]:
    """Return the files below a folder in a fixed order, links left out."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


def write(path: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Write a file of this mode, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)


def do(*command: str | Path, **variables: str) -> str:
    """Run a command with these variables beside ours; return what it prints. Raises BuildError."""
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise BuildError(f"`{' '.join(map(str, command))}` failed:\n{said}")
    return done.stdout

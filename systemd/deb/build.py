"""Builds the Debian package of this checkout: `make deb`, or `python3 systemd/deb/build.py`.

It takes the distribution's own Python with python3-venv, dpkg-deb and an index of pip's, no root.
The package is for the distribution, the Python and the architecture that it is built on.
"""

import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from email.utils import formatdate
from importlib.util import find_spec
from pathlib import Path

from environment import (
    CHECKOUT,
    NARROW_APT,
    PLACE,
    BuildError,
    Environment,
    do,
    files,
    make,
    write,
)

HERE = Path(__file__).resolve().parent
NAME = "edge-runtime"
BITS = {"amd64": 64, "arm64": 64, "armhf": 32}
"""Architectures that an inference engine is built for."""
NARROW = 32
NEWEST_NARROW_PYTHON = (3, 11)  # of tflite-runtime's last wheel for 32-bit ARM
UNITS = ("edge-runtime.service", "edge-runtime@.service")
RULES = "60-edge-runtime.rules"
DOCUMENTS, SHARED = f"usr/share/doc/{NAME}", f"usr/share/{NAME}"
CONFIGURATION = f"etc/{NAME}/device.yaml"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
MAINTAINER = ("The edge-runtime maintainers", "maintainers@edge-runtime.invalid")
DESCRIPTION = """\
real-time inference of TFLite models on the device itself
 A daemon for small Linux devices: it takes frames from cameras, videos, serial
 ports or MQTT, runs int8 TFLite models on each within a deadline, if need be on
 a Coral Edge TPU, and publishes predictions and honest latency over MQTT.
 .
 The package brings a virtual environment of its own, with every Python package
 that it needs, and runs as the systemd service edge-runtime."""


def main() -> int:
    """Build the package, say where it lies, and return the exit status."""
    parser = argparse.ArgumentParser(description="Builds the Debian package of this checkout.")
    parser.add_argument(
        "--output",
        type=Path,
        default=CHECKOUT / "dist",
        metavar="DIR",
        help="where the package goes (default: dist/ of the checkout)",
    )
    parser.add_argument(
        "--revision",
        default="1",
        metavar="N",
        help="Debian's part of the version, raised where a release is built again (default: 1)",
    )
    args = parser.parse_args()
    began = time.monotonic()
    try:
        target = _build(args.output.absolute(), args.revision)
    except BuildError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    megabytes, seconds = target.stat().st_size / 1e6, time.monotonic() - began
    print(f"{target}: {megabytes:.1f} MB, built in {seconds:.0f} s")
    return 0


def _build(output: Path, revision: str) -> Path:
    architecture = _architecture()
    version = f"{_upstream()}-{revision}+{_distribution()}"
    moment = _moment()
    target = output / f"{NAME}_{version}_{architecture}.deb"
    output.mkdir(parents=True, exist_ok=True)
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix=".deb-", dir=output) as folder:
        stage = Path(folder, "stage")
        made = make(Path(folder), stage, moment, narrow=BITS[architecture] == NARROW)
        _add_files(stage, made)
        _add_documents(stage, made, version, moment)
        for script in SCRIPTS:
            write(stage / "DEBIAN" / script, (HERE / script).read_text(), mode=0o755)
        write(stage / "DEBIAN/conffiles", f"/{CONFIGURATION}\n")
        write(stage / "DEBIAN/md5sums", _sums(stage))
        write(stage / "DEBIAN/control", _control(stage, made, version, architecture))
        # zstd, for a Pi unpacks it ten times as fast as xz.
        options = ("--root-owner-group", "-Zzstd", "-z12")
        do("dpkg-deb", *options, "--build", stage, target, SOURCE_DATE_EPOCH=str(moment))
    return target


def _architecture() -> str:
    """Return what this machine's packages are built for. Raises BuildError if we cannot be."""
    if not shutil.which("dpkg-deb"):
        raise BuildError("there is no dpkg-deb here: this needs Debian, or what comes from it")
    version = sys.version_info
    if Path(sys.prefix) != Path("/usr") or version < (3, 10):
        raise BuildError(
            f"the package is bound to the distribution's Python, 3.10 or newer, and this is "
            f"{sys.version.split()[0]} in {sys.prefix}: /usr/bin/python3 {sys.argv[0]}"
        )
    if not find_spec("ensurepip"):
        raise BuildError("virtual environments cannot be made here: sudo apt install python3-venv")
    architecture = do("dpkg", "--print-architecture").strip()
    bits = 64 if sys.maxsize > 2**32 else NARROW
    if BITS.get(architecture) != bits:
        raise BuildError(f"no inference engine is built for {architecture}, {bits}-bit Python")
    if bits == NARROW and version[:2] > NEWEST_NARROW_PYTHON:
        raise BuildError(
            "no inference engine is built for 32-bit ARM and a Python newer than 3.11: "
            "build it on Debian 12"
        )
    return architecture


def _upstream() -> str:
    text = (CHECKOUT / "edge/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise BuildError("edge/__init__.py does not say the version")
    return found[1]


def _distribution() -> str:
    """Return such as `deb12`: a package for the next release is the newer one, for an upgrade."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    found = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    name = found.get("ID", "linux")
    short = "deb" if name in {"debian", "raspbian"} else name
    return short + found.get("VERSION_ID", found.get("VERSION_CODENAME", ""))


def _moment() -> int:
    """Return the time of everything in the package: that of the sources."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    asked = ["git", "-C", str(CHECKOUT), "log", "-1", "--format=%ct"]
    if (CHECKOUT / ".git").exists() and shutil.which("git"):
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return int(done.stdout)
    return int((CHECKOUT / "CHANGELOG.md").stat().st_mtime)


def _add_files(stage: Path, made: Environment) -> None:
    units = CHECKOUT / "systemd"
    for unit in UNITS:
        write(stage / "usr/lib/systemd/system" / unit, (units / unit).read_text())
    write(stage / "usr/lib/udev/rules.d" / RULES, (units / RULES).read_text())
    write(stage / CONFIGURATION, (HERE / "device.yaml").read_text())
    # By names that hold across releases of Python: configurations name the demo's model.
    bundled = made.packages / "edge/bundled"
    for name in ("models", "device_configs"):
        _link(stage / SHARED / name, f"/{(bundled / name).relative_to(stage)}")
    _link(stage / "usr/bin/edge", f"{PLACE}/bin/edge")


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def _add_documents(stage: Path, made: Environment, version: str, moment: int) -> None:
    changes = (
        f"{NAME} ({version}) unstable; urgency=medium\n\n"
        f"  * Built from its sources; what is new in them stands in changelog.gz.\n\n"
        f" -- {_maintainer()}  {formatdate(moment)}\n"
    )
    news = (CHECKOUT / "CHANGELOG.md").read_bytes()
    bundled = "".join(f"  {each.name} {each.version}: {each.licence}\n" for each in made.bundled)
    write(stage / DOCUMENTS / "changelog.Debian.gz", gzip.compress(changes.encode(), mtime=0))
    write(stage / DOCUMENTS / "changelog.gz", gzip.compress(news, mtime=0))
    write(stage / DOCUMENTS / "copyright", (HERE / "copyright").read_text() + bundled)
    write(stage / DOCUMENTS / "README.Debian", (HERE / "README.Debian").read_text())
    overrides = (HERE / "lintian-overrides").read_text()
    write(stage / "usr/share/lintian/overrides" / NAME, overrides)


def _maintainer() -> str:
    """Return who answers for the package, by the variables that Debian's tools know."""
    name, address = MAINTAINER
    return f"{os.environ.get('DEBFULLNAME', name)} <{os.environ.get('DEBEMAIL', address)}>"


def _sums(stage: Path) -> str:
    """Return what `dpkg --verify` compares with; it knows the conffile's sum by itself."""
    lines = []
    for path in files(stage):
        name = path.relative_to(stage)
        if name.parts[0] != "DEBIAN" and str(name) != CONFIGURATION:
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            lines.append(f"{digest}  {name}\n")
    return "".join(lines)


def _control(stage: Path, made: Environment, version: str, architecture: str) -> str:
    major, minor = sys.version_info[:2]
    depends = [
        f"python3 (>= {major}.{minor}~)",
        f"python3 (<< {major}.{minor + 1}~)",
        *made.libraries,
        *(NARROW_APT if BITS[architecture] == NARROW else ()),
    ]
    size_kib = sum(-(-path.stat().st_size // 1024) for path in files(stage))
    return f"""\
Package: {NAME}
Version: {version}
Architecture: {architecture}
Maintainer: {_maintainer()}
Installed-Size: {size_kib}
Depends: {", ".join(depends)}
Recommends: ca-certificates
Suggests: libedgetpu1-std, mosquitto-clients, python3-picamera2
Section: misc
Priority: optional
Description: {DESCRIPTION}
"""


if __name__ == "__main__":
    sys.exit(main())

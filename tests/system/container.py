"""A booted Debian in a container of systemd-nspawn; commands go into it through nsenter.

It needs root, but no service manager on the host: nothing is registered anywhere. Its network is
the host's, so a broker on 127.0.0.1 is outside of the container and within its reach.
"""

import fcntl
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from typing_extensions import Self

ROOTS = Path(os.environ.get("EDGE_TEST_ROOTS", "/var/cache/edge-runtime-tests"))
"""Where the pristine root is kept from one run to the next; it is built where it is missing."""
RELEASE = "bookworm"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PACKAGES = "systemd,systemd-sysv,libpam-systemd,dbus,udev,ca-certificates,python3-venv"
MIRROR = os.environ.get("EDGE_TEST_MIRROR", "http://deb.debian.org/debian")
CLEAN_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
    "DEBIAN_FRONTEND": "noninteractive",
}
REBOOTS = 133  # how systemd-nspawn --keep-unit says that the container wants to be started again
BOOT_LIMIT_S = 60
PATIENCE_S = 30


def missing() -> str:
    """Return why no container can run here, empty where one can."""
    if os.geteuid() != 0:
        return "only root can boot a container"
    tools = {"systemd-nspawn": "systemd-container", "debootstrap": "debootstrap"}
    absent = [package for tool, package in tools.items() if not shutil.which(tool)]
    if absent:
        return f"no container can be booted: sudo apt install {' '.join(absent)}"
    try:
        _do(["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "true"])
    except AssertionError:  # as in most containers
        return "this root has no right to namespaces of its own, so no container can be booted"
    return ""


def pristine_root() -> Path:
    """Return a fresh Debian 12 that nobody may change, building it the first time."""
    root = ROOTS / f"{RELEASE}-{ARCHITECTURES[platform.machine()]}"
    ROOTS.mkdir(parents=True, exist_ok=True)
    with (ROOTS / f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            unfinished = ROOTS / f"{root.name}.part"
            shutil.rmtree(unfinished, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}"]
            _do([*command, RELEASE, str(unfinished), MIRROR])
            shutil.rmtree(unfinished / "var/cache/apt/archives")
            unfinished.rename(root)
    return root


def wheel(folder: Path) -> Path:
    """Return this checkout as a wheel, built into `folder`."""
    _do([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)])
    (built,) = folder.glob("*.whl")
    return built


class Container:
    """A copy of the pristine root, booted. What it did is gone when it is closed."""

    def __init__(self, name: str = "device") -> None:
        """`name` is its host name."""
        self._name = name
        pristine = pristine_root()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=ROOTS))
        self.root = self._folder / "root"
        _do(["cp", "-a", "--reflink=auto", str(pristine), str(self.root)])
        (self.root / "etc/hostname").write_text(f"{name}\n")
        self._pip, self._shared = pip_of_the_host()
        self.options: tuple[str, ...] = ()
        """Further options of systemd-nspawn, from the next start on."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Boot, and wait until every unit is up."""
        address = self._folder / "notify"
        address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, self.log.open("ab") as log:
            told.bind(str(address))
            self._nspawn = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),  # it shall not outlive us
                    *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"),
                    *("--notify-ready=yes", "--console=pipe", f"--machine={self._name}"),
                    *(f"--bind-ro={path}" for path in self._shared),
                    *(f"--directory={self.root}", *self.options),
                ],
                env={**os.environ, "NOTIFY_SOCKET": str(address)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            self._leader = self._wait_until_ready(told)
        self.run("systemctl is-system-running --wait", status=None)

    def _wait_until_ready(self, told: socket.socket) -> int:
        """Return the process id of its init, as systemd-nspawn tells it."""
        told.settimeout(0.2)
        leader, end = 0, time.monotonic() + BOOT_LIMIT_S
        while time.monotonic() < end and self._nspawn.poll() is None:
            try:
                message = told.recv(4096).decode()
            except TimeoutError:
                continue
            for line in message.splitlines():
                if line.startswith("X_NSPAWN_LEADER_PID="):
                    leader = int(line.partition("=")[2])
                if line == "READY=1" and leader:
                    return leader
        raise AssertionError(f"the container did not boot:\n{self.log.read_text()[-4000:]}")

    @property
    def log(self) -> Path:
        """What systemd-nspawn and the console said."""
        return self._folder / "console.log"

    def reboot(self) -> None:
        """Shut down in order, and boot again."""
        self.run("systemctl reboot")
        status = self._nspawn.wait(BOOT_LIMIT_S)
        assert status == REBOOTS, f"{status}:\n{self.log.read_text()[-4000:]}"
        self.start()

    def pull_the_plug(self) -> None:
        """End it as a power cut does: nothing is told, nothing is written any more."""
        os.kill(self._leader, signal.SIGKILL)
        self._nspawn.wait(BOOT_LIMIT_S)

    def stop(self) -> None:
        """Shut down in order."""
        if self._nspawn.poll() is None:
            self.run("systemctl poweroff", status=None)
            self._nspawn.wait(BOOT_LIMIT_S)

    def close(self) -> None:
        """End it at once and remove its root."""
        if self._nspawn.poll() is None:
            self.pull_the_plug()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(
        self,
        command: str,
        *,
        status: int | None = 0,
        timeout_s: float = 60,
        environment: dict[str, str] | None = None,
    ) -> str:
        """Run a line of bash as its root; return what it printed, standard error included.

        Raises AssertionError where its exit status is not `status` (None: whatever it is).
        """
        values = {**CLEAN_ENVIRONMENT, **(environment or {})}
        done = subprocess.run(
            [
                *("nsenter", "--all", f"--target={self._leader}", "env", "-i"),
                *(f"{key}={value}" for key, value in values.items()),
                *("bash", "-c", f"cd\n{command}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
            start_new_session=True,  # a `kill 0` in there is not meant for us
        )
        printed = done.stdout.decode(errors="replace")
        if status is not None:
            assert done.returncode == status, f"{command}: exit {done.returncode}\n{printed}"
        return printed

    def wait_for(self, command: str, fits: Callable[[str], bool], *, limit_s: float = 0) -> str:
        """Run a line until what it prints fits, and return that."""
        end = time.monotonic() + (limit_s or PATIENCE_S)
        while not fits(printed := self.run(command, status=None)):
            assert time.monotonic() < end, f"{command}: still\n{printed}"
            time.sleep(0.02)
        return printed

    def pip(self, words: str) -> str:
        """Run the pip of /opt/edge-runtime, which finds packages where the host's pip does."""
        return self.run(
            f"/opt/edge-runtime/bin/pip {words}", timeout_s=600, environment=dict(self._pip)
        )

    def path(self, inside: str) -> Path:
        """Return where a file of the container's root lies on the host (not one in a tmpfs)."""
        return self.root / inside.lstrip("/")

    def write(self, inside: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file, with the folders above it."""
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        self.path(inside).write_text(text, encoding="utf-8")
        self.path(inside).chmod(mode)

    def copy_in(self, source: Path, inside: str) -> None:
        """Copy a file or a folder of the host's to this path of the container."""
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        _do(["cp", "-rT", str(source), str(self.path(inside))])

    def copy_out(self, inside: str, target: Path) -> None:
        """Copy a file or a folder of the container's to this path of the host."""
        _do(["cp", "-rT", str(self.path(inside)), str(target)])


def pip_of_the_host() -> tuple[dict[str, str], list[Path]]:
    """Return the host's settings of pip as variables, and what of its disk they point to."""
    listed = _do([sys.executable, "-m", "pip", "config", "list"])
    settings: dict[str, str] = {}
    for line in reversed(listed.splitlines()):  # what stands in the environment comes first
        key, _, value = line.partition("=")
        name = key.lstrip(":").partition(".")[2].lstrip(".")
        settings[f"PIP_{name.upper().replace('-', '_')}"] = value.strip("'\"").replace("\\n", " ")
    words = " ".join(settings.values()).replace("file://", " ").split()
    paths = {Path(word).resolve() for word in words if word.startswith("/")}
    # An index on disk names its files beside itself: ../../files/NAME.whl.
    paths = {path.parent if path.name == "simple" else path for path in paths}
    cache = Path(_do([sys.executable, "-m", "pip", "cache", "dir"]).strip())
    settings |= {"PIP_CACHE_DIR": str(cache), "PIP_ROOT_USER_ACTION": "ignore"}
    cache.mkdir(parents=True, exist_ok=True)
    return settings, sorted({*filter(Path.exists, paths), cache})


def _do(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout

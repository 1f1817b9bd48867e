"""A system of another architecture, entered without booting it."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from system.container import CLEAN_ENVIRONMENT, pip_of_the_host

CHECKOUT = Path(__file__).parents[3]
# In a mount namespace of its own: whatever happens, nothing stays mounted.
INSIDE = """
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn
if [ -n "$1" ]; then
  mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
fi
shift 2
exec "$@"
"""
TAIL_LINES = 30


class Failed(Exception):  # noqa: N818 - read in `except Failed`
    """Something was otherwise than it must be; says what."""


class System:
    """A root whose commands are run one at a time, with the checkout at /checkout."""

    def __init__(self, root: Path, log: Path, *, changes: Path | None = None) -> None:
        """What is written goes to the folder `changes`, to `root` itself where there is none.

        `log` gets what the commands print.
        """
        self._pristine, self._changes, self._log = root, changes, log
        self._directory = root
        if changes is not None:
            self._directory = changes / "root"
            for part in ("upper", "work", "root"):
                (changes / part).mkdir()
        settings, paths = pip_of_the_host()
        self._environment = {**CLEAN_ENVIRONMENT, **settings}
        self._shared = {path: path for path in paths}
        self.before = ""
        """Lines of bash that each command begins with."""

    def share(self, outside: Path, inside: str) -> None:
        """Let it see a file or folder of the host's."""
        self._shared[outside] = Path(inside)

    def path(self, inside: str) -> Path:
        """Return where a file that was written in it lies on the host."""
        written = self._changes / "upper" if self._changes else self._pristine
        return written / inside.lstrip("/")

    def set_variable(self, name: str, value: str) -> None:
        """Give the environment of its commands a variable."""
        self._environment[name] = value

    def write(self, inside: str, contents: bytes) -> None:
        """Give it a file."""
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        self.path(inside).write_bytes(contents)

    def run(self, command: str, *, status: int = 0, limit_s: float = 1200) -> str:
        """Run a line of bash as its root; return what it printed, standard error included.

        Raises Failed where its exit status is not `status`, or where it takes more than `limit_s`.
        """
        with self._log.open("ab+") as log:
            log.write(f"$ {command}\n".encode())
            log.flush()
            begins = log.tell()
            started = subprocess.Popen(
                [
                    *("unshare", "--mount", "sh", "-ec", INSIDE, "sh"),
                    *(str(self._pristine) if self._changes else "", str(self._changes or "")),
                    *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--as-pid2"),
                    *("--console=pipe", "--machine=arm", f"--directory={self._directory}"),
                    *(f"--bind={outside}:{inside}" for outside, inside in self._shared.items()),
                    *(f"--bind-ro={CHECKOUT}:/checkout", "--chdir=/root"),
                    *(f"--setenv={key}={value}" for key, value in self._environment.items()),
                    *("bash", "-c", self.before + command),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            how = ""
            try:
                ended = started.wait(limit_s)
                how = f"ended with {ended}, not {status}" if ended != status else ""
            except subprocess.TimeoutExpired:
                how = f"did not end within {limit_s:g} s"
            finally:
                started.kill()  # systemd-nspawn by then; what runs in it goes with it
                started.wait()
            log.seek(begins)
            printed = log.read().decode(errors="replace")
        if how:
            tail = "\n".join(printed.splitlines()[-TAIL_LINES:])
            raise Failed(f"{command}\n{how}:\n{tail}")
        return printed


@contextmanager
def fresh(root: Path, log: Path) -> Iterator[System]:
    """Give a system that begins as the pristine `root`, and forget what it did."""
    changes = Path(tempfile.mkdtemp(prefix=f"{root.name}-", dir=root.parent))
    try:
        yield System(root, log, changes=changes)
    finally:
        shutil.rmtree(changes)

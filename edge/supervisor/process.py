"""Starts child processes, workers above all, and holds the other end of their wire."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge.flight import new_ring
from edge.wire import Job, Stop, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge.config.pipeline import Pipeline

WORKER = "edge.worker.main"
# The child sees the modules we see, whatever lies in the folder we were started in.
BOOTSTRAP = "import sys; sys.path[:] = {path}; from {module} import main; main()"
# What a child needs to know of our environment; where a secret may be it learns nothing, nor of
# what is between systemd and us. Further names stand in EDGE_WORKER_ENVIRONMENT, with commas.
HANDED_ON = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_.*|TZ|TZDIR|TMPDIR|VIRTUAL_ENV|XDG_.*"
    r"|STATE_DIRECTORY|RUNTIME_DIRECTORY|PYTHON.*|LD_.*|GLIBC_TUNABLES|MALLOC_.*"
    # Libraries for numbers, pictures, cameras and accelerators, and a stream's way out.
    r"|OMP_.*|GOMP_.*|KMP_.*|OPENBLAS_.*|MKL_.*|OPENCV_.*|TF_.*|TFLITE_.*|XNNPACK_.*|GST_.*"
    r"|LIBCAMERA_.*|LIBV4L.*|LIBUSB_.*|EDGETPU_.*|CORAL_.*|ADSP_LIBRARY_PATH|VIV_.*"
    r"|SSL_CERT_FILE|SSL_CERT_DIR|http_proxy|https_proxy|no_proxy"
)
# One thread for numpy's libraries, which our children hardly use; FFmpeg keeps quiet.
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENCV_FFMPEG_LOGLEVEL": "8",
    "OPENCV_LOG_LEVEL": "ERROR",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


def child_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of a child of ours."""
    more = environ.get("EDGE_WORKER_ENVIRONMENT", "").split(",")
    handed_on = {k: v for k, v in environ.items() if HANDED_ON.fullmatch(k) or k in more}
    return handed_on | ENVIRONMENT


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module's `main` in a Python of its own."""
    path = [folder or str(Path.cwd()) for folder in sys.path]
    return [sys.executable, "-c", BOOTSTRAP.format(path=path, module=module), *arguments]


class ChildProcess:
    """A Python process of ours, our end of the socket it was born with, and what it prints."""

    def __init__(self, module: str, *shared: int) -> None:
        """Start `main()` of a module, with the descriptor of its end in `sys.argv[1]`.

        Behind it stand the `shared` descriptors, which it gets as well.
        """
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        descriptors = [theirs.fileno(), *shared]
        with theirs:
            self.process = subprocess.Popen(
                python_command(module, *map(str, descriptors)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=descriptors,
                start_new_session=True,  # Ctrl-C at the terminal is for us
                env=child_environment(),
            )

    @property
    def output(self) -> int:
        """File descriptor of what it prints: engines, libraries, its last words."""
        assert self.process.stdout is not None  # noqa: S101  asked for above
        return self.process.stdout.fileno()

    @property
    def is_stopped(self) -> bool:
        """Whether somebody stopped it, with SIGSTOP or a debugger: proc(5), /proc/PID/stat."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return False
        return stat.rpartition(") ")[2][:1] in {"T", "t"}

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    def close(self) -> None:
        """Reap it, dead or alive, and let go of its descriptors."""
        self.process.kill()
        self.process.wait()
        self.socket.close()
        if self.process.stdout is not None:
            self.process.stdout.close()


class BornWorker(ChildProcess):
    """A worker that has no job yet."""

    def __init__(self) -> None:
        descriptor, self.ring = new_ring()
        try:
            super().__init__(WORKER, descriptor)
        finally:
            os.close(descriptor)


_started_ahead: list[BornWorker] = []


@contextmanager
def worker_ahead() -> Iterator[None]:
    """Start a worker before it is known what for: the first that is wanted will be this one.

    It imports numpy, OpenCV and the rest while the configuration is read. Where none was
    wanted it ends with the context.
    """
    _started_ahead.append(BornWorker())
    try:
        yield
    finally:
        dismiss_worker_ahead()


def dismiss_worker_ahead() -> None:
    """End the worker that was started ahead, where nobody has wanted it: it waits only so long."""
    while _started_ahead:
        _started_ahead.pop().close()


class WorkerProcess(ChildProcess):
    """A running worker and its wire."""

    def __init__(
        self,
        name: str,
        options: Pipeline,
        *,
        device: str | None = None,
        first_frames: Sequence[int] = (),
        max_frames: int | None = None,
        check_only: bool = False,
        rung: int = 0,
        broker: str | None = None,
        left_out: Sequence[bytes] = (),
        careful: bool = False,
        revision: int = 0,
    ) -> None:
        """Start the process and send it its job; `device` names whose tuning counts.

        What `broker` and the rest are is told by `edge.wire.Job`.
        """
        born = _started_ahead.pop() if _started_ahead else BornWorker()
        self.process, self.socket = born.process, born.socket
        self.ring = born.ring
        """What its flight recorder writes; it can be read after the worker's end."""
        self.wire = Wire(self.socket)
        told = options.model_dump_json()
        job = Job(
            device,
            name,
            told,
            list(first_frames),
            max_frames,
            check_only,
            rung,
            broker,
            list(left_out),
            careful,
            revision,
        )
        self.wire.send(job)

    def stop(self) -> None:
        """Ask it to finish the frame in hand and end."""
        try:
            self.wire.send(Stop())
        except ConnectionError:
            return  # it has ended already


def how_it_ended(returncode: int) -> str:
    """Say an exit status as a person would: `killed by SIGSEGV`, `exit status 1`."""
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"

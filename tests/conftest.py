"""What tests share: real data, a real broker, a real daemon; and the skips that are right."""

import ctypes.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulated_camera import EmulatedCamera, compile_library
from killed_at import KilledAt
from parties import Daemon, Listener, Mosquitto
from trial_delegate import TrialDelegate

IN_CI = os.environ.get("CI") == "true"
ROOT = Path(__file__).parents[1]
DIGITS = f"""
    model:
      path: {ROOT}/models/digits/digits.tflite
      labels: {ROOT}/models/digits/labels.txt
"""
RIGHT_SKIPS = {
    "tflite-runtime has no wheel for Python 3.12 and newer": sys.version_info >= (3, 12),
    "only root can give up its rights": os.geteuid() != 0,
    "only root can boot a container": os.geteuid() != 0,
    "hdrhistogram has wheels for x86-64 only": os.uname().machine != "x86_64",
    "mlcommons-loadgen has wheels for x86-64 only": os.uname().machine != "x86_64",
    "no C compiler for the emulated camera: sudo apt install gcc libc6-dev": not shutil.which("cc"),
    "no C compiler for the trial delegate: sudo apt install gcc libc6-dev": not shutil.which("cc"),
    "no C compiler for deaths at a write: sudo apt install gcc libc6-dev": not shutil.which("cc"),
    "no speech synthesisers: sudo apt install espeak-ng flite": not (
        shutil.which("espeak-ng") and shutil.which("flite")
    ),
    "no libusb for the Edge TPU's runtime: sudo apt install libusb-1.0-0": (
        ctypes.util.find_library("usb-1.0") is None
    ),
    "minisign is not installed: sudo apt install minisign": not shutil.which("minisign"),
}
"""Reasons that are no failure in CI, and when each of them holds. Any other skip fails there."""


@pytest.fixture(autouse=True)
def own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of our own: what was tuned on this machine, or waits here, is nothing to a test."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))


@pytest.fixture(autouse=True)
def no_tensorflow(request: pytest.FixtureRequest) -> Iterator[None]:
    """See that TensorFlow is only where no other test is hurt by it: see the marker `trains`."""
    yield
    marked = request.node.get_closest_marker("trains") is not None
    assert marked or "tensorflow" not in sys.modules, "mark the test `trains`: it loads TensorFlow"


@pytest.fixture(scope="session")
def testdata() -> Path:
    """Return the folder of real models and images; in CI its absence is a failure."""
    beside_the_checkout = ROOT.parent / "shared" / "testdata"
    folder = Path(os.environ.get("EDGE_TESTDATA", beside_the_checkout))
    if not (folder / "models").is_dir():
        pytest.skip(f"no test data in {folder}: set EDGE_TESTDATA to the folder with models/ in it")
    return folder


@pytest.fixture(scope="session")
def mosquitto() -> str:
    """Return the path of mosquitto, which Debian keeps where only root looks."""
    path = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        pytest.skip("mosquitto is not installed: sudo apt install mosquitto")
    return path


@pytest.fixture
def broker(mosquitto: str, tmp_path: Path) -> Iterator[Mosquitto]:
    """A mosquitto of our own on a free port."""
    with Mosquitto(mosquitto, tmp_path) as running:
        yield running


@pytest.fixture
def listener(broker: Mosquitto) -> Iterator[Listener]:
    """A client that hears everything the device says."""
    with Listener(broker.port) as listening:
        yield listening


@pytest.fixture(scope="session")
def camera_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what makes OpenCV see a camera, compiled."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the emulated camera: sudo apt install gcc libc6-dev")
    return compile_library(compiler, tmp_path_factory.mktemp("camera"))


@pytest.fixture
def camera(camera_library: Path, tmp_path: Path) -> EmulatedCamera:
    """A V4L2 camera that is not plugged in yet."""
    return EmulatedCamera(camera_library, tmp_path)


@pytest.fixture(scope="session")
def delegate_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the library of an accelerator that does what it is told, compiled."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the trial delegate: sudo apt install gcc libc6-dev")
    return TrialDelegate.compile(compiler, tmp_path_factory.mktemp("delegate"))


@pytest.fixture
def delegate(delegate_library: Path, tmp_path: Path) -> TrialDelegate:
    """An accelerator that works until it is told otherwise."""
    return TrialDelegate(delegate_library, tmp_path / "switch")


@pytest.fixture(scope="session")
def killed_at(tmp_path_factory: pytest.TempPathFactory) -> KilledAt:
    """Return what ends a process at one of its durable writes, compiled."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for deaths at a write: sudo apt install gcc libc6-dev")
    return KilledAt.compile(compiler, tmp_path_factory.mktemp("killed-at"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Start `edge run` on a YAML text; whatever still runs at the end is killed."""
    running: list[Daemon] = []

    def start_one(text: str, *arguments: str, name: str = "device.yaml") -> Daemon:
        config = tmp_path / name
        config.write_text(text, encoding="utf-8")
        running.append(Daemon(config, *arguments))
        return running[-1]

    yield start_one
    for daemon in running:
        daemon.close()


@pytest.fixture
def digits_30fps() -> str:
    """The options of a live pipeline over the held-out digits, at 30 frames a second."""
    return f"""
    source: {{type: images, path: {ROOT}/models/digits/held-out.png, tile: 8, truth: list,
             fps: 30, loop: true}}
    deadline_ms: 1000{DIGITS}"""


_SKIPPED: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember each skip whose reason is not a right one."""
    if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not RIGHT_SKIPS.get(reason, False):
            _SKIPPED.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run in CI where something was skipped that must run there."""
    if IN_CI and _SKIPPED and not hasattr(session.config, "workerinput"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the skips that made a run in CI fail."""
    if IN_CI and _SKIPPED:
        terminalreporter.section("skips that CI does not allow")
        for line in _SKIPPED:
            terminalreporter.write_line(line)

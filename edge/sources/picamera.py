"""A camera on a Raspberry Pi's camera port, through picamera2 and libcamera."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from edge.errors import FrameError, SourceError
from edge.latency.stalls import StallWatch
from edge.options import FilePath
from edge.sources.base import Grabbed, Source, SourceOptions
from edge.sources.pacing import Rhythm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BUFFERS = 6  # one with us, one waiting for us, the others under way
SILENT_S = 5.0  # and three frames: so long without one is no camera
SMALLEST = 64  # pixels a side: the ISP of the Pis before the 5 makes nothing smaller
NAP_S = 0.2  # how long `stop` may go unheard
DEV = Path("/dev")
TUNING = "LIBCAMERA_RPI_TUNING_FILE"
INSTALL = (
    "install it by `sudo apt install python3-picamera2`, in a virtual environment made of the "
    "distribution's Python with --system-site-packages"
)

Side = Annotated[int, Field(ge=SMALLEST, le=8192)]
Control = bool | int | float | str | list[float]


class PicameraOptions(SourceOptions):
    """A camera on a Raspberry Pi's camera port."""

    type: Literal["picamera"] = Field(
        description="A camera on a Raspberry Pi's camera port, through picamera2."
    )
    camera: Annotated[int, Field(ge=0)] | str = Field(
        default=0,
        description="Its number in `rpicam-hello --list-cameras`, its model (imx708), or its id.",
    )
    width: Side = Field(default=1280, multiple_of=2, description="Width of the picture, even.")
    height: Side = Field(
        default=720,
        multiple_of=2,
        description="Height of the picture, even. The camera's own scaler makes it as small as the "
        "model can do with, but for `interpolation: area`.",
    )
    fps: float = Field(default=30, gt=0, le=1000, description="Frames a second asked of it.")
    mode: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="Width and height of the sensor's mode, which decides how much it sees; "
        "without it libcamera takes the one nearest to `width` and `height`.",
    )
    hflip: bool = Field(default=False, description="Whether left and right change places.")
    vflip: bool = Field(default=False, description="Whether the picture is upside down.")
    controls: dict[str, Control] = Field(
        default={},
        description="libcamera's controls by name: {ExposureTime: 8000, AnalogueGain: 2.0, "
        "AfMode: Continuous, ...}; values of enumerations may be given by name.",
    )
    tuning: FilePath | None = Field(
        default=None,
        description="Tuning file in place of the camera's own, as "
        "/usr/share/libcamera/ipa/rpi/vc4/imx219_noir.json.",
    )

    @property
    def rate(self) -> float:
        """Frames a second, as asked of it."""
        return self.fps

    def verify(self) -> None:
        """See that the tuning file is there; a camera may come later."""
        if self.tuning is not None and not self.tuning.is_file():
            raise SourceError(f"{self.tuning}: there is no such tuning file")

    def make(self) -> Source:
        """Return the source these options describe, not yet opened."""
        return Picamera(self)


def present() -> bool:
    """Whether picamera2 is there for this Python, and has a camera that is not on USB."""
    if importlib.util.find_spec("picamera2") is None:
        return False
    try:
        return bool(models())
    except SourceError:
        return False


def models() -> list[str]:
    """Return the models of the cameras that are not on USB: imx708. Raises SourceError."""
    cameras = _picamera2().Picamera2.global_camera_info()
    return [camera["Model"] for camera in cameras if "/usb" not in camera["Id"]]


class Picamera(Source):
    """Takes the newest frame that libcamera has completed, and gives it back at once.

    The camera's own processor (ISP) makes the picture as small as the model can do with, in BGR.
    Of its YUV420, which the stream `lores` is limited to before the Pi 5, a small model would see
    colours at half its resolution. For a model that needs more, the camera is started anew.
    """

    def __init__(self, options: PicameraOptions) -> None:
        self._options = options
        self._who = f"camera {options.camera}"
        self._stalls = StallWatch()
        self._rhythm = Rhythm(self._stalls.period)
        self._number = -1
        self._fresh = threading.Condition()
        self._newest: Any = None  # a completed request that nobody has taken
        self._grabbed: Any = None
        self._camera: Any = None
        self._size = (0, 0)
        self._pixels: NDArray[Any] | None = None

    def open(self) -> None:
        """Find the camera, and start it with the size, rate and controls asked for."""
        picamera2 = _picamera2()
        import libcamera

        options = self._options
        options.verify()
        if options.tuning is not None:
            os.environ[TUNING] = str(options.tuning)  # read when libcamera looks for cameras
        with self._said_plainly():
            number = self._find(picamera2.Picamera2.global_camera_info())
            camera = self._camera = _camera(picamera2.Picamera2, number)
            self._size = self._size_wanted()
            configuration = camera.create_video_configuration(
                # In the order of their bytes libcamera's RGB888 is blue, green, red.
                main={"size": self._size, "format": "RGB888"},
                raw=None,
                # The sensor's mode must not become a smaller one, which may see less.
                sensor={"output_size": tuple(options.mode or (options.width, options.height))},
                transform=libcamera.Transform(hflip=options.hflip, vflip=options.vflip),
                buffer_count=BUFFERS,
                queue=False,  # it is we who keep the newest frame
                display=None,
                encode=None,
                controls=self._controls(camera.camera_controls, libcamera.controls),
            )
            camera.configure(configuration)
            given = camera.camera_configuration()["main"]["format"]
            if given != "RGB888":
                raise SourceError(
                    f"{self._who} gives {given}, no RGB888: a camera on USB is for `type: camera`"
                )
            camera.pre_callback = self._take
            camera.start()
        self._mapped = picamera2.MappedArray
        self._stalls.restart()
        self._rhythm.restart()

    def _find(self, cameras: list[dict[str, Any]]) -> int:
        """Return the number of the camera that is asked for."""
        if not cameras:
            raise SourceError(_why_no_camera(DEV))
        wanted = self._options.camera
        for number, camera in enumerate(cameras):
            if wanted in (number, str(number), camera["Id"], camera.get("Model")):
                self._who = f"camera {number} ({camera.get('Model', camera['Id'])})"
                return number
        found = (f"{n} ({camera.get('Model')}, {camera['Id']})" for n, camera in enumerate(cameras))
        raise SourceError(f"there is no camera {wanted}; libcamera finds {', '.join(found)}")

    def _size_wanted(self) -> tuple[int, int]:
        """Return the least even width and height that the model, and the ISP, can do with."""
        width, height = self._options.width, self._options.height
        scale = max(self.scaling(width, height), SMALLEST / min(width, height))
        return _even(width * scale), _even(height * scale)

    def _controls(self, known: dict[str, Any], controls: Any) -> dict[str, Any]:
        """Return the camera's controls by name, with the numbers of what is given by name."""
        period_us = round(1e6 / self._options.fps)
        found: dict[str, Any] = {}
        if "FrameDurationLimits" in known:
            found["FrameDurationLimits"] = (period_us, period_us)
        for name, value in self._options.controls.items():
            if name not in known:
                raise SourceError(
                    f"{self._who} has no control {name}; it has {', '.join(sorted(known))}"
                )
            found[name] = tuple(value) if isinstance(value, list) else value
            if isinstance(value, str):
                draft = getattr(controls.draft, f"{name}Enum", None)
                names = getattr(controls, f"{name}Enum", draft)
                if not hasattr(names, value):
                    raise SourceError(f"{self._who}: {name} knows no value called {value}")
                found[name] = getattr(names, value)
        return found

    def _take(self, request: Any) -> None:
        """Keep a completed request in place of the one before; in picamera2's own thread."""
        with self._fresh:
            if self._camera is None:
                return
            request.acquire()
            before, self._newest = self._newest, request
            self._fresh.notify()
        if before is not None:
            before.release()

    def grab(self, stop: threading.Event) -> Grabbed | None:
        """Wait for the newest frame; it was captured when its first row began to be exposed."""
        self._release_grabbed()
        if self._size_wanted() > self._size:
            self.close()
            self.open()
        silent_at = time.monotonic() + max(SILENT_S, 3 / self._options.fps)
        with self._fresh:
            while self._newest is None or stop.is_set():
                if stop.is_set():
                    return None
                if time.monotonic() >= silent_at:
                    raise SourceError(
                        f"{self._who}: gives no more frames; is its ribbon cable firm in its "
                        "connectors, at both ends?"
                    )
                self._fresh.wait(NAP_S)
            self._grabbed, self._newest = self._newest, None
        arrived_ns = time.monotonic_ns()
        metadata = self._grabbed.get_metadata()
        sensed_ns = on_monotonic(metadata.get("SensorTimestamp", arrived_ns), now_ns=arrived_ns)
        gap = self._stalls.gap(sensed_ns)
        self._rhythm.take(sensed_ns, arrived_ns=arrived_ns)
        self.lost += gap
        self._number += 1 + gap
        return Grabbed(self._number, sensed_ns - 1000 * metadata.get("ExposureTime", 0))

    def retrieve(self) -> NDArray[Any]:
        """Copy the picture grabbed last, and give its memory back."""
        import numpy as np

        try:
            with self._mapped(self._grabbed, "main") as mapped:
                if self._pixels is None or self._pixels.shape != mapped.array.shape:
                    self._pixels = np.empty(mapped.array.shape, np.uint8)
                np.copyto(self._pixels, mapped.array)
        except RuntimeError as error:
            raise FrameError(f"{self._who}: a frame could not be read: {error}") from error
        finally:
            self._release_grabbed()
        self.size = (self._options.width, self._options.height)
        return self._pixels

    def due_ns(self) -> int | None:
        """When the next frame will be there, by the rhythm of the last ones."""
        return self._rhythm.due_ns

    def close(self) -> None:
        """Give the camera back."""
        with self._fresh:
            camera, self._camera = self._camera, None
            newest, self._newest = self._newest, None
        if newest is not None:
            newest.release()
        self._release_grabbed()
        if camera is not None:
            with contextlib.suppress(RuntimeError):  # it may be gone
                camera.close()

    def _release_grabbed(self) -> None:
        grabbed, self._grabbed = self._grabbed, None
        if grabbed is not None:
            grabbed.release()

    @contextlib.contextmanager
    def _said_plainly(self) -> Iterator[None]:
        """Make a SourceError, and no open camera, of whatever goes wrong inside."""
        try:
            yield
        except SourceError:
            self.close()
            raise
        except Exception as error:  # whatever picamera2, libcamera and the kernel say
            self.close()
            said = _chain(error)
            if "busy" in said.lower() or "code: -16" in said:
                raise SourceError(
                    f"{self._who}: is in use by another process (rpicam-hello, another pipeline, "
                    "motion); `sudo fuser -v /dev/media*` names it"
                ) from error
            raise SourceError(f"{self._who}: cannot be started: {said}") from error


def _camera(kind: Any, number: int) -> Any:
    """Return an open Picamera2.

    One that cannot be opened keeps two files open, which its own close() forgets: try by try.
    """
    camera = kind.__new__(kind)
    try:
        camera.__init__(number, tuning=os.environ.get(TUNING))
    except Exception:
        with contextlib.suppress(AttributeError, OSError):
            camera.notifymeread.close()
            os.close(camera.notifyme_w)
        raise
    return camera


def _even(length: float) -> int:
    """Return the even number next to a length."""
    return 2 * math.floor(length / 2 + 0.5)


def on_monotonic(stamp_ns: int, *, now_ns: int) -> int:
    """Return a SensorTimestamp as a time of the monotonic clock.

    libcamera says it is of CLOCK_BOOTTIME, which runs on while the machine is suspended; the
    kernel's drivers stamp by CLOCK_MONOTONIC. A stamp that would lie ahead is of the former.
    """
    if stamp_ns <= now_ns:
        return stamp_ns
    suspended_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return min(stamp_ns - suspended_ns, now_ns)


def _picamera2() -> Any:
    """Return the module. Raises SourceError where it cannot be had."""
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:WARN")
    try:
        import libcamera  # noqa: F401  it is the part that fails where Python is another
        import picamera2
    except ImportError as error:
        raise SourceError(f"picamera2 cannot be imported ({error}): {INSTALL}") from error
    except ValueError as error:
        hint = "; `pip install 'numpy<2'`" if "numpy.dtype size changed" in str(error) else ""
        raise SourceError(
            f"picamera2 goes with another numpy than the one that is installed{hint} ({error})"
        ) from error
    return picamera2


def _why_no_camera(dev: Path) -> str:
    """Return what a person may look at where libcamera finds none."""
    barred = [node for node in sorted(dev.glob("media*")) if not os.access(node, os.R_OK | os.W_OK)]
    if barred:
        return (
            f"libcamera finds no camera: no permission for {barred[0]}; add the user to the group "
            "video (`sudo usermod -aG video USER`) and log in again"
        )
    return (
        "libcamera finds no camera: is the ribbon cable firm and the right way round, and does "
        "/boot/firmware/config.txt say `camera_auto_detect=1`, or `dtoverlay=` with its sensor? "
        "`rpicam-hello --list-cameras` lists them"
    )


def _chain(error: BaseException | None) -> str:
    """Return what an error says, and those it came from."""
    said = []
    while error is not None:
        said.append(str(error).rstrip(".") or type(error).__name__)
        error = error.__cause__
    return ": ".join(said)

"""The camera of a Raspberry Pi, by a stand-in for picamera2: the real one cannot run here."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from fake_picamera import IMX219, IMX708, PACKAGES, WEBCAM, FakePicamera
from pydantic import ValidationError

from edge.errors import FrameError, SourceError
from edge.sources import picamera
from edge.sources.camera import Camera, CameraOptions
from edge.sources.picamera import Picamera, PicameraOptions, on_monotonic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge.sources.base import Grabbed

MS = 1_000_000
NEVER = threading.Event()
WIDTH, HEIGHT = 320, 240


def picture() -> NDArray[Any]:
    """Return something smooth in all colours, BGR, that is neither symmetrical nor grey."""
    x, y = np.meshgrid(np.linspace(0, 255, WIDTH), np.linspace(0, 255, HEIGHT))
    return np.asarray(np.stack([x, y, 255 - (x + y) / 2], axis=-1), np.uint8)


@pytest.fixture
def pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePicamera]:
    """A Pi with one camera, which sees the picture."""
    pi = FakePicamera(tmp_path)
    monkeypatch.setenv("FAKE_PICAMERA2", pi.environ["FAKE_PICAMERA2"])
    monkeypatch.syspath_prepend(str(PACKAGES))
    pi.plug_in(picture())
    yield pi
    for camera in sys.modules["picamera2"].opened if "picamera2" in sys.modules else ():
        camera.close()
    for name in ("picamera2", "libcamera"):
        sys.modules.pop(name, None)
    os.environ.pop("LIBCAMERA_RPI_TUNING_FILE", None)


def options(**fields: Any) -> PicameraOptions:
    given = {"type": "picamera", "width": WIDTH, "height": HEIGHT, "fps": 100, **fields}
    return PicameraOptions.model_validate(given)


def opened(scaling: float = 1.0, **fields: Any) -> Picamera:
    source = options(**fields).make()
    assert isinstance(source, Picamera)
    source.make_smaller(lambda *_: 1, lambda *_: scaling)
    source.open()
    return source


def grabbed(source: Picamera) -> Grabbed:
    frame = source.grab(NEVER)
    assert frame is not None
    return frame


def asked() -> Any:
    """What picamera2 was asked for, by the camera opened last."""
    return sys.modules["picamera2"].opened[-1].camera_configuration()


# Pictures.


@pytest.mark.usefixtures("pi")
def test_a_frame_that_is_wanted_in_full_is_the_picture_in_bgr() -> None:
    source = opened()
    grabbed(source)
    np.testing.assert_array_equal(source.retrieve(), picture())
    source.close()


@pytest.mark.usefixtures("pi")
@pytest.mark.parametrize("scale", [0.5, 0.31, 97 / 240])
def test_the_cameras_own_scaler_makes_frames_as_small_as_the_model_can_do_with(
    scale: float,
) -> None:
    source = opened(scale)
    for _ in range(3):
        grabbed(source)
        frame = source.retrieve()
    height, width = frame.shape[:2]
    assert width % 2 == height % 2 == 0
    assert abs(width - WIDTH * scale) <= 1.001
    assert abs(height - HEIGHT * scale) <= 1.001
    exact = cv2.resize(picture(), (width, height), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(frame, exact)
    assert asked()["sensor"] == {"output_size": (WIDTH, HEIGHT)}, "the sensor sees as much"
    source.close()


@pytest.mark.usefixtures("pi")
def test_the_least_that_an_isp_can_make_has_the_proportions_too() -> None:
    source = opened(0.05)
    grabbed(source)
    assert source.retrieve().shape == (64, 86, 3)
    source.close()


@pytest.mark.usefixtures("pi")
def test_a_model_that_needs_more_than_the_one_before_gets_it() -> None:
    source = opened(0.5)
    for scale, shape in ((0.5, (120, 160, 3)), (0.75, (180, 240, 3)), (0.25, (180, 240, 3))):
        source.make_smaller(lambda *_: 1, lambda *_, by=scale: by)
        before = source._number
        assert grabbed(source).number == before + 1
        assert source.retrieve().shape == shape
    assert len(sys.modules["picamera2"].opened) == 2, "less is no reason to start anew"
    source.close()


@pytest.mark.usefixtures("pi")
def test_a_picture_can_be_turned_round() -> None:
    source = opened(hflip=True, vflip=True)
    grabbed(source)
    np.testing.assert_array_equal(source.retrieve(), picture()[::-1, ::-1])
    source.close()


@pytest.mark.usefixtures("pi")
def test_a_frame_whose_memory_is_gone_is_a_bad_frame() -> None:
    source = opened()
    grabbed(source)
    source._grabbed.release()
    source._grabbed.acquire = source._grabbed.release = lambda: None
    with pytest.raises(FrameError, match=r"camera 0 \(imx708\): a frame could not be read"):
        source.retrieve()
    source.close()


# Times.


def test_a_frame_was_captured_when_its_exposure_began(pi: FakePicamera) -> None:
    pi.plug_in(picture(), exposure_us=7000)
    source = opened()
    times = []
    for number in range(4):
        frame = grabbed(source)
        assert frame.captured_ns == source._grabbed.metadata["SensorTimestamp"] - 7 * MS
        assert frame.number == number
        times.append(frame.captured_ns)
    assert times == sorted(times)
    assert times[-1] < time.monotonic_ns() - 7 * MS
    source.close()


def test_a_stamp_of_the_clock_that_runs_on_in_suspension_is_converted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_ns = time.monotonic_ns()
    assert on_monotonic(now_ns - 5 * MS, now_ns=now_ns) == now_ns - 5 * MS
    slept_ns = 3600 * 1000 * MS
    real = time.clock_gettime_ns
    monkeypatch.setattr(
        time,
        "clock_gettime_ns",
        lambda clock: real(time.CLOCK_MONOTONIC) + slept_ns * (clock == time.CLOCK_BOOTTIME),
    )
    converted_ns = on_monotonic(now_ns + slept_ns - 5 * MS, now_ns=now_ns)
    assert abs(converted_ns - (now_ns - 5 * MS)) < MS


@pytest.mark.usefixtures("pi")
def test_the_next_frame_is_foretold() -> None:
    source = opened(fps=30)
    assert source.due_ns() is None
    for _ in range(500):
        last = grabbed(source)
        if source.due_ns() is not None:
            break
    due_ns = source.due_ns()
    assert due_ns is not None
    assert due_ns > last.captured_ns
    source.close()


@pytest.mark.usefixtures("pi")
def test_after_a_pause_of_ours_the_newest_frame_comes_and_the_others_are_lost() -> None:
    source = opened(fps=50)
    for _ in range(40):
        grabbed(source)
    camera, lost = sys.modules["picamera2"].opened[-1], source.lost
    before = camera.completed
    while camera.completed < before + 15:
        time.sleep(0.01)
    latest_ns = camera.latest_ns
    assert grabbed(source).captured_ns >= latest_ns - 8 * MS
    for _ in range(20):
        grabbed(source)
    assert source.lost - lost >= 12
    source.close()


@pytest.mark.usefixtures("pi")
def test_every_buffer_comes_back_whether_a_frame_is_decoded_or_not() -> None:
    source = opened(fps=250)
    camera = sys.modules["picamera2"].opened[-1]
    for number in range(40):
        grabbed(source)
        if number % 3 == 0:
            source.retrieve()
    source.close()
    assert camera.starved == 0
    assert camera.free == asked()["buffer_count"]
    assert not camera.started


def test_who_is_to_stop_waits_no_longer(pi: FakePicamera) -> None:
    source = opened()
    stop = threading.Event()
    stop.set()
    assert source.grab(stop) is None
    pi.have("stall")
    stop.clear()
    threading.Timer(0.05, stop.set).start()
    while (frame := source.grab(stop)) is not None:
        assert frame.number < 100
    source.close()


# What it is asked for.


@pytest.mark.usefixtures("pi")
def test_rate_controls_and_mode_are_handed_on() -> None:
    controls = {"ExposureTime": 5000, "AfMode": "Continuous", "NoiseReductionMode": "Off"}
    source = opened(fps=40, mode=[2304, 1296], controls=controls)
    given = asked()
    assert given["controls"] == {
        "FrameDurationLimits": (25000, 25000),
        "ExposureTime": 5000,
        "AfMode": 2,
        "NoiseReductionMode": 0,
    }
    assert given["sensor"] == {"output_size": (2304, 1296)}
    source.close()


@pytest.mark.parametrize("camera", [1, "1", "imx219", IMX219["Id"]])
def test_a_camera_is_found_by_number_model_and_id(camera: int | str, pi: FakePicamera) -> None:
    pi.plug_in(picture(), IMX708, IMX219)
    source = opened(camera=camera)
    assert source._who == "camera 1 (imx219)"
    source.close()


@pytest.mark.usefixtures("pi")
def test_a_tuning_file_is_there_before_libcamera_looks_for_cameras(tmp_path: Path) -> None:
    tuning = tmp_path / "imx708_noir.json"
    with pytest.raises(SourceError, match=r"imx708_noir\.json: there is no such tuning file"):
        options(tuning=tuning).verify()
    with pytest.raises(SourceError, match="there is no such tuning file"):
        opened(tuning=tuning)
    tuning.write_text("{}")
    options(tuning=tuning).verify()
    for _ in range(2):
        opened(tuning=tuning).close()
        assert sys.modules["picamera2"].opened[-1].tuning == str(tuning)


def test_sides_are_even_and_controls_are_plain_values() -> None:
    controls = {"AfMode": {"a": 1}}
    for wrong in ({"width": 641}, {"height": 32}, {"controls": controls}, {"mode": [2304]}):
        with pytest.raises(ValidationError):
            options(**wrong)


# What goes wrong.


def refusal(**fields: Any) -> str:
    with pytest.raises(SourceError) as caught:
        opened(**fields)
    return str(caught.value)


def test_without_picamera2_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libcamera", None)
    said = refusal()
    assert "picamera2 cannot be imported" in said
    assert "sudo apt install python3-picamera2" in said
    assert "--system-site-packages" in said


def test_another_numpy_than_the_distributions_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "libcamera.py").write_text(
        "raise ValueError('numpy.dtype size changed, may indicate binary incompatibility. "
        "Expected 96 from C header, got 88 from PyObject')"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "pip install 'numpy<2'" in refusal()


def test_without_a_camera_it_says_what_to_look_at(pi: FakePicamera) -> None:
    Path(pi.environ["FAKE_PICAMERA2"]).unlink()
    said = refusal()
    assert "libcamera finds no camera" in said
    assert "ribbon cable" in said
    assert "camera_auto_detect=1" in said


def test_without_permission_it_says_which_group_to_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "media0").touch()
    assert "ribbon cable" in picamera._why_no_camera(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "no permission for" in picamera._why_no_camera(tmp_path)
    assert "group video" in picamera._why_no_camera(tmp_path)


@pytest.mark.usefixtures("pi")
def test_a_camera_that_is_not_there_is_told_with_those_that_are() -> None:
    said = refusal(camera=3)
    assert said == f"there is no camera 3; libcamera finds 0 (imx708, {IMX708['Id']})"


def test_a_camera_in_use_is_told_and_taken_when_it_is_free(pi: FakePicamera) -> None:
    pi.have("busy")
    source = options().make()
    files = []
    for _ in range(3):
        with pytest.raises(SourceError, match=r"camera 0 \(imx708\): is in use by another"):
            source.open()
        gc.collect()
        files.append(len(list(Path("/proc/self/fd").iterdir())))
    assert files[0] == files[-1], "each try leaves a file open"
    pi.have("busy", on=False)
    source.open()
    assert source.grab(NEVER) is not None
    source.close()


@pytest.mark.usefixtures("pi")
def test_a_control_that_the_camera_has_not_is_told_with_those_it_has() -> None:
    said = refusal(controls={"Exposure": 5})
    assert "camera 0 (imx708) has no control Exposure; it has AeEnable, AfMode" in said
    assert "AfMode knows no value called Continously" in refusal(controls={"AfMode": "Continously"})
    assert not sys.modules["picamera2"].opened[-1].started


def test_a_camera_that_gives_another_format_is_not_for_picamera2(pi: FakePicamera) -> None:
    pi.plug_in(picture(), WEBCAM, format="YUYV")
    assert "a camera on USB is for `type: camera`" in refusal()


def test_a_camera_that_falls_silent_is_lost_and_comes_back(
    pi: FakePicamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened()
    first = grabbed(source)
    pi.have("stall")
    monkeypatch.setattr(picamera, "SILENT_S", 0.3)
    with pytest.raises(SourceError, match="gives no more frames; is its ribbon cable firm"):
        all(grabbed(source).number for _ in range(1000))
    source.close()
    pi.have("stall", on=False)
    monkeypatch.setattr(picamera, "SILENT_S", 5.0)
    source.open()
    assert grabbed(source).number > first.number
    source.close()


# Whichever camera there is.


@pytest.mark.usefixtures("pi")
def test_auto_is_the_pis_own_camera_where_there_is_one() -> None:
    asked = CameraOptions(type="camera", width=640, height=480, fps=15)
    source = asked.make()
    assert isinstance(source, Picamera)
    found = source._options
    assert (found.width, found.height, found.fps, found.camera) == (640, 480, 15, 0)
    assert isinstance(CameraOptions(type="camera", device="/dev/video0").make(), Camera)


def test_auto_is_v4l2_where_libcamera_has_only_what_is_on_usb(pi: FakePicamera) -> None:
    pi.plug_in(picture(), WEBCAM)
    assert isinstance(CameraOptions(type="camera").make(), Camera)


def test_auto_is_v4l2_where_picamera2_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(CameraOptions(type="camera").make(), Camera)
    monkeypatch.setitem(sys.modules, "libcamera", None)
    monkeypatch.syspath_prepend(str(PACKAGES))
    assert isinstance(CameraOptions(type="camera").make(), Camera)

# ruff: noqa: B006, B008, PYI034, TRY301  its interface is not ours
"""A stand-in for picamera2, with the interface that its 0.3.36 has: names, order and defaults of
arguments, who releases what, and the words of its errors. A Pi is not here to try the real one.

$FAKE_PICAMERA2 is the path of a JSON file that says what is plugged in; without it nothing is:

    {"cameras": [{"Model": "imx708", "Id": "/base/..."}], "picture": "x.npy",
     "exposure_us": 8000, "format": "RGB888"}

`picture` is what all cameras see (uint8, height x width x 3, BGR). Beside the file, PATH.stall
makes them fall silent, and PATH.busy says that another process has them.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import libcamera
import numpy as np

ALIGNMENT = 64  # bytes that a row is a multiple of, on a Pi 5
CONTROLS = {
    "AeEnable": (False, True, True),
    "AfMode": (0, 2, 0),
    "AnalogueGain": (1.0, 16.0, 1.0),
    "ExposureTime": (26, 220416802, 20000),
    "FrameDurationLimits": (8000, 220535845, 33333),
    "NoiseReductionMode": (0, 4, 0),
}
"""Least, most and usual value: of an imx708."""
opened: list[Picamera2] = []
"""Every camera that was opened in this process, the newest last."""


def beside(suffix: str) -> Path:
    return Path(os.environ.get("FAKE_PICAMERA2", "/nowhere") + suffix)


def plugged_in() -> dict[str, Any]:
    path = beside("")
    said: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"cameras": []}
    return said


class CompletedRequest:
    """A frame, ours until it is released as often as it was acquired."""

    def __init__(self, camera: Picamera2, metadata: dict[str, Any]) -> None:
        self.camera = camera
        self.ref_count = 1
        self.metadata = metadata

    def acquire(self) -> None:
        with self.camera.request_lock:
            if self.ref_count == 0:
                raise RuntimeError("CompletedRequest: acquiring lock with ref_count 0")
            self.ref_count += 1

    def release(self) -> None:
        with self.camera.request_lock:
            self.ref_count -= 1
            if self.ref_count < 0:
                raise RuntimeError("CompletedRequest: lock now has negative ref_count")
            if self.ref_count == 0:
                self.camera.free += 1

    def get_metadata(self) -> dict[str, Any]:
        assert self.ref_count > 0
        return dict(self.metadata)


class MappedArray:
    """The memory of a stream, for as long as the context lasts."""

    def __init__(
        self, request: CompletedRequest, stream: str, reshape: bool = True, write: bool = True
    ) -> None:
        del reshape, write
        if request.ref_count <= 0:
            raise RuntimeError("failed to find buffer")
        self._memory = request.camera.developed(stream)
        self.array: Any = None

    def __enter__(self) -> MappedArray:
        self.array = self._memory
        return self

    def __exit__(self, *_: object) -> None:
        self.array = None


class Picamera2:
    """One camera."""

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        cameras = plugged_in()["cameras"]
        return [{"Num": number, **camera} for number, camera in enumerate(cameras)]

    def __init__(
        self, camera_num: int = 0, verbose_console: Any = None, tuning: Any = None,
        allocator: Any = None,
    ) -> None:  # fmt: skip
        del verbose_console, allocator
        self.tuning = tuning
        if tuning is None:
            os.environ.pop("LIBCAMERA_RPI_TUNING_FILE", None)
        else:
            os.environ["LIBCAMERA_RPI_TUNING_FILE"] = tuning
        reading, self.notifyme_w = os.pipe2(os.O_NONBLOCK)
        self.notifymeread = os.fdopen(reading, "rb")
        self.global_camera_info()[camera_num]
        try:
            if beside(".busy").exists():
                raise RuntimeError("Failed to acquire camera: Device or resource busy")
        except RuntimeError as error:
            raise RuntimeError("Camera __init__ sequence did not complete.") from error
        said = plugged_in()
        self._picture = np.load(said["picture"])
        self._exposure_us = said.get("exposure_us", 8000)
        self._format = said.get("format", "RGB888")
        self.request_lock = threading.Lock()
        self.pre_callback: Any = None
        self.camera_controls = dict(CONTROLS)
        self.started = False
        self.free = 0
        self.completed = 0  # requests
        self.latest_ns = 0  # stamp of the last of them
        self.starved = 0  # frames for which there was no buffer: none was given back
        self._config: dict[str, Any] = {}
        self._ended = threading.Event()
        opened.append(self)

    def create_video_configuration(
        self, main: Any = {}, lores: Any = None, raw: Any = {},
        transform: Any = libcamera.Transform(), colour_space: Any = None, buffer_count: int = 6,
        controls: Any = {}, display: Any = "main", encode: Any = "main", queue: bool = True,
        sensor: Any = {}, use_case: str = "video",
    ) -> dict[str, Any]:  # fmt: skip
        assert set(main) <= {"format", "size", "stride", "preserve_ar"}
        main = {"format": "XBGR8888", "size": (1280, 720)} | main
        limits = {"FrameDurationLimits": (33333, 33333), "NoiseReductionMode": 1}
        return {
            "use_case": use_case, "transform": transform, "colour_space": colour_space,
            "buffer_count": buffer_count, "queue": queue, "main": main, "lores": lores,
            "raw": raw, "controls": limits | controls, "sensor": sensor, "display": display,
            "encode": encode,
        }  # fmt: skip

    def configure(self, camera_config: Any = None) -> None:
        assert not self.started
        assert isinstance(camera_config["transform"], libcamera.Transform)
        assert set(camera_config["sensor"]) <= {"bit_depth", "output_size"}
        size = camera_config["main"]["size"]
        assert isinstance(size, tuple)
        if size[0] % 2 or size[1] % 2:
            raise RuntimeError("width and height should be even")
        for name in camera_config["controls"]:
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        camera_config["main"]["format"] = self._format
        self._config = camera_config

    def camera_configuration(self) -> dict[str, Any]:
        return self._config

    def start(self, config: Any = None, show_preview: Any = False) -> None:
        assert config is None
        assert show_preview is False
        self.free = self._config["buffer_count"]
        self.started = True
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        """Complete a request every period; a frame without a buffer is lost."""
        period_us, _ = self._config["controls"]["FrameDurationLimits"]
        due = time.monotonic()
        while not self._ended.wait(max(due - time.monotonic(), 0)):
            stamp_ns = round(due * 1e9)  # the sensor's clock does not wait for us
            due += period_us / 1e6
            if beside(".stall").exists():
                continue
            with self.request_lock:
                if not self.free:
                    self.starved += 1
                    continue
                self.free -= 1
            metadata = {"SensorTimestamp": stamp_ns, "ExposureTime": self._exposure_us}
            request = CompletedRequest(self, metadata)
            self.completed += 1
            self.latest_ns = stamp_ns
            if self.pre_callback:
                self.pre_callback(request)
            request.release()

    def developed(self, name: str) -> Any:
        """Return a stream's memory with the picture in it; its rows are longer there."""
        width, height = self._config[name]["size"]
        small = cv2.resize(self._picture, (width, height), interpolation=cv2.INTER_AREA)
        if self._config["transform"].hflip:
            small = small[:, ::-1]
        if self._config["transform"].vflip:
            small = small[::-1]
        stride = -(-3 * width // ALIGNMENT) * ALIGNMENT
        memory = np.full((height, stride), 0xEE, np.uint8)
        memory[:, : 3 * width] = small.reshape(height, -1)
        return memory[:, : 3 * width].reshape(height, width, 3)

    def close(self) -> None:
        if self.started:
            self._ended.set()
            self._thread.join()
            self.started = False
        if not self.notifymeread.closed:
            self.notifymeread.close()
            os.close(self.notifyme_w)

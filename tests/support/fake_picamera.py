"""Cameras that picamera2 would find, were it here: what is plugged in, and their troubles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACKAGES = Path(__file__).with_name("fake_pi")
IMX708 = {"Model": "imx708", "Id": "/base/axi/pcie@120000/rp1/i2c@88000/imx708@1a"}
IMX219 = {"Model": "imx219", "Id": "/base/axi/pcie@120000/rp1/i2c@80000/imx219@10"}
WEBCAM = {"Model": "HD Webcam", "Id": "/base/axi/pcie@120000/rp1/usb@200000-1:1.0-046d:0825"}


class FakePicamera:
    """`fake_pi/picamera2` says how it is told of this."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "picamera2.json"
        self.environ = {
            "FAKE_PICAMERA2": str(self._path),
            "PYTHONPATH": str(PACKAGES),
            "EDGE_WORKER_ENVIRONMENT": "FAKE_PICAMERA2",
        }

    def plug_in(self, picture: NDArray[Any], *cameras: dict[str, str], **more: Any) -> None:
        """Be there, all seeing this picture (BGR)."""
        file = self._path.with_suffix(".npy")
        np.save(file, picture)
        said = {"cameras": cameras or (IMX708,), "picture": str(file), **more}
        self._path.write_text(json.dumps(said))

    def have(self, trouble: str, *, on: bool = True) -> None:
        """Begin or end a trouble: `stall` or `busy`."""
        path = Path(f"{self._path}.{trouble}")
        if on:
            path.touch()
        else:
            path.unlink()

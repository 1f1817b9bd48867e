"""The cameras of a machine: V4L2 nodes that give pictures, by the device they are of."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge.doctor.aside import ask
from edge.doctor.patient import text_of
from edge.doctor.v4l2 import Format, Size
from edge.sources.v4l2 import PROCESSORS, RIBBON

if TYPE_CHECKING:
    from edge.doctor.patient import Patient

LIMIT_S = 8.0
CLOSED = "no permission to open it"


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera that is plugged in."""

    kind: Literal["v4l2", "ribbon"]
    """`ribbon`: on the Raspberry Pi's camera port, which takes libcamera."""
    name: str
    node: Path
    """The first of its nodes that gives pictures."""
    stable: Path | None = None
    """Its name in /dev/v4l/by-id, which stays the same when others come and go."""
    driver: str = ""
    formats: tuple[Format, ...] = ()
    trouble: str = ""
    """Why it cannot be opened now: no permission, no answer, no picamera2."""

    @property
    def path(self) -> Path:
        """The name to write down."""
        return self.stable or self.node


def find_cameras(patient: Patient) -> list[Camera]:
    """Return the cameras that the kernel knows."""
    nodes = sorted(patient.dev.glob("video[0-9]*"), key=lambda path: (len(path.name), path.name))
    told = _ask(nodes, patient)
    stable = _stable_names(patient.dev / "v4l/by-id")
    found: dict[str, Camera] = {}
    for path in nodes:
        camera = _camera(path, told[path], patient, stable.get(path))
        if camera is not None:
            # A camera has several nodes: one for each stream, one for metadata.
            found.setdefault(told[path].get("bus") or camera.name, camera)
    return [_by_libcamera(each) if each.kind == "ribbon" else each for each in found.values()]


def _ask(nodes: list[Path], patient: Patient) -> dict[Path, dict[str, Any]]:
    """Return what each node says of itself, or its `trouble`."""
    readable = [path for path in nodes if patient.can_open(path)]
    told: dict[Path, dict[str, Any]] = {
        path: {"trouble": CLOSED} for path in nodes if path not in readable
    }
    if readable:
        said = ask("edge.doctor.v4l2", *map(str, readable), limit_s=LIMIT_S)
        silent = {"trouble": said.trouble or "it does not answer"}
        told |= dict.fromkeys(readable, silent)
        told |= {Path(one["path"]): one for one in said.answers}
    return told


def _camera(
    path: Path, told: dict[str, Any], patient: Patient, stable: Path | None
) -> Camera | None:
    """Return what a node is a camera of; None where it is none."""
    name = text_of(patient.sys / "class/video4linux" / path.name / "name")
    driver, trouble = told.get("driver", ""), told.get("trouble", "")
    if (driver or name).startswith(PROCESSORS) or not (trouble or told["captures"]):
        return None
    if driver in RIBBON or (trouble and name.startswith(RIBBON)):
        return Camera("ribbon", _sensors(patient) or name, path, stable, driver)
    formats = tuple(
        Format(
            each["fourcc"],
            tuple(Size(s["width"], s["height"], tuple(s["fps"])) for s in each["sizes"]),
        )
        for each in told.get("formats", ())
    )
    shown = told.get("card") or name or path.name
    return Camera("v4l2", shown, path, stable, driver, formats, trouble)


def _by_libcamera(camera: Camera) -> Camera:
    """Return a camera on the camera port as libcamera knows it, or why that does not."""
    if importlib.util.find_spec("picamera2") is None:
        return replace(camera, trouble="picamera2 is not installed for this Python")
    said = ask("edge.doctor.libcamera", limit_s=LIMIT_S)
    told: dict[str, Any] = {"models": [], "trouble": said.trouble}
    for answer in said.answers:
        told = answer
    if told["models"]:
        return replace(camera, name=", ".join(told["models"]))
    return replace(camera, trouble=told.get("trouble") or "libcamera does not find it")


def _sensors(patient: Patient) -> str:
    """Return the names of the sensors behind the camera port: `imx708`."""
    names = (text_of(path) for path in patient.sys.glob("class/video4linux/v4l-subdev*/name"))
    # `imx708 10-001a` is a chip on an I2C bus; the other parts of the pipeline have no address
    chips = {name.split()[0] for name in names if name.rpartition(" ")[2][:1].isdigit()}
    return ", ".join(sorted(chips))


def _stable_names(folder: Path) -> dict[Path, Path]:
    """Return the links in /dev/v4l/by-id by the node they lead to."""
    links = sorted(folder.glob("*-index0"), reverse=True) if folder.is_dir() else []
    return {link.resolve(): link for link in links}

"""The cameras of a machine: V4L2 nodes that give pictures, by the device they are of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edge.doctor.aside import ask
from edge.doctor.patient import text_of
from edge.doctor.v4l2 import Format, Size
from edge.sources.v4l2 import PROCESSORS, RIBBON

if TYPE_CHECKING:
    from pathlib import Path

    from edge.doctor.patient import Patient

LIMIT_S = 8.0


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
    """Why it would not say what it gives: no permission, no answer."""

    @property
    def path(self) -> Path:
        """The name to write down."""
        return self.stable or self.node


def find_cameras(patient: Patient) -> list[Camera]:
    """Return the cameras that the kernel knows."""
    nodes = sorted(patient.dev.glob("video[0-9]*"), key=lambda path: (len(path.name), path.name))
    if not nodes:
        return []
    readable = [str(path) for path in nodes if patient.can_open(path)]
    said = ask("edge.doctor.v4l2", *readable, limit_s=LIMIT_S) if readable else None
    told = {one["path"]: one for one in said.answers} if said else {}
    stable = _stable_names(patient.dev / "v4l/by-id")
    found: dict[str, Camera] = {}
    for path in nodes:
        one = told.get(str(path))
        if one is None:
            silent = said.trouble if said else ""
            one = {"trouble": silent or "no permission to open it"}
            if str(path) not in readable:
                one = {"trouble": "no permission to open it"}
        camera = _camera(path, one, patient, stable.get(path))
        if camera is not None:
            # A camera has several nodes: one for each stream, one for metadata.
            found.setdefault(one.get("bus") or camera.name, camera)
    return list(found.values())


def _camera(
    path: Path, told: dict[str, Any], patient: Patient, stable: Path | None
) -> Camera | None:
    """Return what a node is a camera of; None where it is none."""
    name = text_of(patient.sys / "class/video4linux" / path.name / "name")
    driver = told.get("driver", "")
    if (driver or name).startswith(PROCESSORS):
        return None
    if trouble := told.get("trouble", ""):
        ribbon = name.startswith(RIBBON)
        kind: Literal["v4l2", "ribbon"] = "ribbon" if ribbon else "v4l2"
        return Camera(kind, name or path.name, path, stable, trouble=trouble)
    if not told["captures"]:
        return None
    if driver in RIBBON:
        return Camera("ribbon", _sensors(patient) or name or told["card"], path, stable, driver)
    formats = tuple(
        Format(
            each["fourcc"],
            tuple(Size(s["width"], s["height"], tuple(s["fps"])) for s in each["sizes"]),
        )
        for each in told["formats"]
    )
    return Camera("v4l2", told["card"] or name or path.name, path, stable, driver, formats)


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

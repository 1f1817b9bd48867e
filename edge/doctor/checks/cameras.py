"""The cameras: which there are, what they give, and whether the configuration fits them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge.doctor.cameras import LIMIT_S, Camera, find_cameras
from edge.doctor.finding import Check, Finding, ok, problem, warning
from edge.sources.camera import AUTO, CameraOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.patient import Patient

PICAMERA2 = "sudo apt install python3-picamera2"
OWN_PACKAGES = (
    "make the virtual environment anew with --system-site-packages: picamera2 comes from apt only"
)
SHOWN = 3  # sizes of a format


class Cameras(Check):
    """Whether there are cameras, and those that the configuration names."""

    name = "cameras"
    group = "devices"
    limit_s = 2 * LIMIT_S + 4

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Ask every V4L2 node, and compare."""
        cameras = find_cameras(patient)
        for camera in cameras:
            yield _told(camera)
        if not cameras:
            yield ok("cameras", "none is plugged in", cameras=0)
        for where, options in _wanted(patient):
            yield from _fits(where, options, cameras)


def _told(camera: Camera) -> Finding:
    facts = {
        "node": str(camera.node),
        "stable": str(camera.stable) if camera.stable else None,
        "kind": camera.kind,
        "name": camera.name,
        "driver": camera.driver,
        "formats": {
            each.fourcc: [
                {"width": size.width, "height": size.height, "fps": list(size.fps)}
                for size in each.sizes
            ]
            for each in camera.formats
        },
    }
    says = f"{camera.node}: {camera.name}"
    if camera.kind == "ribbon":
        says += ", on the camera port: pictures come through libcamera (`type: picamera`)"
        if not camera.trouble:
            return ok("camera", says, **facts)
        debians = Path("/usr/lib/python3/dist-packages/picamera2").is_dir()
        cure = OWN_PACKAGES if debians and "not installed" in camera.trouble else PICAMERA2
        return warning("camera", f"{says}; {camera.trouble}", cure, **facts)
    if camera.trouble:
        busy = "busy" in camera.trouble.lower()
        cure = f"see who has it: fuser -v {camera.node}" if busy else "see the line on permissions"
        return warning("camera", f"{says}: {camera.trouble}", cure, **facts)
    return ok("camera", f"{says} ({camera.driver}): {in_words(camera)}", **facts)


def in_words(camera: Camera) -> str:
    """Return `MJPG to 1920x1080 at 30, YUYV to 640x480 at 30`."""
    words = []
    for each in camera.formats:
        word = each.fourcc
        if each.sizes:
            largest = each.sizes[0]
            word += f" to {largest.width}x{largest.height}"
            word += f" at {largest.fps[0]:g}" if largest.fps else ""
        words.append(word)
    return ", ".join(words) or "it does not tell its formats"


def _wanted(patient: Patient) -> Iterator[tuple[str, CameraOptions]]:
    for name, pipeline in patient.device.pipelines.items() if patient.device else ():
        for source in pipeline.all_sources.values():
            if isinstance(source, CameraOptions):
                yield f"pipelines.{name}", source


def _fits(where: str, options: CameraOptions, cameras: list[Camera]) -> Iterator[Finding]:
    """Compare what is written with what is there."""
    device = options.device
    if device == AUTO:
        if not cameras:
            says = f"{where} wants a camera, and there is none"
            yield problem("camera", says, "plug one in, or write where frames come from")
        return
    node = Path(f"/dev/video{device}" if isinstance(device, int) else device)
    if not node.exists():
        says = f"{where} wants {node}, which is not there"
        others = ", ".join(str(each.path) for each in cameras if each.kind == "v4l2")
        cure = f"write `device: {others}`" if others else "plug it in, or correct `device`"
        yield problem("camera", says, cure, node=str(node))
        return
    real = node.resolve()
    camera = next((each for each in cameras if each.node == real), None)
    if camera is None or (camera.trouble and camera.kind != "ribbon"):
        return
    if camera.kind == "ribbon":
        says = f"{where} opens {node} through V4L2, and it is on the camera port"
        yield problem("camera", says, "write `type: picamera`", node=str(node))
        return
    formats = {each.fourcc: each.sizes for each in camera.formats}
    if formats and options.fourcc not in formats:
        says = f"{where} asks {node} for {options.fourcc}, which it does not give"
        yield warning("camera", says, f"write `fourcc: {next(iter(formats))}`", node=str(node))
        return
    sizes = [(size.width, size.height) for size in formats.get(options.fourcc, ())]
    if sizes and (options.width, options.height) not in sizes and len(sizes) > 2:  # noqa: PLR2004
        asked = options.width * options.height
        near = sorted(sizes, key=lambda size: abs(size[0] * size[1] - asked))[:SHOWN]
        shown = ", ".join(f"{width}x{height}" for width, height in near)
        says = f"{where} asks {node} for {options.width}x{options.height}, and gets the nearest"
        yield warning("camera", says, f"write a size it has: {shown}", node=str(node))

"""Accelerators: which are plugged in, which runtime is there, whether models run on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.bundled_files import bundled
from edge.doctor.accelerators import EdgeTpu, edgetpu_library, edgetpu_package, find_edge_tpus
from edge.doctor.finding import Check, Finding, ok, problem, warning
from edge.supervisor.probing import LIMIT_S, probe_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.model import Model
    from edge.doctor.patient import Patient

USB_2_MBPS = 480
DRIVER = "install the driver gasket-dkms: see Accelerators in the README"
LIBRARY_IS_MISSING = "install libedgetpu: see Accelerators in the README for which one"


class Accelerators(Check):
    """Whether an accelerator that is there, or that is asked for, can be used."""

    name = "accelerators"
    group = "devices"
    limit_s = 4 * LIMIT_S

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Look at the buses and the libraries, then try each model that wants an accelerator."""
        devices = find_edge_tpus(patient)
        library, package = edgetpu_library(patient), edgetpu_package(patient)
        for device in devices:
            yield _told(device)
        if devices and library is None:
            yield problem("libedgetpu", "is not installed", LIBRARY_IS_MISSING)
        elif library is not None:
            says = f"{package or 'of unknown origin'} at {library}"
            yield ok("libedgetpu", says, file=str(library), package=package)
        wanted = list(_wanted(patient))
        if not devices and not wanted:
            yield ok("accelerator", "none is plugged in, and none is asked for", devices=0)
        for where, model in wanted:
            yield _tried(where, model)
        if devices and library is not None and not wanted:
            yield _tried_alone()


def _told(device: EdgeTpu) -> Finding:
    facts = {
        "bus": device.bus,
        "where": device.where,
        "node": str(device.node) if device.node else None,
        "fresh": device.fresh,
        "usb_mbps": device.usb_mbps,
    }
    says = f"Edge TPU on {device.bus.upper()} ({device.where})"
    if device.bus == "pci" and device.node is None:
        return problem("accelerator", f"{says}, but there is no /dev/apex_0", DRIVER, **facts)
    if device.usb_mbps is not None and device.usb_mbps <= USB_2_MBPS:
        says += f", at {device.usb_mbps} Mbit/s: each frame waits for a slow port"
        return warning("accelerator", says, "plug it into a USB 3 port (a blue one)", **facts)
    says += ", its firmware is loaded at first use" if device.fresh else ""
    return ok("accelerator", says, **facts)


def _wanted(patient: Patient) -> Iterator[tuple[str, Model]]:
    for name, pipeline in patient.device.pipelines.items() if patient.device else ():
        if pipeline.model.accelerator is not None and pipeline.model.path.exists():
            yield f"pipelines.{name}", pipeline.model


def _tried(where: str, model: Model) -> Finding:
    """Try a model on its accelerator, in a process of its own."""
    probed = probe_now(model)
    title = model.accelerator.title if model.accelerator else ""
    facts = {"engine": probed.engine, "cause": probed.cause, "seconds": probed.seconds}
    if probed.ok:
        says = f"{where}: {model.path.name} runs on the {title} with {probed.engine}"
        return ok("accelerator", says, **facts)
    trouble, _, cure = probed.trouble.partition("; ")
    level = warning if model.fallback == "cpu" else problem
    return level("accelerator", f"{where}: {trouble}", cure or LIBRARY_IS_MISSING, **facts)


def _tried_alone() -> Finding:
    """Try a device that no pipeline asks for, with the bundled model: the CPU runs it all."""
    from edge.config.model import Model

    model = bundled("models/digits/digits.tflite")
    return _tried("bundled", Model.model_validate({"path": model, "accelerator": "edgetpu"}))

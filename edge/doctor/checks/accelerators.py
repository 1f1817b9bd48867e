"""Accelerators: which are plugged in, and which runtime for them is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.accelerators.coral.combinations import ADVISED, how_to_install
from edge.accelerators.coral.devices import USB_2_MBPS
from edge.bundled_files import bundled
from edge.config.model import Model
from edge.doctor.accelerators import edgetpu_library, edgetpu_package, find_edge_tpus
from edge.doctor.finding import Check, Finding, ok, problem, warning
from edge.engines.choose import installed
from edge.supervisor.probing import LIMIT_S, probe_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.accelerators.coral.devices import EdgeTpu
    from edge.doctor.patient import Patient

DRIVER = "install the driver gasket-dkms: see Accelerators in the README"
WHICH = "see Accelerators in the README: which library goes with which engine"


class Accelerators(Check):
    """Whether an accelerator that is there can be used."""

    name = "accelerators"
    group = "devices"
    limit_s = 2 * LIMIT_S + 5

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Look at the buses and the libraries; try a device that no pipeline has."""
        devices = find_edge_tpus(patient)
        library, package = edgetpu_library(patient), edgetpu_package(patient)
        for device in devices:
            yield _told(device)
        if devices and library is None:
            engine = next(iter(installed()), next(iter(ADVISED)))
            yield problem("libedgetpu", "is not installed", how_to_install(engine))
        elif library is not None:
            says = f"{package or 'of unknown origin'} at {library}"
            yield ok("libedgetpu", says, file=str(library), package=package)
        if not devices:
            yield ok("accelerator", "none is plugged in that is known here", devices=0)
        elif library is not None and not _wanted(patient):
            yield _tried()


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


def _wanted(patient: Patient) -> bool:
    """Whether a pipeline wants an accelerator: then it is tried with the rest of the YAML."""
    pipelines = patient.device.pipelines.values() if patient.device else ()
    return any(pipeline.model.accelerator is not None for pipeline in pipelines)


def _tried() -> Finding:
    """Try to open a device that no pipeline asks for; no model for it is bundled."""
    model = bundled("models/digits/digits.tflite")
    wanted = Model.model_validate({"path": model, "accelerator": "edgetpu"})
    probed = probe_now(wanted, with_model=False)
    facts = {"engine": probed.engine, "cause": probed.cause, "seconds": probed.seconds}
    if probed.ok:
        return ok("accelerator", f"{probed.engine} can open the Edge TPU", **facts)
    return problem("accelerator", probed.trouble, WHICH, **facts)

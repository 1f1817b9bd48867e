"""The device YAML: what `edge check` says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.doctor.device_file import look_through
from edge.doctor.finding import Check, Finding, ok, problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.patient import Patient

MEND = "correct that line, then `edge check {}`"


class Configuration(Check):
    """Whether the daemon would start with it."""

    name = "configuration"
    group = "configuration"
    limit_s = 60.0  # each model is loaded and run, and some are large

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Check everything that can be known without running it."""
        if patient.config is None:
            return
        for mistake in patient.mistakes:
            yield problem("configuration", mistake, MEND.format(patient.config))
        if patient.device is None:
            return
        found = look_through(patient.config, patient.device)
        for line in found.problems:
            yield problem("configuration", line, MEND.format(patient.config))
        for note in found.notes:
            yield warning("configuration", note, "see Security in the README")
        for trouble in found.without:
            says = f"{trouble}; it runs on the CPU until then"
            yield warning("accelerator", says, "see Accelerators in the README")
        for remark in found.slow:
            yield warning("accelerator", remark, "see Accelerators in the README")
        if not found.problems:
            pipelines = patient.device.pipelines
            says = f"{patient.config}: ok, device {patient.device.device}, "
            says += f"{len(pipelines)} pipeline{'s' if len(pipelines) > 1 else ''}"
            yield ok("configuration", says, pipelines=list(pipelines), described=found.described)

"""The engines: each runs the bundled model once, in a process that it may take with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.bundled_files import bundled
from edge.doctor.aside import Said, ask
from edge.doctor.finding import Check, Finding, ok, problem, warning
from edge.doctor.packages import pip_install
from edge.engines.choose import DISTRIBUTIONS, installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.doctor.patient import Patient

LIMIT_S = 25.0  # of one engine; under an emulator an import alone takes seconds
INSTALL = pip_install("ai-edge-litert") + "  (64-bit; else tflite-runtime, Python up to 3.11)"
CURES = (  # a part of what is said, and what to do
    ("GLIBC", "update the system: Debian 12, Raspberry Pi OS Bookworm or newer"),
    ("numpy", pip_install("'numpy<2'")),
    ("ARRAY_API", pip_install("'numpy<2'")),
    ("ELF load command", "see the line on page size"),
)


class Engines(Check):
    """Whether an engine is there that works."""

    name = "engines"
    group = "software"
    limit_s = 2 * LIMIT_S + 5

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Try each engine that is installed."""
        versions = installed()
        if not versions:
            yield problem("engine", "none is installed", INSTALL)
            return
        model = str(bundled("models/digits/digits.tflite"))
        said = {
            name: ask("edge.engines.loading", model, name, "1", limit_s=LIMIT_S)
            for name in versions
        }
        works = [name for name, one in said.items() if not trouble_of(one)]
        pipelines = patient.device.pipelines.values() if patient.device else ()
        wanted = {pipeline.model.engine for pipeline in pipelines} or {"auto"}
        for name, version in versions.items():
            trouble = trouble_of(said[name])
            if not trouble:
                (answer,) = said[name].answers
                first = f"runs the bundled model (first pass {answer['first_invoke_ms']:.2f} ms)"
                facts = {key: answer[key] for key in ("init_ms", "first_invoke_ms")}
                yield ok(name, f"{version}, {first}", version=version, **facts)
                continue
            # With another that works `engine: auto` would still take this one if it is the best.
            needed = (
                name in wanted or not works or ("auto" in wanted and name == next(iter(versions)))
            )
            tell = problem if needed else warning
            facts = {"version": version, "last_words": list(said[name].words)}
            todo = cure(name, trouble, works)
            yield tell(name, f"{version} does not work: {trouble}", todo, **facts)


def trouble_of(said: Said) -> str:
    """Return why an engine did not answer; empty where it did."""
    if said.answers and "failed" in said.answers[0]:
        return str(said.answers[0]["message"])
    return said.trouble or ("" if said.answers else "it said nothing")


def cure(engine: str, trouble: str, works: Sequence[str] = ()) -> str:
    """Return what to do about an engine that does not work, where others may."""
    for part, what in CURES:
        if part in trouble:
            return what
    if works and "killed by" in trouble:
        return f"write `engine: {works[0]}` into the YAML: that one works"
    return pip_install("--force-reinstall", DISTRIBUTIONS[engine])

"""Which interpreter runs a model, on how many threads, and why; imports none of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from edge.errors import EngineError

if TYPE_CHECKING:
    from edge.engines.tuning import Tuning

DISTRIBUTIONS = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}
"""The engines by the name the YAML uses, best first, and what pip calls them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine that is installed, its threads, and the reason they were taken."""

    name: str
    version: str
    reason: str
    threads: int = 1


def installed() -> dict[str, str]:
    """Return the versions of the engines that are installed, best first."""
    found = {}
    for name, distribution in DISTRIBUTIONS.items():
        try:
            found[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return found


def in_words(engine: str, threads: int) -> str:
    """Return `litert, 2 threads`."""
    return f"{engine}, {threads} thread{'s' if threads > 1 else ''}"


def choose(
    engine: str,
    threads: int | Literal["auto"] = "auto",
    *,
    tuning: Tuning | str | None = None,
    pipeline: str = "",
    digest: str = "",
) -> Choice:
    """Return what runs a model for `engine` and `threads` of the configuration.

    `auto` takes what `tuning` says of `pipeline`; where there is none, or none that holds for
    this model (`digest`) and machine, it takes LiteRT, else tflite-runtime, and one thread. A
    `tuning` that is a text says why there is none. Nothing is measured here. Raises EngineError
    when the wanted engine is not installed.
    """
    versions = installed()
    note = ""
    if isinstance(tuning, str):
        note = f"; {tuning}"
    elif tuning is not None and "auto" in {engine, threads}:
        from edge.engines.cpu import this_cpu  # brings pydantic, which a probe does without

        void = tuning.why_void(
            pipeline,
            engine=engine,
            threads=threads,
            digest=digest,
            versions=versions,
            cpu=this_cpu(),
        )
        tuned = tuning.pipelines[pipeline]
        if void is None:
            reason = f"tuned {tuning.day}: {tuned.because}"
            return Choice(tuned.engine, versions[tuned.engine], reason, tuned.threads)
        note = f"; the tuning of {tuning.day} is void: {void}"
    name, reason = _by_rule(engine, versions)
    return Choice(name, versions[name], reason + note, 1 if threads == "auto" else threads)


def _by_rule(wanted: str, versions: dict[str, str]) -> tuple[str, str]:
    """Return the engine to take without a tuning, and the reason."""
    if wanted != "auto":
        if wanted in versions:
            return wanted, "asked for by name"
        others = ", ".join(versions) or "none is"
        raise EngineError(
            f"the engine {wanted} is not installed (installed: {others}); "
            f"`pip install {DISTRIBUTIONS[wanted]}`, or write `engine: auto`"
        )
    if "litert" in versions:
        return "litert", "auto: it is the faster one and is installed"
    if "tflite-runtime" in versions:
        return "tflite-runtime", "auto: LiteRT is not installed"
    raise EngineError(
        "no engine is installed: `pip install ai-edge-litert` (64-bit) or "
        "`pip install tflite-runtime` (Python up to 3.11)"
    )

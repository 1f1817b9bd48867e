"""Which interpreter runs a model, and why; imports none of them."""

from dataclasses import dataclass
from importlib import metadata

from edge.errors import EngineError

DISTRIBUTIONS = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}
"""The engines by the name the YAML uses, best first, and what pip calls them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine that is installed, and the reason it was taken."""

    name: str
    version: str
    reason: str


def installed() -> dict[str, str]:
    """Return the versions of the engines that are installed, best first."""
    found = {}
    for name, distribution in DISTRIBUTIONS.items():
        try:
            found[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return found


def choose(wanted: str) -> Choice:
    """Return the engine for `engine: WANTED`; `auto` takes LiteRT, else tflite-runtime.

    Nothing is measured here. Raises EngineError when the wanted one is not installed.
    """
    versions = installed()
    if wanted != "auto":
        if wanted in versions:
            return Choice(wanted, versions[wanted], "asked for by name")
        others = ", ".join(versions) or "none is"
        raise EngineError(
            f"the engine {wanted} is not installed (installed: {others}); "
            f"`pip install {DISTRIBUTIONS[wanted]}`, or write `engine: auto`"
        )
    if "litert" in versions:
        why = "it is the faster one and is installed"
        return Choice("litert", versions["litert"], f"auto: {why}")
    if "tflite-runtime" in versions:
        return Choice("tflite-runtime", versions["tflite-runtime"], "auto: LiteRT is not installed")
    raise EngineError(
        "no engine is installed: `pip install ai-edge-litert` (64-bit) or "
        "`pip install tflite-runtime` (Python up to 3.11)"
    )

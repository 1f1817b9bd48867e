"""Compares models on one data set: size, latency measured in turns, held-out accuracy."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.catalogue.card import read_card
from edge.config.labels import read_labels
from edge.engines.model_file import read_model_file
from edge.errors import ConfigError
from edge.lab.ranking import pareto_front
from edge.lab.table import Table, ms
from edge.supervisor.trial import ask
from edge.workshop.evaluate import agreement, classifies, outputs_of, score
from edge.workshop.float_model import SAVED_MODEL, open_model
from edge.workshop.measure import measure, ratio, slices
from edge.workshop.network import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge.engines.model_summary import ModelSummary
    from edge.lab.machine import Machine
    from edge.lab.statistics import Ratio
    from edge.workshop.data import Data
    from edge.workshop.evaluate import Score
    from edge.workshop.measure import Cost

PACKING = 9  # zlib's best
PARETO_OF = (
    "no other is at least as small (file), as fast (P50, to two digits) and as accurate, and "
    "better in one of them"
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that is compared."""

    name: str
    """Of its folder, or of its file, as it was named."""
    path: Path
    summary: ModelSummary
    options: dict[str, Any]
    """`resize`, `interpolation`, `colour`, `mean`, `std`, where its card tells them."""
    labels: list[str]
    """Names of its outputs, where its folder has them."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of its input, without the batch."""
        return self.summary.inputs[0].shape[1:]


@dataclass(frozen=True, slots=True)
class Compared:
    """What was found of one model."""

    model: Candidate
    cost: Cost
    packed_bytes: int
    """After deflate at its best: what it takes where files travel compressed."""
    accuracy: Score
    agreement: Score
    """With the first model: how often both answer the same class, right or wrong."""
    to_the_first: Ratio | None
    """Its median latency / the first one's; None for the first, and of too few slices."""
    pareto: bool

    @property
    def p50_ms(self) -> float:
        """The median latency of its forward pass."""
        return self.cost.subject.latency_ms.median

    @property
    def as_json(self) -> dict[str, Any]:
        """What `--json` prints of it."""
        ratio = self.to_the_first
        return {
            "model": self.model.name,
            "digest": self.model.summary.sha256,
            "size_bytes": self.cost.size_bytes,
            "packed_bytes": self.packed_bytes,
            "macs": self.cost.macs,
            "accuracy": self.accuracy.card,
            "agreement": self.agreement.card,
            "latency_ms": self.cost.subject.latency_ms.model_dump(mode="json"),
            "p50_to_the_first": ratio._asdict() if ratio is not None else None,
            "rss_bytes": self.cost.subject.rss_bytes,
            "pareto": self.pareto,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of them, in the order they were named."""

    at: str
    """UTC, by this machine's clock."""
    machine: Machine
    engine: str
    threads: int
    seconds: float
    """Each was measured at least so long."""
    data: Data
    models: list[Compared]

    @property
    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "format": "edge-compare",
            "version": 1,
            "at": self.at,
            "machine": self.machine.model_dump(mode="json"),
            "engine": self.engine,
            "threads": self.threads,
            "seconds": self.seconds,
            "data": self.data.card,
            "pareto_of": PARETO_OF,
            "models": [each.as_json for each in self.models],
        }


def candidate(path: Path, scratch: Path) -> Candidate:
    """Read a .tflite file, the model of a folder with a card, or what `open_model` takes.

    A Keras network or a SavedModel is compared as the float .tflite that TensorFlow makes of it,
    in the folder `scratch`. Raises ConfigError where there is none or it takes several inputs,
    CardError or ModelError for a damaged one.
    """
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file or folder")
    name, options, labels = path.resolve().name, {}, None
    if path.is_dir() and not (path / SAVED_MODEL).exists():
        card = read_card(path)
        file, options, labels = path / card.model, card.pipeline.model, card.file_of("labels")
    elif path.is_file() and path.suffix not in SUFFIXES:
        file = path
    else:
        file = scratch / f"{len(list(scratch.iterdir()))}.tflite"
        file.write_bytes(open_model(path).as_float())
    summary = read_model_file(file)
    if len(summary.inputs) != 1:
        raise ConfigError(f"{path}: takes {len(summary.inputs)} inputs; one is needed")
    return Candidate(name, file, summary, options, read_labels(path / labels if labels else None))


def compare(
    candidates: Sequence[Candidate],
    parts: Sequence[Data],
    *,
    at: str,
    machine: Machine,
    seconds: float,
    engine: str,
    threads: int,
    on_step: Callable[[str, int], Callable[[], None]],
) -> Comparison:
    """Run every model on the held-out part of its data, and measure all of them in turns.

    `parts` are the same data set as each model takes it; `on_step` is as `edge.cli.progress` has
    it. Raises ConfigError where they cannot be compared.
    """
    on_sample = on_step("running what is held out", sum(len(data.test) for data in parts))
    outputs = []
    for each, data in zip(candidates, parts, strict=True):
        if data.classes != parts[0].classes:
            raise ConfigError(
                f"{each.name}: its classes are named otherwise, or in another order, than those of "
                f"{candidates[0].name}: name them for all with --labels"
            )
        # In a process of its own, before it is let in here: a file may take its interpreter along.
        ask("edge.engines.loading", each.path, engine, str(threads))
        output = outputs_of(each.path, data.test.x, engine=engine, on_sample=on_sample)[0]
        if not classifies(output.shape, len(data.classes)):
            raise ConfigError(
                f"{each.name}: its output {list(output.shape[1:])} does not tell "
                f"{len(data.classes)} classes apart"
            )
        outputs.append(output)
    scores = [score(output, data.test) for output, data in zip(outputs, parts, strict=True)]
    paths = [each.path for each in candidates]
    costs = measure(
        paths,
        seconds=seconds,
        engine=engine,
        threads=threads,
        on_slice=on_step("measuring", slices(paths, seconds)),
    )
    front = pareto_front(
        [
            (cost.size_bytes, to_two_digits(cost.subject.latency_ms.median), -found.right)
            for cost, found in zip(costs, scores, strict=True)
        ]
    )
    first = costs[0]
    return Comparison(
        at=at,
        machine=machine,
        engine=f"{first.subject.engine} {first.subject.engine_version}",
        threads=threads,
        seconds=seconds,
        data=parts[0],
        models=[
            Compared(
                model=each,
                cost=cost,
                packed_bytes=len(zlib.compress(each.path.read_bytes(), PACKING)),
                accuracy=found,
                agreement=agreement(output, outputs[0]),
                to_the_first=ratio(cost, first) if cost is not first else None,
                pareto=marked,
            )
            for each, cost, found, output, marked in zip(
                candidates, costs, scores, outputs, front, strict=True
            )
        ],
    )


def to_two_digits(p50_ms: float) -> float:
    """Return a latency as it is weighed: what is less than that apart, a second run may swap."""
    return float(f"{p50_ms:.2g}")


def comparison_table(comparison: Comparison) -> Table:
    """Return the figures of each model, the front marked with a star; times in milliseconds."""
    rows = []
    for each in comparison.models:
        ratio, latency = each.to_the_first, each.cost.subject.latency_ms
        rows.append(
            [
                "*" if each.pareto else "",
                each.model.name,
                f"{each.cost.size_bytes / 1e3:,.1f}",
                f"{each.packed_bytes / 1e3:,.1f}",
                f"{each.cost.macs / 1e6:,.2f}",
                str(each.accuracy),
                f"{each.agreement.share:.2%}",
                ms(each.p50_ms),
                ms(latency.p99),
                f"{ratio.value:.2f} ({ratio.low:.2f}-{ratio.high:.2f})" if ratio else "-",
            ]
        )
    header = ["", "model", "kB", "packed kB", "MMACs", "accuracy", "same answer", "P50", "P99"]
    return Table([*header, "P50 / first"], rows, left=frozenset({"", "model"}), keys=2)

"""Metrics in the Prometheus text exposition format, version 0.0.4.

The format is https://prometheus.io/docs/instrumenting/exposition_formats/; names and units follow
https://prometheus.io/docs/practices/naming/: seconds and bytes, `_total` for counters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.health import HELD_BACK_BY
from edge.latency.hdr_codec import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge.health import Health
    from edge.messages import (
        AcceleratorFigures,
        CacheFigures,
        Distribution,
        Dropped,
        LadderFigures,
        Metrics,
        Percentiles,
        ShadowFigures,
        SourceFigures,
    )

BOUNDS_US = tuple(factor * 10**power for power in range(2, 7) for factor in (1, 2, 5))
"""The buckets' upper bounds, 0.1 ms to 5 s."""
PERCENTILES = ("p50", "p90", "p95", "p99", "p99_9", "max")

Labels = dict[str, str]
Sample = tuple[str, Labels, float]
"""What follows the family's name, labels, value."""


class Families:
    """Samples by family: the format wants all of a family together."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str, str], list[Sample]] = {}

    def add(self, kind: str, name: str, text: str, samples: Iterable[Sample]) -> None:
        """Add samples to the family `name`."""
        self._samples.setdefault((name, kind, text), []).extend(samples)

    def text(self) -> str:
        """Return the exposition."""
        return "".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for (name, kind, text), samples in self._samples.items():
            if not samples:
                continue
            yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
            for suffix, labels, value in samples:
                inner = ",".join(f'{key}="{_escaped(one)}"' for key, one in labels.items())
                yield f"{name}{suffix}{{{inner}}} {value!r}\n"


def exposition(reports: Sequence[Metrics], health: Health | None = None) -> str:
    """Return the newest metrics of each pipeline as one text; the last tells of the daemon.

    `health` is of the machine, where something is known of it.
    """
    families = Families()
    if health is not None:
        _add_health(families, health, {"device": health.device})
    for report in reports[-1:]:
        _add_daemon(families, report, {"device": report.device})
    for report in reports:
        labels = {"device": report.device, "pipeline": report.pipeline}
        _add_figures(families, "edge", report, labels)
        _add_pipeline(families, report, labels)
        for name, figures in (report.sources or {}).items():
            _add_figures(families, "edge_source", figures, labels | {"source": name})
    return families.text()


def _add_figures(
    families: Families, prefix: str, figures: Metrics | SourceFigures, labels: Labels
) -> None:
    """Add what is told of a pipeline and of each of its sources alike."""
    misses = figures.deadline_misses_total
    for kind, name, text, value in (
        ("counter", "frames_total", "Results, cached ones among them.", figures.frames_total),
        ("counter", "failed_total", "Frames not read or decoded.", figures.failed_total),
        ("counter", "deadline_misses_total", "Late results, and frames dropped for it.", misses),
        ("gauge", "fps", "Results a second in the last window.", figures.fps),
        ("gauge", "deadline_seconds", "The deadline.", _seconds(figures.deadline_ms)),
    ):
        families.add(kind, f"{prefix}_{name}", text, [("", labels, value)])
    families.add(
        "counter",
        f"{prefix}_dropped_total",
        "Frames that got no result, by where they were lost.",
        _dropped(figures.dropped_total, labels),
    )
    families.add(
        "histogram",
        f"{prefix}_latency_seconds",
        "Capture to result of forward passes, since the pipeline was configured.",
        _histogram(figures.latency_total_ms, labels),
    )


def _add_daemon(families: Families, report: Metrics, labels: Labels) -> None:
    """Add what is the same for all pipelines."""
    for kind, name, text, value in (
        ("gauge", "supervisor_rss_bytes", "Its resident memory.", report.supervisor_rss_bytes),
        ("gauge", "waiting_messages", "Not acknowledged by the broker.", report.waiting),
        ("gauge", "spooled_messages", "Those of them on disk.", report.spooled),
        ("counter", "undelivered_total", "Messages given up.", report.undelivered_total),
    ):
        families.add(kind, f"edge_{name}", text, [("", labels, value)])
    if report.temperature_c is not None:
        text = "Of the device's hottest zone."
        families.add(
            "gauge", "edge_temperature_celsius", text, [("", labels, report.temperature_c)]
        )


def _add_health(families: Families, health: Health, labels: Labels) -> None:
    """Add what the machine tells of itself."""
    gauges: list[tuple[str, str, float | None]] = [
        ("uptime_seconds", "Since the machine started.", health.uptime_s),
        ("under_voltage", "Whether the power supply gives too little.", health.under_voltage),
        ("load1", "Load average over a minute.", health.load_1m),
        ("load5", "Load average over 5 minutes.", health.load_5m),
        ("load15", "Load average over 15 minutes.", health.load_15m),
    ]
    if memory := health.memory:
        gauges += [
            ("memory_bytes", "Memory there is.", memory.total_bytes),
            (
                "memory_available_bytes",
                "Memory to be had.",
                memory.available_bytes,
            ),
            ("swap_bytes", "Swap there is.", memory.swap_total_bytes),
            ("swap_free_bytes", "Swap that is free.", memory.swap_free_bytes),
        ]
    if disk := health.disk:
        gauges += [
            ("disk_bytes", "Size of the state directory's disk.", disk.total_bytes),
            ("disk_free_bytes", "Free on the state directory's disk.", disk.free_bytes),
        ]
    for name, text, value in gauges:
        if value is not None:
            families.add("gauge", f"edge_machine_{name}", text, [("", labels, float(value))])
    if (throttled := health.throttled) is not None:
        families.add(
            "gauge",
            "edge_machine_throttled",
            "Whether this holds the cores back.",
            [("", labels | {"by": word}, float(word in throttled)) for word in HELD_BACK_BY],
        )
    for name, text, field in (
        ("clock_hertz", "The clock of cores, by the first of them.", "mhz"),
        ("clock_min_hertz", "The least the kernel lets it be.", "min_mhz"),
        ("clock_max_hertz", "The most the kernel lets it be.", "max_mhz"),
    ):
        found = [(each.cores, getattr(each, field)) for each in health.clocks]
        samples: list[Sample] = [
            ("", labels | {"core": str(min(cores))}, mhz * 1e6)
            for cores, mhz in found
            if cores and mhz is not None
        ]
        families.add("gauge", f"edge_machine_{name}", text, samples)


def _add_pipeline(families: Families, report: Metrics, labels: Labels) -> None:
    """Add what only a pipeline has."""
    families.add(
        "gauge",
        "edge_latency_recent_seconds",
        "Percentiles of the latency over the last five minutes.",
        _percentiles(report.latency_recent_ms, labels),
    )
    for stage, spent in report.stages_ms.items():
        families.add(
            "gauge",
            "edge_stage_seconds",
            "Percentiles of each stage in the last window.",
            _percentiles(spent, labels | {"stage": stage}),
        )
    families.add(
        "gauge",
        "edge_acknowledged_seconds",
        "Percentiles of capture to the broker's acknowledgement in the last window.",
        _percentiles(report.acknowledged_ms, labels),
    )
    families.add(
        "gauge",
        "edge_rung",
        "Rung of the ladder; 0 is the pipeline as it is configured.",
        [("", labels, report.rung)],
    )
    if report.ladder is not None:
        _add_ladder(families, report.ladder, labels)
    if report.accelerator is not None:
        _add_accelerator(families, report.accelerator, labels)
    if report.shadow is not None:
        _add_shadow(families, report.shadow, labels)
    if report.cache is not None:
        _add_cache(families, report.cache, labels)
    if report.rss_bytes is not None:
        text = "Resident memory of the worker."
        families.add("gauge", "edge_worker_rss_bytes", text, [("", labels, report.rss_bytes)])


def _add_ladder(families: Families, ladder: LadderFigures, labels: Labels) -> None:
    families.add(
        "counter",
        "edge_ladder_steps_total",
        "Steps from one rung to the next.",
        [
            ("", labels | {"direction": "down"}, ladder.steps_down_total),
            ("", labels | {"direction": "up"}, ladder.steps_up_total),
        ],
    )
    families.add(
        "counter",
        "edge_ladder_seconds_total",
        "Spent on each rung.",
        [("", labels | {"rung": name}, spent) for name, spent in ladder.seconds_total.items()],
    )


def _add_accelerator(families: Families, figures: AcceleratorFigures, labels: Labels) -> None:
    for kind, name, text, value in (
        ("gauge", "in_use", "Whether it runs the model.", int(figures.in_use)),
        ("counter", "losses_total", "Times it could not be used.", figures.losses_total),
        ("counter", "cpu_seconds_total", "Spent without it.", figures.cpu_seconds_total),
    ):
        families.add(kind, f"edge_accelerator_{name}", text, [("", labels, value)])


def _add_shadow(families: Families, shadow: ShadowFigures, labels: Labels) -> None:
    own = labels | {"model": shadow.model, "digest": shadow.model_digest}
    for name, text, value in (
        ("frames", "Frames that the model in shadow was run on.", shadow.frames),
        ("agreed", "Frames of which it said the same as the other.", shadow.agreed),
        ("skipped", "Frames that it had no time for.", shadow.skipped),
        ("failed", "Frames that it could not answer.", shadow.failed),
    ):
        families.add("counter", f"edge_shadow_{name}_total", text, [("", own, value)])
    for who, spent in (("shadow", shadow.inference_ms), ("serving", shadow.serving_inference_ms)):
        families.add(
            "gauge",
            "edge_shadow_inference_seconds",
            "Percentiles of the forward passes on the same frames, of both models.",
            _percentiles(spent, own | {"of": who}),
        )


def _add_cache(families: Families, cache: CacheFigures, labels: Labels) -> None:
    for name, value in (("hits", cache.hits_total), ("misses", cache.misses_total)):
        text = f"The cache's {name}."
        families.add("counter", f"edge_cache_{name}_total", text, [("", labels, value)])
    families.add(
        "histogram",
        "edge_cache_latency_seconds",
        "Capture to result of the cache's hits, since the pipeline was configured.",
        _histogram(cache.latency_total_ms, labels),
    )


def _dropped(dropped: Dropped, labels: Labels) -> Iterator[Sample]:
    for where in ("mailbox", "deadline", "source", "skipped"):
        yield "", labels | {"where": where}, getattr(dropped, where)


def _percentiles(percentiles: Percentiles, labels: Labels) -> Iterator[Sample]:
    """Yield those there are; one that the sample is too small for is left out."""
    for name in PERCENTILES:
        value = getattr(percentiles, name, None)
        if value is not None:
            yield "", labels | {"percentile": name}, _seconds(value)


def _histogram(distribution: Distribution, labels: Labels) -> Iterator[Sample]:
    """Yield the cumulative buckets; a bound within a counter (0.1 % wide) leaves it above."""
    histogram = decode(distribution.hdr)
    for bound_us, count in zip(BOUNDS_US, histogram.counts_up_to(BOUNDS_US), strict=True):
        yield "_bucket", labels | {"le": str(bound_us / 1e6)}, count
    count = histogram.count
    yield "_bucket", labels | {"le": "+Inf"}, count
    yield "_sum", labels, round(histogram.mean * count / 1e6, 6)
    yield "_count", labels, count


def _seconds(milliseconds: float) -> float:
    return round(milliseconds / 1000, 9)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

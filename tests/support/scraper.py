"""Reads an exposition as Prometheus' own client library does, and compares it with metrics."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.health import HELD_BACK_BY
from edge.latency.hdr_codec import decode

PERCENTILES = ("p50", "p90", "p95", "p99", "p99_9", "max")


class Samples:
    """The samples of one exposition, by name and labels."""

    def __init__(self, text: str) -> None:
        """Raises ValueError where it is none, AssertionError where something stands twice."""
        self._values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self._unread = 0
        families = list(text_string_to_metric_families(text))
        assert len({family.name for family in families}) == len(families)
        for family in families:
            assert family.documentation
            assert family.type in {"counter", "gauge", "histogram"}, family.name
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self._values, key
                self._values[key] = sample.value
        lines = [line for line in text.split("\n") if line and not line.startswith("#")]
        assert len(lines) == len(self._values)

    def get(self, name: str, **labels: str) -> float | None:
        """Return one sample's value."""
        return self._values.get((name, frozenset(labels.items())))

    def of(self, name: str, **labels: str) -> dict[str, float]:
        """Return the values of all samples with one label more, by that label's value."""
        wanted = frozenset(labels.items())
        found = {}
        for (one, having), value in self._values.items():
            if one == name and wanted < having and len(having) == len(wanted) + 1:
                ((_, more),) = having - wanted
                found[more] = value
        return found


def assert_same(samples: Samples, metrics: dict[str, Any]) -> None:
    """Assert that the samples of a pipeline, and those of the daemon, say what its metrics say."""
    device = {"device": metrics["device"]}
    who = {**device, "pipeline": metrics["pipeline"]}
    assert samples.get("edge_supervisor_rss_bytes", **device) == metrics["supervisor_rss_bytes"]
    assert samples.get("edge_temperature_celsius", **device) == metrics["temperature_c"]
    assert samples.get("edge_waiting_messages", **device) == metrics["waiting"]
    assert samples.get("edge_spooled_messages", **device) == metrics["spooled"]
    assert samples.get("edge_undelivered_total", **device) == metrics["undelivered_total"]
    assert samples.get("edge_worker_rss_bytes", **who) == metrics["rss_bytes"]
    assert samples.get("edge_rung", **who) == metrics["rung"]
    _assert_figures(samples, "edge", metrics, who)
    for name, figures in (metrics["sources"] or {}).items():
        _assert_figures(samples, "edge_source", figures, {**who, "source": name})
    _assert_percentiles(samples, "edge_latency_recent_seconds", metrics["latency_recent_ms"], who)
    _assert_percentiles(samples, "edge_acknowledged_seconds", metrics["acknowledged_ms"], who)
    for stage, spent in metrics["stages_ms"].items():
        _assert_percentiles(samples, "edge_stage_seconds", spent, {**who, "stage": stage})
    cache = metrics["cache"] or {}
    for name in ("hits_total", "misses_total"):
        assert samples.get(f"edge_cache_{name}", **who) == cache.get(name)
    if cache:
        _assert_histogram(samples, "edge_cache_latency_seconds", cache["latency_total_ms"], who)
    if shadow := metrics["shadow"]:
        own = {**who, "model": shadow["model"], "digest": shadow["model_digest"]}
        for name in ("frames", "agreed", "skipped", "failed"):
            assert samples.get(f"edge_shadow_{name}_total", **own) == shadow[name]
        for of, spent in (("shadow", "inference_ms"), ("serving", "serving_inference_ms")):
            found = {**own, "of": of}
            _assert_percentiles(samples, "edge_shadow_inference_seconds", shadow[spent], found)
    ladder = metrics["ladder"] or {"seconds_total": {}}
    for way in ("down", "up"):
        steps = samples.get("edge_ladder_steps_total", **who, direction=way)
        assert steps == ladder.get(f"steps_{way}_total")
    assert samples.of("edge_ladder_seconds_total", **who) == ladder["seconds_total"]


def assert_machine(samples: Samples, health: dict[str, Any]) -> None:
    """Assert that the samples of the machine say what its health message says; null is absent."""
    device = {"device": health["device"]}
    memory, disk = health["memory"] or {}, health["disk"] or {}
    for name, value in (
        ("uptime_seconds", health["uptime_s"]),
        ("under_voltage", health["under_voltage"]),
        ("load1", health["load_1m"]),
        ("load5", health["load_5m"]),
        ("load15", health["load_15m"]),
        ("memory_bytes", memory.get("total_bytes")),
        ("memory_available_bytes", memory.get("available_bytes")),
        ("swap_bytes", memory.get("swap_total_bytes")),
        ("swap_free_bytes", memory.get("swap_free_bytes")),
        ("disk_bytes", disk.get("total_bytes")),
        ("disk_free_bytes", disk.get("free_bytes")),
    ):
        assert samples.get(f"edge_machine_{name}", **device) == value, name
    throttled = health["throttled"]
    by = samples.of("edge_machine_throttled", **device)
    assert by == {
        word: word in throttled for word in (HELD_BACK_BY if throttled is not None else ())
    }
    for field, family in (("mhz", "clock"), ("min_mhz", "clock_min"), ("max_mhz", "clock_max")):
        told = {str(each["cores"][0]): each[field] for each in health["clocks"] if each["cores"]}
        hertz = samples.of(f"edge_machine_{family}_hertz", **device)
        assert hertz == {core: mhz * 1e6 for core, mhz in told.items() if mhz is not None}


def _assert_figures(
    samples: Samples, prefix: str, figures: dict[str, Any], labels: dict[str, str]
) -> None:
    for name in ("frames_total", "failed_total", "deadline_misses_total", "fps"):
        assert samples.get(f"{prefix}_{name}", **labels) == figures[name]
    deadline_s = samples.get(f"{prefix}_deadline_seconds", **labels)
    assert deadline_s == pytest.approx(figures["deadline_ms"] / 1000)
    assert samples.of(f"{prefix}_dropped_total", **labels) == figures["dropped_total"]
    _assert_histogram(samples, f"{prefix}_latency_seconds", figures["latency_total_ms"], labels)


def _assert_percentiles(
    samples: Samples, name: str, figures: dict[str, Any], labels: dict[str, str]
) -> None:
    """Those that are null must not be there."""
    told = {name: figures.get(name) for name in PERCENTILES}
    expected = {name: pytest.approx(ms / 1000) for name, ms in told.items() if ms is not None}
    assert samples.of(name, **labels) == expected


def _assert_histogram(
    samples: Samples, name: str, figures: dict[str, Any], labels: dict[str, str]
) -> None:
    """Each bucket counts what the HDR histogram of the metrics has up to its bound."""
    histogram = decode(figures["hdr"])
    count = figures["count"]
    assert samples.get(f"{name}_count", **labels) == count == histogram.count
    mean_ms = figures["mean"] or 0
    rounding = 1e-6 + 0.5e-6 * count  # of the sum, and of the mean told in the metrics
    total = samples.get(f"{name}_sum", **labels)
    assert total == pytest.approx(mean_ms / 1000 * count, abs=rounding)
    buckets = samples.of(f"{name}_bucket", **labels)
    assert buckets.pop("+Inf") == count
    assert len(buckets) > 10
    for bound, below in buckets.items():
        # Half a rank off, for percentiles are made of floats.
        bound_us = float(bound) * 1e6
        if below:
            assert histogram.percentile(100 * (below - 0.5) / count) <= bound_us
        if below < count:
            assert histogram.percentile(100 * (below + 0.5) / count) > bound_us

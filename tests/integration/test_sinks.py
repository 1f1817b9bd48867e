"""Sinks beside the broker say what MQTT says, in one run."""

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from parties import Daemon, Listener, Mosquitto, device, free_port, wait_for_port

from edge.config.load import load
from edge.errors import ConfigError
from edge.latency.hdr_codec import decode

SAMPLE = re.compile(r"(\w+)\{(.*)\} (\S+)")
LABELS = '{device="dev",pipeline="digits"'
Start = Callable[..., Daemon]


def read(text: str) -> dict[str, float]:
    """Return the samples by name and labels, after a look at every line."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            key = f"{match[1]}{{{match[2]}}}"
            assert key not in found
            found[key] = float(match[3])
    return found


def assert_same(samples: dict[str, float], metrics: dict[str, Any]) -> None:
    def sample(name: str, more: str = "") -> float | None:
        return samples.get(f"edge_{name}{LABELS}{more}}}")

    for name in ("frames_total", "failed_total", "deadline_misses_total", "undelivered_total"):
        assert sample(name) == metrics[name]
    assert sample("fps") == metrics["fps"]
    assert sample("deadline_seconds") == metrics["deadline_ms"] / 1000
    assert sample("worker_rss_bytes") == metrics["rss_bytes"]
    assert sample("supervisor_rss_bytes") == metrics["supervisor_rss_bytes"]
    assert sample("waiting_messages") == metrics["waiting"]
    for where, count in metrics["dropped_total"].items():
        assert sample("dropped_total", f',where="{where}"') == count
    for quantile, name in {"0.5": "p50", "0.99": "p99", "1": "max"}.items():
        for sample_name, figures, more in [
            ("latency_recent_seconds", metrics["latency_recent_ms"], ""),
            ("acknowledged_seconds", metrics["acknowledged_ms"], ""),
            *(("stage_seconds", one, f',stage="{s}"') for s, one in metrics["stages_ms"].items()),
        ]:
            value = sample(sample_name, f'{more},quantile="{quantile}"')
            assert value == (None if figures[name] is None else pytest.approx(figures[name] / 1000))
    histogram = decode(metrics["latency_total_ms"]["hdr"])
    assert sample("latency_seconds_count") == histogram.count
    mean = metrics["latency_total_ms"]["mean"] / 1000
    rounding = 1e-6 + 0.5e-6 * histogram.count  # of the sum, and of the mean told in the metrics
    assert sample("latency_seconds_sum") == pytest.approx(mean * histogram.count, abs=rounding)
    buckets = {
        re.findall('le="(.*)"', key)[0]: value
        for key, value in samples.items()
        if key.startswith("edge_latency_seconds_bucket")
    }
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets.pop("+Inf") == histogram.count
    for bound, count in buckets.items():
        share = 100 * count / histogram.count
        assert not share or histogram.percentile(share) <= float(bound) * 1e6
        assert (
            count == histogram.count
            or histogram.percentile(100 * (count + 1) / histogram.count) > float(bound) * 1e6
        )


def test_all_sinks_say_what_mqtt_says(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str, tmp_path: Path
) -> None:
    lines, textfile = tmp_path / "out.jsonl", tmp_path / "edge.prom"
    text = (
        f"sinks: [{{type: jsonl, path: {lines}, messages: [predictions, metrics]}}, "
        f"{{type: prometheus, path: {textfile}}}]\n{device(broker, f'  digits: {digits_30fps}')}"
    )
    daemon = start(text, "--max-frames", "120")
    assert daemon.wait() == 0, daemon.log
    listener.wait_for("dev/status", lambda word: word == "offline")
    written = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [one for one in written if "sequence" in one] == listener.of("digits/predictions")
    assert [one for one in written if "fps" in one] == listener.of("digits/metrics")
    assert_same(read(textfile.read_text(encoding="utf-8")), listener.of("digits/metrics")[-1])
    assert sorted(tmp_path.glob("edge.prom*")) == [textfile]


def test_a_port_answers_scrapers_with_what_mqtt_says(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    text = f"sinks: [{{type: prometheus, port: {port}}}]\n"
    start(text + device(broker, f"  digits: {digits_30fps}", interval_s=0.5))
    wait_for_port(port)
    for request in (b"\r\n\r\n", b"GET /metrics" + b"x" * 20_000, b"\x16\x03\x01\0"):
        with socket.create_connection(("127.0.0.1", port)) as hostile:
            hostile.sendall(request)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{url}/")  # noqa: S310
    with urllib.request.urlopen(f"{url}/metrics") as answer:  # noqa: S310
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        samples = read(answer.read().decode())
    count = samples[f"edge_frames_total{LABELS}}}"]
    fps = samples[f"edge_fps{LABELS}}}"]
    same = listener.wait_for(
        "digits/metrics", lambda one: (one["frames_total"], one["fps"]) == (count, fps)
    )
    assert_same(samples, same)


@pytest.mark.parametrize("options", ["", ", port: 9469, path: x.prom", ", path: x.txt"])
def test_one_place_for_prometheus_is_asked_for(
    options: str, broker: Mosquitto, digits_30fps: str, tmp_path: Path
) -> None:
    file = tmp_path / "device.yaml"
    text = f"sinks: [{{type: prometheus{options}}}]\n"
    file.write_text(text + device(broker, f"  digits: {digits_30fps}"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"`path`"):
        load(file)

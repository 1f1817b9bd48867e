"""The state of a fleet: who is there, what counts, what is bounded."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_fleet import SimulatedDevice, pooled

from edge.fleet import fleet as fleet_module
from edge.fleet.fleet import FIRST_REPORT_S, PATIENCE_S, DeviceKey, Fleet
from edge.fleet.overview import Overview, Row, Whole
from edge.latency.hdr_codec import encode
from edge.latency.histogram import Histogram


def heard(fleet: Fleet, topic: str, payload: Any, *, retained: bool = False, at: float = 0) -> None:
    """Let the fleet hear a message; what is neither bytes nor text becomes JSON."""
    if isinstance(payload, str):
        payload = payload.encode()
    elif not isinstance(payload, bytes):
        payload = json.dumps(payload).encode()
    fleet.take(topic, payload, retained=retained, now_s=at)


def a_fleet(*devices: SimulatedDevice, over: Any = "recent", at: float = 0) -> Fleet:
    """A fleet of these, each online and with a report."""
    fleet = Fleet(["edge"], over)
    for device in devices:
        heard(fleet, device.status, "online", retained=True, at=at)
        topic, payload = device.metrics()
        heard(fleet, topic, payload, at=at)
    return fleet


def devices(count: int, frames: int = 50) -> list[SimulatedDevice]:
    """So many devices that have answered frames."""
    made = [SimulatedDevice(f"pi-{number}") for number in range(count)]
    for device in made:
        device.work(frames)
    return made


def look(fleet: Fleet, at: float = 0) -> tuple[Whole, dict[str, Row]]:
    """Look at the fleet; return its figures and the rows by name."""
    whole, rows = Overview(fleet).look(at)
    return whole, {row.name: row for row in rows.values()}


def test_the_fleets_percentiles_are_those_of_all_samples_together() -> None:
    some = devices(7, frames=300)
    whole, _ = look(a_fleet(*some))
    expected = pooled(some)
    assert whole.latency_ms.count == expected.count == 7 * 300
    assert whole.latency_ms.p50 == expected.percentile(50) / 1000
    assert whole.latency_ms.p99 == expected.percentile(99) / 1000
    assert whole.latency_ms.p99_9 == expected.percentile(99.9) / 1000
    assert whole.latency_ms.max == expected.max / 1000
    exact = sorted(sample for device in some for sample in device.samples_us)[
        7 * 300 * 99 // 100 - 1
    ]
    assert whole.latency_ms.p99 == pytest.approx(exact / 1000, rel=0.001)


def test_a_report_replaces_the_one_before() -> None:
    (device,) = devices(1)
    fleet = a_fleet(device)
    device.work(70)
    heard(fleet, *device.metrics())
    whole, rows = look(fleet)
    assert whole.latency_ms.count == rows["pi-0"].latency_ms.count == 50 + 70
    assert whole.latency_ms.p99 == pooled([device]).percentile(99) / 1000


@pytest.mark.parametrize(("over", "count"), [("window", 70), ("recent", 120), ("total", 120)])
def test_latencies_are_over_the_stretch_of_time_that_is_asked_for(over: Any, count: int) -> None:
    (device,) = devices(1)
    fleet = a_fleet(device, over=over)
    device.work(70)
    heard(fleet, *device.metrics())
    assert look(fleet)[0].latency_ms.count == count


def test_a_look_again_finds_the_same_without_new_reports() -> None:
    overview = Overview(a_fleet(*devices(3)))
    assert overview.look(0) == overview.look(0)


def test_a_row_is_of_all_pipelines_of_its_device() -> None:
    (device, other) = devices(2)
    fleet = a_fleet(device)
    heard(fleet, *device.metrics(waiting=3, undelivered_total=2))
    other.name = "pi-0"
    heard(fleet, *other.metrics("second", rung=2, rung_name="small", waiting=3))
    row = look(fleet)[1]["pi-0"]
    assert row.fps == 5.0
    assert (row.rung, row.rung_name) == (2, "small")
    assert row.latency_ms.count == 100
    assert row.waiting == 3  # of the device, not of each
    assert row.undelivered_total == 2


def test_an_offline_device_is_shown_and_counts_in_no_figure() -> None:
    gone, here = devices(2)
    fleet = a_fleet(gone, here)
    heard(fleet, gone.status, "offline", at=5)
    whole, rows = look(fleet, at=8)
    assert (rows["pi-0"].state, rows["pi-0"].current) == ("offline", False)
    assert rows["pi-0"].fps == 5.0  # its last
    assert rows["pi-0"].seen_s == 3
    assert whole.states == {"online": 1, "failed": 0, "silent": 0, "offline": 1}
    assert (whole.current, whole.fps, whole.latency_ms.count) == (1, 5.0, 50)


def test_a_device_that_reports_no_more_is_silent_and_counts_no_more() -> None:
    (device,) = devices(1)
    device.work(1, seconds=20)  # its window is 30 s long by then
    fleet = a_fleet(device)
    assert look(fleet, at=90)[1]["pi-0"].state == "online"
    whole, rows = look(fleet, at=91)
    assert rows["pi-0"].state == "silent"
    assert (whole.current, whole.latency_ms.count, whole.latency_ms.p50) == (0, 0, None)


def test_a_short_interval_has_some_patience_all_the_same() -> None:
    device = SimulatedDevice("pi-0")
    device.work(1, seconds=1)
    fleet = a_fleet(device)
    assert look(fleet, at=PATIENCE_S)[0].current == 1
    assert look(fleet, at=PATIENCE_S + 1)[0].current == 0


def test_a_window_that_a_change_of_rung_cut_short_makes_nobody_silent() -> None:
    device = SimulatedDevice("pi-0")
    device.work(1, seconds=60)
    fleet = a_fleet(device)
    device.work(1, seconds=1)
    heard(fleet, *device.metrics(), at=1)
    assert look(fleet, at=120)[0].current == 1


def test_a_device_that_never_reports_is_silent_after_a_while() -> None:
    fleet = Fleet(["edge"], "recent")
    heard(fleet, "edge/pi/status", "online", retained=True)
    assert look(fleet, at=FIRST_REPORT_S)[1]["pi"].state == "online"
    assert look(fleet, at=FIRST_REPORT_S + 1)[1]["pi"].state == "silent"


def test_what_the_broker_had_kept_does_not_count_as_heard() -> None:
    fleet = Fleet(["edge"], "recent")
    heard(fleet, "edge/pi/status", "offline", retained=True)
    assert look(fleet)[1]["pi"].seen_s is None


def test_a_failed_pipeline_is_seen_on_its_device() -> None:
    fleet = a_fleet(*devices(1))
    heard(fleet, "edge/pi-0/info", {"version": "1", "pipelines": {"main": {"state": "failed"}}})
    assert look(fleet)[1]["pi-0"].state == "failed"


def test_a_device_whose_status_is_removed_from_the_broker_is_gone() -> None:
    fleet = a_fleet(*devices(2))
    heard(fleet, "edge/pi-0/status", b"")
    whole, rows = look(fleet)
    assert rows.keys() == {"pi-1"}
    assert whole.latency_ms.count == 50


def test_a_pipeline_that_a_reload_removed_is_gone() -> None:
    (device,) = devices(1)
    fleet = a_fleet(device)
    heard(fleet, *device.metrics("second"))
    info = {"pipelines": {"second": {"state": "running"}}}
    heard(fleet, "edge/pi-0/info", info)
    names = [row.name for row in Overview(fleet).pipelines(DeviceKey("edge", "pi-0"), 0)]
    assert names == ["second"]


def test_the_same_name_under_two_base_topics_is_two_devices() -> None:
    fleet = Fleet(["edge", "edge/north"], "recent")
    for base in fleet.bases:
        device = SimulatedDevice("pi", base=base)
        device.work(10)
        heard(fleet, device.status, "online")
        heard(fleet, *device.metrics())
    whole, rows = look(fleet)
    assert rows.keys() == {"edge/pi", "edge/north/pi"}
    assert whole.latency_ms.count == 20


def test_it_is_known_whose_reports_are_still_to_come() -> None:
    (device,) = devices(1)
    fleet = Fleet(["edge"], "recent")
    assert fleet.awaited == 0
    heard(fleet, device.status, "online")
    heard(fleet, "edge/other/status", "offline")
    states = {"main": {"state": "running"}, "second": {"state": "running"}}
    heard(fleet, "edge/pi-0/info", {"pipelines": states})
    assert fleet.awaited == 1
    heard(fleet, *device.metrics())
    assert fleet.awaited == 1
    heard(fleet, *device.metrics("second"))
    assert fleet.awaited == 0


def test_an_event_that_was_delivered_twice_is_kept_once() -> None:
    fleet = Fleet(["edge"], "recent")
    for number in (0, 1, 1, 2, 0):
        event = {"boot": "b", "pipeline": "main", "sequence": number, "event": "started"}
        heard(fleet, "edge/pi/main/events", event)
    kept = fleet.devices[DeviceKey("edge", "pi")].events
    assert [event.sequence for event in kept] == [0, 1, 2]


def test_of_many_events_the_last_ones_are_kept() -> None:
    fleet = Fleet(["edge"], "recent")
    for number in range(100):
        event = {"boot": "b", "sequence": number, "event": "started", "message": "m" * 1000}
        heard(fleet, "edge/pi/events", event)
    kept = fleet.devices[DeviceKey("edge", "pi")].events
    assert [event.sequence for event in kept] == list(range(80, 100))
    assert max(len(event.message) for event in kept) == 300


def test_old_reports_that_somebody_retained_are_not_taken_for_new() -> None:
    (device,) = devices(1)
    fleet = Fleet(["edge"], "recent")
    topic, payload = device.metrics()
    heard(fleet, topic, payload, retained=True)
    assert not fleet.devices
    assert fleet.ignored == {"malformed": 1}


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"null", b"[]", b"{", b'"x"', b"\xff", b"[" * 100_000,
        b'{"fps": NaN}', b'{"fps": Infinity}', b'{"fps": 1e999}', b'{"fps": "9"}',
        b'{"fps": true}', b'{"fps": -1}', b'{"deadline_misses": 1.5}', b'{"rung": {}}',
        b'{"deadline_misses": ' + b"9" * 5000 + b"}", b'{"deadline_misses": 1000000000000000000}',
        b'{"dropped": []}', b'{"dropped": {"mailbox": "1"}}', b'{"boot": 1}',
        b'{"latency_recent_ms": {"hdr": 1}}', b'{"latency_recent_ms": "x"}',
        b'{"latency_recent_ms": {"hdr": "' + b"A" * 100_000 + b'"}}',
    ],
)  # fmt: skip
def test_payloads_that_no_device_sends_change_nothing(payload: bytes) -> None:
    fleet = Fleet(["edge"], "recent")
    heard(fleet, "edge/pi/main/metrics", payload)
    assert fleet.ignored == {"malformed": 1}
    assert not fleet.devices


@pytest.mark.parametrize(
    "payload",
    [
        {"throttled": "x"}, {"load_1m": -1}, {"memory": 1}, {"memory": {"total_bytes": 1.5}},
        {"disk": {"free_bytes": "1"}}, {"uptime_s": 1e300}, [],
    ],
)  # fmt: skip
def test_a_health_that_no_machine_has_changes_nothing(payload: Any) -> None:
    fleet = Fleet(["edge"], "recent")
    heard(fleet, "edge/pi/health", payload)
    assert fleet.ignored == {"malformed": 1}
    assert not fleet.devices


def test_what_holds_a_machine_back_is_told_beside_its_figures() -> None:
    (one, other) = devices(2)
    fleet = a_fleet(one, other)
    words = ["throttled", "under-voltage", "evil \x1b[2J"]
    heard(fleet, f"edge/{one.name}/health", {"throttled": words, "load_1m": 0.5})
    heard(fleet, f"edge/{other.name}/health", {"throttled": None})
    rows = look(fleet)[1]
    assert rows[one.name].held_back_by == "under-voltage, throttled"
    assert rows[other.name].held_back_by is None
    heard(fleet, f"edge/{one.name}/health", {"throttled": []})
    assert look(fleet)[1][one.name].held_back_by == ""


def test_what_a_device_does_not_tell_is_unknown_and_no_mistake() -> None:
    fleet = Fleet(["edge"], "recent")
    heard(fleet, "edge/pi/main/metrics", {"fps": 3})
    row = look(fleet)[1]["pi"]
    assert (row.fps, row.misses_total, row.rung_name, row.latency_ms.p50) == (3, None, None, None)


def an_hdr(histogram: Histogram) -> dict[str, Any]:
    """A payload with this histogram."""
    return {"fps": 1, "latency_recent_ms": {"hdr": encode(histogram)}}


def test_histograms_that_cannot_be_added_are_left_out_and_told() -> None:
    fleet = a_fleet(*devices(1))
    finer = Histogram(1, 3_600_000_000, 4)
    finer.record(5)
    endless = Histogram()
    endless.record(5, 1 << 62)
    heard(fleet, "edge/finer/main/metrics", an_hdr(finer))
    heard(fleet, "edge/endless/main/metrics", an_hdr(endless))
    heard(fleet, "edge/broken/main/metrics", {"latency_recent_ms": {"hdr": "AAAA"}})
    whole, rows = look(fleet)
    assert whole.histograms_left_out == 3
    assert whole.latency_ms.count == 50
    assert rows["finer"].latency_ms.count == 0


def test_a_flood_of_reports_costs_one_decoding_a_look() -> None:
    (device,) = devices(1)
    fleet = a_fleet(device)
    for _ in range(50):
        heard(fleet, *device.metrics())
    ticks = iter(range(100))
    assert fleet.pool.settle(at_most_s=1.5, clock=lambda: next(ticks)) == 0  # there was one


def test_what_was_not_decoded_in_time_has_its_turn_later() -> None:
    fleet = a_fleet(*devices(3))
    overview = Overview(fleet)
    whole, _ = overview.look(0, decoding_s=0)
    assert (whole.histograms_waiting, whole.latency_ms.count) == (3, 0)
    whole, _ = overview.look(0)
    assert (whole.histograms_waiting, whole.latency_ms.count) == (0, 150)


def test_invented_devices_and_pipelines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "MOST_DEVICES", 30)
    monkeypatch.setattr(fleet_module, "MOST_PIPELINES", 50)
    fleet = Fleet(["edge"], "recent")
    for number in range(100):
        heard(fleet, f"edge/pi-{number}/status", "online")
        heard(fleet, f"edge/pi-0/p{number}/metrics", {"fps": 1})
        heard(fleet, f"edge/pi-1/p{number}/metrics", {"fps": 1})
    states = {f"p{number}": {"state": "running"} for number in range(100)}
    heard(fleet, "edge/pi-2/info", {"pipelines": states})
    assert len(fleet.devices) == 30
    assert sum(len(device.pipelines) for device in fleet.devices.values()) == 50
    assert len(fleet.devices[DeviceKey("edge", "pi-2")].states) == 64
    assert fleet.ignored == {"beyond_devices": 70, "beyond_pipelines": 151}


def test_a_million_invented_names_do_not_exhaust_the_memory() -> None:
    fleet = Fleet(["edge"], "recent")
    histogram = Histogram()
    for value in range(1, 3000):
        histogram.record(value)
    report = json.dumps(an_hdr(histogram)).encode()
    tracemalloc.start()
    try:
        for number in range(60_000):
            fleet.take(f"edge/pi/{number}/metrics", report, retained=False, now_s=0)
            fleet.take(f"edge/{number}/main/metrics", report, retained=False, now_s=0)
        held, _ = tracemalloc.get_traced_memory()
        for number in range(60_000):
            fleet.take(f"edge/{number}/status", b"online", retained=False, now_s=0)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < held * 1.1
    assert most < 100e6


KINDS = ("status", "info", "metrics", "events", "health")
topics = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(["edge", "pi", "x", "", *KINDS])).map("/".join),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
fields = st.sampled_from(
    [
        "fps",
        "boot",
        "hdr",
        "rung",
        "dropped",
        "pipelines",
        "state",
        "latency_recent_ms",
        "window_s",
        "throttled",
        "load_1m",
        "memory",
        "disk",
        "total_bytes",
        "free_bytes",
    ]
)
payloads = st.one_of(
    st.binary(max_size=200),
    st.dictionaries(fields, json_values | st.dictionaries(fields, json_values)).map(
        lambda value: json.dumps(value).encode()
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(topics, payloads, st.booleans()), max_size=10))
def test_no_message_breaks_it(messages: list[tuple[str, bytes, bool]]) -> None:
    fleet = Fleet(["edge", "edge/x"], "recent")
    for at, (topic, payload, retained) in enumerate(messages):
        fleet.take(topic, payload, retained=retained, now_s=at)
    whole, rows = Overview(fleet).look(len(messages))
    json.dumps([whole.fps, [row.name for row in rows.values()]], allow_nan=False)
    for row in rows.values():
        assert row.name.isprintable()
        assert row.state.isprintable()
        assert (row.rung_name or "").isprintable()

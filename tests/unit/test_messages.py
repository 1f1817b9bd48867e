"""Every payload is what its dataclass says: its JSON Schema is made from it and holds."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from edge.asyncapi import message_kinds
from edge.commands import Answer, Reached
from edge.event_names import EventName
from edge.health import CoreClock, Disk, Health, Memory
from edge.info_parts import EngineInfo, GoldenInfo, ModelInfo
from edge.latency.figures import Figures
from edge.messages import (
    OFFLINE,
    ONLINE,
    STAGES,
    CacheFigures,
    Dropped,
    Event,
    Info,
    LadderFigures,
    Message,
    Metrics,
    PipelineInfo,
    Result,
    ShadowFigures,
    SourceResult,
    status_topic,
)
from edge.result_parts import Cached, Latency, Request
from edge.states import DeviceState, State, Top

MS = 1_000_000
WHO: dict[str, Any] = {"device": "porch-pi", "boot": "0123456789abcdef"}
WHEN: dict[str, Any] = {"at": "2026-05-04T03:02:01.000Z", "clock_synced": True}

RESULT = Result(
    **WHO,
    pipeline="door",
    source="images",
    sequence=0,
    frame=17,
    file="Bilder/Tür.png",
    captured_at="2026-05-04T03:02:01.000Z",
    clock_synced=False,
    model="digits.tflite",
    model_digest="ab" * 32,
    rung=1,
    rung_name="small",
    predictions=[{"label": "7", "index": 7, "score": 0.996094}],
    truth="7",
    cached=None,
    batch=1,
    latency_ms=Latency(
        total=4.25, capture=1.0, wait=0.25, preprocess=0.5, inference=2.0, decode=0.5
    ),
    deadline_ms=20,
    deadline_met=True,
    request=None,
)
ASKED_RESULT = replace(
    RESULT,
    request=Request(
        topic="frames/door",
        correlation="AAE=",
        sent_at="2026-05-04T03:02:00.990Z",
        queue_ms=0.25,
        compute_ms=3.0,
    ),
)
CACHED_RESULT = replace(
    RESULT, cached=Cached(frame=12, source="images", age_ms=166.7, similarity=0.9922)
)
SOURCE_RESULT = SourceResult(**{each.name: getattr(RESULT, each.name) for each in fields(RESULT)})
RAW_RESULT = replace(
    RESULT,
    file=None,
    truth=None,
    predictions=[{"output": "scores", "shape": [1, 3], "values": [0.5, -1, 1e-9]}],
)
EVENT = Event(
    **WHO,
    **WHEN,
    pipeline="door",
    sequence=0,
    event="frame_failed",
    message="x.png: is empty (0 bytes)",
)
DEVICE_EVENT = replace(EVENT, pipeline=None, event="started", details={"a": [1, None, "é"]})
DIGITS = ModelInfo(
    file="digits.tflite",
    digest="ab" * 32,
    size_bytes=33_304,
    inputs=["int8 [1, 8, 8, 1]"],
    outputs=["int8 [1, 10]"],
)
LITERT = EngineInfo(
    name="litert",
    version="2.3.0",
    reason="auto",
    threads=1,
    init_ms=4.5,
    first_invoke_ms=0.1,
    warm_up_frames=3,
    batch=1,
    golden=GoldenInfo(vectors=8, worst_steps=0.0, ms=0.7),
)
RUNNING = PipelineInfo(
    state="running",
    overrides={},
    sources={"camera": "camera"},
    deadline_ms=100.0,
    on_late="drop",
    decoder="classification",
    rung=0,
    rungs=["full", "small"],
    model=DIGITS,
    engine=LITERT,
    accelerator=None,
    update=None,
)
INFO = Info(
    **WHO,
    **WHEN,
    version="0.1.0",
    python="3.11.2",
    machine="aarch64",
    packages={"numpy": "1.26.4"},
    pipelines={
        "door": RUNNING,
        "yard": replace(RUNNING, state="starting", model=None, engine=None),
    },
)


ANSWER = Answer(
    **WHO,
    **WHEN,
    command="pause",
    id="7",
    done=True,
    message="door is paused",
    pipelines={
        "door": Reached(state="paused", deadline_ms=20, threshold=0.5, overrides={"threshold": 0.5})
    },
    picture=None,
    files=[],
)


def metrics(frames: int) -> Metrics:
    """Metrics as the supervisor makes them, after so many frames."""
    figures = Figures(20, now_ns=0)
    for _ in range(frames):
        figures.result(dict.fromkeys(STAGES, 2 * MS))
        figures.acknowledged(30 * MS)
        figures.hit({"capture": 2 * MS})
    window = figures.end_window(2_000 * MS)
    return Metrics(
        **WHO,
        **WHEN,
        pipeline="door",
        state="running",
        window_s=window.seconds,
        frames=window.counts.frames,
        frames_total=figures.total.frames,
        fps=frames,
        dropped=window.counts.drops(),
        dropped_total=Dropped(mailbox=1, deadline=2, source=3, skipped=4),
        failed=0,
        failed_total=1,
        deadline_ms=20,
        deadline_misses=window.counts.misses,
        deadline_misses_total=figures.total.misses,
        deadline_blame=window.blamed,
        latency_ms=window.latency,
        latency_recent_ms=window.recent,
        latency_total_ms=window.total,
        stages_ms=window.stages,
        acknowledged_ms=window.acknowledged,
        cache=None
        if frames == 0
        else CacheFigures(
            hits=window.counts.hits,
            hits_total=figures.total.hits,
            misses=frames,
            misses_total=frames,
            latency_ms=window.hits,
            latency_total_ms=window.hits_total,
            acknowledged_ms=window.hits_acknowledged,
        ),
        sources=None,
        rung=0,
        rung_name="full",
        accelerator=None,
        shadow=None
        if frames == 0
        else ShadowFigures(
            model="digits-2.tflite",
            model_digest="cd" * 32,
            share=0.1,
            frames=frames,
            agreed=frames - 1,
            agreement=1 - 1 / frames,
            skipped=3,
            failed=1,
            failure="the forward pass failed",
            inference_ms=window.stages["inference"],
            serving_inference_ms=window.acknowledged,
        ),
        ladder=None
        if frames == 0
        else LadderFigures(
            steps_down_total=2, steps_up_total=1, seconds_total={"full": 71.5, "small": 12.25}
        ),
        rss_bytes=None if frames == 0 else 90_000_000,
        supervisor_rss_bytes=40_000_000,
        temperature_c=51.5,
        spooled=0,
        waiting=0,
        undelivered_total=0,
    )


STATE = State(
    **WHO,
    **WHEN,
    pipeline="door",
    state="running",
    paused=False,
    tops={"gate": Top(label="cat", score=0.9), "yard": Top(label=None, score=None)},
    occupied={"cat": True},
    p99_ms=4.5,
    fps=30.0,
    deadline_misses_total=2,
)
HEALTH = Health(
    **WHO,
    **WHEN,
    uptime_s=93784.52,
    temperature_c=48.312,
    under_voltage=True,
    throttled=["under-voltage"],
    throttled_ever=["under-voltage", "throttled"],
    clocks=[
        CoreClock(cores=[0, 1], mhz=1500, min_mhz=600, max_mhz=1800, governor="ondemand"),
        CoreClock(cores=[], mhz=None, min_mhz=None, max_mhz=None, governor=None),
    ],
    load_1m=0.42,
    load_5m=0.31,
    load_15m=0.17,
    cores=4,
    memory=Memory(
        total_bytes=968_204_288,
        available_bytes=627_036_160,
        swap_total_bytes=104_853_504,
        swap_free_bytes=104_591_360,
    ),
    disk=Disk(total_bytes=31_000_000_000, free_bytes=25_000_000_000),
)
NOT_TOLD: dict[str, Any] = dict.fromkeys(
    ("uptime_s", "temperature_c", "under_voltage", "throttled", "throttled_ever",
     "load_1m", "load_5m", "load_15m", "memory", "disk")
)  # fmt: skip
SILENT_HEALTH = replace(HEALTH, **NOT_TOLD, clocks=[])
MESSAGES: dict[str, Message] = {
    "result": RESULT,
    "result of a source": SOURCE_RESULT,
    "raw result": RAW_RESULT,
    "cached result": CACHED_RESULT,
    "result of a frame from a broker": ASKED_RESULT,
    "metrics of nothing": metrics(0),
    "metrics of a few": metrics(3),
    "metrics of many": metrics(1500),
    "event": EVENT,
    "event of the device": DEVICE_EVENT,
    "info": INFO,
    "answer": ANSWER,
    "state": STATE,
    "state before the first figures": replace(
        STATE, p99_ms=None, fps=None, deadline_misses_total=None
    ),
    "state of the device": DeviceState(**WHO, **WHEN, temperature_c=48.5, under_voltage=False),
    "health": HEALTH,
    "health of a machine that tells nothing": SILENT_HEALTH,
}


def strict(schema: Any) -> Any:
    """The schema with every object of known fields closed to others."""
    if isinstance(schema, dict):
        closed = {key: strict(value) for key, value in schema.items()}
        return {**closed, "additionalProperties": False} if "properties" in closed else closed
    return [strict(each) for each in schema] if isinstance(schema, list) else schema


def matches(payload: Any, message: Any) -> bool:
    """Whether the payload holds the message's fields, all of them and in their order."""
    if is_dataclass(message):
        names = [each.name for each in fields(message)]
        return list(payload) == names and all(
            matches(payload[name], getattr(message, name)) for name in names
        )
    if isinstance(message, dict):
        return list(payload) == list(message) and all(
            matches(payload[key], value) for key, value in message.items()
        )
    if isinstance(message, list):
        return len(payload) == len(message) and all(map(matches, payload, message))
    return bool(payload == message)


def test_every_kind_of_message_is_tried_here() -> None:
    tried = {type(message).__name__ for message in MESSAGES.values()}
    modules = [one.__module__ for one in (Message, State, Answer, Health)]
    here = [kind for kind in message_kinds() if kind.__module__ in modules]
    assert tried == {kind.__name__ for kind in here}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_payload_fits_the_json_schema_of_its_dataclass(name: str) -> None:
    message = MESSAGES[name]
    schema = strict(TypeAdapter(type(message)).json_schema())
    Draft202012Validator.check_schema(schema)
    payload = json.loads(message.to_json())
    assert list(Draft202012Validator(schema).iter_errors(payload)) == []


@pytest.mark.parametrize("name", MESSAGES)
def test_the_schema_notices_a_field_that_is_missing_or_of_another_type(name: str) -> None:
    message = MESSAGES[name]
    validator = Draft202012Validator(strict(TypeAdapter(type(message)).json_schema()))
    payload = json.loads(message.to_json())
    for key in payload:
        if key != "details":  # the only field with a default
            assert not validator.is_valid({k: v for k, v in payload.items() if k != key})
        assert not validator.is_valid({**payload, key: [None]})
    assert not validator.is_valid({**payload, "unheard_of": 1})


@pytest.mark.parametrize("name", MESSAGES)
def test_a_payload_is_one_json_object_of_all_its_fields_in_their_order(name: str) -> None:
    message = MESSAGES[name]
    assert matches(json.loads(message.to_json()), message)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_payload_is_utf_8_on_one_line_without_needless_space(name: str) -> None:
    payload = MESSAGES[name].to_json()
    assert payload == json.dumps(
        json.loads(payload), separators=(",", ":"), ensure_ascii=False
    ).encode("utf-8")
    assert b"\n" not in payload


def test_text_is_utf_8_as_it_is_and_not_escaped() -> None:
    assert "Bilder/Tür.png".encode() in RESULT.to_json()


def test_a_file_name_that_is_no_utf_8_still_makes_a_payload() -> None:
    # What Python makes of the file name b"T\xfcr.png": every Pi has such files from a USB stick.
    name = b"T\xfcr.png".decode("utf-8", "surrogateescape")
    for message in (replace(RESULT, file=name), replace(EVENT, message=f"{name}: is empty")):
        payload = message.to_json()
        assert "r.png" in payload.decode("utf-8")
        json.loads(payload)


def test_numbers_that_json_does_not_know_never_get_into_a_payload() -> None:
    with pytest.raises(ValueError, match="JSON"):
        replace(RESULT, predictions=[{"score": float("nan")}]).to_json()


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("result", "edge/porch-pi/door/predictions"),
        ("result of a source", "edge/porch-pi/door/images/predictions"),
        ("metrics of nothing", "edge/porch-pi/door/metrics"),
        ("event", "edge/porch-pi/door/events"),
        ("event of the device", "edge/porch-pi/events"),
        ("info", "edge/porch-pi/info"),
    ],
)
def test_a_message_goes_to_the_topic_of_its_device_and_pipeline(name: str, topic: str) -> None:
    assert MESSAGES[name].topic("edge") == topic
    assert MESSAGES[name].topic("site/hall-2") == topic.replace("edge/", "site/hall-2/", 1)


def test_the_devices_status_is_a_bare_word_on_a_topic_of_its_own() -> None:
    assert status_topic("edge", "porch-pi") == "edge/porch-pi/status"
    assert (ONLINE, OFFLINE) == ("online", "offline")


def test_only_what_tells_of_now_is_retained_and_only_figures_may_be_lost() -> None:
    assert {type(each).__name__ for each in MESSAGES.values() if each.retain} == {
        "Info",
        "State",
        "DeviceState",
    }
    assert {type(each).__name__ for each in MESSAGES.values() if not each.qos} == {
        "Metrics",
        "Health",
    }
    assert {each.qos for each in MESSAGES.values()} == {0, 1}


def test_the_schema_of_an_event_lists_every_event_there_is() -> None:
    schema = TypeAdapter(Event).json_schema()
    assert schema["properties"]["event"]["enum"] == list(get_args(EventName))


def test_the_stages_of_a_latency_are_the_stages_and_their_sum() -> None:
    assert {each.name for each in fields(Latency)} == {"total", *STAGES}

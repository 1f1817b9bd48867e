"""What is read from a command topic: whatever comes, a request of known values or a sentence."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.commands import REQUESTS, Dump, Pause, Ping, Request, Set
from edge.supervisor.request import (
    LARGEST_REQUEST,
    LONGEST_ID,
    LONGEST_TOPIC,
    RequestError,
    id_of,
    parse,
    wrong_with_topic,
)

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=200),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4)
    ),
    max_leaves=20,
)
KEYS = st.sampled_from(["id", "pipeline", "paused", "threshold", "deadline_ms", "reset", "x"])
NEARLY_RIGHT = st.dictionaries(KEYS, ANY_JSON, max_size=6)
NAMES = st.sampled_from([*REQUESTS, "", "answer", "+"]) | st.text(max_size=200)


def in_words(name: str, payload: bytes) -> Request | str:
    """The request, or the sentence that says why there is none; anything else is a failure."""
    try:
        return parse(name, payload)
    except RequestError as error:
        sentence = str(error)
    assert 0 < len(sentence) < 1000
    assert sentence.isprintable()
    return sentence


@settings(max_examples=1000, deadline=None)
@given(name=NAMES, payload=st.binary(max_size=300) | st.just(b"[" * LARGEST_REQUEST))
@example(name="ping", payload=b'{"a":' * 800)
@example(name="set", payload=b'{"pipeline":"x","threshold":1e999}')
@example(name="ping", payload=b'{"\x00\xff":1}')
def test_any_bytes_are_a_request_or_a_sentence(name: str, payload: bytes) -> None:
    found = in_words(name, payload)
    if not isinstance(found, str):
        assert type(found) is REQUESTS[name]


@settings(max_examples=1000, deadline=None)
@given(name=st.sampled_from(list(REQUESTS)), asked=NEARLY_RIGHT | ANY_JSON)
def test_a_request_that_is_taken_holds_only_what_it_may(name: str, asked: Any) -> None:
    found = in_words(name, json.dumps(asked).encode())
    if isinstance(found, str):
        return
    assert isinstance(asked, dict)
    for key, value in asked.items():
        taken = getattr(found, key)
        assert taken == value
        assert not isinstance(value, str) or len(value) <= LONGEST_ID
        assert isinstance(taken, bool) == isinstance(value, bool)
        assert not isinstance(taken, float) or math.isfinite(taken)
    if "id" in asked:
        assert id_of(json.dumps(asked).encode()) == asked["id"]


@given(st.binary(max_size=300))
def test_an_id_is_sought_in_anything(payload: bytes) -> None:
    found = id_of(payload)
    assert found is None or len(found) <= LONGEST_ID


@given(st.text(max_size=400))
def test_a_topic_that_will_do_can_be_published_to_and_is_not_ours(topic: str) -> None:
    if wrong_with_topic(topic, "edge", "dev"):
        return
    assert 0 < len(topic.encode()) <= LONGEST_TOPIC
    assert not set(topic) & set("+#\0")
    assert not topic.startswith(("$", "edge/"))


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "a/+/b",
        "#",
        "$SYS/broker",
        "$share/g/t",
        "a\0b",
        "a\nb",
        "x" * 257,
        "edge",
        "edge/dev/command/pause",
        "edge/dev/command/answer",
        "edge/other/command/ping",
        "edge/dev/status",
        "edge/other/command/ping/answer",
        "\ud800",
    ],
)
def test_an_answer_goes_to_no_topic_of_devices_and_to_none_that_is_no_topic(topic: str) -> None:
    assert wrong_with_topic(topic, "edge", "dev").startswith("must")


@pytest.mark.parametrize("topic", ["my/answers", "edges/x", "edge/dev/command/ping/answer", "ä/b"])
def test_an_answer_goes_where_it_is_wanted(topic: str) -> None:
    assert wrong_with_topic(topic, "edge", "dev") == ""


def test_an_empty_payload_asks_for_what_needs_no_words() -> None:
    assert parse("ping", b"") == Ping()
    assert parse("dump", b" \n") == Dump()


def test_what_is_left_out_has_its_default() -> None:
    assert parse("pause", b'{"pipeline":"cam"}') == Pause(pipeline="cam", paused=True)
    assert parse("set", b'{"pipeline":"cam","threshold":1,"id":"7"}') == Set(
        pipeline="cam", threshold=1.0, id="7"
    )


@pytest.mark.parametrize(
    ("name", "payload", "why"),
    [
        ("nope", b"", "there is no command `nope`; known: ping, pause, resume, set, snapshot, "),
        ("pause", b"", "`pipeline` is missing"),
        ("pause", b"[]", "the payload must be one JSON object"),
        ("pause", b"{", "the payload is no JSON: EOF while parsing"),
        ("pause", b'{"pipeline":"a","now":1}', "there is no key `now` in this request"),
        ("pause", b'{"pipeline":7}', "`pipeline`: input should be a valid string"),
        ("set", b'{"pipeline":"a","threshold":"0.5"}', "`threshold`: input should be a valid num"),
        ("set", b'{"pipeline":"a","threshold":NaN}', "`threshold`: input should be a finite num"),
        ("set", b'{"pipeline":"a","deadline_ms":true}', "`deadline_ms`: input should be a valid"),
        ("ping", b" " * (LARGEST_REQUEST + 1), "the payload has 4097 bytes, a request at most"),
    ],
)
def test_what_is_wrong_is_said(name: str, payload: bytes, why: str) -> None:
    found = in_words(name, payload)
    assert isinstance(found, str)
    assert found.startswith(why)

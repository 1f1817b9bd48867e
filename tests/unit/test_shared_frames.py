import pytest
from pydantic import ValidationError

from edge.config.load import access_told, tell_access
from edge.config.mqtt import Mqtt
from edge.sources.mqtt import MqttOptions
from edge.supervisor.in_hand import InHand
from edge.supervisor.requests import requested, why_no_answer
from edge.wire import Began, Done

MS = 1_000_000


def test_a_frame_that_two_workers_die_of_is_left_out_once() -> None:
    hand = InHand()
    for number, digest in enumerate((b"good", b"deadly", b"next")):
        hand.began(Began(number, digest))
    hand.settled(0)
    hand.worker_died()
    assert hand.careful
    assert not hand.left_out, "which of two it was nobody knows"
    hand.began(Began(1, b"deadly"))
    hand.worker_died()
    assert hand.left_out == [b"deadly"]
    hand.began(Began(1, b"deadly"))
    hand.settled(1)
    hand.began(Began(2, b"next"))
    hand.settled(2)
    assert not hand.left_out
    assert not hand.careful


def test_a_worker_killed_from_outside_makes_no_frame_guilty() -> None:
    hand = InHand()
    for number in range(10):
        hand.began(Began(number, number.to_bytes(2, "big")))
        hand.worker_died()
    assert not hand.left_out


def test_a_healthy_frame_that_was_in_hand_at_two_deaths_is_not_left_out() -> None:
    hand = InHand()
    for _ in range(2):
        hand.began(Began(0, b"a"))
        hand.began(Began(1, b"b"))
        hand.worker_died()
    assert not hand.left_out


def test_a_result_says_what_its_device_spent() -> None:
    done = Done(
        7, 0, 5 * MS, 6 * MS, 9 * MS, 19 * MS, 20 * MS, "", None, [],
        asked=("frames/a", None, b"\x00\xff", "2026-01-01T00:00:00.000Z"),
        unpacking_ns=3 * MS,
    )  # fmt: skip
    request = requested(done)
    assert request is not None
    assert (request.topic, request.correlation) == ("frames/a", "AP8=")
    assert (request.queue_ms, request.compute_ms) == (5.0, 15.0)
    assert requested(done._replace(asked=None)) is None


@pytest.mark.parametrize(
    "topic",
    ["", "a/+", "#", "a\x00b", "$SYS/x", "edge", "edge/other/command/ping", "edge/d/status"],
)
def test_an_answer_goes_nowhere_that_could_do_harm(topic: str) -> None:
    assert why_no_answer(topic, "edge")


@pytest.mark.parametrize("topic", ["answers/1", "edgeless/x", "a"])
def test_an_answer_goes_where_it_is_asked_for(topic: str) -> None:
    assert why_no_answer(topic, "edge") is None


@pytest.mark.parametrize("topic", ["frames/+/door", "frames/#", "#", "a//b", "Tür/1"])
def test_topics_that_can_be_subscribed_to(topic: str) -> None:
    assert MqttOptions(type="mqtt", topic=topic).live


@pytest.mark.parametrize("topic", ["", "a/#/b", "a+/b", "a/b#", "$share/g/a", "a\x00", "x" * 1025])
def test_topics_that_cannot_be_subscribed_to_are_refused(topic: str) -> None:
    with pytest.raises(ValidationError):
        MqttOptions(type="mqtt", topic=topic)


@pytest.mark.parametrize("group", ["", "a/b", "+", "#", "a\nb"])
def test_groups_that_cannot_be_are_refused(group: str) -> None:
    with pytest.raises(ValidationError):
        MqttOptions(type="mqtt", topic="a", share=group)


def test_a_shared_source_is_pulled_and_does_not_begin_anew() -> None:
    options = MqttOptions(type="mqtt", topic="a", share="pool")
    assert not options.live
    assert not options.begins_anew
    assert options.awaits_acceptance


def test_a_worker_is_told_the_way_to_the_broker_with_its_secrets() -> None:
    mqtt = Mqtt.model_validate({"broker": "mqtt://h:1", "username": "u", "password": "secret"})
    access = access_told(tell_access(mqtt, "mqtt://other:2"))
    assert (access.host, access.port, access.username, access.password) == (
        "other", 2, "u", "secret",
    )  # fmt: skip

"""Messages go to the client in order and a few at a time; what is in flight is sent again first."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import pytest

from edge.mqtt.connection import IN_FLIGHT
from edge.sinks.outbox import AHEAD, Outbox
from edge.spool.message import Outgoing
from edge.spool.options import SpoolOptions
from edge.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def spool() -> Iterator[Spool]:
    """A spool that was opened; its event loop runs only when it is closed."""
    spool, loop = Spool("dev", SpoolOptions()), asyncio.new_event_loop()

    async def begin() -> None:
        spool.open()

    loop.run_until_complete(begin())
    yield spool
    loop.run_until_complete(spool.close())
    loop.close()


class Client:
    """Takes messages while it is `connected`, and numbers them."""

    def __init__(self, *, connected: bool = True) -> None:
        self.connected = connected
        self.taken: list[bytes] = []
        self.numbers: dict[bytes, int] = {}
        self._numbers = count(1)

    def __call__(self, message: Outgoing) -> int | None:
        if not self.connected:
            return None
        self.taken.append(message.payload)
        self.numbers[message.payload] = number = next(self._numbers)
        return number


def message(number: int) -> Outgoing:
    return Outgoing("topic", b"%d" % number)


def put(outbox: Outbox, numbers: range | list[int], told: list[int] | None = None) -> None:
    for number in numbers:
        outbox.put(message(number), acknowledged=_teller(number, told))


def _teller(number: int, told: list[int] | None) -> Callable[[], None] | None:
    return None if told is None else lambda: told.append(number)


def payloads(numbers: range | list[int]) -> list[bytes]:
    return [b"%d" % number for number in numbers]


def filled(spool: Spool, client: Client, messages: int) -> Outbox:
    outbox = Outbox(spool, client)
    outbox.begin()
    put(outbox, range(messages))
    return outbox


def acknowledge(outbox: Outbox, client: Client, number: int) -> None:
    outbox.acknowledge(client.numbers[b"%d" % number])


def test_messages_are_handed_on_at_once_and_in_order(spool: Spool) -> None:
    client = Client()
    filled(spool, client, 5)
    assert client.taken == payloads(range(5))
    assert len(spool) == 5


def test_no_more_are_in_flight_than_a_broker_allows(spool: Spool) -> None:
    client = Client()
    filled(spool, client, IN_FLIGHT + 10)
    assert client.taken == payloads(range(IN_FLIGHT))
    assert len(spool) == IN_FLIGHT + 10


def test_each_acknowledgement_lets_the_next_one_go(spool: Spool) -> None:
    client = Client()
    outbox = filled(spool, client, IN_FLIGHT + 3)
    for number in (4, 0):
        acknowledge(outbox, client, number)
    assert client.taken == payloads(range(IN_FLIGHT + 2))
    assert len(spool) == IN_FLIGHT + 1


def test_who_sent_a_message_is_told_of_its_acknowledgement_once(spool: Spool) -> None:
    client, told = Client(), list[int]()
    outbox = filled(spool, client, 0)
    put(outbox, range(3), told)
    for number in (1, 0, 1):
        acknowledge(outbox, client, number)
    assert told == [1, 0]
    assert len(spool) == 1


def test_an_acknowledgement_of_something_else_is_nothing_to_us(spool: Spool) -> None:
    client = Client()
    outbox = filled(spool, client, 2)
    outbox.acknowledge(999)
    assert len(spool) == 2


def test_while_the_client_takes_none_they_wait_and_then_go_in_order(spool: Spool) -> None:
    client = Client(connected=False)
    outbox = filled(spool, client, 5)
    assert client.taken == []
    assert len(spool) == 5
    client.connected = True
    outbox.push()
    assert client.taken == payloads(range(5))


@pytest.mark.parametrize("many", [AHEAD, AHEAD + 1, 3 * AHEAD])
def test_more_than_memory_holds_ahead_come_back_from_the_spool(spool: Spool, many: int) -> None:
    client = Client(connected=False)
    outbox = filled(spool, client, many)
    client.connected = True
    outbox.push()
    for number in range(many):
        acknowledge(outbox, client, number)
    assert client.taken == payloads(range(many))
    assert len(spool) == 0
    put(outbox, [many])
    assert client.taken[-1] == b"%d" % many


def test_another_outbox_that_has_not_begun_leaves_the_spool_alone(spool: Spool) -> None:
    before, after = Client(), Client()
    old = filled(spool, before, IN_FLIGHT + 5)
    new = Outbox(spool, after)
    put(new, [99])
    for number in range(10):
        acknowledge(old, before, number)
    assert after.taken == []
    old.take_back()
    new.begin()
    new.push()
    assert after.taken == payloads([*range(10, IN_FLIGHT + 5), 99])


def test_what_the_spool_gave_up_is_not_handed_on(spool: Spool) -> None:
    client = Client(connected=False)
    outbox = filled(spool, client, 10)
    for number in (2, 3):
        spool.done(number)  # as if it had been dropped
    outbox.forget_ahead()
    client.connected = True
    outbox.push()
    assert client.taken == payloads([0, 1, *range(4, 10)])


def test_after_a_reconnect_new_messages_stay_behind_those_sent_again(spool: Spool) -> None:
    client = Client()
    outbox = filled(spool, client, 3)
    client.connected = False  # the connection broke
    put(outbox, [3, 4])
    client.connected = True
    outbox.reconnected()
    assert client.taken == payloads(range(3))
    for number in (0, 2):
        acknowledge(outbox, client, number)
    put(outbox, [5])
    assert client.taken == payloads(range(3))
    acknowledge(outbox, client, 1)  # the last of those sent again
    assert client.taken == payloads(range(6))
    put(outbox, [6])
    assert client.taken == payloads(range(7))


def test_after_a_reconnect_with_nothing_in_flight_what_waits_goes_at_once(spool: Spool) -> None:
    client = Client(connected=False)
    outbox = filled(spool, client, 3)
    client.connected = True
    outbox.reconnected()
    assert client.taken == payloads(range(3))


def test_a_connection_that_breaks_again_loses_and_doubles_nothing(spool: Spool) -> None:
    client, told = Client(), list[int]()
    outbox = filled(spool, client, 0)
    put(outbox, range(3), told)
    outbox.reconnected()
    acknowledge(outbox, client, 0)
    outbox.reconnected()
    put(outbox, [3], told)
    for number in (1, 2):
        acknowledge(outbox, client, number)
    assert client.taken == payloads(range(4))
    acknowledge(outbox, client, 3)
    assert told == [0, 1, 2, 3]
    assert len(spool) == 0


def test_what_is_taken_back_goes_first_and_in_its_order_to_the_next_client(spool: Spool) -> None:
    client = Client()
    outbox = filled(spool, client, IN_FLIGHT + 5)
    acknowledge(outbox, client, 3)
    client.connected = False
    outbox.take_back()
    assert len(spool) == IN_FLIGHT + 4
    client.connected, client.taken = True, []
    outbox.reconnected()
    left = [number for number in range(IN_FLIGHT + 5) if number != 3]
    assert client.taken == payloads(left[:IN_FLIGHT])


def test_what_is_taken_back_no_longer_holds_up_what_waits(spool: Spool) -> None:
    client = Client()
    outbox = filled(spool, client, 3)
    outbox.reconnected()
    client.taken = []
    outbox.take_back()
    outbox.push()
    assert client.taken == payloads(range(3))


def test_an_acknowledgement_from_before_it_was_taken_back_does_not_count(spool: Spool) -> None:
    client = Client()
    outbox = filled(spool, client, 2)
    outbox.take_back()
    outbox.acknowledge(1)
    assert len(spool) == 2

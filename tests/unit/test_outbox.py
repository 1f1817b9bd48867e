"""Messages go to the client in order and a few at a time; what is in flight is sent again first."""

from __future__ import annotations

from itertools import count

import pytest

from edge.sinks.outbox import IN_FLIGHT, Outbox, Outgoing


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


def message(number: int, acknowledged: list[int] | None = None) -> Outgoing:
    told = None if acknowledged is None else lambda: acknowledged.append(number)
    return Outgoing("topic", b"%d" % number, told)


def payloads(numbers: range | list[int]) -> list[bytes]:
    return [b"%d" % number for number in numbers]


def filled(client: Client, messages: int, *, limit: int = 1000) -> Outbox:
    outbox = Outbox(client, limit=limit)
    for number in range(messages):
        outbox.put(message(number))
    return outbox


def acknowledge(outbox: Outbox, client: Client, number: int) -> None:
    outbox.acknowledge(client.numbers[b"%d" % number])


def test_messages_are_handed_on_at_once_and_in_order() -> None:
    client = Client()
    outbox = filled(client, 5)
    assert client.taken == payloads(range(5))
    assert len(outbox) == 5


def test_no_more_are_in_flight_than_a_broker_allows() -> None:
    client = Client()
    outbox = filled(client, IN_FLIGHT + 10)
    assert client.taken == payloads(range(IN_FLIGHT))
    assert len(outbox) == IN_FLIGHT + 10


def test_each_acknowledgement_lets_the_next_one_go() -> None:
    client = Client()
    outbox = filled(client, IN_FLIGHT + 3)
    for number in (4, 0):
        acknowledge(outbox, client, number)
    assert client.taken == payloads(range(IN_FLIGHT + 2))
    assert len(outbox) == IN_FLIGHT + 1


def test_who_sent_a_message_is_told_of_its_acknowledgement_once() -> None:
    client, told = Client(), list[int]()
    outbox = Outbox(client, limit=10)
    for number in range(3):
        outbox.put(message(number, told))
    for number in (1, 0, 1):
        acknowledge(outbox, client, number)
    assert told == [1, 0]
    assert len(outbox) == 1


def test_an_acknowledgement_of_something_else_is_nothing_to_us() -> None:
    client = Client()
    outbox = filled(client, 2)
    outbox.acknowledge(999)
    assert len(outbox) == 2


def test_while_the_client_takes_none_they_wait_and_then_go_in_order() -> None:
    client = Client(connected=False)
    outbox = filled(client, 5)
    assert client.taken == []
    assert len(outbox) == 5
    client.connected = True
    outbox.push()
    assert client.taken == payloads(range(5))


def test_past_the_limit_the_oldest_that_waits_is_given_up_and_counted() -> None:
    client = Client(connected=False)
    outbox = filled(client, 13, limit=10)
    assert len(outbox) == 10
    assert outbox.given_up == 3
    client.connected = True
    outbox.push()
    assert client.taken == payloads(range(3, 13))


def test_what_is_in_flight_is_never_given_up() -> None:
    client = Client()
    outbox = filled(client, IN_FLIGHT, limit=5)
    client.connected = False
    for number in range(IN_FLIGHT, IN_FLIGHT + 8):
        outbox.put(message(number))
    assert outbox.given_up == 3
    assert len(outbox) == IN_FLIGHT + 5


def test_what_can_be_handed_on_is_not_given_up_even_with_no_room_to_wait() -> None:
    client = Client()
    outbox = filled(client, IN_FLIGHT, limit=1)
    assert outbox.given_up == 0
    assert client.taken == payloads(range(IN_FLIGHT))


def test_after_a_reconnect_new_messages_stay_behind_those_sent_again() -> None:
    client = Client()
    outbox = filled(client, 3)
    client.connected = False  # the connection broke
    for number in (3, 4):
        outbox.put(message(number))
    client.connected = True
    outbox.reconnected()
    assert client.taken == payloads(range(3))
    for number in (0, 2):
        acknowledge(outbox, client, number)
    outbox.put(message(5))
    assert client.taken == payloads(range(3))
    acknowledge(outbox, client, 1)  # the last of those sent again
    assert client.taken == payloads(range(6))
    outbox.put(message(6))
    assert client.taken == payloads(range(7))


def test_after_a_reconnect_with_nothing_in_flight_what_waits_goes_at_once() -> None:
    client = Client(connected=False)
    outbox = filled(client, 3)
    client.connected = True
    outbox.reconnected()
    assert client.taken == payloads(range(3))


def test_a_connection_that_breaks_again_loses_and_doubles_nothing() -> None:
    client, told = Client(), list[int]()
    outbox = Outbox(client, limit=100)
    for number in range(3):
        outbox.put(message(number, told))
    outbox.reconnected()
    acknowledge(outbox, client, 0)
    outbox.reconnected()
    outbox.put(message(3, told))
    for number in (1, 2):
        acknowledge(outbox, client, number)
    assert client.taken == payloads(range(4))
    acknowledge(outbox, client, 3)
    assert told == [0, 1, 2, 3]
    assert len(outbox) == 0


def test_what_is_taken_back_goes_first_and_in_its_order_to_the_next_client() -> None:
    client = Client()
    outbox = filled(client, IN_FLIGHT + 5)
    acknowledge(outbox, client, 3)
    client.connected = False
    outbox.take_back()
    assert len(outbox) == IN_FLIGHT + 4
    client.connected, client.taken = True, []
    outbox.reconnected()
    left = [number for number in range(IN_FLIGHT + 5) if number != 3]
    assert client.taken == payloads(left[:IN_FLIGHT])


def test_what_is_taken_back_no_longer_holds_up_what_waits() -> None:
    client = Client()
    outbox = filled(client, 3)
    outbox.reconnected()
    client.taken = []
    outbox.take_back()
    outbox.push()
    assert client.taken == payloads(range(3))


def test_an_acknowledgement_from_before_it_was_taken_back_does_not_count() -> None:
    client = Client()
    outbox = filled(client, 2)
    outbox.take_back()
    outbox.acknowledge(1)
    assert len(outbox) == 2


@pytest.mark.parametrize("limit", [1, 5])
def test_the_limit_holds_for_what_was_taken_back_as_well(limit: int) -> None:
    client = Client()
    outbox = filled(client, IN_FLIGHT, limit=limit)
    client.connected = False
    outbox.take_back()
    outbox.put(message(IN_FLIGHT))
    assert len(outbox) == limit
    assert outbox.given_up == IN_FLIGHT + 1 - limit
    client.connected, client.taken = True, []
    outbox.reconnected()
    assert client.taken == payloads(range(IN_FLIGHT + 1 - limit, IN_FLIGHT + 1))

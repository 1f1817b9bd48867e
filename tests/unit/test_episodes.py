"""Under-voltage, throttling and heat are told when they begin and when they are over, once each."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from edge.supervisor.episodes import Episodes
from edge.supervisor.sensors import Reading

CAPPED, THROTTLED, SOFT = "frequency capped", "throttled", "soft temperature limit"
LOW = "under-voltage"


class Machine:
    """A second goes by with each reading."""

    def __init__(self, limit_c: float | None = 80.0) -> None:
        self.told: list[tuple[str, int, dict[str, Any]]] = []
        self.messages: list[str] = []
        self.episodes = Episodes(self._tell)
        self.now_s = 1000.0
        self._limit_c = limit_c

    def _tell(self, event: str, message: str, *, level: int, **details: Any) -> None:
        self.told.append((event, level, details))
        self.messages.append(message)

    def says(
        self,
        *now: str,
        happened: tuple[str, ...] | None = (),
        alarm: bool | None = None,
        degrees: float | None = 50.0,
        seconds: int = 1,
    ) -> None:
        for _ in range(seconds):
            reading = Reading(degrees, now, (1500, 600), happened, alarm)
            self.episodes.take(reading, limit_c=self._limit_c, now_s=self.now_s)
            self.now_s += 1

    @property
    def events(self) -> list[str]:
        return [event for event, _, _ in self.told]


def test_a_machine_that_is_well_says_nothing() -> None:
    machine = Machine()
    machine.says(seconds=100)
    assert machine.events == []
    assert machine.episodes.under_voltage is False
    assert machine.episodes.throttled(machine.now_s) == []


def test_a_supply_that_dips_again_and_again_is_one_episode() -> None:
    machine = Machine()
    machine.says()
    for _ in range(5):
        machine.says(LOW, seconds=2)
        machine.says(seconds=20)
    assert machine.events == ["under_voltage"]
    assert machine.episodes.under_voltage is True
    machine.says(seconds=10)
    assert machine.events == ["under_voltage", "voltage_back"]
    assert machine.told[0][1] == logging.WARNING
    assert machine.told[1] == ("voltage_back", logging.INFO, {"lasted_s": 89.0})
    assert machine.episodes.under_voltage is False
    machine.says(LOW)
    assert machine.events[2:] == ["under_voltage"]


def test_the_kernels_alarm_tells_it_too_where_the_firmware_is_silent() -> None:
    machine = Machine()
    machine.says(happened=None, alarm=False)
    assert machine.episodes.under_voltage is False
    assert machine.episodes.throttled(machine.now_s) is None
    assert machine.episodes.throttled_ever is None
    machine.says(happened=None, alarm=True, seconds=3)
    assert machine.events == ["under_voltage"]


def test_what_happened_between_two_looks_is_told() -> None:
    machine = Machine()
    machine.says()
    machine.says(happened=(LOW, THROTTLED))
    assert machine.events == ["under_voltage", "throttling_began"]
    machine.says(happened=(LOW, THROTTLED), seconds=29)  # the bits may stay until the next boot
    assert machine.events == ["under_voltage", "throttling_began"]
    machine.says(happened=(LOW, THROTTLED))
    assert machine.events[2:] == ["voltage_back", "throttling_ended"]
    assert machine.messages[2] == "the voltage is as it should be"
    machine.says(happened=(LOW, THROTTLED), seconds=100)
    assert len(machine.events) == 4


def test_what_happened_before_the_daemon_began_is_no_event_but_known() -> None:
    machine = Machine()
    machine.says(happened=(LOW, CAPPED), seconds=5)
    assert machine.events == []
    assert machine.episodes.throttled(machine.now_s) == []
    assert machine.episodes.throttled_ever == [LOW, CAPPED]


def test_throttling_says_by_what_at_which_temperature_and_clock() -> None:
    machine = Machine()
    machine.says()
    machine.says(CAPPED, THROTTLED, degrees=81.5, seconds=5)
    (event, level, details) = machine.told[-2]
    assert (event, level) == ("throttling_began", logging.WARNING)
    assert details == {
        "throttled": [CAPPED, THROTTLED],
        "temperature_c": 81.5,
        "clock_mhz": [1500, 600],
    }
    expected = "the firmware slows the cores down at 81.5 C: frequency capped, throttled"
    assert machine.messages[-2] == expected
    assert machine.episodes.throttled(machine.now_s) == [CAPPED, THROTTLED]
    machine.says(SOFT, seconds=40)
    assert "throttling_ended" not in machine.events, "something still does"
    assert machine.episodes.throttled(machine.now_s) == [SOFT]
    assert machine.episodes.throttled_ever == [CAPPED, THROTTLED, SOFT]
    machine.says(seconds=30)
    assert machine.events[-1] == "throttling_ended"


def test_under_voltage_alone_is_not_told_twice() -> None:
    machine = Machine()
    machine.says()
    machine.says(LOW, alarm=True)
    assert machine.events == ["under_voltage"]


def test_it_is_too_hot_until_it_is_clearly_cooler_for_a_while() -> None:
    machine = Machine(limit_c=70)
    machine.says(degrees=70.0)
    assert machine.events == []
    machine.says(degrees=70.1)
    assert machine.events == ["too_hot"]
    assert machine.told[0][2] == {"temperature_c": 70.1}
    machine.says(degrees=65.1, seconds=100)
    machine.says(degrees=64.9, seconds=29)
    assert machine.events == ["too_hot"]
    machine.says(degrees=64.9)
    assert machine.events == ["too_hot", "cooled_down"]


@pytest.mark.parametrize(("limit_c", "degrees"), [(None, 120.0), (70.0, None)])
def test_without_a_limit_or_a_sensor_nothing_is_too_hot(
    limit_c: float | None, degrees: float | None
) -> None:
    machine = Machine(limit_c)
    machine.says(degrees=degrees, seconds=5)
    assert machine.events == []

"""How steps are asked of the worker, told when they are made, and given up when they cannot be."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from edge.config.pipeline import Pipeline
from edge.supervisor import rungs as rungs_module
from edge.supervisor.acceleration import Acceleration
from edge.supervisor.rungs import Rungs
from edge.supervisor.sensors import Sensors
from edge.wire import Change, Done, Late, Ready, Refused

MS = 1_000_000


class Clock:
    """Stands in for the module's `time`."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


def without_accelerator(options: Pipeline) -> Acceleration:
    """Return what is asked of an accelerator where there is none."""

    def nothing(*_: Any, **__: Any) -> Any:
        raise AssertionError

    return Acceleration([options], tell=nothing, leave=nothing, take_back=nothing, give_up=nothing)


class Party:
    """The rungs of a pipeline with three, and all that they say."""

    def __init__(self, clock: Clock, sys: Path = Path("/nonexistent")) -> None:
        self.clock = clock
        self.asked: list[Change] = []
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.left: list[int] = []
        self.worker_is_there = True
        names = [{"name": "half", "every": 2}, {"name": "slow", "fps": 5}]
        options = Pipeline.model_validate(
            {
                "source": {"type": "synthetic", "fps": 30},
                "model": {"path": "a.tflite"},
                "deadline_ms": 20,
                "ladder": {"rungs": names},
            }
        )
        self.rungs = Rungs(
            options,
            ask=self._ask,
            leave=lambda: self.left.append(self.rungs.rung),
            tell=self._tell,
            acceleration=without_accelerator(options),
            sensors=Sensors(sys),
        )
        self.ready(0)

    def _ask(self, change: Change) -> bool:
        self.asked.append(change)
        return self.worker_is_there

    def _tell(self, event: Any, message: str, *, level: int = 0, **details: Any) -> None:
        del level
        self.told.append((event, message, details))

    def ready(self, rung: int) -> None:
        said = Ready("litert", "2", "auto", 1, f"digest-{rung}", 1, [], [], 1.0, 1.0, 3, rung=rung)
        self.rungs.prepared(said)

    def frames(self, count: int, *, rung: int, late: bool = False) -> None:
        """Let frames of a rung come until a step was asked for, or so many have."""
        before = len(self.asked)
        for number in range(count):
            self.clock.now_s += 1 / 30
            took_ms = 30 if late else 5
            done = Done(number, 0, 0, 0, 0, took_ms * MS, took_ms * MS, "", None, [], rung=rung)
            self.rungs.heard(done)
            self.rungs.judged(done, missed=late)
            if len(self.asked) > before:
                return


@pytest.fixture
def party(monkeypatch: pytest.MonkeyPatch) -> Party:
    clock = Clock()
    monkeypatch.setattr(rungs_module, "time", clock)
    return Party(clock)


def test_a_step_is_asked_with_the_options_of_the_rung_and_told_with_its_first_frame(
    party: Party,
) -> None:
    rungs = party.rungs
    party.frames(100, rung=0, late=True)
    (change,) = party.asked
    assert change.rung == 1
    assert Pipeline.model_validate_json(change.options).every == 2
    party.ready(1)
    party.frames(100, rung=0, late=True)  # in flight on the old way, or before it is ready
    assert (rungs.rung, rungs.options.every, party.told, len(party.asked)) == (0, 1, [], 1)

    party.frames(1, rung=1)
    assert (rungs.rung, rungs.options.every, party.left) == (1, 2, [0])
    ((event, message, details),) = party.told
    assert event == "rung_changed"
    assert message.startswith("down from `full` to `half`: ")
    assert message.endswith(" frames missed the deadline of 20 ms")
    assert (details["rung_name_before"], details["rung_name"]) == ("full", "half")
    assert (details["rung_before"], details["rung"]) == (0, 1)
    assert details["reason"] == "misses"
    assert details["misses"] == details["frames"]

    party.frames(100, rung=0, late=True)  # one that was overtaken changes nothing back
    assert (rungs.rung, len(party.told)) == (1, 1)


def test_a_frame_of_an_earlier_stay_on_a_rung_makes_no_step(party: Party) -> None:
    party.frames(100, rung=0, late=True)
    party.frames(1, rung=1)  # the worker has not said yet that it is ready
    assert party.rungs.rung == 0
    party.ready(1)
    party.frames(1, rung=1)
    assert party.rungs.rung == 1


def test_a_frame_is_told_by_the_rung_it_was_run_on(party: Party) -> None:
    party.frames(100, rung=0, late=True)
    party.ready(1)
    party.frames(1, rung=1)
    for rung, name in ((0, "full"), (1, "half")):
        named, options, ready = party.rungs.of(Late(1, 0, 0, 0, 0, rung=rung))
        assert (named, options.every, ready.digest) == (name, rung + 1, f"digest-{rung}")


def test_steps_and_seconds_are_counted(party: Party) -> None:
    began_s = party.clock.now_s
    party.frames(100, rung=0, late=True)
    party.ready(1)
    down_s = party.clock.now_s + 1 / 30
    party.frames(1000, rung=1)
    assert party.asked[-1].rung == 0
    party.ready(0)
    party.frames(31, rung=0)
    figures = party.rungs.figures()
    assert figures is not None
    assert (figures.steps_down_total, figures.steps_up_total) == (1, 1)
    seconds = figures.seconds_total
    assert list(seconds) == ["full", "half", "slow"]
    assert seconds["full"] == pytest.approx(down_s - began_s + 1, abs=0.1)
    assert seconds["slow"] == 0
    assert sum(seconds.values()) == pytest.approx(party.clock.now_s - began_s, abs=0.01)


def test_a_rung_that_the_worker_refuses_is_told_and_left_out(party: Party) -> None:
    party.frames(100, rung=0, late=True)
    party.rungs.refused(Refused(1, "half.tflite: there is no such file"))
    ((event, message, details),) = party.told
    assert event == "rung_refused"
    assert message == "`half` is left out from now on: half.tflite: there is no such file"
    assert details == {"rung": 1, "rung_name": "half"}
    party.frames(100, rung=0, late=True)
    assert [change.rung for change in party.asked] == [1, 2]


def test_a_rung_that_two_workers_died_of_is_left_out(party: Party) -> None:
    for died in range(2):
        party.frames(100, rung=0, late=True)
        assert party.asked[-1].rung == 1
        party.rungs.worker_died()
        assert len(party.told) == died
        party.ready(0)
    assert party.told[0][1].endswith("2 workers died while they prepared it")
    party.frames(100, rung=0, late=True)
    assert party.asked[-1].rung == 2


def test_a_worker_that_dies_otherwise_leaves_all_as_it_was(party: Party) -> None:
    party.frames(100, rung=0, late=True)
    party.ready(1)
    party.frames(3, rung=1)
    party.rungs.worker_died()
    party.ready(1)
    assert party.rungs.rung == 1
    assert [event for event, _, _ in party.told] == ["rung_changed"]


def test_a_source_that_cannot_be_had_for_a_rung_is_gone_back_to(party: Party) -> None:
    party.rungs.source_lost("unplugged")  # and no step is under way
    party.frames(100, rung=0, late=True)
    party.rungs.source_lost("unplugged")  # this rung leaves the source alone
    party.ready(1)
    party.frames(1, rung=1)
    for times in range(2):
        party.frames(100, rung=1, late=True)
        assert party.asked[-1].rung == 2
        party.rungs.source_lost("/dev/video0: is no camera of that size")
        back = party.asked[-1]
        assert (back.rung, Pipeline.model_validate_json(back.options).every) == (1, 2)
        party.ready(1)
        assert len(party.told) == 1 + times
    event, message, details = party.told[-1]
    assert (event, details["rung_name"]) == ("rung_refused", "slow")
    assert message.endswith("is left out from now on: /dev/video0: is no camera of that size")


def test_without_a_worker_to_ask_it_asks_again(party: Party) -> None:
    party.worker_is_there = False
    party.frames(100, rung=0, late=True)
    party.worker_is_there = True
    party.frames(1, rung=0, late=True)
    assert [change.rung for change in party.asked] == [1, 1]


def test_the_end_of_the_ladder_is_told_once(party: Party) -> None:
    for rung in range(3):
        party.ready(rung)
        party.frames(200, rung=rung, late=True)
    ends = [message for event, message, _ in party.told if event == "ladder_exhausted"]
    assert len(ends) == 1
    assert ends[0].startswith("`slow` is the cheapest rung there is: ")


def test_it_looks_at_the_sensors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    zone = tmp_path / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("85250\n")
    monkeypatch.setattr(rungs_module, "LOOK_EVERY_S", 0.001)
    party = Party(Clock(), sys=tmp_path)

    async def until_asked() -> None:
        watch = asyncio.create_task(party.rungs.watch())
        for _ in itertools.takewhile(lambda _: not party.asked, range(1000)):
            await asyncio.sleep(0.001)
        watch.cancel()

    asyncio.run(until_asked())
    party.ready(1)
    party.frames(1, rung=1)
    (told,) = party.told
    assert told[1] == "down from `full` to `half`: 85.25 C, above 80.0 C"
    assert told[2]["temperature_c"] == 85.25


def test_without_a_ladder_there_is_nothing_to_tell() -> None:
    options = Pipeline.model_validate(
        {"source": {"type": "synthetic"}, "model": {"path": "a.tflite"}, "deadline_ms": 20}
    )

    def nothing(*_: Any, **__: Any) -> Any:
        raise AssertionError

    acceleration = without_accelerator(options)
    rungs = Rungs(options, ask=nothing, leave=nothing, tell=nothing, acceleration=acceleration)
    late = Late(1, 0, 0, 0, 30 * MS)
    for _ in range(100):
        assert rungs.heard(late) is False
        rungs.judged(late, missed=True)
    asyncio.run(rungs.watch())
    rungs.worker_died()
    assert (rungs.rung, rungs.names, rungs.figures()) == (0, ["full"], None)

"""When an accelerator is had, done without and tried again; the probe and the delegate are real."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge.config.pipeline import Pipeline
from edge.supervisor import acceleration as module
from edge.supervisor.acceleration import Acceleration
from edge.wire import Done, Failed, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from trial_delegate import TrialDelegate

DIGITS = Path(__file__).parents[2] / "models/digits/digits.tflite"


class Party:
    """An acceleration, and all that it says and asks for."""

    def __init__(self, delegate: TrialDelegate, **model: Any) -> None:
        self.events: list[str] = []
        self.asked = self.given_up = 0
        self.answer: bool | None = True
        accelerator = {"library": str(delegate.library), "options": delegate.options()}
        self.options = Pipeline.model_validate(
            {
                "source": {"type": "synthetic"},
                "model": {"path": DIGITS, "cpu_path": "cpu", "accelerator": accelerator, **model},
            }
        )
        self.acceleration = Acceleration(
            [self.options],
            tell=self._tell,
            leave=lambda: None,
            take_back=self._take_back,
            give_up=self._give_up,
        )

    def _tell(self, event: str, message: str, **details: Any) -> None:
        del message, details
        self.events.append(event)

    def _take_back(self) -> bool | None:
        self.asked += 1
        return self.answer

    def _give_up(self) -> None:
        self.given_up += 1

    @property
    def runs(self) -> Pipeline:
        """The pipeline as the next worker gets it."""
        return self.acceleration.applied(self.options, accelerated=not self.acceleration.on_cpu)

    def ended(self, how: str = "killed by SIGSEGV", **more: Any) -> bool:
        return self.acceleration.ended(
            more.pop("failure", None), how, **{"stuck": False, "ready": True, **more}
        )

    def frame(self, *, accelerated: bool) -> bool:
        done = Done(0, 0, 0, 0, 0, 0, 0, "", None, [], accelerated=accelerated)
        return self.acceleration.heard(done)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run a coroutine to its end, for a minute at the most, with short pauses between tries."""
    monkeypatch.setattr(module, "RETRY_S", (0.01,))
    return lambda coroutine: asyncio.run(asyncio.wait_for(coroutine, 60))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  what comes is not announced
        await asyncio.sleep(0.01)


def test_the_engine_that_works_with_it_runs_the_model(
    delegate: TrialDelegate, run: Callable[..., None]
) -> None:
    async def story() -> None:
        party = Party(delegate)
        assert await party.acceleration.prove() is None
        assert party.runs.accelerated
        assert party.runs.model.engine in {"litert", "tflite-runtime"}

    run(story())


def test_without_a_fallback_a_worker_is_not_even_started(
    delegate: TrialDelegate, run: Callable[..., None]
) -> None:
    async def story() -> None:
        party = Party(delegate, fallback="none")
        delegate.be("error")
        failed = await party.acceleration.prove()
        assert failed is not None
        assert failed.error == "AcceleratorError"
        assert not party.events

    run(story())


def test_one_death_may_have_another_cause_and_two_are_blamed_on_it(
    delegate: TrialDelegate,
) -> None:
    party = Party(delegate)
    assert not party.ended()
    assert party.runs.accelerated
    assert party.ended()
    assert party.runs.model.path == Path("cpu")
    assert party.events == ["accelerator_lost"]


@pytest.mark.parametrize(
    "end",
    [
        {"failure": Failed("AcceleratorError", "it failed")},
        {"failure": Failed("GoldenError", "it answers wrongly")},
        {"stuck": True},
        {"ready": False},
    ],
)
def test_an_end_that_is_its_doing_is_blamed_on_it_at_once(
    delegate: TrialDelegate, end: dict[str, Any]
) -> None:
    party = Party(delegate)
    assert party.ended(**end)
    assert not party.runs.accelerated


def test_what_the_cpu_could_not_do_either_is_not_blamed_on_it(delegate: TrialDelegate) -> None:
    party = Party(delegate)
    for _ in range(3):
        assert not party.ended(failure=Failed("DecodeError", "the labels do not fit"))
    assert party.runs.accelerated


def test_it_is_back_with_the_first_frame_that_it_ran(
    delegate: TrialDelegate, run: Callable[..., None]
) -> None:
    async def story() -> None:
        party = Party(delegate)
        party.ended(stuck=True)
        watch = asyncio.create_task(party.acceleration.watch())
        await until(lambda: party.acceleration.coming_back)
        assert not party.frame(accelerated=False)  # those on the way were begun on the CPU
        assert party.acceleration.on_cpu
        assert party.frame(accelerated=True)
        assert party.runs.accelerated
        assert party.events == ["accelerator_lost", "accelerator_back"]
        watch.cancel()

    run(story())


def test_a_worker_that_hangs_on_the_way_back_is_ended_and_the_next_is_on_the_cpu(
    delegate: TrialDelegate, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COME_BACK_LIMIT_S", 0.05)

    async def story() -> None:
        party = Party(delegate)
        party.ended(stuck=True)
        watch = asyncio.create_task(party.acceleration.watch())
        await until(lambda: party.given_up > 0)
        watch.cancel()
        assert not party.runs.accelerated
        told = party.acceleration.info()
        assert told is not None
        assert told.cause == "hung"

    run(story())


def test_it_is_tried_again_where_the_worker_refuses_or_cannot_be_asked(
    delegate: TrialDelegate, run: Callable[..., None]
) -> None:
    async def story() -> None:
        party = Party(delegate)
        party.answer = False
        party.ended(stuck=True)
        watch = asyncio.create_task(party.acceleration.watch())
        await until(lambda: party.asked > 1)
        party.answer = True
        await until(lambda: party.acceleration.coming_back)
        party.acceleration.refused("no room")
        asked = party.asked
        await until(lambda: party.asked > asked)
        assert not party.runs.accelerated
        watch.cancel()

    run(story())


def test_the_time_without_it_is_counted(delegate: TrialDelegate) -> None:
    party = Party(delegate)
    ready = Ready("litert", "2", "", 1, "", 1, [], [], 1.0, 1.0, 3, accelerated=True)
    party.acceleration.ready(ready)
    figures = party.acceleration.figures()
    assert figures is not None
    assert (figures.in_use, figures.losses_total, figures.cpu_seconds_total) == (True, 0, 0)
    party.ended(stuck=True)
    figures = party.acceleration.figures()
    assert figures is not None
    assert (figures.in_use, figures.losses_total) == (False, 1)
    assert figures.cpu_seconds_total >= 0


def _silent(event: str, message: str, **details: Any) -> None:
    del event, message, details


def test_a_pipeline_without_an_accelerator_has_nothing_to_tell() -> None:
    options = Pipeline.model_validate({"source": {"type": "synthetic"}, "model": {"path": DIGITS}})
    acceleration = Acceleration(
        [options],
        tell=_silent,
        leave=lambda: None,
        take_back=lambda: None,
        give_up=lambda: None,
    )
    assert not acceleration.wanted
    assert acceleration.figures() is None
    assert acceleration.info() is None
    assert acceleration.applied(options, accelerated=True) is options

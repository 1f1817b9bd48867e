"""Models are swapped between two frames, with real workers: what becomes of every frame."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from digit_models import DIGITS, LIVE, OWN, SHEET, Watch, digest_of, models_of, options, other_build
from hosted import Hosted, hosted

from edge.config.pipeline import Pipeline
from edge.errors import ConfigError, DecodeError, EdgeError, ModelError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return other_build(tmp_path)


def run(trial: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(trial, 100))


def test_under_a_live_source_every_frame_is_accounted_for(other: Path) -> None:
    async def trial() -> None:
        watch = Watch()
        async with hosted(options(LIVE), watch) as host:
            await host.until_results(20)
            worker = host.worker
            swapped = await host.pipeline.swap(options(LIVE, other))
            results = host.ear.results
            assert models_of(results) == [OWN, digest_of(other)]
            assert {r.model for r in results if r.model_digest != OWN} == {"other.tflite"}
            assert host.worker == worker
            assert watch.heard == [f"ready {OWN}", f"ready {digest_of(other)}"]
            await host.until_results(20, digest=digest_of(other))
            assert swapped.gap_ms is not None
            assert swapped.gap_ms > 10  # the period is 16.7
            assert swapped.prepared_ms > 0
            (event,) = host.ear.told("model_swapped")
            assert event.startswith("other.tflite answers from now on: prepared beside the other ")
        windows = [*host.ear.metrics, host.pipeline.metrics()]
        frames = [r.frame for r in host.ear.results]
        lost = windows[-1].dropped_total
        assert frames == sorted(set(frames))
        assert sum(w.frames for w in windows) == len(frames) == watch.frames
        # What came after the last frame that was answered may have been lost as well.
        missing = frames[-1] + 1 - len(frames)
        assert missing <= lost.mailbox + lost.source <= missing + 60
        first = sum(r.model_digest == OWN for r in host.ear.results)
        assert windows[0].frames == first, "no window is about two models"

    run(trial())


def test_under_a_pulled_source_none_is_missing(other: Path) -> None:
    async def trial() -> None:
        async with hosted(options(SHEET)) as host:
            await host.until_results(5)
            swapping = asyncio.create_task(host.pipeline.swap(options(SHEET, other)))
            await host.until(lambda: host.pipeline.state == "ended")
            assert (await swapping).frames_dropped == 0
        assert [r.frame for r in host.ear.results] == list(range(540))
        assert models_of(host.ear.results) == [OWN, digest_of(other)]

    run(trial())


def test_several_sources_go_over_together(other: Path) -> None:
    sources = {"left": LIVE, "right": {**LIVE, "fps": 40}}

    async def trial() -> None:
        async with hosted(options({}, sources=sources)) as host:
            await host.until_results(20)
            await host.pipeline.swap(options({}, other, sources=sources))
            await host.until_results(20)
            for name in sources:
                answered = [r for r in host.ear.results if r.source == name]
                assert models_of(answered) == [OWN, digest_of(other)]

    run(trial())


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"model": {"path": "/gone.tflite"}}, ModelError, "there is no such file"),
        ({"model": {"path": DIGITS / "digits.tflite", "labels": ["a"]}}, DecodeError, "1 labels"),
        ({"deadline_ms": 5}, ConfigError, "`deadline_ms` would change as well"),
        (
            {"ladder": {"rungs": [{"name": "low", "fps": 90}]}},
            ConfigError,
            "the ladder must be less",
        ),
    ],
)
def test_one_that_cannot_be_had_changes_nothing(
    fields: dict[str, Any], error: type[Exception], says: str, other: Path
) -> None:
    wanted = Pipeline.model_validate(
        {"source": LIVE, "model": {"path": other}, "deadline_ms": 10_000, **fields}
    )

    async def trial() -> None:
        async with hosted(options(LIVE)) as host:
            await host.until_results(5)
            worker = host.worker
            with pytest.raises(error, match=says):
                await host.pipeline.swap(wanted)
            await host.until_results(20)
            assert models_of(host.ear.results) == [OWN]
            assert (host.worker, host.pipeline.options) == (worker, options(LIVE))
            await host.pipeline.swap(options(LIVE, other))  # another may follow

    run(trial())


async def stopped_while_swapping(host: Hosted, wanted: Pipeline) -> asyncio.Task[Any]:
    """Ask for a swap of a worker that stands still, so that it cannot have begun."""
    await host.until_results(5)
    os.kill(host.worker, signal.SIGSTOP)
    swapping = asyncio.create_task(host.pipeline.swap(wanted))
    await asyncio.sleep(0)
    return swapping


def test_a_worker_killed_meanwhile_is_followed_by_one_with_the_old_model(other: Path) -> None:
    async def trial() -> None:
        watch = Watch()
        async with hosted(options(LIVE), watch) as host:
            swapping = await stopped_while_swapping(host, options(LIVE, other))
            with pytest.raises(EdgeError, match="cam prepares another model already"):
                await host.pipeline.swap(options(LIVE, other))
            os.kill(host.worker, signal.SIGKILL)
            with pytest.raises(EdgeError, match=r"stays with its model, not other.tflite: the wor"):
                await swapping
            await host.until_results(10)
            assert models_of(host.ear.results) == [OWN]
            assert watch.heard == [f"ready {OWN}", "died killed by SIGKILL", f"ready {OWN}"]

    run(trial())


def test_a_worker_killed_after_it_is_followed_by_one_with_the_new_model(other: Path) -> None:
    async def trial() -> None:
        async with hosted(options(LIVE)) as host:
            await host.until_results(5)
            await host.pipeline.swap(options(LIVE, other))
            os.kill(host.worker, signal.SIGKILL)
            await host.until(lambda: host.ear.told("worker_restarted"))
            await host.until_results(10)
            assert models_of(host.ear.results) == [OWN, digest_of(other)]
            frames = [r.frame for r in host.ear.results]
            assert frames == sorted(set(frames))

    run(trial())


def test_a_pause_ends_it_and_the_new_model_outlasts_a_pause(other: Path) -> None:
    async def trial() -> None:
        async with hosted(options(LIVE)) as host:
            swapping = await stopped_while_swapping(host, options(LIVE, other))
            pausing = asyncio.create_task(host.pipeline.pause())
            await asyncio.sleep(0)
            os.kill(host.worker, signal.SIGKILL)
            await pausing
            with pytest.raises(EdgeError, match="the pipeline was paused"):
                await swapping
            with pytest.raises(EdgeError, match="cam is paused: its model cannot be changed now"):
                await host.pipeline.swap(options(LIVE, other))
            host.pipeline.resume()
            await host.until_results(5)
            await host.pipeline.swap(options(LIVE, other))
            await host.pipeline.pause()
            host.pipeline.resume()
            await host.until_results(5)
            assert models_of(host.ear.results) == [OWN, digest_of(other)]

    run(trial())


def test_it_stays_on_its_rung_of_the_ladder(other: Path) -> None:
    ladder = {"window_s": 1, "rungs": [{"name": "low", "every": 2}]}
    fields: dict[str, Any] = {"deadline_ms": 0.001, "on_late": "run", "ladder": ladder}

    async def trial() -> None:
        async with hosted(options(LIVE, **fields)) as host:
            await host.until(lambda: host.ear.told("rung_changed"))
            await host.pipeline.swap(options(LIVE, other, **fields))
            results = await host.until_results(10)
            assert {(r.rung_name, r.model_digest) for r in results} == {("low", digest_of(other))}
            figures = host.pipeline.metrics().ladder
            assert figures is not None
            assert figures.steps_down_total == 1
            await host.pipeline.swap(options(LIVE, deadline_ms=0.001, on_late="run"))
            (last,) = await host.until_results(1)
            assert (last.rung_name, last.model_digest) == ("full", OWN), "that one has no ladder"

    run(trial())


def test_a_worker_starts_with_the_model_that_the_watch_names(other: Path) -> None:
    async def trial() -> None:
        watch = Watch(options(LIVE, other), None, options(LIVE))
        async with hosted(options(LIVE), watch) as host:
            await host.until_results(5)
            for _ in range(2):
                os.kill(host.worker, signal.SIGKILL)
                heard = len(watch.heard)
                await host.until(lambda heard=heard: len(watch.heard) == heard + 2)  # type: ignore[misc]
            await host.until_results(5)
            assert models_of(host.ear.results) == [digest_of(other), OWN]
            assert host.pipeline.configured == options(LIVE)

    run(trial())

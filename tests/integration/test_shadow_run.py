"""A model runs in the shadow of the one that serves, with real workers: what comes of it."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from digit_models import (
    DIGITS,
    LIVE,
    OWN,
    SHEET,
    Watch,
    digest_of,
    models_of,
    options,
    other_build,
)
from hosted import Hosted, hosted

from edge.config.device import Device
from edge.errors import ConfigError, EdgeError, ModelError
from edge.supervisor.daemon import Daemon
from edge.worker.shadow import is_chosen

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from trial_delegate import TrialDelegate

    from edge.config.pipeline import Pipeline
    from edge.messages import ShadowFigures


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return other_build(tmp_path)


def run(trial: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(trial, 100))


async def shadowed(host: Hosted, frames: int) -> ShadowFigures:
    """Wait until so many frames were answered in shadow."""

    def enough() -> ShadowFigures | None:
        found = host.pipeline.shadowed
        return found if found is not None and found.frames >= frames else None

    found: ShadowFigures = await host.until(enough, f"{frames} frames in shadow")
    return found


def test_it_answers_its_share_of_a_pulled_source_and_nothing_of_it_is_published(
    other: Path,
) -> None:
    async def trial() -> None:
        async with hosted(options({**SHEET, "loop": True})) as host:
            await host.until_results(5)
            ready = await host.pipeline.shadow(options({**SHEET, "loop": True}, other), 0.25)
            assert ready.digest == digest_of(other)
            before, first = await shadowed(host, 1), host.ear.results[-1].frame
            await host.until_results(600)
            found, last = host.pipeline.metrics().shadow, host.ear.results[-1].frame
            assert found is not None
            assert (found.model, found.model_digest) == ("other.tflite", digest_of(other))
            chosen = sum(is_chosen(n, 0.25) for n in range(first + 1, last + 1))
            assert abs(found.frames - before.frames - chosen) <= 1  # of the newest, or not yet
            assert (found.skipped, found.failed, found.failure) == (0, 0, None)
            assert 0 < found.agreed < found.frames, "it gives a third of the answers otherwise"
            assert found.agreement == pytest.approx(found.agreed / found.frames, abs=1e-4)
            for each in (found.inference_ms, found.serving_inference_ms):
                assert each.count == found.frames
                assert each.p50 is not None
            host.pipeline.end_shadow()
            assert host.pipeline.shadowed is None
            await host.until_results(5)
        assert host.pipeline.metrics().shadow is None
        assert models_of(host.ear.results) == [OWN]
        assert [r.frame for r in host.ear.results] == list(range(len(host.ear.results)))

    run(trial())


def test_it_runs_between_the_frames_of_a_live_source_and_takes_the_place_of_the_other(
    other: Path,
) -> None:
    async def trial() -> None:
        watch = Watch()
        async with hosted(options(LIVE), watch) as host:
            await host.until_results(5)
            await host.pipeline.shadow(options(LIVE), 1.0)
            with pytest.raises(EdgeError, match="cam has a model in shadow already"):
                await host.pipeline.shadow(options(LIVE, other), 1.0)
            found = await shadowed(host, 50)
            assert (found.agreed, found.agreement) == (found.frames, 1.0)
            host.pipeline.end_shadow()
            await host.pipeline.shadow(options(LIVE, other), 1.0)
            assert (await shadowed(host, 30)).agreed < 30
            with pytest.raises(ModelError):  # all stays as it was, the shadow as well
                await host.pipeline.swap(options(LIVE, DIGITS / "gone.tflite"))
            await shadowed(host, 60)
            swapped = await host.pipeline.swap(options(LIVE, other))
            assert host.pipeline.shadowed is None
            await host.until_results(10)
            assert models_of(host.ear.results) == [OWN, digest_of(other)]
            assert watch.heard == [f"ready {OWN}", f"ready {digest_of(other)}"]
            assert swapped.prepared_ms > 0
            await host.pipeline.shadow(options(LIVE), 1.0)  # now the other way round
            await shadowed(host, 10)

    run(trial())


def test_a_model_with_another_input_is_given_the_frame_itself(testdata: Path) -> None:
    vww = testdata / "models/vww_96_int8.tflite"
    source = {"type": "synthetic", "width": 320, "height": 240, "fps": 30}

    async def trial() -> None:
        async with hosted(options(source)) as host:
            await host.until_results(5)
            await host.pipeline.shadow(options(source, vww), 1.0)
            found = await shadowed(host, 20)
            assert (found.failed, found.failure) == (0, None)
            assert found.inference_ms.p50 > found.serving_inference_ms.p50  # type: ignore[operator]
            await host.pipeline.swap(options(source, vww))
            await host.pipeline.shadow(options(source, vww), 1.0)
            found = await shadowed(host, 20)
            assert found.agreement == 1.0

    run(trial())


def test_of_a_cache_only_what_was_really_run_is_answered_again(other: Path) -> None:
    cache = {"mode": "exact", "size": 600, "max_age_ms": 3_600_000}
    source = {**SHEET, "loop": True}

    async def trial() -> None:
        async with hosted(options(source, cache=cache)) as host:
            await host.until_results(540)
            await host.until_results(30)
            assert host.ear.results[-1].cached is not None
            await host.pipeline.shadow(options(source, other, cache=cache), 1.0)
            await host.until_results(200)
            assert host.pipeline.shadowed is not None
            assert host.pipeline.shadowed.frames == 0

    run(trial())


def test_frames_of_several_sources_and_of_batches_are_answered_one_by_one(other: Path) -> None:
    sources = {"left": LIVE, "right": {**LIVE, "fps": 40}}
    fields: dict[str, Any] = {"sources": sources, "batch": {"max_size": 4, "max_wait_ms": 20}}

    async def trial() -> None:
        async with hosted(options({}, **fields)) as host:
            await host.until_results(10)
            await host.pipeline.shadow(options({}, other, **fields), 1.0)
            found = await shadowed(host, 20)
            assert found.failed == 0
            results = await host.until_results(20)
            assert {r.source for r in results} == {"left", "right"}

    run(trial())


def test_a_step_on_the_ladder_leaves_it_alone(other: Path) -> None:
    ladder = {"window_s": 1, "rungs": [{"name": "low", "every": 2}]}
    fields: dict[str, Any] = {"deadline_ms": 0.001, "on_late": "run", "ladder": ladder}

    async def trial() -> None:
        async with hosted(options(LIVE, **fields)) as host:
            await host.until_results(5)
            await host.pipeline.shadow(options(LIVE, other, **fields), 1.0)
            await host.until(lambda: host.ear.told("rung_changed"))
            frames = (await shadowed(host, 0)).frames
            await shadowed(host, frames + 10)
            await host.pipeline.swap(options(LIVE, other, **fields))
            (last,) = await host.until_results(1)
            assert (last.rung_name, last.model_digest) == ("low", digest_of(other))

    run(trial())


@pytest.mark.parametrize(
    ("fields", "share", "error", "says"),
    [
        ({"model": {"path": "/gone.tflite"}}, 1, ModelError, "there is no such file"),
        ({"decode": {"type": "raw"}}, 1, ConfigError, "cannot be compared with `classification`"),
        ({"deadline_ms": 5}, 1, ConfigError, "`deadline_ms` would change as well"),
        ({}, 0, ConfigError, "must be above 0 and at most 1, not 0"),
        ({}, 1.5, ConfigError, "must be above 0 and at most 1, not 1.5"),
    ],
)
def test_one_that_cannot_be_had_changes_nothing(
    fields: dict[str, Any], share: float, error: type[Exception], says: str
) -> None:
    async def trial() -> None:
        async with hosted(options(LIVE)) as host:
            await host.until_results(5)
            wanted = options(LIVE).model_dump(mode="json") | fields
            with pytest.raises(error, match=says):
                await host.pipeline.shadow(type(options(LIVE)).model_validate(wanted), share)
            assert host.pipeline.shadowed is None
            await host.pipeline.shadow(options(LIVE), 1)
            await shadowed(host, 5)

    run(trial())


def test_a_model_that_keeps_state_is_refused(testdata: Path) -> None:
    nabu = testdata / "models/okay_nabu.tflite"

    async def trial() -> None:
        raw: dict[str, Any] = {"decode": {"type": "raw"}}
        async with hosted(options(LIVE, **raw)) as host:
            await host.until_results(5)
            with pytest.raises(ModelError, match="keeps state from frame to frame, so it would"):
                await host.pipeline.shadow(options(LIVE, nabu, **raw), 1)
            await host.until_results(5)

    run(trial())


def on_delegate(delegate: TrialDelegate, in_: str = "invoke") -> Pipeline:
    """Return the digits on an accelerator that may be told to fail, by default in a pass."""
    accelerator = {"library": str(delegate.library), "options": delegate.options(in_=in_)}
    model = {"path": DIGITS / "digits.tflite", "accelerator": accelerator}
    wanted = options(LIVE).model_dump(mode="json") | {"model": model}
    return type(options(LIVE)).model_validate(wanted)


def test_one_on_an_accelerator_takes_over_without_being_tried_anew(
    delegate: TrialDelegate,
) -> None:
    async def trial() -> None:
        async with hosted(options(LIVE)) as host:
            await host.until_results(5)
            wanted = on_delegate(delegate, in_="create")
            await host.pipeline.shadow(wanted, 1)
            await shadowed(host, 5)
            delegate.be("error")  # a device that is in use cannot be had once more
            await host.pipeline.swap(wanted)
            await host.until_results(5)
            figures = host.pipeline.metrics().accelerator
            assert figures is not None
            assert (figures.in_use, figures.losses_total) == (True, 0)

    run(trial())


def test_one_that_fails_is_counted_and_the_pipeline_goes_on(delegate: TrialDelegate) -> None:
    async def trial() -> None:
        async with hosted(options(LIVE)) as host:
            await host.until_results(5)
            await host.pipeline.shadow(on_delegate(delegate), 1)
            assert (await shadowed(host, 5)).failed == 0
            delegate.be("error")
            failed = await host.until(lambda: (host.pipeline.shadowed or 0).failed)  # type: ignore[union-attr]
            delegate.be("ok")
            found = await shadowed(host, (await shadowed(host, 0)).frames + 20)
            assert "failed in a forward pass" in (found.failure or "")
            assert failed <= found.failed < found.frames
            assert found.agreement == 1.0, "those that failed are not among the compared"
            await host.until_results(5)
            assert not host.ear.told("worker_died")

    run(trial())


def test_one_that_is_slow_once_is_blamed_for_the_frame_behind_it(delegate: TrialDelegate) -> None:
    slow: dict[str, Any] = {"source": {**LIVE, "fps": 5}, "deadline_ms": 120, "on_late": "run"}

    async def trial() -> None:
        async with hosted(options(**slow)) as host:
            await host.until_results(20)  # nothing is usual before
            wanted = options(**slow).model_copy(update={"model": on_delegate(delegate).model})
            await host.pipeline.shadow(wanted, 1)
            await shadowed(host, 5)
            delegate.be("slow 380")  # from the newest frame almost to the next but one
            blamed = "; the model in shadow had the engine for "
            await host.until(lambda: any(blamed in each for each in host.ear.told("trace_written")))

    run(trial())


def test_one_that_crashes_takes_the_worker_down_once(delegate: TrialDelegate) -> None:
    async def trial() -> None:
        watch = Watch()
        async with hosted(options(LIVE), watch) as host:
            await host.until_results(5)
            await host.pipeline.shadow(on_delegate(delegate), 1)
            await shadowed(host, 5)
            delegate.be("crash")
            await host.until(lambda: host.ear.told("worker_restarted"))
            assert host.pipeline.shadowed is None
            await host.until_results(60)
            assert len(host.ear.told("worker_died")) == 1
            assert watch.heard == [
                f"ready {OWN}",
                "died killed by SIGSEGV",
                "shadow lost the worker ended: killed by SIGSEGV",
                f"ready {OWN}",
            ]
            (lost,) = host.ear.told("shadow_lost")
            assert lost == (
                "digits.tflite runs no more in shadow: the worker ended: killed by SIGSEGV"
            )
            (written,) = await host.until(lambda: host.ear.told("trace_written"))
            assert "the worker ended (killed by SIGSEGV) with frame" in written
            assert "in its shadow stage for" in written

    run(trial())


def test_a_worker_killed_while_it_prepares_one_is_told(other: Path) -> None:
    async def trial() -> None:
        async with hosted(options(LIVE)) as host:
            await host.until_results(5)
            os.kill(host.worker, signal.SIGSTOP)
            asked = asyncio.create_task(host.pipeline.shadow(options(LIVE, other), 1))
            await asyncio.sleep(0)
            os.kill(host.worker, signal.SIGKILL)
            with pytest.raises(EdgeError, match=r"does not run in shadow: the worker ended: kill"):
                await asked
            assert not host.ear.told("shadow_lost")
            await host.until_results(5)
            await host.pipeline.shadow(options(LIVE, other), 1)
            await shadowed(host, 5)

    run(trial())


def test_one_that_is_ended_while_it_is_prepared_leaves_no_trace(other: Path) -> None:
    async def trial() -> None:
        async with hosted(options(LIVE)) as host:
            await host.until_results(5)
            os.kill(host.worker, signal.SIGSTOP)
            asked = asyncio.create_task(host.pipeline.shadow(options(LIVE, other), 1))
            await asyncio.sleep(0)
            for change in (host.pipeline.swap, lambda one: host.pipeline.shadow(one, 1)):
                with pytest.raises(EdgeError, match="cam prepares another model already"):
                    await change(options(LIVE, other))
            host.pipeline.end_shadow()
            os.kill(host.worker, signal.SIGCONT)
            with pytest.raises(EdgeError, match="does not run in shadow: it was ended before it"):
                await asked
            await host.until_results(60)
            assert models_of(host.ear.results) == [OWN]
            assert host.pipeline.shadowed is None
            await host.pipeline.shadow(options(LIVE), 1)
            assert (await shadowed(host, 20)).agreement == 1.0

    run(trial())


def test_it_is_there_again_after_a_pause(other: Path) -> None:
    async def trial() -> None:
        watch = Watch()
        async with hosted(options(LIVE), watch) as host:
            await host.until_results(5)
            await host.pipeline.shadow(options(LIVE, other), 1)
            await shadowed(host, 10)
            await host.pipeline.pause()
            before = await shadowed(host, 10)
            with pytest.raises(EdgeError, match="has a model in shadow already"):
                await host.pipeline.shadow(options(LIVE), 1)
            host.pipeline.resume()
            await shadowed(host, before.frames + 10)
            await host.pipeline.pause()
            os.unlink(other)  # noqa: PTH108  a moment
            host.pipeline.resume()
            await host.until(lambda: host.ear.told("shadow_lost"))
            assert watch.heard[-1] == f"shadow lost {other}: there is no such file; check the path"
            await host.until_results(5)

    run(trial())


def test_a_reload_that_changes_nothing_leaves_it_alone(other: Path) -> None:
    async def trial() -> None:
        pipelines = {"cam": options(LIVE).model_dump(mode="json", exclude_none=True)}
        text: dict[str, Any] = {"device": "dev", "pipelines": pipelines}
        text["mqtt"] = {"broker": "mqtt://127.0.0.1:1"}
        daemon = Daemon(lambda: Device.model_validate(text))
        running = asyncio.create_task(daemon.run())
        while not daemon._pipelines or daemon._pipelines["cam"].state != "running":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        pipeline = daemon._pipelines["cam"]
        await pipeline.shadow(options(LIVE, other), 1)
        assert not await daemon.reload()
        assert daemon._pipelines["cam"] is pipeline
        assert pipeline.shadowed is not None
        await pipeline.swap(options(LIVE, other))
        assert not await daemon.reload()
        assert daemon._pipelines["cam"] is pipeline, "what was swapped in stays"
        pipelines["cam"]["deadline_ms"] = 20_000
        assert not await daemon.reload()
        assert daemon._pipelines["cam"].options.model.path.name == "digits.tflite"
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0

    run(trial())

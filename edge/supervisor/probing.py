"""Asks whether an accelerator can be used, without being hurt by the answer."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from edge.accelerators.base import OF_EVERY_ENGINE, Trouble
from edge.supervisor.last_words import LastWords
from edge.supervisor.process import child_environment, how_it_ended, python_command

if TYPE_CHECKING:
    from edge.accelerators.base import AcceleratorOptions, Step
    from edge.config.model import Model

PROBE = "edge.engines.probe"
DYING_S = 5.0
LIMIT_S = 30.0  # the first use of a USB accelerator loads its firmware
ENGINES: tuple[Literal["litert", "tflite-runtime"], ...] = ("litert", "tflite-runtime")


class Probed(NamedTuple):
    """What a probe found."""

    engine: Literal["litert", "tflite-runtime"]
    """The engine that works with the accelerator, or the one whose trouble is told."""
    trouble: str
    """What is wrong and what to do; empty where it can be used."""
    cause: str
    """One of `edge.accelerators.base.Cause`, or an error's name; empty where it can be used."""
    seconds: float
    remarks: tuple[str, ...] = ()
    """What is worth a word though it can be used."""

    @property
    def ok(self) -> bool:
        """Whether it can be used."""
        return not self.trouble


async def probe(model: Model, *, limit_s: float = LIMIT_S, with_model: bool = True) -> Probed:
    """Try a model on its accelerator in processes of their own, one an engine, until one works.

    With `engine: auto` each engine that is installed is tried, for a library is built for one
    TFLite and crashes another; but not where another would only meet the same. `limit_s` is for
    each of them. Without the model only the device is opened.
    """
    began = time.monotonic()
    found = []
    for engine in ENGINES if model.engine == "auto" else (model.engine,):
        found.append(await _try(model, engine, limit_s, with_model=with_model))
        if found[-1].ok or found[-1].cause in OF_EVERY_ENGINE:
            break
    # What another engine says of itself is no news where one is installed and failed.
    tried = [one for one in found if one.cause != "EngineError"] or found
    told = found[-1] if found[-1].ok else _of_both(*tried)
    return told._replace(seconds=round(time.monotonic() - began, 3))


def _of_both(first: Probed, second: Probed | None = None) -> Probed:
    """Return the trouble to tell of: that of the better engine, and that the other is no help."""
    if second is None:
        return first
    if second.cause in OF_EVERY_ENGINE:  # it came farther
        return second
    return first._replace(trouble=f"{first.trouble}; with {second.engine} it is no better")


def probe_now(model: Model, *, limit_s: float = LIMIT_S, with_model: bool = True) -> Probed:
    """Do the same where no event loop runs: at the command line."""
    return asyncio.run(probe(model, limit_s=limit_s, with_model=with_model))


async def _try(
    model: Model,
    engine: Literal["litert", "tflite-runtime"],
    limit_s: float,
    *,
    with_model: bool,
) -> Probed:
    accelerator = model.accelerator
    if accelerator is None:
        raise ValueError(f"{model.path} has no accelerator to be probed")
    path = str(model.path) if with_model else ""
    command = python_command(PROBE, path, accelerator.model_dump_json(), engine)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(),
        start_new_session=True,
    )
    said: list[dict[str, Any]] = []
    words = LastWords()
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018  asked for

    async def hear(lines: asyncio.StreamReader, errors: asyncio.StreamReader) -> None:
        async def complain() -> None:
            while data := await errors.read(65536):
                words.feed(data)

        complaints = asyncio.ensure_future(complain())
        while line := await lines.readline():
            said.append(json.loads(line))
        await complaints
        await process.wait()

    hung = False
    try:
        await asyncio.wait_for(hear(process.stdout, process.stderr), limit_s)
    except asyncio.TimeoutError:
        hung = True
    finally:
        if process.returncode is None:
            process.kill()
            with suppress(asyncio.TimeoutError):  # one that waits in a driver does not even die
                await asyncio.wait_for(process.wait(), DYING_S)
    last = said[-1] if said else {}
    if "ok" in last:
        return Probed(engine, "", "", 0, tuple(last["remarks"]))
    if "failed" in last:
        return Probed(engine, last["message"], last.get("cause", last["failed"]), 0)
    words.feed(b"")
    step: Step = last.get("step", "engine")
    return _explained(accelerator, step, engine, process.returncode or 0, words, hung=hung)


def _explained(
    accelerator: AcceleratorOptions,
    step: Step,
    engine: Literal["litert", "tflite-runtime"],
    status: int,
    words: LastWords,
    *,
    hung: bool,
) -> Probed:
    """Tell of a process that ended without a word of its own."""
    said = "" if hung else "; ".join(filter(None, (how_it_ended(status), words.gist)))
    trouble = Trouble(step, engine, said, "hung" if hung else "crashed")
    cause, message = accelerator.explain(trouble)
    return Probed(engine, message, cause, 0)

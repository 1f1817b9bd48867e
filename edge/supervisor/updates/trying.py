"""Opens a new model in a throw-away worker, as far as its first frame: golden answers, decoder."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from edge.errors import ModelError
from edge.supervisor.keeper import START_LIMIT_S
from edge.supervisor.process import WorkerProcess
from edge.supervisor.trial import hear
from edge.wire import Ready

if TYPE_CHECKING:
    from edge.config.pipeline import Pipeline

NICE = 10  # the frames of the model that serves go first


async def try_out(name: str, options: Pipeline, *, device: str) -> Ready:
    """Return what the worker said when it was ready.

    Raises what made it fail, or ModelError with its last words where it died or hung.
    """
    worker = WorkerProcess(name, options, device=device, check_only=True)
    with suppress(OSError):  # it may have died already
        os.setpriority(os.PRIO_PROCESS, worker.process.pid, NICE)
    hearing = asyncio.ensure_future(asyncio.to_thread(_hear, worker, options))
    try:
        return await asyncio.shield(hearing)
    finally:
        worker.kill()
        await asyncio.wait([hearing])
        worker.close()


def _hear(worker: WorkerProcess, options: Pipeline) -> Ready:
    path = options.model.path
    said = hear(worker, worker.wire, path, silent_limit_s=START_LIMIT_S)
    ready = [record for record in said if isinstance(record, Ready)]
    if not ready:
        raise ModelError(f"{path}: the process that tried it ended without a word")
    return ready[0]

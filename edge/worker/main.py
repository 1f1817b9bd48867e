"""A worker process: one pipeline, for as long as the supervisor is there.

Started as `python -c BOOTSTRAP FD RING` by `edge.supervisor.process`; never by a person.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib.util
import mmap
import os
import signal
import socket
import sys
import threading
import time

from edge import flight
from edge.config.pipeline import Pipeline
from edge.errors import EdgeError
from edge.identity import client_id
from edge.sources.base import Surroundings
from edge.wire import Accepted, Accompany, Change, Ended, Failed, Job, Look, Note, Stop, Wire
from edge.worker.cpu import take_place
from edge.worker.line import ORPHANED, Line
from edge.worker.loop import Loop
from edge.worker.prepare import quiet_python
from edge.worker.recorder import Recorder
from edge.worker.rungs import Rungs

BEAT_S = 0.5
JOB_LIMIT_S = 60.0


def main() -> None:
    """Run the job that the supervisor sends first, then end."""
    faulthandler.enable()
    _only_the_schema_that_is_needed()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor decides when we stop
    line = Line(Wire(socket.socket(fileno=int(sys.argv[1]))))
    line.wire.wait(timeout_s=JOB_LIMIT_S)
    try:
        job = line.wire.receive()
    except ConnectionError:
        sys.exit(ORPHANED)  # started ahead, and not wanted
    if not isinstance(job, Job):
        raise TypeError(f"expected a job first, not {job!r}")
    try:
        options = Pipeline.model_validate_json(job.options)
        refused = [] if job.check_only else list(take_place(options.cpu))
        rungs = Rungs(job, line)
        line.tell(rungs.first.ready)
        for sentence in (*refused, *rungs.first.refusals):
            line.tell(Note("not_permitted", sentence, {}))
        if not job.check_only:
            _run(job, options, rungs, line)
    except EdgeError as error:
        line.may_wait = True
        line.tell(Failed(type(error).__name__, str(error)))
        sys.exit(error.exit_status)


def _only_the_schema_that_is_needed() -> None:
    """Make the package tflite known without running its `__init__`.

    That imports some 300 classes, a third of the time a worker takes to start; reading a model
    needs a dozen, each from a module of its own.
    """
    spec = importlib.util.find_spec("tflite")
    if spec is not None:
        sys.modules.setdefault("tflite", importlib.util.module_from_spec(spec))


def _ring() -> mmap.mmap:
    """Return the memory that the supervisor reads when we are gone."""
    descriptor = int(sys.argv[2])
    ring = mmap.mmap(descriptor, flight.SIZE)
    os.close(descriptor)
    return ring


def _surroundings(job: Job) -> Surroundings:
    """Raise ConfigError where the broker's secrets or certificates cannot be read."""
    broker = None
    if job.broker is not None:
        from edge.config.load import access_told

        broker = access_told(job.broker)
    owner = f"{client_id(job.device or '')}/{job.pipeline}"  # names of devices may be in use twice
    return Surroundings(broker, tuple(job.left_out), job.careful, owner)


def _run(job: Job, options: Pipeline, rungs: Rungs, line: Line) -> None:
    line.may_wait = not options.live  # a pulled source loses nothing
    recorder = Recorder(_ring(), backlog=line.wire.backlog)
    recorder.watch_engine()
    gc.callbacks.append(recorder.collecting)
    loop = Loop(
        options,
        rungs.first,
        line.tell,
        first_frames=job.first_frames,
        max_frames=job.max_frames,
        recorder=recorder,
        surroundings=_surroundings(job),
    )
    rungs.serve(loop)
    told_to_stop = threading.Event()

    def listen() -> None:
        """Tell that we live, and hear what to do."""
        beat_s = time.monotonic()
        while True:
            if line.wire.wait(BEAT_S):
                try:
                    record = line.wire.receive()
                except ConnectionError:
                    os._exit(ORPHANED)
                if isinstance(record, Stop):
                    told_to_stop.set()
                    loop.stop()
                elif isinstance(record, (Change, Accompany)):
                    rungs.change(record)
                elif isinstance(record, Look):
                    loop.inference.lens.ask(record)
                elif isinstance(record, Accepted):
                    loop.captures[0].accepted(record.frame)
                    if time.monotonic() < beat_s + BEAT_S:
                        continue  # there are as many of them as frames
            line.tell(loop.beat())
            beat_s = time.monotonic()

    quiet_python()
    threading.Thread(target=listen, name="listen", daemon=True).start()
    loop.run()
    line.may_wait = True  # what is said last must arrive
    line.tell(loop.beat())
    if not told_to_stop.is_set():
        line.tell(Ended())

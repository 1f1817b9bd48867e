"""Finds engine and threads for each pipeline of a device by measurement, all of them running."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.engines.choose import choose, installed
from edge.engines.cpu import this_cpu
from edge.engines.tuning import Tuned, Tuning
from edge.errors import ConfigError, EdgeError, EngineError, ModelError, SourceError
from edge.lab.loop_run import LoopRun, LoopWorker, Tally
from edge.lab.machine import usable_cores
from edge.lab.sources import describe_all, endless, stand_in, verify
from edge.lab.turns import in_turns
from edge.lab.verdict import Candidate, Outcome, Verdict, figure_name, judge
from edge.supervisor import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge.config.device import Device
    from edge.config.model import Model
    from edge.config.pipeline import Pipeline

EACH_UP_TO = 4  # threads that are tried one by one; above, every doubling and all cores
MOST_THREADS = 64  # that the configuration takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who hears how it goes."""

    plan: Callable[[str, int], Callable[[], None]]
    """Hears what will be done and how long it takes, in words and in turns.

    Returns what to call after each turn.
    """
    said: Callable[[str], None]
    """One sentence."""
    judged: Callable[[str, Sequence[Outcome], Verdict], None]
    """A pipeline has its choice."""


class Tuner:
    """Tunes one pipeline after another, while the others run with the best known for them."""

    def __init__(
        self,
        device: Device,
        *,
        seconds: float,
        turns: int,
        synthetic: bool,
        listener: Listener,
    ) -> None:
        """`seconds` is the length of each turn; every candidate has `turns` of them.

        `synthetic` replaces sources that deliver nothing by test frames. Raises ConfigError
        when the configuration leaves nothing to choose, or a source is certainly wrong.
        """
        self._device = device
        self._seconds = seconds
        self._turns = turns
        self._synthetic = synthetic
        self._listener = listener
        engines, cores = list(installed()), usable_cores()
        pipelines = dict(_on_cpu(device, listener.said))
        self._candidates = {
            name: candidates(pipeline.model, engines, cores) for name, pipeline in pipelines.items()
        }
        self._open = [
            name
            for name, pipeline in pipelines.items()
            if "auto" in {pipeline.model.engine, pipeline.model.threads}
        ]
        if not self._open:
            raise ConfigError(
                "there is nothing to choose: every pipeline's `engine` and `threads` are given, or "
                "it never runs on the CPU; write `auto` where they shall be chosen"
            )
        self._best = {name: found[0] for name, found in self._candidates.items()}
        self._pipelines = {}
        for name, pipeline in pipelines.items():
            verify(name, pipeline)
            self._pipelines[name] = pipeline.with_sources(endless)
        self._in_place_of: dict[str, str] = {}
        self._digests: dict[str, str] = {}

    def run(self) -> Tuning:
        """Measure and choose. Raises ModelError, SourceError and the like when it cannot."""
        start_s = self._look()
        turns = self._turns * sum(len(self._candidates[name]) for name in self._open)
        others_s = start_s * len(self._open) * (len(self._pipelines) - 1)
        self._turn_taken = self._listener.plan(
            f"{turns // self._turns} candidates, {self._turns} turns of {self._seconds:g} s each: "
            f"about {_duration(turns * (self._seconds + start_s) + others_s)}",
            turns,
        )
        tuned = {name: self._tune(name) for name in self._open}
        return Tuning(
            device=self._device.device,
            at=clock.utc(),
            clock_synced=clock.synced(),
            cpu=this_cpu(),
            pipelines=tuned,
        )

    def _look(self) -> float:
        """See that each pipeline runs with one of its candidates; return how long one starts.

        Sources that deliver nothing are replaced, or raise SourceError.
        """
        longest_s = 0.0
        with LoopRun() as run:
            for name in self._pipelines:
                began = time.monotonic()
                self._start_somehow(run, name)
                longest_s = max(longest_s, time.monotonic() - began)
        return longest_s

    def _start_somehow(self, run: LoopRun, name: str) -> None:
        refused = []
        for candidate in self._candidates[name]:
            worker = run.start(name, self._with(name, candidate))
            try:
                run.warm(worker, patient=False)
            except SourceError as error:
                run.leave(worker)
                if any(error is other.error for other in run.workers):
                    raise
                self._replace_source(name, error)
                worker = run.start(name, self._with(name, candidate))
                run.warm(worker)
            except (ModelError, EngineError) as error:
                if error is not worker.error:
                    raise
                run.leave(worker)
                refused.append(error)
                continue
            assert worker.ready is not None  # noqa: S101  it is warm
            self._digests[name] = worker.ready.digest
            self._best[name] = candidate
            return
        raise refused[0]

    def _replace_source(self, name: str, error: SourceError) -> None:
        if not self._synthetic:
            raise SourceError(
                f"{error}; with `--synthetic` a source that is not there is replaced by test "
                "frames of its size and rate"
            ) from error
        old = self._pipelines[name]
        new = old.with_sources(stand_in)
        self._listener.said(f"{error}; measured with {describe_all(new)} instead")
        self._in_place_of[name] = describe_all(old)
        self._pipelines[name] = new

    def _tune(self, name: str) -> Tuned:
        deadline_ms = self._pipelines[name].deadline_ms
        outcomes = [Outcome(candidate, deadline_ms) for candidate in self._candidates[name]]
        with LoopRun() as run:
            others = [
                run.start(other, self._with(other, self._best[other]))
                for other in self._pipelines
                if other != name
            ]
            for other in others:
                run.warm(other)
            for outcome in in_turns(outcomes, self._wants_more):
                self._take_turn(run, name, outcome, others)
                self._turn_taken()
        verdict = judge(outcomes)
        self._best[name] = verdict.chosen.candidate
        self._listener.judged(name, outcomes, verdict)
        return self._record(name, outcomes, verdict)

    def _wants_more(self, outcome: Outcome) -> bool:
        return outcome.failed is None and len(outcome.turns) < self._turns

    def _take_turn(
        self, run: LoopRun, name: str, outcome: Outcome, others: Sequence[LoopWorker]
    ) -> None:
        worker = run.start(name, self._with(name, outcome.candidate))
        try:
            run.warm(worker)
            for each in (worker, *others):
                each.begin()
            run.run(self._seconds)
            for other in others:
                tally = outcome.beside.setdefault(other.name, Tally(other.options.deadline_ms))
                tally.add(other.end())
            outcome.turns += run.stop([worker])
        except EdgeError as error:
            if error is not worker.error or isinstance(error, SourceError):
                raise
            outcome.failed = str(error)
            self._listener.said(f"{name}: {outcome.candidate} is left out: {error}")
            run.leave(worker)

    def _with(self, name: str, candidate: Candidate) -> Pipeline:
        pipeline = self._pipelines[name]
        wanted = {"engine": candidate.engine, "threads": candidate.threads}
        return pipeline.model_copy(update={"model": pipeline.model.model_copy(update=wanted)})

    def _record(self, name: str, outcomes: Sequence[Outcome], verdict: Verdict) -> Tuned:
        """Return the choice with its evidence, as it is written down."""
        pipeline, chosen = self._pipelines[name], verdict.chosen.candidate
        versions = installed()
        evidence: dict[str, Any] = {
            "model": pipeline.model.path.name,
            "source": describe_all(pipeline),
            "in_place_of": self._in_place_of.get(name),
            "deadline_ms": pipeline.deadline_ms,
            "beside": {n: str(best) for n, best in self._best.items() if n != name},
            "turns": self._turns,
            "seconds_a_turn": self._seconds,
            "decided_by": figure_name(verdict.q),
            "candidates": [outcome.evidence(verdict.q) for outcome in outcomes],
        }
        return Tuned(
            engine=chosen.engine,
            threads=chosen.threads,
            because=verdict.because,
            holds_deadline=verdict.chosen.holds,
            digest=self._digests[name],
            engines={o.candidate.engine: versions[o.candidate.engine] for o in outcomes},
            evidence=evidence,
        )


def _on_cpu(device: Device, said: Callable[[str], None]) -> Iterator[tuple[str, Pipeline]]:
    """Return the pipelines as they run on the CPU, without those that never do."""
    for name, pipeline in device.pipelines.items():
        accelerator = pipeline.model.accelerator
        if accelerator is None:
            yield name, pipeline
        elif pipeline.model.fallback == "none":
            said(f"{name}: is left out, for it runs on its {accelerator.title} alone")
        else:
            said(f"{name}: is tuned for when its {accelerator.title} cannot be used")
            yield name, pipeline.model_copy(update={"model": pipeline.model.on_cpu()})


def candidates(model: Model, engines: Sequence[str], cores: int) -> list[Candidate]:
    """Return what the configuration leaves open: engines times threads, the rule's choice first."""
    wanted = (engines or [choose("auto").name]) if model.engine == "auto" else [model.engine]
    threads = thread_counts(cores) if model.threads == "auto" else [model.threads]
    return [Candidate(engine, count) for engine in wanted for count in threads]


def thread_counts(cores: int) -> list[int]:
    """Return 1 to 4 threads, then every doubling, then all cores, as far as there are cores."""
    most = min(cores, MOST_THREADS)
    doublings = {1 << bits for bits in range(MOST_THREADS.bit_length())}
    return sorted(n for n in {*range(1, EACH_UP_TO + 1), *doublings, most} if n <= most)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

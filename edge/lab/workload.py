"""What a pipeline costs, as its worker told it and as the simulation takes it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from edge.errors import SourceError
from edge.lab.place import place_of
from edge.lab.simulation import (
    Cost,
    Load,
    LoadOutcome,
    SourceLoad,
    SourceOutcome,
    simulate,
)
from edge.wire import Done

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.config.pipeline import Pipeline
    from edge.lab.loop_run import LoopWorker, Tally
    from edge.lab.simulation import Cores
    from edge.wire import Late

SEED = 5
LEAST_S = 4.0  # of simulated time, to calibrate with
LEAST_SHARE = 0.05  # of the time measured: what is less is no measurement


def load_of(worker: LoopWorker, tally: Tally, cores: Cores, *, drop_late: bool) -> Load:
    """Return what the simulation needs to know of a pipeline that ran alone and kept its records.

    `drop_late` is whether it will drop late frames: it ran them all, to know their costs. Raises
    SourceError where one of its sources had no frame answered.
    """
    options, ready, records = worker.options, worker.ready, tally.records or []
    assert ready is not None  # noqa: S101  it ran
    costs = costs_by_source(records, steady=options.live and ready.batch == 1)
    sources = []
    for number, (name, source) in enumerate(options.all_sources.items()):
        if number not in costs:
            raise SourceError(
                f"pipeline {worker.name}: no frame of {name} was answered in {tally.seconds:.3g} s"
            )
        rate_hz = source.rate
        period = period_ns(records, number) or (1e9 / rate_hz if rate_hz else tally.seconds * 1e9)
        deadline_ns = round(options.deadline_of(name) * 1e6)
        period_or_none = period if source.live else None
        sources.append(SourceLoad(name, period_or_none, deadline_ns, costs[number]))
    load = Load(
        worker.name,
        sources,
        place_of(options.cpu, cores.numbers, worker.refused),
        drop_late=drop_late,
        every=options.every,
        batch=ready.batch,
        max_wait_ns=round(options.batch.max_wait_ms * 1e6),
        batches_ns=passes_by_batch(records),
        capture_share=0.0 if options.live else 1.0,  # nobody waits for a file
    )
    return calibrated(
        load,
        cores,
        used=tally.cpu_s / tally.seconds,
        threads=ready.threads,
        seconds=max(tally.seconds, LEAST_S),
    )


def outcome_of(options: Pipeline, tally: Tally) -> LoadOutcome:
    """Return what was counted of a pipeline that kept its records, as the simulation tells it."""
    sources = [SourceOutcome() for _ in options.all_sources]
    deadlines_ns = [options.deadline_of(name) * 1e6 for name in options.all_sources]
    for record in tally.records or ():
        counts, latency_ns = sources[record.source], sum(record.stages_ns.values())
        counts.latencies_ns.append(latency_ns)
        if isinstance(record, Done):
            counts.answered += 1
            counts.late += latency_ns > deadlines_ns[record.source]
        else:
            counts.deadline += 1
    for counts, replaced, lost in zip(sources, tally.replaced, tally.lost, strict=False):
        counts.mailbox, counts.lost = replaced, lost
    stages = [r.stages_ns for r in tally.records or () if isinstance(r, Done)]
    passes = {
        record.taken_ns: record.stages_ns["inference"]
        for record in tally.records or ()
        if isinstance(record, Done)
    }
    capture_ns = sum(each["capture"] for each in stages)
    return LoadOutcome(sources, sum(passes.values()), capture_ns, tally.cpu_s * 1e9)


def costs_by_source(records: Iterable[Done | Late], *, steady: bool) -> dict[int, list[Cost]]:
    """Return what each answered frame took, by its source, in the order they were run.

    That a frame waited for an engine at work is no cost of its own. Where frames wait for others
    to share a forward pass, or are decoded when there is time, nothing is `steady`: the least
    that handing over and decoding took is then taken for all.
    """
    found: list[tuple[int, Cost]] = []
    free_ns = 0
    for record in sorted(records, key=attrgetter("taken_ns")):
        if not isinstance(record, Done):
            free_ns = max(free_ns, record.taken_ns)
            continue
        stages = record.stages_ns
        cost = Cost(
            capture=stages["capture"],
            preprocess=stages["preprocess"],
            handover=max(record.taken_ns - max(record.prepared_ns, free_ns), 0),
            inference=stages["inference"] / record.batch,
            decode=stages["decode"],
        )
        found.append((record.source, cost))
        free_ns = record.decoded_ns
    least_handover = min((cost.handover for _, cost in found), default=0)
    least_decode = min((cost.decode for _, cost in found), default=0)
    costs: dict[int, list[Cost]] = defaultdict(list)
    for source, cost in found:
        usual = cost if steady else cost._replace(handover=least_handover, decode=least_decode)
        costs[source].append(usual)
    return costs


def passes_by_batch(records: Iterable[Done | Late]) -> dict[int, list[float]]:
    """Return how long the forward passes of several frames took, by how many shared them."""
    passes: dict[int, dict[int, float]] = defaultdict(dict)
    for record in records:
        if isinstance(record, Done) and record.batch > 1:
            passes[record.batch][record.taken_ns] = record.stages_ns["inference"]
    return {size: list(each.values()) for size, each in passes.items()}


def period_ns(records: Iterable[Done | Late], source: int) -> float | None:
    """Return the time between two frames of a source; None where it gave fewer than two.

    The numbers of its frames count those that nobody took as well.
    """
    mine = sorted((r.frame, r.captured_ns) for r in records if r.source == source)
    if len(mine) < 2 or mine[-1][0] == mine[0][0]:  # noqa: PLR2004
        return None
    return (mine[-1][1] - mine[0][1]) / (mine[-1][0] - mine[0][0])


def calibrated(load: Load, cores: Cores, *, used: float, threads: int, seconds: float) -> Load:
    """Return the load such that alone it uses as much of the cores as was measured.

    Times are of a clock on the wall: a thread may have been kept waiting meanwhile, and a forward
    pass may have kept several cores busy. Processor time beyond what the stages account for is
    given to further threads of the engine, as far as it has them, then to capturing, and what is
    left to chores beside the frame's way; where there is less, all stages are as much shorter.
    """
    alone = replace(cores, others=0.0)
    generator = np.random.default_rng(SEED)
    (bare,) = simulate([load], alone, seconds=seconds, generator=generator)
    used_ns = used * seconds * 1e9
    rest_ns = used_ns - bare.cpu_ns
    if rest_ns < 0:
        return _shortened(load, max(used_ns / bare.cpu_ns, LEAST_SHARE))
    more_threads = min(rest_ns / bare.engine_ns, threads - 1) if bare.engine_ns else 0.0
    rest_ns -= more_threads * bare.engine_ns
    capturing_ns = min(rest_ns, (1 - load.capture_share) * bare.capture_ns)
    rest_ns -= capturing_ns
    answered = sum(source.answered for source in bare.sources)
    return replace(
        load,
        engine_threads=1 + more_threads,
        capture_share=load.capture_share + capturing_ns / max(bare.capture_ns, 1.0),
        chores_ns=rest_ns / answered if answered else 0.0,
    )


def _shortened(load: Load, share: float) -> Load:
    """Return the load with all work that part as long; a source delivers when it does."""
    return replace(
        load,
        batches_ns={
            size: [each * share for each in passes] for size, passes in load.batches_ns.items()
        },
        sources=[
            replace(
                source,
                costs=[
                    Cost(cost.capture, *(each * share for each in cost[1:]))
                    for cost in source.costs
                ],
            )
            for source in load.sources
        ],
    )

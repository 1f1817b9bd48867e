"""What the log says last: what was not delivered, and what each pipeline did."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from edge.latency.figures import percentiles
from edge.supervisor.log import log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.spool.spool import Spool
    from edge.supervisor.pipeline import SupervisedPipeline


async def put_away(spool: Spool, address: str) -> int:
    """Keep what the broker has not got; return how many messages are lost all the same."""
    spool.on_event = partial(log, logging.WARNING)
    waiting, lost = len(spool), await spool.close()
    if waiting > lost:
        log(
            logging.WARNING,
            "kept",
            f"{waiting - lost} messages were not acknowledged by {address}: they are kept, and go "
            "out when the daemon runs again",
        )
    if lost:
        log(
            logging.ERROR,
            "undelivered",
            f"{lost} messages were not acknowledged by {address} and are lost",
        )
    return lost


def summarize(pipelines: Mapping[str, SupervisedPipeline]) -> None:
    """Log what each pipeline did, when all is over."""
    for name, pipeline in pipelines.items():
        figures = pipeline.figures
        latency = percentiles(figures.latency_total)
        fields: dict[str, Any] = {
            "pipeline": name,
            "frames": figures.total.frames,
            "p50_ms": latency.p50,
            "p99_ms": latency.p99,
            "max_ms": latency.max,
            "misses": figures.total.misses,
            "failed": figures.total.failed,
        }
        fields |= {f"dropped_{loss}": n for loss, n in figures.total.dropped.items()}
        if pipeline.rungs.any_cache:
            fields["cache_hits"] = figures.total.hits
        log(logging.INFO, "summary", **fields)

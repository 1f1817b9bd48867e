"""MLPerf LoadGen at the wheel: one scenario over a system, and what its log says of it."""

from __future__ import annotations

import json
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlperf_loadgen as lg
from peers.feeds import PICTURES

if TYPE_CHECKING:
    from witness.system import System

PERCENTILES = (50, 90, 99)
SCENARIOS = {"SingleStream": lg.TestScenario.SingleStream, "Server": lg.TestScenario.Server}
STALL_S, STALL_EVERY_S = 0.2, 2.0
BEGIN = ":::MLLOG "


@dataclass(frozen=True)
class Witnessed:
    """Both accounts of one run, in milliseconds by percentile."""

    queries: int
    """As LoadGen counts them; ours are `answered`."""
    answered: int
    stalls: int
    loadgen_ms: dict[int, float]
    ours_ms: dict[int, float | None]
    """Null where the sample is too small to say."""
    across_ms: float
    """P50 of the way from our decoded result back to LoadGen's process."""

    @property
    def largest_difference(self) -> float | None:
        """How far LoadGen's percentiles are off ours at the most, as a part of ours."""
        known = [(self.loadgen_ms[q], ours) for q, ours in self.ours_ms.items() if ours]
        return max((abs(theirs / ours - 1) for theirs, ours in known), default=None)


def witness(
    system: System, scenario: str, *, seconds: float, qps: float, stalls: bool
) -> Witnessed:
    """Let LoadGen ask for `seconds`; `qps` is the mean rate at which the scenario Server asks."""
    settings = lg.TestSettings()
    settings.scenario = SCENARIOS[scenario]
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_duration_ms = settings.max_duration_ms = round(seconds * 1e3)
    settings.min_query_count = 1
    settings.server_target_qps = qps
    # So many queries are drawn beforehand that they last: the time is what ends the run.
    settings.single_stream_expected_latency_ns = round(system.usual_ms * 1e6 / 4)
    system.begin(lambda query: lg.QuerySamplesComplete([lg.QuerySampleResponse(query, 0, 0)]))

    def issue(samples: list[Any]) -> None:
        for sample in samples:
            system.issue(sample.id, sample.index)

    sut = lg.ConstructSUT(issue, lambda: None)
    library = lg.ConstructQSL(PICTURES, PICTURES, lambda _: None, lambda _: None)
    over = threading.Event()
    staller = threading.Thread(target=system.stall, args=(STALL_S, STALL_EVERY_S, over))
    before = system.stalls
    if stalls:
        staller.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            lg.StartTestWithLogSettings(sut, library, settings, _log_into(folder))
            said = _results(Path(folder, "mlperf_log_detail.txt"))
    finally:
        over.set()
        if stalls:
            staller.join()
        lg.DestroyQSL(library)
        lg.DestroySUT(sut)
    return Witnessed(
        queries=int(said["result_query_count"]),
        answered=system.latency.count,
        stalls=system.stalls - before,
        loadgen_ms={q: said[f"result_{q:.2f}_percentile_latency_ns"] / 1e6 for q in PERCENTILES},
        ours_ms={
            q: None if (us := system.latency.supported_percentile(q)) is None else us / 1e3
            for q in PERCENTILES
        },
        across_ms=system.across.percentile(50) / 1e3,
    )


def _log_into(folder: str) -> Any:
    output = lg.LogOutputSettings()
    output.outdir = folder
    output.copy_summary_to_stdout = False
    settings = lg.LogSettings()
    settings.log_output = output
    settings.enable_trace = False
    return settings


def _results(log: Path) -> dict[str, Any]:
    """Return what LoadGen's detailed log says, by key."""
    lines = log.read_text(encoding="utf-8").splitlines()
    said = [json.loads(line.removeprefix(BEGIN)) for line in lines if line.startswith(BEGIN)]
    return {each["key"]: each["value"] for each in said}

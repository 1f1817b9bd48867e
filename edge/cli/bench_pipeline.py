"""`edge bench --pipeline`: what the whole loop costs beside the forward pass it is made for."""

import argparse
import json
from functools import partial
from typing import TYPE_CHECKING

from edge.cli.tables import Style, show_table
from edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.config.device import Device
    from edge.config.pipeline import Pipeline
    from edge.lab.loop_against import LoopAgainst
    from edge.lab.loop_report import LoopReport
    from edge.sources.base import SourceOptions

NOT_WITH_IT = ("compare", "engine", "threads", "batch", "plot", "images", "labels")
MOST_WORDS = 2  # CONFIG and NAME
GAPS = {"text": "\n", "markdown": "\n\n"}  # a table of Markdown begins after an empty line


def run(args: argparse.Namespace, sizes: "Sequence[tuple[int, int] | None]", seconds: float) -> int:
    """Measure and print. `args` are those of `edge bench`."""
    from edge.cli.progress import progress
    from edge.config.load import load
    from edge.lab import saved
    from edge.lab.loop_against import against_loops, refuse_another_pace
    from edge.lab.loop_bench import LoopPlan, measure_loops
    from edge.lab.loop_report import make_loop_report
    from edge.lab.machine import this_machine
    from edge.supervisor.clock import utc

    for option in NOT_WITH_IT:
        if getattr(args, option):
            raise ConfigError(
                f"--{option} does not go with --pipeline, which runs what the YAML says"
            )
    if not 1 <= len(args.models) <= MOST_WORDS:
        raise ConfigError("--pipeline takes a device YAML and, for one of them, a pipeline's name")
    device = load(args.models[0])
    plan = LoopPlan(seconds, args.rate)
    then = saved.load_loops(args.against) if args.against is not None else None
    if then is not None:
        refuse_another_pace(then, args.against, rate_hz=args.rate)
    loads = [_pipelines(device, args, size) for size in sizes]
    cases = []
    with progress("measuring", len(loads) * 2 * plan.turns) as advance:
        for pipelines in loads:
            cases += measure_loops(pipelines, plan, device=device.device, on_turn=advance)
    report = make_loop_report(cases, plan, at=utc(), machine=this_machine())
    found = against_loops(report, then) if then is not None else None
    if args.json:
        whole = report.model_dump(mode="json")
        print(json.dumps(whole | ({"against": found.model_dump(mode="json")} if found else {})))
    else:
        style: Style = "markdown" if args.markdown else "text"
        _show(report, style)
        if found is not None:
            _show_changes(found, style)
    if args.save is not None:  # last: what was measured is seen, even where it cannot be saved
        saved.save(report, args.save)
    return 0


def _pipelines(
    device: "Device", args: argparse.Namespace, size: tuple[int, int] | None
) -> "dict[str, Pipeline]":
    """Return the pipelines to run side by side, with their sources as they are measured."""
    from edge.lab.sources import verify

    names = [str(word) for word in args.models[1:]] or list(device.pipelines)
    changed = {}
    for name in names:
        if name not in device.pipelines:
            known = ", ".join(device.pipelines)
            raise ConfigError(f"{args.models[0]}: has no pipeline {name}; it has {known}")
        pipeline = device.pipelines[name]
        if pipeline.model.accelerator is not None:
            raise ConfigError(
                f"{name} runs on its {pipeline.model.accelerator.title}, and only what the CPU "
                "runs is measured: take a YAML without its `accelerator`"
            )
        if size is None:
            verify(name, pipeline)
        # Several sources are served by their deadlines, and so have to keep rates of their own.
        own_rates = args.rate is None and len(pipeline.all_sources) > 1
        if own_rates and size and None in {each.rate for each in pipeline.all_sources.values()}:
            raise ConfigError(f"{name} has a source whose rate is not known: give --rate")
        as_measured = partial(_as_measured, size=size, rate_hz=args.rate, own_rate=own_rates)
        changed[name] = pipeline.with_sources(as_measured)
    return changed


def _as_measured(
    source: "SourceOptions",
    *,
    size: tuple[int, int] | None,
    rate_hz: float | None,
    own_rate: bool,
) -> "SourceOptions":
    """Return a source, or test frames of a size in its place; without a rate as fast as asked."""
    from edge.lab.sources import at_rate, endless, test_frames

    if size is not None:
        return test_frames(*size, rate_hz=source.rate if own_rate else rate_hz)
    return endless(source if own_rate else at_rate(source, rate_hz))


def _show(report: "LoopReport", style: Style) -> None:
    from edge.engines.choose import in_words
    from edge.lab.loop_report import figures_table, ratios_table

    gap = GAPS[style]
    print(report.machine, end=gap)
    print(
        f"{report.turns} turns of {report.turn_s:g} s for the loop, as many for the forward pass "
        "alone; times in milliseconds"
    )
    for case in report.cases:
        engine = in_words(f"{case.engine} {case.engine_version}", case.threads)
        pace = "as fast as possible" if case.bare_rate_hz is None else f"{case.bare_rate_hz:.4g} Hz"
        print(
            f"\n{case.pipeline}: {case.source} -> {case.model} on {engine} "
            f"({case.engine_reason}); alone: {pace}",
            end=gap,
        )
        show_table(figures_table(case), style)
    print(
        "\nthe loop / the forward pass alone: median of the turns' ratios (least to greatest)",
        end=gap,
    )
    show_table(ratios_table(report), style)


def _show_changes(found: "LoopAgainst", style: Style) -> None:
    from edge.lab.loop_against import loop_against_table

    print(f"\nnow / then, P50 of capture to result, against {found.at}:", end=GAPS[style])
    if found.changes:
        show_table(loop_against_table(found), style)
    else:
        print("none of these pipelines was measured over this source then")
    for difference in found.differences:
        print(f"not the same as then: {difference}")

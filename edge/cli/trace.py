"""`edge trace`: why a frame missed its deadline, from the flight recorder's file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.supervisor.story import Row, Story

STAGES = ("capture", "preprocess", "wait", "inference", "decode")
"""In the order of the frame's way."""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "trace",
        help="tell why a frame missed its deadline",
        description="Tells what a trace of the flight recorder holds: the frame that missed its "
        "deadline or that a worker died of, what is usual, the frames around it, what the device "
        "felt. Without FILE it lists the traces of the state directory, newest first. "
        "The files open in Perfetto and chrome://tracing, too.",
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the trace")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tell one trace, or list all."""
    from edge.supervisor.trace_folder import read_story

    if args.file is None:
        return _list()
    tell(read_story(args.file))
    return 0


def _list() -> int:
    from edge.errors import ConfigError
    from edge.supervisor.trace_folder import list_traces, read_story, traces_directory

    folder = traces_directory()
    if folder is None:
        raise ConfigError("there is no state directory: set STATE_DIRECTORY or HOME")
    try:
        paths = list_traces(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read: {error.strerror}") from error
    if not paths:
        print(f"no traces in {folder}")
    for path in paths:
        try:
            story = read_story(path)
        except ConfigError as error:
            print(error)
        else:
            print(f"{path}\n  {story.at} {story.pipeline}: {story.sentence}")
    return 0


def tell(story: "Story") -> None:
    """Print a trace's story."""
    from edge.latency.explain import ms

    print(story.sentence)
    print()
    synced = "" if story.clock_synced else " (by a clock that was not set)"
    print(f"device {story.device}, pipeline {story.pipeline}, {story.at}{synced}")
    words = [f"{what} {which}" for what, which in story.about.items()]
    print(", ".join([*words, f"deadline {ms(story.deadline_ms)}", f"{story.recorded} frames"]))
    offending = None if story.offending is None else story.frames[story.offending]
    if offending is not None or story.usual_ms:
        print()
        _stages(story, offending)
    if story.frames:
        print()
        _frames(story, offending)
    print()
    for line in _felt(story, offending):
        print(line)


def _stages(story: "Story", offending: "Row | None") -> None:
    """The offending frame's stages beside the usual ones."""
    rows = [["ms", *STAGES, "in all"]]
    usual = story.usual_ms
    if usual:
        in_all = _number(sum(usual.values()))
        rows.append([f"usual, of {story.usual_of}", *_stage_cells(usual), in_all])
    if offending is not None:
        spent = offending.stages_ms
        in_all = _number(offending.total_ms)
        rows.append([f"frame {offending.frame}", *_stage_cells(spent), in_all])
        if usual:
            over = {
                stage: spent[stage] - usual[stage]
                for stage in STAGES
                if stage in spent and stage in usual
            }
            in_all = _number(offending.total_ms - sum(usual.values()), sign="+")
            rows.append(["over the usual", *_stage_cells(over, sign="+"), in_all])
    _columns(rows)


def _frames(story: "Story", offending: "Row | None") -> None:
    """The frames before and after it."""
    several = len({row.source for row in story.frames}) > 1
    head = ["", "frame", *(["source"] if several else []), "at ms", *STAGES, "in all", "waited", ""]
    rows = [head]
    before: dict[str, int] = {}
    for row in story.frames:
        notes = [row.what] if row.what != "answered" else []
        notes += ["missed"] if row.missed else []
        notes += [f"rung {row.rung}"] if row.rung else []
        notes += [f"batch of {row.batch}"] if row.batch > 1 else []
        notes += [f"collection {_number(row.collected_ms)} ms"] if row.collected_ms else []
        notes += [f"{_number(row.shadow_ms)} ms of a shadow"] if row.shadow_ms else []
        gap = row.frame - before.get(row.source, row.frame - 1) - 1
        notes += [f"{gap} without a result before it"] if gap > 0 else []
        before[row.source] = row.frame
        rows.append(
            [
                ">" if row is offending else "",
                str(row.frame),
                *([row.source] if several else []),
                f"{row.at_ms:+.1f}",
                *_stage_cells(row.stages_ms),
                _number(row.total_ms),
                "-" if row.waited_ms is None else _number(row.waited_ms),
                ", ".join(notes),
            ]
        )
    _columns(rows)
    print("at: captured, from the capture of the frame told of")
    print("waited: how much of its time over the usual its threads waited for a core, at the most")


def _felt(story: "Story", offending: "Row | None") -> list[str]:
    """What the device felt, a line each."""
    lines = []
    if offending is not None and offending.pushed_off is not None:
        around = f"in the {offending.counted_ms:.0f} ms around it"
        counts = f"its thread was pushed off its core {offending.pushed_off} times"
        faults = f"page faults {offending.minor_faults}, from the disk {offending.major_faults}"
        lines.append(f"frame {offending.frame}: {around} {counts}; {faults}")
    if offending is not None:
        waiting = f"{offending.waiting} frames in the mailbox"
        lines.append(f"queues: {waiting}, {offending.backlog} records for the supervisor")
    clocks = [max(each.clock_mhz) for each in story.felt if each.clock_mhz]
    degrees = [each.temperature_c for each in story.felt if each.temperature_c is not None]
    flags = dict.fromkeys(flag for each in story.felt for flag in each.throttled)
    if clocks:
        lines.append(f"clock: {_span(clocks)} MHz")
    if degrees:
        lines.append(f"temperature: {_span(degrees)} C")
    if flags:
        lines.append(f"throttled: {', '.join(flags)}")
    if not (clocks or degrees or flags):
        lines.append("clock, temperature, throttling: this device does not tell")
    return lines


def _span(values: list[int] | list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _stage_cells(spent_ms: dict[str, float], sign: str = "") -> list[str]:
    return [_number(spent_ms[stage], sign) if stage in spent_ms else "-" for stage in STAGES]


def _number(value: float, sign: str = "") -> str:
    return f"{round(value, 2) + 0.0:{sign}.2f}"  # no minus before a zero


def _columns(rows: list[list[str]]) -> None:
    """Print cells under one another, numbers to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    last = len(widths) - 1
    for row in rows:
        cells = [
            cell.ljust(width) if at in {0, last} else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())

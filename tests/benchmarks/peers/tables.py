"""What was measured, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peers.aims import aims
from peers.plan import NAMES, OURS
from peers.turn import merged, middle, ratio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from peers.aims import Aim
    from peers.plan import Setting
    from peers.turn import Ratio, Turn, Turns

HEAD = ("who", "P50 ms", "P99 ms", "P99/P50", "frames/s", "CPU ms/frame", "PSS MB", "first s")


def table(setting: Setting, turns: Turns, left_out: dict[str, str]) -> str:
    """Return one setting's table, its remarks, and the aims."""
    pace = f"paced, {setting.fps:g} frames/s" if setting.fps else "as fast as possible"
    lines = [f"#### {setting.model.stem}, {setting.feed}, {pace}", ""]
    lines += _row(HEAD), _row(["---"] * len(HEAD))
    lines += (_row(_figures(peer, turns[peer])) for peer in NAMES if turns.get(peer))
    lines.append("")
    lines += (f"- left out: {NAMES[peer]}: {why}" for peer, why in left_out.items())
    lines += _remarks(turns)
    lines += _judged(setting, turns)
    return "\n".join(lines) + "\n"


def _judged(setting: Setting, turns: Turns) -> Iterator[str]:
    """One row an aim, one column each of ours."""
    ours = [who for who in OURS if turns.get(who)]
    yield ""
    yield _row(["ratio of ours to", "of", "aim", *(NAMES[who] for who in ours)])
    yield _row(["---"] * (3 + len(ours)))
    for aim in aims(setting.model.stem, setting.feed, paced=bool(setting.fps)):
        values = [ratio(turns[who], turns.get(aim.peer, []), aim.of) for who in ours]
        if any(values):
            said = [_said(aim, value) for value in values]
            yield _row([NAMES[aim.peer], aim.what, f"{aim}", *said])


def _said(aim: Aim, value: Ratio | None) -> str:
    return "-" if value is None else ", ".join(filter(None, (f"{value}", aim.verdict(value))))


def _figures(peer: str, turns: list[Turn]) -> list[str]:
    latency = merged(turns)
    p50 = latency.supported_percentile(50) or middle(turns, lambda turn: turn.p50_us)
    p99 = latency.supported_percentile(99)
    return [
        NAMES[peer],
        _number(p50, 1e3, 3),
        _number(p99, 1e3, 3),
        _number(p99 / p50 if p99 and p50 else None, 1, 2),
        _number(middle(turns, lambda turn: turn.throughput), 1, 1),
        _number(middle(turns, lambda turn: turn.cpu_us), 1e3, 3),
        _number(middle(turns, lambda turn: turn.pss_bytes), 1e6, 1),
        _number(middle(turns, lambda turn: turn.first_s), 1, 2),
    ]


def _remarks(turns: Turns) -> Iterator[str]:
    """What each said beside its figures, and whether the answers are the same."""
    for peer, took in turns.items():
        said = dict(took[-1].extra)
        if peer != "naive" and took[-1].answers and turns.get("naive"):
            theirs, its = turns["naive"][-1].answers, took[-1].answers
            both = theirs.keys() & its.keys()
            same = sum(theirs[number] == its[number] for number in both)
            said["answers as the naive script"] = f"{same} of {len(both)} pictures"
        if said:
            yield f"- {NAMES[peer]}: " + "; ".join(f"{name}: {text}" for name, text in said.items())


def _number(value: float | None, unit: float, places: int) -> str:
    return "-" if value is None else f"{value / unit:.{places}f}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""The live screen of `edge top`: all devices under the fleet's figures, or one device's events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from edge.cli.top_table import COLUMNS, Order, age
from edge.fleet.reading import LONGEST_NAME
from edge.fleet.text import harmless
from edge.lab.table import megabytes, ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from edge.fleet.fleet import DeviceKey
    from edge.fleet.overview import Overview, Row, Whole
    from edge.fleet.reading import Happening, Machine, Over

OVER: dict[Over, str] = {
    "window": "each pipeline's last window",
    "recent": "the last 5 minutes",
    "total": "all time since configured",
}
WHY = {
    "malformed": "that no device of ours sends",
    "too_long": "that are too long",
    "beyond_devices": "of more devices than are kept",
    "beyond_pipelines": "of more pipelines than are kept",
}
LIST_KEYS = "underlined letter: sort, again: turn round   ↑↓ choose   enter: events   q: quit"
DEVICE_KEYS = "↑↓ another device   esc: back   q: quit"
LONGEST_RUNG = 12  # characters of its name
FRAME_LINES = 6  # who, two of figures, what is wrong, the header of the table, the keys


class Screen:
    """What is on the screen, and what keys change of it."""

    def __init__(self, overview: Overview, *, address: str, order: Order) -> None:
        """`address` is the broker's."""
        self._overview = overview
        self._address = address
        self._order = order
        self._whole, rows = overview.look(0, decoding_s=0)
        self._shown = list(rows.items())
        self._chosen: DeviceKey | None = None
        self._first = 0  # row on the screen
        self._fit = 1  # rows on the screen
        self._one_device = False
        self._now_s = 0.0
        self.left = False
        """Whether the user wants to go."""

    def look(self, now_s: float) -> None:
        """Take the newest figures."""
        self._now_s = now_s
        self._whole, rows = self._overview.look(now_s)
        self._shown = self._order.sorted(rows.items())

    def press(self, key: str) -> None:
        """Do what a key says; keys that say nothing do nothing."""
        everything = len(self._shown)
        moves = {"up": -1, "down": 1, "page up": -self._fit, "page down": self._fit}
        moves |= {"home": -everything, "end": everything}
        if key == "q":
            self.left = True
        elif key in ("enter", "escape"):
            self._one_device = key == "enter" and not self._one_device
        elif key in moves and self._shown:
            at = min(max(self._at() + moves[key], 0), everything - 1)
            self._chosen = self._shown[at][0]
        elif not self._one_device:
            self._order = self._order.pressed(key)
            self._shown = self._order.sorted(self._shown)

    def _at(self) -> int:
        """Return where the chosen device stands; the first one where none is, or it is gone."""
        return next((at for at, (key, _) in enumerate(self._shown) if key == self._chosen), 0)

    def render(self, *, height: int, trouble: str) -> RenderableType:
        """Return the screen, so many lines high; `trouble` is what is wrong with the connection."""
        self._fit = max(height - FRAME_LINES, 1)
        whole = self._whole
        one = self._one_device and bool(self._shown)
        top = Group(
            self._who(whole),
            *map(Text, figures(whole, self._overview.fleet.over)),
            Text(trouble or left_out(whole), style="bold yellow"),
            self._device() if one else self._devices(),
        )
        return Screenful(top, Text(DEVICE_KEYS if one else LIST_KEYS, style="dim"), height=height)

    def _who(self, whole: Whole) -> Text:
        words = summary(whole, self._address, self._overview.fleet.bases)
        return Text.assemble(("edge top", "bold"), f"  {words}")

    def _devices(self) -> RenderableType:
        at = self._at()
        lowest = max(at - self._fit + 1, 0)
        highest = min(at, max(len(self._shown) - self._fit, 0))
        self._first = max(min(self._first, highest), lowest)
        rows = [row for _, row in self._shown[self._first : self._first + self._fit]]
        return _table(rows, order=self._order, marked=at - self._first)

    def _device(self) -> RenderableType:
        key, row = self._shown[self._at()]
        device = self._overview.fleet.devices.get(key)
        if device is None:
            return Text(f"{row.name} is gone")
        pipelines = self._overview.pipelines(key, self._now_s)
        version = f", edge {device.version}" if device.version else ""
        heard = "not heard yet" if row.seen_s is None else f"heard {age(row.seen_s)} ago"
        messages = f"messages: {_known(row.spooled)} spooled, {_known(row.waiting)} waiting"
        given_up = f"{_known(row.undelivered_total)} given up"
        return Group(
            Text.assemble((row.name, "bold"), f": {row.state}{version}, {heard}"),
            Text(f"{messages}, {given_up}"),
            *([_machine(device.machine)] if device.machine is not None else []),
            Text(),
            _table(pipelines[: self._fit // 2], order=None, marked=None),
            Text(),
            _events(reversed(device.events)),
        )


class Screenful:
    """Lines from the top, cut at the screen's end, and one line at its bottom."""

    def __init__(self, top: RenderableType, bottom: Text, *, height: int) -> None:
        self._top, self._bottom, self._height = top, bottom, height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render exactly so many lines."""
        options = options.update(height=None, no_wrap=True, overflow="ellipsis")
        lines = console.render_lines(self._top, options)[: self._height - 1]
        lines += [[Segment(" " * options.max_width)]] * (self._height - 1 - len(lines))
        lines += console.render_lines(self._bottom, options)[:1]
        for number, line in enumerate(lines):
            if number:
                yield Segment.line()
            yield from line


def summary(whole: Whole, address: str, bases: Iterable[str]) -> str:
    """Return in a line where is listened to, and who is there."""
    topics = " ".join(f"{harmless(base, LONGEST_NAME)}/#" for base in bases)
    states = ", ".join(f"{count:,} {state}" for state, count in whole.states.items() if count)
    return f"{address}  {topics}  {whole.devices:,} devices{f': {states}' if states else ''}"


def figures(whole: Whole, over: Over) -> tuple[str, str]:
    """Return the fleet's figures in two lines: of all its results together, and the sums."""
    latency = whole.latency_ms
    results = f"{latency.count:,} results in {OVER[over]}"
    sums = f"fleet: {whole.fps:,.1f} fps, misses {whole.misses_total:,}, drops "
    sums += f"{whole.dropped_total:,}, {_known(whole.spooled)} spooled"
    hottest = "" if whole.hottest_c is None else f", hottest {whole.hottest_c:.0f} °C"
    percentiles = f"P50 {ms(latency.p50)}, P99 {ms(latency.p99)}, P99.9 {ms(latency.p99_9)} ms"
    return f"{sums}{hottest}", f"fleet: {percentiles} of {results}"


def left_out(whole: Whole) -> str:
    """Return what is not in the figures, in a line; nothing where nothing is left out."""
    found = [f"{count:,} messages {WHY[why]}" for why, count in whole.ignored.items()]
    if whole.histograms_left_out:
        found.append(f"histograms of {whole.histograms_left_out:,} pipelines that cannot be added")
    if whole.histograms_waiting:
        found.append(f"{whole.histograms_waiting:,} histograms not decoded yet")
    return f"left out: {', '.join(found)}" if found else ""


def _machine(machine: Machine) -> Text:
    """Return how the machine is, as far as it tells; first and in red what holds it back."""
    words = []
    if machine.load_1m is not None:
        words.append(f"load {machine.load_1m:.2f}")
    if machine.available_bytes is not None and machine.total_bytes is not None:
        free, total = megabytes(machine.available_bytes), megabytes(machine.total_bytes)
        words.append(f"{free} of {total} MB of memory available")
    if machine.disk_free_bytes is not None:
        words.append(f"{machine.disk_free_bytes / 1e9:,.1f} GB of disk free")
    if machine.uptime_s is not None:
        words.append(f"up {age(machine.uptime_s)}")
    told = ", ".join(words) or "?"
    if not machine.held_back_by:
        return Text(f"machine: {told}")
    return Text.assemble(
        "machine: ", (f"held back by {machine.held_back_by}", "bold red"), f", {told}"
    )


def _table(rows: Sequence[Row], *, order: Order | None, marked: int | None) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), pad_edge=False)
    for column in COLUMNS:
        chosen = order is not None and column is order.column
        table.add_column(
            column.header(chosen=chosen) if order else Text(column.title, style="bold"),
            justify="left" if column.words else "right",
            ratio=1 if column.name == "name" else None,
            max_width=LONGEST_RUNG if column.name == "rung" else None,
            no_wrap=True,
            overflow="ellipsis",
        )
    for number, row in enumerate(rows):
        style = "reverse" if number == marked else "" if row.current else "dim"
        table.add_row(*(column.cell(row) for column in COLUMNS), style=style)
    return table


def _events(events: Iterable[Happening]) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for title in ("at", "pipeline", "event", "message"):
        table.add_column(Text(title, style="bold"), no_wrap=True, overflow="ellipsis")
    for event in events:
        cells = (event.at, event.pipeline or "", event.event, event.message)
        table.add_row(*map(Text, cells))
    return table if table.row_count else Text("no event since we listen", style="dim")


def _known(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"

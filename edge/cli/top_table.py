"""The columns of `edge top`, and what its rows are sorted by."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rich.text import Text

from edge.lab.table import ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge.fleet.overview import Row

Key = TypeVar("Key")
STATE_STYLES = {"failed": "bold red", "silent": "yellow"}
WORST_FIRST = ("failed", "silent", "offline", "online")
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


class Column(NamedTuple):
    """A column, and the key that sorts by it: a letter of its title."""

    name: str
    title: str
    key: str
    value: Callable[[Row], float | str | None]
    """What rows are sorted by."""
    cell: Callable[[Row], Text]
    descending: bool = True
    words: bool = False

    def header(self, *, chosen: bool) -> Text:
        """Return the title, the key underlined in it."""
        at = self.title.lower().index(self.key)
        text = Text(self.title, style="bold reverse" if chosen else "bold")
        text.stylize("underline", at, at + 1)
        return text


class Order(NamedTuple):
    """By what the rows are sorted."""

    column: Column
    descending: bool

    @classmethod
    def of(cls, name: str) -> Order:
        """Return the order of a column, by its name."""
        column = next(column for column in COLUMNS if column.name == name)
        return cls(column, column.descending)

    def pressed(self, key: str) -> Order:
        """Return the order after a key; the same key again turns it round."""
        for column in COLUMNS:
            if key == column.key:
                again = column is self.column
                return Order(column, not self.descending if again else column.descending)
        return self

    def sorted(self, rows: Iterable[tuple[Key, Row]]) -> list[tuple[Key, Row]]:
        """Return the rows in this order; those of which it is not known come last."""
        known: list[tuple[float | str, tuple[Key, Row]]] = []
        unknown: list[tuple[Key, Row]] = []
        for each in sorted(rows, key=lambda each: each[1].name):
            value = self.column.value(each[1])
            if value is None:
                unknown.append(each)
            else:
                known.append((value, each))
        known.sort(key=lambda pair: pair[0], reverse=self.descending)
        return [each for _, each in known] + unknown


def _count(total: int | None, lately: int | None) -> Text:
    """A total, marked when some of it came in the last window."""
    return Text("-" if total is None else f"{total:,}", style="yellow" if lately else "")


def _rung(row: Row) -> Text:
    return Text(row.rung_name or "-", style="yellow" if row.rung else "")


def _spool(row: Row) -> Text:
    style = "red" if row.undelivered_total else "yellow" if row.spooled else ""
    return Text("-" if row.spooled is None else f"{row.spooled:,}", style=style)


def _degrees(row: Row) -> Text:
    """The temperature, marked when something holds the cores back."""
    text = _decimal(row.temperature_c, 0)
    text.style = "bold red" if row.held_back_by else ""
    return text


def age(seconds: float | None) -> str:
    """Return a time in its largest unit."""
    if seconds is None:
        return "-"
    for unit_s, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "m")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.0f}{unit}"
    return f"{seconds:.0f}s"


def _decimal(value: float | None, digits: int) -> Text:
    return Text("-" if value is None else f"{value:.{digits}f}")


COLUMNS = (
    Column(
        "name", "device", "d", lambda row: row.name, lambda row: Text(row.name),
        descending=False, words=True,
    ),
    Column(
        "state", "state", "a", lambda row: _severity(row.state),
        lambda row: Text(row.state, style=STATE_STYLES.get(row.state, "")),
        descending=False, words=True,
    ),
    Column("fps", "fps", "f", lambda row: row.fps, lambda row: _decimal(row.fps, 1)),
    Column(
        "p50", "P50 ms", "5", lambda row: row.latency_ms.p50,
        lambda row: Text(ms(row.latency_ms.p50)),
    ),
    Column(
        "p99", "P99 ms", "9", lambda row: row.latency_ms.p99,
        lambda row: Text(ms(row.latency_ms.p99)),
    ),
    Column(
        "misses", "misses", "m", lambda row: row.misses_total,
        lambda row: _count(row.misses_total, row.misses),
    ),
    Column(
        "drops", "drops", "o", lambda row: row.dropped_total,
        lambda row: _count(row.dropped_total, row.dropped),
    ),
    Column(
        "temperature", "°C", "c", lambda row: row.temperature_c, _degrees,
    ),
    Column("rung", "rung", "r", lambda row: row.rung, _rung, words=True),
    Column("spool", "spool", "s", lambda row: row.spooled, _spool),
    Column("seen", "seen", "n", lambda row: row.seen_s, lambda row: Text(age(row.seen_s))),
)  # fmt: skip


def _severity(state: str) -> int:
    return WORST_FIRST.index(state) if state in WORST_FIRST else len(WORST_FIRST)

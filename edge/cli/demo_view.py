"""What the demo shows of the messages it hears: a live table, or plain lines without a terminal."""

import time
from collections import deque
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from typing_extensions import Self

from edge.cli.demo_faces import Face

STRIP = 40  # newest results shown as a row of marks
REFRESHES_PER_S = 8


class View:
    """Knows only what the topics say."""

    def __init__(self, port: int, face: Face) -> None:
        self._face = face
        self._console = Console(highlight=False)
        self._subscribe = f"mosquitto_sub -h 127.0.0.1 -p {port} -t 'edge/demo/#' -v"
        self._live: Live | None = None
        self._began = time.monotonic()
        self._metrics: dict[str, Any] = {}
        self._events: deque[str] = deque(maxlen=3)
        self._marks: deque[bool] = deque(maxlen=STRIP)
        self.results = 0
        self.online = False

    def __enter__(self) -> Self:
        """Begin to show."""
        self._console.print("The same from another window:", style="dim")
        self._console.print(f"  {self._subscribe}", soft_wrap=True)
        if self._console.is_terminal:
            self._live = Live(
                console=self._console,
                refresh_per_second=REFRESHES_PER_S,
                get_renderable=self._render,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()

    def take(self, topic: str, payload: Any) -> None:
        """Take in a message of the device."""
        kind = topic.rpartition("/")[2]
        if kind == "status":
            self.online = payload == "online"
        elif kind == "predictions":
            self.results += 1
            self._marks.append(self._face.take(payload))
        elif kind == "metrics":
            self._metrics = payload
            if self._live is None and payload["frames_total"]:
                print(self._line(), flush=True)
        elif kind == "events":
            self._events.append(f"{payload['event']}: {payload['message']}")

    def _line(self) -> str:
        """One line of plain text for each report of the device."""
        metrics, dropped = self._metrics, self._metrics["dropped_total"]
        latency = metrics["latency_total_ms"]
        return (
            f"{time.monotonic() - self._began:5.0f} s  {self._face.said()}  "
            f"{self._face.correctness()}  "
            f"{metrics['fps']:.1f} fps  mean {_ms(latency['mean'])} P50 {_ms(latency['p50'])} "
            f"P90 {_ms(latency['p90'])} P99 {_ms(latency['p99'])} ms  "
            f"misses {metrics['deadline_misses_total']}  drops {sum(dropped.values())}"
        )

    def _render(self) -> Group:
        """Return the table and what stands around it."""
        table = Table(title=self._face.title, min_width=64)
        table.add_column("what", style="dim")
        table.add_column("now")
        if not self._metrics and not self.results:
            table.add_row("state", "starting the daemon ...")
            return Group(table)
        for what, now in self._face.rows():
            table.add_row(what, now)
        table.add_row("newest results", _marks(self._marks))
        if self._metrics:
            self._add_figures(table)
        return Group(table, Text("\n".join(self._events), style="dim"), Text("Ctrl-C ends."))

    def _add_figures(self, table: Table) -> None:
        metrics = self._metrics
        table.add_row("frames per second", f"{metrics['fps']:.1f}")
        for name, key in (("last window", "latency_ms"), ("since start", "latency_total_ms")):
            latency = metrics[key]
            table.add_row(
                f"capture to result, {name}",
                f"mean {_ms(latency['mean'])}  P50 {_ms(latency['p50'])}  "
                f"P90 {_ms(latency['p90'])}  P99 {_ms(latency['p99'])}  "
                f"max {_ms(latency['max'])} ms",
            )
        misses, dropped = metrics["deadline_misses_total"], metrics["dropped_total"]
        table.add_row(f"deadline ({metrics['deadline_ms']:g} ms) misses", f"{misses}")
        table.add_row("drops", "  ".join(f"{where} {count}" for where, count in dropped.items()))

    def summarize(self) -> None:
        """Print what the whole run came to."""
        if not self._metrics:
            print("ended before the first report")
            return
        metrics, latency = self._metrics, self._metrics["latency_total_ms"]
        dropped = metrics["dropped_total"]
        print(
            f"{metrics['frames_total']:,} frames, {self._face.correctness()}, "
            f"{sum(dropped.values())} dropped, "
            f"{metrics['deadline_misses_total']} past the deadline of "
            f"{metrics['deadline_ms']:g} ms\n"
            f"capture to result: mean {_ms(latency['mean'])}, P50 {_ms(latency['p50'])}, "
            f"P90 {_ms(latency['p90'])}, P99 {_ms(latency['p99'])}, "
            f"P99.9 {_ms(latency['p99_9'])}, max {_ms(latency['max'])} ms"
        )


def _marks(marks: "deque[bool]") -> Text:
    text = Text()
    for right in marks:
        text.append("." if right else "x", style="green" if right else "bold red")
    return text


def _ms(value: float | None) -> str:
    """A figure in milliseconds; a dash where the sample was too small for it."""
    return "-" if value is None else f"{value:.2f}"

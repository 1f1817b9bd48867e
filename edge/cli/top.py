"""`edge top`: every device of a fleet in one table, live."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge.cli.broker_options import access_from, add_broker_options, in_options
from edge.errors import ConfigError, EdgeError

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from edge.cli.terminal import Keyboard
    from edge.cli.top_table import Order
    from edge.cli.top_view import Screen
    from edge.fleet.fleet import DeviceKey
    from edge.fleet.overview import Overview, Row, Whole
    from edge.mqtt.listening import Listening

EVERY_S = 1.0
SETTLED_S = 1.0  # after the last new device, all retained ones are taken to be there
STEP_S = 0.1
DECODING_ONCE_S = 60.0
OVER = ("window", "recent", "total")
SORT = (
    "name", "state", "fps", "p50", "p99", "misses", "drops", "temperature", "rung", "spool", "seen",
)  # fmt: skip


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "top",
        help="watch a fleet: every device of a broker in one live table",
        description="Shows every device that has said on a broker that it is there: how fast, how "
        "late, how hot, what it has given up, what waits on its disk. The percentiles of the "
        "fleet are those of all its results together.",
    )
    add_broker_options(parser)
    parser.add_argument(
        "--base-topic",
        action="append",
        metavar="TOPIC",
        help="what the devices' topics begin with (default edge); may be given several times",
    )
    parser.add_argument(
        "--over",
        choices=OVER,
        default="recent",
        help="what latencies are about: each pipeline's last window, the last five minutes "
        "(recent, the default), or all time since it was configured (total)",
    )
    parser.add_argument("--sort", choices=SORT, default="name", help="the column to sort by first")
    parser.add_argument("--once", action="store_true", help="print the table once, and end")
    parser.add_argument("--json", action="store_true", help="with --once: print JSON")
    parser.add_argument(
        "--wait",
        type=float,
        default=15.0,
        metavar="N",
        help="with --once: wait N seconds at most for the devices that are online to report "
        "(default 15; they do so every 10 s, if not configured otherwise)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Watch until the user leaves, or look once."""
    from edge.cli.top_table import Order
    from edge.fleet.fleet import Fleet
    from edge.fleet.overview import Overview
    from edge.mqtt.listening import Listening

    bases = args.base_topic or ["edge"]
    _check(args, bases)
    access = access_from(args)
    fleet = Fleet(bases, args.over)
    lock = threading.Lock()  # the fleet is the listening thread's, and ours while we look

    def take(topic: str, payload: bytes, retained: bool) -> None:
        with lock:
            fleet.take(topic, payload, retained=retained, now_s=listening.listened_s)

    listening = Listening(access, fleet.topics, take)
    watch = Watch(Overview(fleet), listening, lock, access.address, Order.of(args.sort))
    try:
        with listening:
            if args.once:
                watch.wait(args.wait)
                watch.print_json() if args.json else watch.print_table()
            else:
                watch.show()
    except EdgeError as error:
        raise EdgeError(in_options(str(error))) from None
    return 0


def _check(args: argparse.Namespace, bases: list[str]) -> None:
    from edge.config.mqtt import topic_level

    if args.json and not args.once:
        raise ConfigError("--json needs --once beside it")
    if not 0 < args.wait < float("inf"):
        raise ConfigError(f"--wait must be more than 0 seconds, not {args.wait:g}")
    for base in bases:
        try:
            for level in base.split("/"):
                topic_level(level)
        except ValueError as error:
            raise ConfigError(f"--base-topic {base!r}: each part {error}") from None
    if not args.once and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("the live table needs a terminal; `--once` prints it, as `--json` too")


class Watch:
    """A fleet that is listened to, and the ways to show it."""

    def __init__(
        self,
        overview: Overview,
        listening: Listening,
        lock: threading.Lock,
        address: str,
        order: Order,
    ) -> None:
        """Whoever looks at the overview holds the `lock`; `address` is the broker's."""
        self._overview = overview
        self._listening = listening
        self._lock = lock
        self._address = address
        self._order = order

    @property
    def _trouble(self) -> str:
        """What is wrong with the connection, in a sentence about our own options."""
        return in_options(self._listening.trouble)

    def wait(self, at_most_s: float) -> None:
        """Wait until every device that is online has reported, so long at most."""
        fleet = self._overview.fleet
        end_s = time.monotonic() + at_most_s
        devices, since_s = -1, 0.0
        while time.monotonic() < end_s:
            with self._lock:
                awaited, before, devices = fleet.awaited, devices, len(fleet.devices)
            if devices != before:
                since_s = time.monotonic()
            if not awaited and time.monotonic() - since_s >= SETTLED_S:
                return
            time.sleep(STEP_S)

    def _look(self) -> tuple[Whole, list[tuple[DeviceKey, Row]]]:
        whole, rows = self._overview.look(self._listening.listened_s, decoding_s=DECODING_ONCE_S)
        return whole, self._order.sorted(rows.items())

    def print_table(self) -> None:
        """Print the fleet's figures and the table."""
        from edge.cli.tables import show_table
        from edge.cli.top_table import COLUMNS
        from edge.cli.top_view import figures, left_out, summary
        from edge.lab.table import Table

        with self._lock:
            whole, rows = self._look()
        fleet = self._overview.fleet
        print(summary(whole, self._address, fleet.bases))
        if not rows:
            return
        print(*figures(whole, fleet.over), sep="\n")
        cells = [[column.cell(row).plain for column in COLUMNS] for _, row in rows]
        words = frozenset(column.title for column in COLUMNS if column.words)
        show_table(Table([column.title for column in COLUMNS], cells, left=words), "text")
        for line in filter(None, (left_out(whole), self._trouble)):
            print(f"edge top: {line}", file=sys.stderr)

    def print_json(self) -> None:
        """Print all that is known as one JSON object; nothing in it moves a terminal's cursor."""
        with self._lock:
            whole, rows = self._look()
            devices = [self._as_json(key, row) for key, row in rows]
        fleet = self._overview.fleet
        document = {
            "broker": self._address,
            "base_topics": fleet.bases,
            "over": fleet.over,
            "trouble": self._trouble or None,
            "fleet": asdict(whole),
            "devices": devices,
        }
        print(json.dumps(document, indent=1))  # ASCII

    def _as_json(self, key: DeviceKey, row: Row) -> dict[str, Any]:
        pipelines = self._overview.pipelines(key, self._listening.listened_s)
        names = {"base_topic": key.base, "device": key.device}
        return names | asdict(row) | {"pipelines": [asdict(each) for each in pipelines]}

    def show(self) -> None:
        """Show it live until the user leaves."""
        from rich.console import Console

        from edge.cli.terminal import Keyboard
        from edge.cli.top_view import Screen

        console = Console(highlight=False)
        with self._lock:
            screen = Screen(self._overview, address=self._address, order=self._order)
        with Keyboard() as keyboard:
            while not self._show(screen, keyboard, console):
                keyboard.stand()

    def _show(self, screen: Screen, keyboard: Keyboard, console: Console) -> bool:
        """Fill the screen; True when the user has left, False when the program is to stand."""
        from rich.live import Live

        due_s = 0.0
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                # As it is now, whatever COLUMNS and LINES say: the window may have changed.
                console.size = os.get_terminal_size(sys.stdout.fileno())
                with self._lock:
                    if time.monotonic() >= due_s:
                        screen.look(self._listening.listened_s)
                        due_s = time.monotonic() + EVERY_S  # a slow machine rests as long, too
                    view = screen.render(height=console.height, trouble=self._trouble)
                live.update(view, refresh=True)
                for key in keyboard.keys(max(due_s - time.monotonic(), 0)):
                    screen.press(key)
                if screen.left or keyboard.ended:
                    return True
                if keyboard.asked_to_stand():
                    return False

"""A bar on standard error for jobs that take a while."""

import contextlib
import sys
from collections.abc import Callable, Iterator

LONG_JOB = 10  # steps, from which on a bar is shown


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Yield what to call after each step: on long jobs at a terminal it moves a bar along."""
    if total < LONG_JOB or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    # What is printed meanwhile appears above the bar.
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


Steps = Callable[[str, int], Callable[[], None]]
"""Told what is done next and in how many parts (0: unknown); returns what to call after each."""


@contextlib.contextmanager
def steps() -> Iterator[Steps]:
    """Yield what to tell of each of several long steps: at a terminal it shows the one at work."""
    if not sys.stderr.isatty():
        yield lambda _what, _total: lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:

        def next_step(what: str, total: int) -> Callable[[], None]:
            for each in bar.task_ids:
                bar.remove_task(each)
            task = bar.add_task(what, total=total or None)
            return lambda: bar.advance(task)

        yield next_step


@contextlib.contextmanager
def transfer(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Yield what to call with the bytes that are there: at a terminal it moves a bar along."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(TextColumn(what), *columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total_bytes)
        yield lambda at: bar.update(task, completed=at)

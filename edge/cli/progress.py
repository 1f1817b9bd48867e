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

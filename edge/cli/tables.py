"""Prints a table where its reader is: with lines at a terminal, plain in a pipe, or as Markdown."""

import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edge.lab.table import Table

Style = Literal["text", "markdown", "json"]


def show_table(table: "Table", style: Style) -> None:
    """Print it."""
    if style == "markdown":
        print(table.markdown())
        print()
    elif sys.stdout.isatty():
        table.print_boxed()
    else:
        print(table.plain())

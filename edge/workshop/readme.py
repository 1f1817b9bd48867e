"""Writes the generated parts of README.md anew: what is known of accelerators, and all fields.

`make docs` runs it. It touches nothing outside its markers.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from edge.accelerators.coral.combinations import markdown_table
from edge.config.reference import markdown_reference
from edge.errors import ConfigError, EdgeError

README = Path(__file__).resolve().parents[2] / "README.md"
PARTS: dict[str, Callable[[], str]] = {
    "combinations": markdown_table,
    "configuration": markdown_reference,
}
"""What stands between the markers of a part, by their name."""


def main() -> int:
    """Rewrite the file where it is out of date; return the exit status."""
    try:
        old = README.read_text(encoding="utf-8")
        new = with_parts(old)
    except (OSError, EdgeError) as error:
        print(f"{README}: {error}", file=sys.stderr)
        return 1
    if new == old:
        print(f"{README.name}: is up to date")
        return 0
    README.write_text(new, encoding="utf-8")
    print(f"{README.name}: its generated parts were written anew")
    return 0


def with_parts(text: str) -> str:
    """Return the text with today's parts between their markers. Raises ConfigError without them."""
    for name, written in PARTS.items():
        begins, ends = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        before, begin, rest = text.partition(f"{begins}\n")
        _old, end, after = rest.partition(f"{ends}\n")
        if not begin or not end:
            raise ConfigError(f"must hold the lines `{begins}` and `{ends}`, in this order")
        text = f"{before}{begin}\n{written()}\n{end}{after}"
    return text


if __name__ == "__main__":
    sys.exit(main())

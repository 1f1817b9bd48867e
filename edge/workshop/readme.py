"""Writes the generated part of README.md anew: the tables of all fields of the device YAML.

`make docs` runs it. It touches nothing outside the two markers.
"""

import sys
from pathlib import Path

from edge.config.reference import markdown_reference
from edge.errors import ConfigError, EdgeError

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- begin: configuration -->", "<!-- end: configuration -->"


def main() -> int:
    """Rewrite the file where it is out of date; return the exit status."""
    try:
        old = README.read_text(encoding="utf-8")
        new = with_reference(old)
    except (OSError, EdgeError) as error:
        print(f"{README}: {error}", file=sys.stderr)
        return 1
    if new == old:
        print(f"{README.name}: is up to date")
        return 0
    README.write_text(new, encoding="utf-8")
    print(f"{README.name}: the configuration reference was written anew")
    return 0


def with_reference(text: str) -> str:
    """Return the text with today's tables between the markers. Raises ConfigError without them."""
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _old, end, after = rest.partition(f"{END}\n")
    if not begin or not end:
        raise ConfigError(f"must hold the lines `{BEGIN}` and `{END}`, in this order")
    return f"{before}{begin}\n{markdown_reference()}\n{end}{after}"


if __name__ == "__main__":
    sys.exit(main())

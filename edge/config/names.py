"""Names that people give and that become levels of topics."""

import re

RESERVED = ("command", "status", "info", "metrics", "events", "predictions")


def level_name(value: str) -> str:
    """Return a name that can be a level of the topics beside ours. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", value):
        raise ValueError("must be letters, digits, - and _ (it is a level of the topics)")
    if value in RESERVED:
        raise ValueError(f"is a topic of its own; these names are taken: {', '.join(RESERVED)}")
    return value

"""Names that people give, of which most become levels of topics."""

import re

RESERVED = ("command", "status", "info", "metrics", "events", "predictions", "state", "health")


def level_name(value: str) -> str:
    """Return a name that can be a level of the topics beside ours. Raises ValueError."""
    plain_name(value, " (it is a level of the topics)")
    if value in RESERVED:
        raise ValueError(f"is a topic of its own; these names are taken: {', '.join(RESERVED)}")
    return value


def plain_name(value: str, why: str = "") -> str:
    """Return a name of letters, digits, - and _. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", value):
        raise ValueError(f"must be letters, digits, - and _{why}")
    return value

"""What a scalar without quotes means in YAML 1.2: `off`, `no` and 2024-01-01 are text."""

import re

MAX_DIGITS = 300  # longer is no number anybody means, and Python refuses 4300

CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(?i:inf)|\.(?i:nan)", re.ASCII)


def plain_value(text: str) -> str | int | float | bool | None:
    """Return what a plain scalar stands for (YAML 1.2.2, section 10.3)."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    if len(text) > MAX_DIGITS:
        return text
    if INT.fullmatch(text):
        return int(text, 0 if text[:2] in {"0o", "0x"} else 10)
    return float(re.sub(r"\.(?=[in])", "", text.lower())) if FLOAT.fullmatch(text) else text

"""Words from the network, made harmless: what is printed of them can move no cursor."""

from __future__ import annotations

ELLIPSIS = "…"


def harmless(text: str, most: int) -> str:
    """Return at most `most` characters; what is not printable stands there as Python writes it.

    Control characters, escape sequences, line breaks, marks that turn the writing round.
    """
    text = text[: most + 1]  # before the rest is looked at: it may be long
    if not text.isprintable():
        text = "".join(
            sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
        )
    return text if len(text) <= most else text[: most - 1] + ELLIPSIS

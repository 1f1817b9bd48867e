"""Text from elsewhere that people are to read on a terminal."""


def plain(text: str) -> str:
    """Return a text without what would act on a terminal, and not too long."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:300])


def printable(text: str) -> str:
    """Return a text of one line that is safe on a terminal. Raises ValueError."""
    if not text.isprintable() or not text.strip():
        raise ValueError("must be one line of printable text")
    return text

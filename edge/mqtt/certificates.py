"""When certificates begin and cease to be valid, so that their end is told in good time."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime, timezone

DAY_S = 86_400
TOLD_AHEAD_S = 14 * DAY_S
PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
VERSION, UTC_TIME, GENERALIZED_TIME = 0xA0, 0x17, 0x18  # tags of DER


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate, as far as its dates go, in seconds since the epoch."""

    what: str
    """Whose it is, for a sentence: `the broker's certificate`."""
    begins_at: float
    ends_at: float

    def warning(self, now: float) -> str | None:
        """Return what should be told of its dates, None where there is nothing to tell.

        It is told two weeks ahead, but not before two thirds of its life are over: who issues
        for a day renews within the day.
        """
        if now < self.begins_at:
            return f"{self.what} is not valid before {_day(self.begins_at)}; is our clock set?"
        left_s = self.ends_at - now
        if left_s < 0:
            return f"{self.what} expired on {_day(self.ends_at)}: renew it"
        if left_s > min(TOLD_AHEAD_S, (self.ends_at - self.begins_at) / 3):
            return None
        days = int(left_s // DAY_S)
        left = f"in {days} days" if days > 1 else "in 1 day" if days else "in less than a day"
        return f"{self.what} expires on {_day(self.ends_at)}, {left}: renew it"


def certificates_in(pem: bytes, what: str) -> list[Certificate]:
    """Return the certificates of a PEM file; those that cannot be read are left out."""
    found = []
    for block in PEM.finditer(pem):
        try:
            found.append(from_der(base64.b64decode(block[1]), what))
        except ValueError:
            continue
    return found


def from_der(der: bytes, what: str) -> Certificate:
    """Read the dates of an X.509 certificate (RFC 5280 section 4.1). Raises ValueError."""
    try:
        ((_, certificate), *_) = _elements(der)
        ((_, to_be_signed), *_) = _elements(certificate)
        fields = _elements(to_be_signed)
        if fields[0][0] == VERSION:
            fields = fields[1:]
        _serial, _algorithm, _issuer, (_, validity) = fields[:4]
        begins, ends = _elements(validity)
        return Certificate(what, _seconds(*begins), _seconds(*ends))
    except IndexError:
        raise ValueError("is no certificate") from None


def _elements(der: bytes) -> list[tuple[int, bytes]]:
    """Return the tags and contents of the elements that stand side by side (X.690)."""
    found, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        found.append((tag, der[at : at + length]))
        at += length
    return found


def _seconds(tag: int, content: bytes) -> float:
    text = content.decode("ascii")
    if tag == UTC_TIME:  # two digits of the year: 1950 to 2049 (RFC 5280 section 4.1.2.5.1)
        text = ("20" if text < "50" else "19") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError("is no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d")

"""Files with a signature beside them: fetched together, and checked where there are keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edge.catalogue.fetch import fetch_bytes
from edge.catalogue.keys import MAX_TEXT_BYTES
from edge.errors import FetchError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.catalogue.keys import PublicKey, Verified
    from edge.catalogue.urls import Access


class Signed(NamedTuple):
    """What lies beside a file."""

    signature: bytes | None
    """None where there is none."""
    verified: Verified | None
    """None where there is no signature, or no key to check it with."""


def fetch_signature(
    url: str, content: bytes, keys: Sequence[PublicKey], access: Access, *, needed: bool
) -> Signed:
    """Fetch the signature of the file behind a URL; with keys, one of them must have made it.

    Raises SignatureError where it is wrong, or `needed` and not there.
    """
    try:
        signature = fetch_bytes(f"{url}.minisig", max_bytes=MAX_TEXT_BYTES, access=access)
    except FetchError as error:
        if needed:
            why = f"{url}: cannot be trusted without a signature: {error}"
            raise SignatureError(why) from error
        return Signed(None, None)
    return Signed(signature, who_signed(url, content, signature, keys) if keys else None)


def who_signed(
    place: object, content: bytes, signature: bytes, keys: Sequence[PublicKey]
) -> Verified:
    """Check a signature over the file at a place. Raises SignatureError."""
    from edge.catalogue.signature import verify  # only who checks one loads cryptography

    try:
        return verify(content, signature, keys)
    except SignatureError as error:
        raise SignatureError(f"{place}: {error}") from error

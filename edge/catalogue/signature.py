"""Signatures of models, in minisign's format: made and checked here, and by that tool.

Format: https://jedisct1.github.io/minisign/. The only module that checks one; never imported by
the supervisor or a worker.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.catalogue.keys import COMMENT, MAX_TEXT_BYTES, Verified, shown
from edge.errors import SignatureError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.catalogue.keys import PublicKey
    from edge.catalogue.secret_key import SecretKey

TRUSTED = "trusted comment: "
LEGACY, PREHASHED = b"Ed", b"ED"
SIGNATURE_BYTES = 64


def verify(data: bytes, signature: bytes | str, keys: Iterable[PublicKey]) -> Verified:
    """Check that one of the keys signed the data. Raises SignatureError."""
    algorithm, number, signed, comment, over_all = _parsed(signature)
    known = list(keys)
    candidates = [key for key in known if key.number == number]
    if not candidates:
        trusted = ", ".join(key.id for key in known) or "none"
        raise SignatureError(
            f"it is signed with the key {shown(number)}, which is not trusted (trusted: {trusted})"
        )
    message = hashlib.blake2b(data).digest() if algorithm == PREHASHED else data
    signer = next((key for key in candidates if _made_by(key, signed, message)), None)
    if signer is None:
        raise SignatureError(
            f"the signature of the key {shown(number)} is not over this: it was changed after it "
            "was signed, or another key has the same number"
        )
    if not _made_by(signer, over_all, signed + comment.encode()):
        raise SignatureError("the trusted comment was changed after it was signed")
    return Verified(signer.id, comment)


def sign(data: bytes, key: SecretKey, *, comment: str) -> str:
    """Return a signature over the data, prehashed as minisign does; `comment` is signed too."""
    signed = key.sign(hashlib.blake2b(data).digest())
    over_all = key.sign(signed + comment.encode())
    head = base64.b64encode(PREHASHED + key.number + signed).decode()
    tail = base64.b64encode(over_all).decode()
    untrusted = f"{COMMENT}signature from edge, key {shown(key.number)}"
    return f"{untrusted}\n{head}\n{TRUSTED}{comment}\n{tail}\n"


def _made_by(key: PublicKey, signed: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key.key).verify(signed, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _parsed(signature: bytes | str) -> tuple[bytes, bytes, bytes, str, bytes]:
    """Return algorithm, key number, signature, trusted comment, and the signature over both."""
    wrong = SignatureError("this is no minisign signature: four lines, with two comments")
    try:
        text = signature.decode() if isinstance(signature, bytes) else signature
        lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
        untrusted, head, comment, tail = lines
        signed, over_all = (base64.b64decode(each.strip(), validate=True) for each in (head, tail))
    except (ValueError, binascii.Error):
        raise wrong from None
    if len(text) > MAX_TEXT_BYTES or not untrusted.startswith(COMMENT):
        raise wrong
    if not comment.startswith(TRUSTED) or not comment.replace("\t", " ").isprintable():
        raise wrong
    if len(signed) != 2 + 8 + SIGNATURE_BYTES or len(over_all) != SIGNATURE_BYTES:
        raise wrong
    if (algorithm := signed[:2]) not in {LEGACY, PREHASHED}:
        raise SignatureError("this signature is of a kind that is not known here: use minisign")
    return algorithm, signed[2:10], signed[10:], comment.removeprefix(TRUSTED), over_all

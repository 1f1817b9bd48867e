"""Secret keys in minisign's format, in clear or encrypted with a password: made, read, written.

Format: https://jedisct1.github.io/minisign/, section "Secret key format".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from edge.catalogue.keys import COMMENT, ED25519, SECRET, PublicKey, read_text
from edge.errors import ConfigError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IN_CLEAR, SCRYPT = bytes(2), b"Sc"
BLAKE2 = b"B2"
HEAD_BYTES = 2 + 2 + 2 + 32 + 8 + 8
BODY_BYTES = 8 + 64 + 32
# N = 2^17, r = 8, p = 1, in 128 MiB: what OWASP's Password Storage Cheat Sheet asks of scrypt, and
# what a Raspberry Pi has; minisign itself would take 1 GiB.
OPS_LIMIT, MEM_LIMIT = 1 << 22, 128 << 20
MOST_MEMORY = 4 << 30


@dataclass(frozen=True, slots=True)
class SecretKey:
    """An Ed25519 key that signs."""

    number: bytes
    """8 bytes, those of its public key."""
    seed: bytes
    """32 bytes (RFC 8032)."""

    @classmethod
    def new(cls) -> SecretKey:
        """Make one by chance."""
        seed = Ed25519PrivateKey.generate().private_bytes(
            Encoding.Raw, PrivateFormat.Raw, NoEncryption()
        )
        return cls(secrets.token_bytes(8), seed)

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature of the message, 64 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)

    @property
    def public(self) -> PublicKey:
        """The key that checks its signatures."""
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        return PublicKey(
            self.number, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        )

    def file(self, password: str, *, ops_limit: int = OPS_LIMIT, mem_limit: int = MEM_LIMIT) -> str:
        """Return what its file holds: encrypted, unless the password is empty."""
        body = self.number + self.seed + self.public.key
        if password:
            body += _checksum(body)
            salt = secrets.token_bytes(32)
            limits = ops_limit.to_bytes(8, "little") + mem_limit.to_bytes(8, "little")
            stream = _stream(password, salt, ops_limit, mem_limit)
            head = ED25519 + SCRYPT + BLAKE2 + salt + limits
            body = _xor(body, stream)
        else:
            head = ED25519 + IN_CLEAR + BLAKE2 + bytes(32 + 8 + 8)
            body += bytes(32)
        kind = "encrypted " if password else ""
        text = base64.b64encode(head + body).decode()
        return f"{COMMENT}minisign {kind}{SECRET}\n{text}\n"


def read_secret_key(path: Path, password: Callable[[], str]) -> SecretKey:
    """Read a secret key's file; `password` is called where it is encrypted.

    Raises SignatureError.
    """
    wrong = SignatureError(f"{path}: is no minisign secret key")
    try:
        comment, text = read_text(path).strip().splitlines()
        raw = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise wrong from None
    if not comment.startswith(COMMENT) or len(raw) != HEAD_BYTES + BODY_BYTES:
        raise wrong
    head, body = raw[:HEAD_BYTES], raw[HEAD_BYTES:]
    kdf = head[2:4]
    if head[:2] != ED25519 or head[4:6] != BLAKE2 or kdf not in {IN_CLEAR, SCRYPT}:
        raise wrong
    if kdf == SCRYPT:
        ops_limit, mem_limit = (int.from_bytes(head[at : at + 8], "little") for at in (38, 46))
        if mem_limit > MOST_MEMORY:
            raise SignatureError(f"{path}: asks for {mem_limit >> 30} GiB of memory")
        try:
            stream = _stream(password(), head[6:38], ops_limit, mem_limit)
        except MemoryError:
            raise SignatureError(
                f"{path}: takes {mem_limit >> 20} MiB of memory to decrypt, which are not free"
            ) from None
        body = _xor(body, stream)
        if not hmac.compare_digest(body[72:], _checksum(body[:72])):
            raise SignatureError(f"{path}: the password is wrong")
    key = SecretKey(body[:8], body[8:40])
    if key.public.key != body[40:72]:
        raise SignatureError(f"{path}: is damaged: its two halves do not belong together")
    return key


def write_key_pair(key: SecretKey, secret: Path, public: Path, password: str) -> None:
    """Write both files; none that is there is overwritten. Raises ConfigError."""
    for path, text, mode in (
        (secret, key.file(password), 0o600),
        (public, key.public.file, 0o644),
    ):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError:
            raise ConfigError(f"{path}: is there already, and no key is overwritten") from None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(ED25519 + body, digest_size=32).digest()


def _xor(body: bytes, stream: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(body, stream, strict=True))


def _stream(password: str, salt: bytes, ops_limit: int, mem_limit: int) -> bytes:
    """Return what encrypts the key: scrypt, its parameters as libsodium picks them.

    libsodium, crypto_pwhash_scryptsalsa208sha256, `pickparams`.
    """
    ops_limit, block = max(ops_limit, 1 << 15), 8
    if ops_limit < mem_limit // 32:
        parallel, most = 1, ops_limit // (block * 4)
        log2 = _log2(most)
    else:
        log2 = _log2(mem_limit // (block * 128))
        parallel = max(1, min(ops_limit // 4 >> log2, 0x3FFFFFFF) // block)
    scrypt = Scrypt(salt=salt, length=BODY_BYTES, n=1 << log2, r=block, p=parallel)
    return scrypt.derive(password.encode())


def _log2(most: int) -> int:
    """Return the first exponent from 1 on whose power of two is more than half of `most`."""
    return next(log2 for log2 in range(1, 64) if 1 << log2 > most // 2)

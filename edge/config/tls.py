"""Makes the TLS context that `mqtt.tls` describes, and says which of its files is of no use."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import TYPE_CHECKING

from edge.config.secret_file import open_to_all, read_secret
from edge.errors import ConfigError
from edge.mqtt.certificates import certificates_in

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from edge.config.mqtt import Tls
    from edge.mqtt.access import Access
    from edge.mqtt.certificates import Certificate

CA_FILE = "mqtt.tls.ca_file"
CERTIFICATE_FILE = "mqtt.tls.certificate_file"
KEY_FILE = "mqtt.tls.key_file"
PASSWORD_FILE = "mqtt.tls.key_password_file"  # noqa: S105  the name of a field
LARGEST = 4 << 20  # bytes; the system's file of all CAs has a quarter of a megabyte
CERTIFICATE = re.compile(rb"-----BEGIN (TRUSTED )?CERTIFICATE-----")
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
DER_BEGINS = b"\x30\x82"


def tls_access(access: Access, options: Tls) -> Access:
    """Return the same access, encrypted. Raises ConfigError that names the field."""
    digest = hashlib.blake2b()
    certificates: list[Certificate] = []
    remarks = list(access.remarks)
    context = _trusting(options, digest, certificates)
    if options.certificate_file is not None:
        pem = _pem(options.certificate_file, CERTIFICATE_FILE, CERTIFICATE)
        digest.update(pem)
        certificates += certificates_in(pem, f"our certificate (`{CERTIFICATE_FILE}`)")[:1]
        field = KEY_FILE if options.key_file else CERTIFICATE_FILE
        key_file = options.key_file or options.certificate_file
        digest.update(_pem(key_file, field, PRIVATE_KEY))
        if open_to_all(key_file):
            remarks.append(f"{field}: every user of this machine can read the key: `chmod 600`")
        password = read_secret(options.key_password, options.key_password_file, PASSWORD_FILE)
        digest.update((password or "").encode())
        _show(context, options.certificate_file, key_file, field, password)
    return dataclasses.replace(
        access,
        tls=context,
        tls_digest=digest.digest(),
        certificates=tuple(certificates),
        remarks=tuple(remarks),
    )


def _trusting(
    options: Tls, digest: hashlib.blake2b, certificates: list[Certificate]
) -> ssl.SSLContext:
    """Return a context that trusts whom it should."""
    import ssl

    if options.ca_file is None:
        context = ssl.create_default_context()
    else:
        pem = _pem(options.ca_file, CA_FILE, CERTIFICATE)
        digest.update(pem)
        certificates += certificates_in(pem, f"a CA's certificate (`{CA_FILE}`)")
        try:
            context = ssl.create_default_context(cafile=str(options.ca_file))
        except OSError:
            raise ConfigError(f"{CA_FILE}: {options.ca_file}: a certificate is broken") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The same on every Python (3.13 changed both): CAs made by the usual recipes lack what
    # `strict` asks for, and a certificate that is named is trusted, be it a root or not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _show(
    context: ssl.SSLContext, certificate: Path, key: Path, field: str, password: str | None
) -> None:
    """Give the context what shows the broker who we are."""
    import ssl

    asked = False

    def answer() -> str:  # without it OpenSSL asks at the terminal
        nonlocal asked
        asked = True
        if password is None:
            raise ConfigError(
                f"{field}: {key}: the key is encrypted: give its password as `key_password` or "
                "`key_password_file`"
            )
        return password

    try:
        context.load_cert_chain(certificate, key, password=answer)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else None
        if reason == "KEY_VALUES_MISMATCH":
            text = f"{field}: {key}: is not the key of {certificate}"
        elif asked:
            text = f"{PASSWORD_FILE.removesuffix('_file')}: does not open the key in {key}"
        elif reason:
            words = reason.lower().replace("_", " ")
            text = f"{CERTIFICATE_FILE}: {certificate}: OpenSSL does not take it: {words}"
        else:
            text = f"{CERTIFICATE_FILE}: {certificate}: it or its key is broken"
        raise ConfigError(text) from None


def _pem(path: Path, field: str, begins: re.Pattern[bytes]) -> bytes:
    """Return a PEM file that has what it should have in it."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST)
    except FileNotFoundError:
        raise ConfigError(f"{field}: {path}: there is no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no path"
        raise ConfigError(f"{field}: {path}: cannot be read: {reason}") from None
    if begins.search(content):
        return content
    what = "certificate" if begins is CERTIFICATE else "private key"
    if content.startswith(DER_BEGINS):
        kind = "x509" if begins is CERTIFICATE else "pkey"
        raise ConfigError(
            f"{field}: {path}: is DER, not PEM: `openssl {kind} -inform DER -in {path.name}` "
            "turns it into PEM"
        )
    raise ConfigError(f"{field}: {path}: there is no {what} in PEM in it")

"""Which URLs are taken: https, files here, and plain http to this machine or where allowed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit
from urllib.request import url2pathname

from edge.catalogue.text import plain
from edge.errors import FetchError

SCHEMES = ("https", "http", "file")


@dataclass(frozen=True, slots=True)
class Access:
    """What of the network is used, and for how long it is waited for."""

    ca_file: Path | None = None
    """Certificates (PEM) that vouch for servers, in place of the system's."""
    http_hosts: frozenset[str] = frozenset()
    """Hosts that may be asked by plain http, beside this machine; as `HOST` or `HOST:PORT`."""
    connect_s: float = 10.0
    stall_s: float = 30.0
    """Silence, or less than `edge.catalogue.watch.SLOWEST_BYTES_S`, ends a transfer."""
    tries: int = 5
    """How often in a row a transfer may break off without having got any further."""
    pause_s: float = 1.0
    """Before the second try; twice as long before each one more."""


ANYWHERE = Access()
"""https to any host that the system's certificates vouch for, and files of this machine."""


def as_url(place: str | Path) -> str:
    """Return a URL as it is, and a path as one."""
    text = str(place)
    return text if "://" in text else Path(text).expanduser().absolute().as_uri()


def joined(base: str, reference: str, access: Access) -> str:
    """Return what a reference in the file at `base` means, if it may be followed.

    Raises FetchError: what came over the network cannot send us to files of this machine, nor what
    came encrypted to what is not.
    """
    try:
        url = urljoin(base, reference)
    except ValueError:
        raise FetchError(f"{base}: leads to {plain(reference)}, which is no URL") from None
    scheme, before = check(url, access).scheme, urlsplit(base).scheme
    if SCHEMES.index(scheme) > SCHEMES.index(before) and before != scheme:
        raise FetchError(f"{base}: leads to {plain(url)}, and from {before} to {scheme} none goes")
    return url


def check(url: str, access: Access) -> SplitResult:
    """Return a URL's parts. Raises FetchError where it is none that may be asked."""
    shown = plain(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FetchError(f"{shown}: is no URL: {error}") from None
    if parts.scheme not in SCHEMES:
        raise FetchError(f"{shown}: must begin with https:// or file:///")
    if shown != url or " " in url:
        raise FetchError(f"{shown}: holds characters that no URL has")
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"}:
            raise FetchError(f"{shown}: a file of this machine is named file:///PATH")
        return parts
    if not parts.hostname:
        raise FetchError(f"{shown}: names no host")
    if parts.username is not None:
        raise FetchError("a URL must not hold a user or password: it would stand in logs")
    if parts.scheme == "http" and not _may_be_plain(parts, port, access):
        raise FetchError(f"{shown}: plain http can be read and changed on its way: use https")
    return parts


def file_of(url: str) -> Path | None:
    """Return the path of a `file:` URL, None for others."""
    parts = urlsplit(url)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def _may_be_plain(parts: SplitResult, port: int | None, access: Access) -> bool:
    host = parts.hostname or ""
    here = host in {"localhost", "::1"} or host.startswith("127.")
    forms = {host, parts.netloc.lower(), f"{host}:{port or 80}"}
    return here or not forms.isdisjoint(access.http_hosts)

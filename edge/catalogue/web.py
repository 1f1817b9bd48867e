"""Opens a URL and reads its body, trusting nothing that a server says; silence has an end."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import stat
import time
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.error import URLError
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from edge import __version__
from edge.catalogue.text import plain
from edge.catalogue.urls import ANYWHERE, Access, check, file_of, joined
from edge.catalogue.watch import Watch, WatchedResponse, watched
from edge.errors import BrokenOffError, FetchError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES = 64 << 10
MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
WORTH_A_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})
NOT_YET_VALID = 9  # X509_V_ERR_CERT_NOT_YET_VALID of OpenSSL's x509_vfy.h


class Body:
    """What a server sends, or a file holds, from `start` on."""

    def __init__(
        self,
        stream: http.client.HTTPResponse | BinaryIO,
        url: str,
        *,
        start: int = 0,
        total_bytes: int | None = None,
        validator: str | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._stream = stream
        self._url = url
        self._watch = watch
        self.start = start
        """Of the first byte that comes."""
        self.total_bytes = total_bytes
        """Of the whole, where it is told."""
        self.validator = validator
        """An ETag or a date: it tells whether a later answer is of the same bytes."""

    def chunks(self) -> Iterator[bytes]:
        """Yield what comes, as it comes. Raises BrokenOffError where it stops before its end."""
        at = self.start
        read: Any = getattr(self._stream, "read1", self._stream.read)
        while True:
            with _in_plain_words(self._url, self._watch):
                chunk = read(CHUNK_BYTES)
            if not chunk:
                break
            at += len(chunk)
            if self._watch is not None:
                self._watch.came(len(chunk))
            yield chunk
        if self.total_bytes is not None and at < self.total_bytes:
            raise BrokenOffError(
                f"{self._url}: broke off after {at:,} of {self.total_bytes:,} bytes"
            )

    def close(self) -> None:
        """Let go of the connection, whatever is still to come."""
        if self._watch is not None:
            self._watch.end()
        with suppress(OSError):
            self._stream.close()


@contextmanager
def opened(
    url: str, access: Access, *, start: int = 0, validator: str | None = None
) -> Iterator[Body]:
    """Yield the body behind a URL, from `start` on where that can be had.

    With a `validator` of an earlier answer the server is asked for the rest only if it still has
    the same. Raises FetchError, BrokenOffError where another try may help.
    """
    check(url, access)
    if (path := file_of(url)) is not None:
        body = _file(path, start)
    else:
        body = _followed(url, access, start, validator)
    try:
        yield body
    finally:
        body.close()


def _file(path: os.PathLike[str], start: int) -> Body:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(descriptor)
    except FileNotFoundError:
        raise FetchError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FetchError(f"{path}: cannot be read: {reason}") from None
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise FetchError(f"{path}: is not a regular file")
    stream = os.fdopen(descriptor, "rb", buffering=0)
    stream.seek(start)
    return Body(stream, str(path), start=start, total_bytes=status.st_size)


def _followed(url: str, access: Access, start: int, validator: str | None) -> Body:
    """Ask, and go where we are sent."""
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator is not None:
            headers["If-Range"] = validator
    opener, at = _opener(access), url
    for _ in range(MOST_REDIRECTS + 1):
        with _in_plain_words(at, access=access):
            response = opener.open(Request(at, headers=headers), timeout=access.connect_s)  # noqa: S310
        body = None
        try:
            if response.status not in REDIRECTS:
                body = _answer(response, url, start)
                return body
            at = joined(at, response.headers.get("Location", ""), access)
        finally:
            if body is None:
                response.watch.end()
                response.close()
    raise FetchError(f"{url}: the server sends us from one place to the next, more than 5 times")


def _answer(response: WatchedResponse, url: str, start: int) -> Body:
    """Return the body of an answer that is one."""
    status = response.status
    if status not in {200, 206}:
        error = BrokenOffError if status in WORTH_A_TRY else FetchError
        raise error(f"{url}: the server answers {status} {plain(response.reason)}".rstrip())
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise FetchError(
            f"{url}: the server packs it ({plain(encoding)[:40]}) though it was asked not to: "
            "its digest could not be checked"
        )
    length: int | None = response.length
    if status == 200:  # noqa: PLR2004  it may not know how to send a part
        start = 0
    elif not _is_rest(response.headers.get("Content-Range", ""), start):
        raise FetchError(f"{url}: the server sends another part of it than was asked for")
    etag = response.headers.get("ETag", "")
    strong = etag if etag.startswith('"') else None  # W/"..." says nothing of the bytes
    return Body(
        response,
        url,
        start=start,
        total_bytes=None if length is None else start + length,
        validator=strong or response.headers.get("Last-Modified"),
        watch=response.watch,
    )


def _is_rest(content_range: str, start: int) -> bool:
    found = re.match(r"bytes (\d{1,18})-", content_range, re.ASCII)
    return found is not None and int(found[1]) == start


def _opener(access: Access) -> OpenerDirector:
    """Return what opens http and https and nothing else, and follows nothing by itself."""
    opener = OpenerDirector()
    opener.addheaders = [("User-Agent", f"edge-runtime/{__version__}")]
    for handler in (ProxyHandler(), _Http(access), _Https(access)):
        opener.add_handler(handler)
    return opener


class _Http(HTTPHandler):
    def __init__(self, access: Access) -> None:
        super().__init__()
        self._access = access

    def http_open(self, req: Request) -> Any:
        return self.do_open(watched(http.client.HTTPConnection, self._access), req)


class _Https(HTTPSHandler):
    def __init__(self, access: Access) -> None:
        super().__init__(context=_tls(access.ca_file))
        self._access, self._tls = access, _tls(access.ca_file)

    def https_open(self, req: Request) -> Any:
        kind = watched(http.client.HTTPSConnection, self._access)
        return self.do_open(kind, req, context=self._tls)


@lru_cache(maxsize=1)
def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """Return whom to trust; to read the system's certificates takes a while."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise FetchError(f"{ca_file}: holds no certificates: {error}") from error


@contextmanager
def _in_plain_words(
    url: str, watch: Watch | None = None, access: Access = ANYWHERE
) -> Iterator[None]:
    """Raise what the network does as errors for people."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            if cause.verify_code == NOT_YET_VALID:
                today = time.strftime("%Y-%m-%d", time.gmtime())
                said = f"its certificate is not valid yet, by our clock ({today}): is that set?"
                raise UnreachableError(f"{url}: {said}") from error
            said = f"its certificate is not trusted: {cause.verify_message}"
            raise FetchError(f"{url}: {said}") from error
        if isinstance(cause, socket.gaierror):
            said = f"the name of its host is not known ({cause.strerror})"
            raise UnreachableError(f"{url}: {said}") from error
        if isinstance(cause, ConnectionRefusedError):
            raise UnreachableError(f"{url}: no server listens there") from error
        if isinstance(cause, TimeoutError) or (watch is not None and watch.cut):
            waited_s = access.connect_s if isinstance(error, URLError) else access.stall_s
            raise _silent(url, watch.stall_s if watch is not None else waited_s) from error
        reason = getattr(cause, "strerror", None) or f"{cause}" or type(cause).__name__
        raise BrokenOffError(f"{url}: the connection broke off: {plain(str(reason))}") from error
    if watch is not None and watch.cut:
        raise _silent(url, watch.stall_s)


def _silent(url: str, waited_s: float) -> BrokenOffError:
    return BrokenOffError(f"{url}: the server said nothing, or next to nothing, in {waited_s:g} s")

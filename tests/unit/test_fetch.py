from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from lying_server import (
    LyingServer,
    breaking_off,
    endless,
    falling_silent,
    honest,
    in_chunks,
    of_length,
    other_part,
    packed,
    redirect,
    saying,
    trickling,
)
from pki import Pki

from edge.catalogue.fetch import fetch, fetch_bytes
from edge.catalogue.urls import Access, as_url, check, joined
from edge.errors import BrokenOffError, FetchError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ACCESS = Access(tries=3, pause_s=0.001)
SILENT = r"the server said nothing, or next to nothing, in 0\.3 s"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HASTY = Access(tries=1, stall_s=0.3, connect_s=0.3)


@pytest.fixture
def server() -> Iterator[LyingServer]:
    with LyingServer() as running:
        yield running


def get(url: str, target: Path, *, access: Access = ACCESS, **others: Any) -> int:
    wanted: dict[str, Any] = {"sha256": DIGEST, "size_bytes": len(CONTENT), "access": access}
    return fetch(url, target, **(wanted | others))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_nothing_is_left_beside_it(
    server: LyingServer, tmp_path: Path
) -> None:
    told: list[int] = []
    url = server.at("/m", honest(CONTENT))
    assert get(url, tmp_path / "m", on_bytes=told.append) == len(CONTENT)
    assert (tmp_path / "m").read_bytes() == CONTENT
    assert left(tmp_path) == ["m"]
    assert told == sorted(told)
    assert told[-1] == len(CONTENT)
    (asked,) = server.asked
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["user-agent"].startswith("edge-runtime/")


def test_a_file_of_this_machine_is_copied(tmp_path: Path) -> None:
    there = tmp_path / "a b%20c"
    there.write_bytes(CONTENT)
    assert get(as_url(there), tmp_path / "m") == len(CONTENT)
    assert (tmp_path / "m").read_bytes() == CONTENT


def test_a_body_in_chunks_arrives(server: LyingServer, tmp_path: Path) -> None:
    get(server.at("/m", in_chunks(CONTENT)), tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == CONTENT


@pytest.mark.parametrize("reset", [False, True])
def test_a_transfer_that_breaks_off_goes_on_where_it_was(
    server: LyingServer, tmp_path: Path, *, reset: bool
) -> None:
    broken = breaking_off(CONTENT, 100_000, reset=reset, etag='"1"')
    url = server.at("/m", broken, honest(CONTENT, etag='"1"'))
    brought = get(url, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == CONTENT
    assert brought == len(CONTENT)  # no byte came twice
    if not reset:  # which throws away what had arrived and was not read yet
        assert server.asked[1].headers["range"] == "bytes=100000-"
        assert server.asked[1].headers["if-range"] == '"1"'


def test_what_a_call_left_the_next_one_goes_on_with(server: LyingServer, tmp_path: Path) -> None:
    url = server.at("/m", breaking_off(CONTENT, 100_000, etag='"1"'))
    once = replace(ACCESS, tries=1)
    with pytest.raises(BrokenOffError, match=r"broke off after 100,000 of 307,200 bytes"):
        # The first try got somewhere, so there is a second, and that one is answered from 0 again.
        get(url, tmp_path / "m", access=once)
    assert left(tmp_path) == [".m.part", ".m.part.json"]
    server.at("/m", honest(CONTENT, etag='"1"'))
    assert get(url, tmp_path / "m") == len(CONTENT) - 100_000
    assert (tmp_path / "m").read_bytes() == CONTENT
    assert left(tmp_path) == ["m"]


def test_a_server_that_is_away_for_a_moment_in_between_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = [LyingServer()]
    url = servers[0].at("/m", breaking_off(CONTENT, 100_000))
    pauses = 0

    def pause(_: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 1:  # after it broke off
            servers[-1].__exit__()
        elif pauses == 2:  # after nobody was there
            servers.append(LyingServer(port=servers[0].port))
            servers[-1].at("/m", honest(CONTENT))

    monkeypatch.setattr(time, "sleep", pause)
    try:
        assert get(url, tmp_path / "m") == len(CONTENT)
    finally:
        servers[-1].__exit__()
    assert pauses == 2
    assert (tmp_path / "m").read_bytes() == CONTENT


def test_a_server_that_cannot_send_a_part_sends_all_of_it(
    server: LyingServer, tmp_path: Path
) -> None:
    url = server.at("/m", breaking_off(CONTENT, 100_000), honest(CONTENT, ranges=False))
    assert get(url, tmp_path / "m") == len(CONTENT) + 100_000
    assert (tmp_path / "m").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(
    server: LyingServer, tmp_path: Path
) -> None:
    other = b"y" * len(CONTENT)
    url = server.at("/m", breaking_off(other, 100_000, etag='"1"'), honest(CONTENT, etag='"2"'))
    get(url, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == CONTENT


def test_halves_of_two_files_are_found_out_and_the_whole_is_fetched_once_more(
    server: LyingServer, tmp_path: Path
) -> None:
    other = b"y" * len(CONTENT)  # and no ETag that would tell
    url = server.at("/m", breaking_off(other, 100_000), honest(CONTENT))
    get(url, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == CONTENT
    assert [each.headers.get("range") for each in server.asked] == [None, "bytes=100000-", None]


def test_a_part_of_another_file_is_not_gone_on_with(server: LyingServer, tmp_path: Path) -> None:
    (tmp_path / ".m.part").write_bytes(b"z" * 1000)
    (tmp_path / ".m.part.json").write_text('{"sha256": "other", "validator": null}')
    get(server.at("/m", honest(CONTENT)), tmp_path / "m")
    (tmp_path / ".m.part").write_bytes(CONTENT + b"more")
    (tmp_path / ".m.part.json").write_text(f'{{"sha256": "{DIGEST}", "validator": null}}')
    get(server.at("/m", honest(CONTENT)), tmp_path / "m")
    (tmp_path / ".m.part.json").write_text("[]")
    get(server.at("/m", honest(CONTENT)), tmp_path / "m")
    assert [each.headers.get("range") for each in server.asked] == [None] * 3


def test_a_link_where_the_part_would_lie_is_not_followed(
    server: LyingServer, tmp_path: Path
) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / ".m.part").symlink_to("victim")
    with pytest.raises(FetchError, match=r"\.m\.part: cannot be written"):
        get(server.at("/m", honest(CONTENT)), tmp_path / "m")
    assert (tmp_path / "victim").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (honest(b"y" * len(CONTENT)), "has the sha256 "),
        (honest(CONTENT[:-1]), "has 307,199 bytes, not 307,200"),
        (honest(CONTENT + b"x"), "has 307,201 bytes, not 307,200"),
        (of_length(CONTENT, len(CONTENT) + 1000), "has 308,200 bytes, not 307,200"),
        (in_chunks(CONTENT + b"x"), "has more than 307,200 bytes"),
        (in_chunks(CONTENT[:-1]), "ends after 307,199 of 307,200 bytes"),
        (in_chunks(CONTENT[:-300], whole=False), "broke off"),
        (endless(), "has more than 307,200 bytes"),
        (endless(Content_Length=10**15), "has 1,000,000,000,000,000 bytes, not"),
        (endless(Transfer_Encoding="chunked"), "broke off"),  # chunks that are none
        (packed(CONTENT), r"the server packs it \(gzip\)"),
        (other_part(CONTENT[:100]), "has 100 bytes, not 307,200"),
        (saying(b"HTTP/1.1 416 Range Not Satisfiable\r\n\r\n"), "the server answers 416"),
        (saying(b"HTTP/1.1 404 Not\x1b[31m Found\r\n\r\n"), r"answers 404 Not\?\[31m Found$"),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), "ends after 0 of"),
        (saying(b"220 ftp\r\n\r\n"), "broke off"),
        (saying(b""), "broke off"),
        (saying(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n"), "got more than 100 headers"),
        (saying(b"HTTP/1.1 200 OK\r\na: " + b"x" * 70_000), "broke off"),
    ],
)
def test_a_lie_ends_in_one_sentence_and_leaves_no_file(
    server: LyingServer, tmp_path: Path, answer: Any, said: str
) -> None:
    url = server.at("/m", answer)
    (tmp_path / "m").write_bytes(b"as it was")
    with pytest.raises(FetchError, match=said) as raised:
        get(url, tmp_path / "m")
    assert str(raised.value).startswith(url)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "m").read_bytes() == b"as it was"


def test_a_wrong_digest_leaves_nothing_to_go_on_with(server: LyingServer, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="has the sha256"):
        get(server.at("/m", honest(b"y" * len(CONTENT))), tmp_path / "m")
    assert left(tmp_path) == []


def test_a_part_that_is_another_than_asked_for_is_refused(
    server: LyingServer, tmp_path: Path
) -> None:
    url = server.at("/m", breaking_off(CONTENT, 100_000), other_part(CONTENT))
    with pytest.raises(FetchError, match="sends another part of it than was asked for"):
        get(url, tmp_path / "m")


@pytest.mark.parametrize("status", ["503 Busy", "429 Slow Down", "500 Oh"])
def test_a_server_in_trouble_is_asked_again_and_for_want_of_patience_not_for_ever(
    server: LyingServer, tmp_path: Path, status: str
) -> None:
    trouble = saying(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    get(server.at("/m", trouble, trouble, honest(CONTENT)), tmp_path / "m")
    with pytest.raises(BrokenOffError, match=f"the server answers {status}"):
        get(server.at("/n", trouble), tmp_path / "n")
    assert len(server.asked_for("/n")) == ACCESS.tries


def test_one_that_never_gets_further_is_given_up(server: LyingServer, tmp_path: Path) -> None:
    url = server.at("/m", breaking_off(CONTENT, 100_000), breaking_off(CONTENT, 0))
    with pytest.raises(BrokenOffError):
        get(url, tmp_path / "m")
    assert len(server.asked) == 1 + ACCESS.tries


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (falling_silent(CONTENT, 1000), SILENT),
        (falling_silent(CONTENT, 0), SILENT),
        (trickling(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", 0.05), SILENT),
        (trickling(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 C\r\n\r\n", 0.05), SILENT),
        (trickling(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.05), SILENT),
        (trickling(CHUNKED + b"1\r\nx\r\n0\r\n", b"a: b\r\n", 0), SILENT),  # trailers for ever
    ],
)
def test_silence_and_a_trickle_have_an_end(
    server: LyingServer, tmp_path: Path, answer: Any, said: str
) -> None:
    with pytest.raises(BrokenOffError, match=said):
        get(server.at("/m", answer), tmp_path / "m", access=HASTY)


@pytest.mark.parametrize("greeting", [b"", b"\x16\x03\x03\x40\x00"])
def test_who_never_ends_a_greeting_is_not_waited_for(tmp_path: Path, greeting: bytes) -> None:
    over = threading.Event()

    def greet(listening: socket.socket) -> None:
        with contextlib.suppress(OSError), listening.accept()[0] as connection:
            connection.sendall(greeting)
            while greeting and not over.wait(0.05):
                connection.sendall(b"x")  # one byte of a handshake's 16,384
            over.wait()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        thread = threading.Thread(target=greet, args=[silent])
        thread.start()
        url = f"https://localhost:{silent.getsockname()[1]}/m"
        with pytest.raises(BrokenOffError, match=SILENT):
            get(url, tmp_path / "m", access=HASTY)
        over.set()
        thread.join()


def test_where_nobody_listens_is_said_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(FetchError, match="no server listens there"):
        get(f"http://localhost:{port}/m", tmp_path / "m")
    with pytest.raises(FetchError, match="the name of its host is not known"):
        get("https://nowhere.invalid/m", tmp_path / "m")
    assert left(tmp_path) == []


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
def test_a_redirect_is_followed(server: LyingServer, tmp_path: Path, status: str) -> None:
    server.at("/there/m", honest(CONTENT))
    get(server.at("/m", redirect("there/m", status)), tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("/m", "more than 5 times"),
        ("file:///etc/passwd", "leads to file:///etc/passwd, and from http to file none goes"),
        ("ftp://localhost/m", "must begin with https:// or file:///"),
        ("data:,x", "must begin with https:// or file:///"),
        ("http://example.com/m", "plain http can be read and changed on its way"),
        ("http://u:p@localhost/m", "must not hold a user or password"),
        ("http://[::1/m", "which is no URL"),
        ("", "more than 5 times"),
    ],
)
def test_a_redirect_leads_nowhere_it_must_not(
    server: LyingServer, tmp_path: Path, location: str, said: str
) -> None:
    with pytest.raises(FetchError, match=said):
        get(server.at("/m", redirect(location)), tmp_path / "m")
    assert len(server.asked) <= 6


def test_a_redirect_may_have_an_endless_body(server: LyingServer, tmp_path: Path) -> None:
    server.at("/there", honest(CONTENT))
    start = b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n"
    get(server.at("/m", trickling(start, b"x" * 65536, 0)), tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == CONTENT


def test_over_tls_a_server_must_be_known(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    with LyingServer(pki.issue("localhost")) as server, LyingServer(pki.issue("other")) as other:
        known = replace(ACCESS, ca_file=pki.ca_file())
        get(server.at("/m", honest(CONTENT)), tmp_path / "m", access=known)
        assert (tmp_path / "m").read_bytes() == CONTENT
        for access, asked in (
            (ACCESS, server),
            (replace(ACCESS, ca_file=pki.ca_file("other")), server),
            (known, other),
        ):
            url = asked.at("/m", honest(CONTENT))
            with pytest.raises(FetchError, match="its certificate is not trusted: "):
                get(url, tmp_path / "n", access=access)
        url = server.at("/n", redirect("http://localhost/m"))
        with pytest.raises(FetchError, match="from https to http none goes"):
            get(url, tmp_path / "n", access=known)
        with pytest.raises(FetchError, match="holds no certificates"):
            get(url, tmp_path / "n", access=replace(ACCESS, ca_file=tmp_path / "none.pem"))


def test_a_clock_that_is_not_set_is_told_and_worth_another_try(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    with LyingServer(pki.issue("localhost", from_day=1)) as server:
        known = replace(ACCESS, ca_file=pki.ca_file())
        with pytest.raises(UnreachableError, match=r"not valid yet, by our clock \(20..-..-..\)"):
            get(server.at("/m", honest(CONTENT)), tmp_path / "m", access=known)


def test_small_things_are_fetched_into_memory_and_large_ones_are_not(server: LyingServer) -> None:
    assert fetch_bytes(server.at("/c", honest(b"card")), max_bytes=4, access=ACCESS) == b"card"
    for answer in (honest(b"cards"), in_chunks(b"cards"), endless()):
        with pytest.raises(FetchError, match="is larger than 4 bytes"):
            fetch_bytes(server.at("/c", answer), max_bytes=4, access=ACCESS)
    with pytest.raises(BrokenOffError, match="broke off after 2 of 4 bytes"):
        fetch_bytes(server.at("/c", breaking_off(b"card", 2)), max_bytes=4, access=ACCESS)


@pytest.mark.parametrize(
    "url",
    ["https://", "http://example.com/x", "https://a b/", "https://a/\n", "ftp://a/", "x", "/x",
     "file://elsewhere/x", "https://u@a/", "https://a:99999/", "HTTP:/x", "https://[a/", ""],
)  # fmt: skip
def test_what_is_no_url_to_be_asked_is_refused(url: str) -> None:
    with pytest.raises(FetchError):
        check(url, ACCESS)


def test_plain_http_is_for_this_machine_and_for_hosts_that_are_named() -> None:
    named = replace(ACCESS, http_hosts=frozenset({"depot", "shelf:8080"}))
    for url in ("http://localhost:1/x", "http://127.0.0.9/", "http://[::1]:80/", "http://depot:9/"):
        check(url, named)
    check("http://shelf:8080/", named)
    for url in ("http://shelf/", "http://localhost.example.com/", "http://depot.example.com/"):
        with pytest.raises(FetchError, match="plain http"):
            check(url, named)


def test_a_reference_is_read_against_where_it_stands_and_never_leads_downwards() -> None:
    base = "https://a/models/catalogue.yaml"
    assert joined(base, "digits/card.yaml", ACCESS) == "https://a/models/digits/card.yaml"
    assert joined("file:///m/c.yaml", "https://b/x", ACCESS) == "https://b/x"
    assert joined("http://localhost/c", "https://b/x", ACCESS) == "https://b/x"
    for reference in ("file:///etc/passwd", "http://localhost/x"):
        with pytest.raises(FetchError, match="from https to"):
            joined(base, reference, ACCESS)


@pytest.mark.parametrize("what", ["folder", "pipe"])
def test_a_url_of_what_is_no_file_is_refused(tmp_path: Path, what: str) -> None:
    place = tmp_path / "x"
    place.mkdir() if what == "folder" else os.mkfifo(place)
    with pytest.raises(FetchError, match="is not a regular file"):
        get(as_url(place), tmp_path / "m")


def test_more_than_the_disk_has_is_told_before_anything_comes(
    server: LyingServer, tmp_path: Path
) -> None:
    with pytest.raises(FetchError, match=r"bytes are free there, and \d[\d,]+ are to come"):
        get(server.at("/m", honest(CONTENT)), tmp_path / "m", size_bytes=1 << 60)
    assert server.asked == []


def test_a_disk_that_fills_up_is_told_and_gets_its_room_back(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(CONTENT)
    code = f"""
import resource, signal
from pathlib import Path
from edge.catalogue.fetch import fetch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing then fails as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
fetch({as_url(there)!r}, Path({str(tmp_path)!r}, "m"), sha256={DIGEST!r}, size_bytes={len(CONTENT)})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "the disk is full: 307,200 bytes are needed for m" in done.stderr
    assert left(tmp_path) == ["there"]


def test_a_folder_that_is_not_there_or_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(CONTENT)
    with pytest.raises(FetchError, match="No such file or directory"):
        get(as_url(tmp_path / "there"), tmp_path / "no" / "m")


def test_what_is_killed_half_way_is_gone_on_with(server: LyingServer, tmp_path: Path) -> None:
    url = server.at("/m", falling_silent(CONTENT, 200_000), honest(CONTENT))
    code = f"""
from pathlib import Path
from edge.catalogue.fetch import fetch
fetch({url!r}, Path({str(tmp_path)!r}, "m"), sha256={DIGEST!r}, size_bytes={len(CONTENT)},
      on_bytes=lambda at: print(at, flush=True))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) == 200_000:
                child.kill()
    assert get(url, tmp_path / "m") == len(CONTENT) - 200_000
    assert (tmp_path / "m").read_bytes() == CONTENT

"""The port for Prometheus answers scrapers, and nobody else can keep it from that for long."""

import asyncio
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from parties import free_port
from scraper import Samples
from test_messages import INFO, metrics

from edge.errors import SinkError
from edge.sinks import prometheus
from edge.sinks.prometheus import MOST_CONNECTIONS, MOST_REQUEST_BYTES, HttpPort

GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
REPORT = metrics(3)


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[HttpPort]:
    sink = HttpPort(port)
    sink.start()
    try:
        yield sink
    finally:
        sink.close()


async def ask(port: int, request: bytes = GET) -> bytes:
    """Return all that is answered; nothing where the connection is closed without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def run(check: Callable[[int], Awaitable[Any]]) -> None:
    asyncio.run(asyncio.wait_for(check(free_port()), 30))


def test_it_answers_from_the_start_and_with_the_newest_metrics() -> None:
    async def check(port: int) -> None:
        async with listening(port) as sink:
            head, _, body = (await ask(port)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert body == b""
            for frames in (5, 7):
                sink.send(replace(REPORT, frames_total=frames))
                head, _, body = (await ask(port)).partition(b"\r\n\r\n")
                assert f"Content-Length: {len(body)}\r\n".encode() in head
                samples = Samples(body.decode())
                assert samples.of("edge_frames_total", device="porch-pi") == {"door": frames}

    run(check)


def test_a_pipeline_that_a_reload_took_away_is_told_no_more() -> None:
    async def check(port: int) -> None:
        async with listening(port) as sink:
            sink.send(REPORT)
            sink.send(replace(REPORT, pipeline="yard"))
            sink.send(replace(INFO, pipelines={"yard": INFO.pipelines["yard"]}))
            body = (await ask(port)).partition(b"\r\n\r\n")[2].decode()
            assert list(Samples(body).of("edge_frames_total", device="porch-pi")) == ["yard"]

    run(check)


def test_other_requests_are_told_what_there_is() -> None:
    def status(url: str, **more: Any) -> int:
        request = urllib.request.Request(url, **more)  # noqa: S310
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    async def check(port: int) -> None:
        async with listening(port):
            url = f"http://127.0.0.1:{port}"
            assert await asyncio.to_thread(status, f"{url}/metrics?name[]=edge_fps") == 200
            assert await asyncio.to_thread(status, f"{url}/") == 404
            assert await asyncio.to_thread(status, f"{url}/metrics", method="POST") == 405

    run(check)


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS
        b"GET /metrics" + b"x" * MOST_REQUEST_BYTES + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 100_000,
        b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 1_000_000,
        b"GET \xff\xfe\x00 HTTP/9\r\n\r\n",
    ],
    ids=["empty", "TLS", "long line", "many headers", "body", "no text"],
)
def test_what_is_no_request_of_a_scraper_gets_no_metrics(request_: bytes) -> None:
    async def check(port: int) -> None:
        async with listening(port) as sink:
            sink.send(REPORT)
            assert b"edge_fps" not in await ask(port, request_)
            assert b"edge_fps" in await ask(port)

    run(check)


def test_only_a_few_are_served_at_a_time_and_who_sends_slowly_is_one_of_them() -> None:
    async def check(port: int) -> None:
        async with listening(port) as sink:
            sink.send(REPORT)
            slow = [
                await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CONNECTIONS)
            ]
            for _, writer in slow:
                writer.write(b"GET /metr")
            assert await ask(port) == b""
            for _, writer in slow:
                writer.close()
            await asyncio.gather(*sink._answers)
            assert b"edge_fps" in await ask(port)

    run(check)


def test_who_sends_too_slowly_gets_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "REQUEST_LIMIT_S", 0.1)

    async def check(port: int) -> None:
        async with listening(port) as sink:
            sink.send(REPORT)
            assert await ask(port, b"GET /metr") == b""

    run(check)


def test_who_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "REQUEST_LIMIT_S", 0.1)
    monkeypatch.setattr(HttpPort, "text", lambda _: b"x" * 50_000_000)  # more than kernels hold

    async def check(port: int) -> None:
        async with listening(port) as sink:
            with socket.create_connection(("127.0.0.1", port)) as deaf:
                deaf.sendall(GET)
                assert b"x" in await ask(port)  # so it was accepted, too
                await asyncio.gather(*sink._answers)

    run(check)


def test_those_who_come_and_go_at_once_leave_nothing_behind() -> None:
    async def check(port: int) -> None:
        async with listening(port) as sink:
            sink.send(REPORT)
            for _ in range(200):
                with socket.create_connection(("127.0.0.1", port)):
                    pass
                await asyncio.sleep(0)
            await asyncio.gather(*sink._answers)
            assert b"edge_fps" in await ask(port)

    run(check)


def test_a_port_in_use_is_told_and_taken_when_it_is_free() -> None:
    async def check(port: int) -> None:
        async with listening(port) as first:
            second = HttpPort(port)
            with pytest.raises(SinkError, match=f"127.0.0.1:{port}: Address already in use"):
                second.start()
            with pytest.raises(SinkError):
                second.send(REPORT)
            first.close()
            second.send(REPORT)  # at once, as at a reload
            assert b"edge_fps" in await ask(port)
            second.close()

    run(check)

"""TLS, certificates and passwords with a real broker: what goes wrong is told, once, by name."""

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from parties import PATIENCE_S, Mosquitto, free_port
from pki import Files, Pki, tls_listener
from typing_extensions import Self

from edge.config.load import broker_access
from edge.config.mqtt import Mqtt
from edge.mqtt import connection
from edge.mqtt.access import Access
from edge.mqtt.reasons import why_unreachable

OTHER_CA = (
    "broker_untrusted {a} is not trusted: its certificate comes from no CA that we trust: see"
)
NOT_TLS = "broker_away {a} does not answer with TLS: is it the port for `mqtts://`?"
TLS = "broker_away {a} speaks TLS: `mqtt.broker` must begin with `mqtts://`"
SILENT = "broker_refused {a} refuses us: it closes the connection without an answer; its own log"
DEMANDS = "broker_refused {a} refuses us: it demands a client certificate: see `mqtt.tls.certif"
HANDSHAKE = (
    "broker_refused {a} refuses us: the TLS handshake failed: no cipher in common, or it dem"
)
CONNECTED = "broker_connected connected to {a} with MQTT 5"

# paho leaves the socket of a handshake that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

Serve = Callable[..., Mosquitto]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def good(pki: Pki) -> Files:
    return pki.issue("localhost")


@pytest.fixture
def serve(mosquitto: str, tmp_path: Path) -> Iterator[Serve]:
    """Start a mosquitto with these options; it is ended with the test."""
    running: list[Mosquitto] = []

    def start(options: str = "allow_anonymous true") -> Mosquitto:
        folder = tmp_path / f"broker-{len(running)}"
        folder.mkdir()
        running.append(Mosquitto(mosquitto, folder, options))
        running[-1].start()
        return running[-1]

    yield start
    for each in running:
        each.kill()


class Caller:
    """A connection in an event loop of its own, and all it says."""

    def __init__(self, access: Access) -> None:
        self.said: list[str] = []
        self._access = access
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self.connection.stop(("status", "offline")))
        self._do(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, action: Callable[[], Any]) -> None:
        """Do something in the event loop."""
        self._loop.call_soon_threadsafe(action)

    def _do(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    async def _start(self) -> None:
        self.connection = connection.Connection(
            self._access,
            client_id="caller",
            keepalive_s=10,
            will=("status", "offline"),
            on_event=self._hear,
            on_connected=lambda: None,
            on_published=lambda _: None,
            on_replaced=lambda: None,
        )
        self.connection.start()

    def _hear(self, event: str, sentence: str) -> None:
        with self._changed:
            self.said.append(f"{event} {sentence}")
            self._changed.notify_all()

    def wait_for(self, start: str) -> None:
        """Wait until something is said that begins so, whatever is said before."""
        start = start.format(a=self._access.address)
        with self._changed:
            heard = self._changed.wait_for(
                lambda: any(each.startswith(start) for each in self.said), PATIENCE_S
            )
        assert heard, f"not {start!r} but {self.said}"


def access(
    broker: Mosquitto, *, host: str = "localhost", plain: bool = False, **mqtt: Any
) -> Access:
    scheme = "mqtt" if plain else "mqtts"
    return broker_access(Mqtt(broker=f"{scheme}://{host}:{broker.port}", **mqtt))


def first_said(way: Access) -> str:
    with Caller(way) as caller:
        caller.wait_for("")
        return caller.said[0].replace(way.address, "{a}")


def test_a_broker_with_a_certificate_of_our_ca_is_trusted(
    serve: Serve, pki: Pki, good: Files
) -> None:
    broker = serve(tls_listener(good))
    way = access(broker, tls={"ca_file": pki.ca_file()})
    with Caller(way) as caller:
        caller.wait_for(CONNECTED)
        assert [each.what for each in caller.connection.certificates] == [
            "a CA's certificate (`mqtt.tls.ca_file`)",
            "the broker's certificate",
        ]


def test_another_ca_is_told(serve: Serve, pki: Pki, good: Files) -> None:
    broker = serve(tls_listener(good))
    for tls in ({"ca_file": pki.ca_file("other")}, {}):
        assert first_said(access(broker, tls=tls)).startswith(OTHER_CA)


def test_the_certificate_itself_may_be_what_is_trusted(serve: Serve, good: Files) -> None:
    broker = serve(tls_listener(good))
    assert first_said(access(broker, tls={"ca_file": good.certificate})) == CONNECTED


def test_an_expired_certificate_is_told_with_our_clock(serve: Serve, pki: Pki) -> None:
    broker = serve(tls_listener(pki.issue("localhost", to_day=-1)))
    told = first_said(access(broker, tls={"ca_file": pki.ca_file()}))
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert told == (
        "broker_untrusted {a} is not trusted: its certificate, or its CA's, has expired, by our "
        f"clock ({today}); trying on"
    )


def test_a_clock_that_was_never_set_is_told(serve: Serve, pki: Pki) -> None:
    broker = serve(tls_listener(pki.issue("localhost", from_day=1)))
    told = first_said(access(broker, tls={"ca_file": pki.ca_file()}))
    assert "is not valid yet, by our clock (" in told
    assert "is it set? Some boards have no clock chip" in told


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_another_hosts_certificate_is_told(serve: Serve, pki: Pki, host: str) -> None:
    broker = serve(tls_listener(pki.issue("elsewhere", "127.0.0.2")))
    assert first_said(access(broker, host=host, tls={"ca_file": pki.ca_file()})) == (
        f"broker_untrusted {{a}} is not trusted: its certificate is for another host than {host}: "
        "see `mqtt.broker`; trying on"
    )


def test_an_address_may_stand_in_the_certificate(serve: Serve, pki: Pki) -> None:
    broker = serve(tls_listener(pki.issue("127.0.0.1")))
    way = access(broker, host="127.0.0.1", tls={"ca_file": pki.ca_file()})
    assert first_said(way) == CONNECTED


def test_tls_to_a_plain_port_and_the_other_way_round_are_told(
    serve: Serve, pki: Pki, good: Files
) -> None:
    plain, encrypted = serve(), serve(tls_listener(good))
    assert first_said(access(plain, tls={"ca_file": pki.ca_file()})).startswith(NOT_TLS)
    assert first_said(access(encrypted, plain=True)).startswith(TLS)


def test_tls_to_a_port_that_waits_for_us_to_speak_is_told(pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mqtts://127.0.0.1:{silent.getsockname()[1]}"
        way = broker_access(Mqtt.model_validate({"broker": url, "tls": {"ca_file": pki.ca_file()}}))
        assert first_said(way).startswith(NOT_TLS)


def test_a_broker_that_closes_without_a_word_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def hang_up() -> None:
            while not ended.is_set():
                server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        port = server.getsockname()[1]
        try:
            with Caller(broker_access(Mqtt(broker=f"mqtt://127.0.0.1:{port}"))) as caller:
                caller.wait_for(SILENT)
        finally:
            ended.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


def test_old_versions_of_tls_are_not_spoken(pki: Pki, good: Files) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.load_cert_chain(*good)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with pytest.raises(OSError), server.accept()[0] as sock:  # noqa: PT011
                old.wrap_socket(sock, server_side=True)

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"mqtts://localhost:{server.getsockname()[1]}"
        way = broker_access(Mqtt.model_validate({"broker": url, "tls": {"ca_file": pki.ca_file()}}))
        assert way.tls is not None
        with (
            socket.create_connection((way.host, way.port)) as sock,
            pytest.raises(ssl.SSLError) as caught,
        ):
            way.tls.wrap_socket(sock, server_hostname="localhost")
        thread.join()
    assert why_unreachable(caught.value, way).sentence == (
        f"{way.address} is not trusted: it speaks no TLS from version 1.2 on"
    )


@pytest.mark.parametrize(
    ("issued", "told"),
    [
        ({}, CONNECTED),
        (None, DEMANDS),
        ({"ca": "other"}, "broker_refused {a} refuses us: it does not know the CA of our certifi"),
        ({"to_day": -1}, "broker_refused {a} refuses us: our certificate has expired"),
        ({"from_day": 1}, "broker_refused {a} refuses us: it does not accept our certificate"),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_is_shown_and_its_refusal_told(
    serve: Serve,
    pki: Pki,
    good: Files,
    issued: dict[str, Any] | None,
    told: str,
    version: ssl.TLSVersion,
) -> None:
    broker = serve(tls_listener(good, clients=pki.ca_file()))
    tls: dict[str, Any] = {"ca_file": pki.ca_file()}
    if issued is not None:
        ours = pki.issue("me", **issued)
        tls |= {"certificate_file": ours.certificate, "key_file": ours.key}
    way = access(broker, tls=tls)
    assert way.tls is not None
    way.tls.maximum_version = version  # 1.3 refuses after the handshake, 1.2 within
    if told == DEMANDS and version is ssl.TLSVersion.TLSv1_2:
        told = HANDSHAKE  # all that 1.2 says
    assert first_said(way).startswith(told)


def test_a_wrong_password_and_a_missing_name_are_told_apart(
    serve: Serve, pki: Pki, good: Files, tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "edge", "s3cret"], check=True)
    passwords.chmod(0o600)
    listener = tls_listener(good).replace("allow_anonymous true", "allow_anonymous false")
    broker = serve(f"{listener}\npassword_file {passwords}")
    tls = {"ca_file": pki.ca_file()}
    wrong: dict[str, Any] = {"username": "edge", "password": "wr0ng"}
    assert first_said(access(broker, tls=tls, **wrong)) == (
        "broker_refused {a} refuses us: a wrong user name or password, or no right to connect: "
        "see `mqtt.username` and `mqtt.password`; trying on"
    )
    assert first_said(access(broker, tls=tls)) == (
        "broker_refused {a} refuses us: it lets nobody in without a name: see `mqtt.username`; "
        "trying on"
    )
    right = wrong | {"password": "s3cret"}
    assert first_said(access(broker, tls=tls, **right)) == CONNECTED


def test_what_the_access_list_forbids_is_told(serve: Serve, tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic write allowed/#\n")
    acl.chmod(0o600)
    broker = serve(f"user root\nallow_anonymous true\nacl_file {acl}")
    with Caller(access(broker, plain=True)) as caller:
        caller.wait_for(CONNECTED)
        caller.do(lambda: caller.connection.publish("allowed/x", b"1"))
        caller.do(lambda: caller.connection.publish("forbidden/x", b"1"))
        caller.do(lambda: caller.connection.publish("forbidden/y", b"1"))
        caller.wait_for(
            "broker_refused {a} does not take a message: not authorized; has its access"
        )
        assert [each.split()[0] for each in caller.said] == ["broker_connected", "broker_refused"]


def test_it_is_told_once_and_tried_on_until_it_works(
    serve: Serve, pki: Pki, good: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = threading.Semaphore(0)

    def counted(error: BaseException | None, way: Access) -> Any:
        tries.release()
        return why_unreachable(error, way)

    monkeypatch.setattr(connection, "why_unreachable", counted)
    served = pki.issue("localhost", ca="other")
    broker = serve(tls_listener(served))
    with Caller(access(broker, tls={"ca_file": pki.ca_file()})) as caller:
        for _ in range(2):
            assert tries.acquire(timeout=PATIENCE_S)
        broker.kill()
        for mended, wrong in zip(good, served, strict=True):
            wrong.write_bytes(mended.read_bytes())
        broker.start()
        caller.wait_for(CONNECTED)
        assert len(set(caller.said)) == len(caller.said)
        assert sum("broker_untrusted" in each for each in caller.said) == 1


def test_a_closed_port_and_an_unknown_name_are_told_with_tls_too() -> None:
    port = free_port()
    told = first_said(broker_access(Mqtt(broker=f"mqtts://127.0.0.1:{port}")))
    assert told == "broker_away {a} cannot be reached (connection refused); trying on"
    told = first_said(broker_access(Mqtt(broker="mqtts://no.invalid")))
    assert told.startswith("broker_away {a} cannot be reached (")

"""The way to a broker, step by step: its name, the port, TLS, and whether it lets us in."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge.mqtt.certificates import Certificate, from_der
from edge.mqtt.client import MQTT_3_1_1, MQTT_5, connect_properties, new_client
from edge.mqtt.reasons import why_closed, why_refused, why_unreachable

if TYPE_CHECKING:
    from edge.mqtt.access import Access

LIMIT_S = 5.0  # of each step
UNSUPPORTED_PROTOCOL = 0x84  # reason code, MQTT 5 section 3.2.2.2


@dataclass(slots=True)
class Reached:
    """How far we came."""

    failed: str = ""
    """The step that failed: `DNS`, `TCP`, `TLS`, `CONNACK`; empty where we were let in."""
    trouble: str = ""
    """Why, in a sentence."""
    addresses: list[str] = field(default_factory=list)
    took_ms: dict[str, float] = field(default_factory=dict)
    """What each step took, TCP's within TLS's where it is spoken."""
    tls_version: str | None = None
    certificate: Certificate | None = None
    """The broker's."""
    protocol: str | None = None
    """The version of MQTT it speaks with us."""


def reach(access: Access, *, limit_s: float = LIMIT_S) -> Reached:
    """Go as far as the broker lets us, and leave again. Nothing is published.

    We come under a name that the broker makes up, so that a daemon that is connected stays so.
    """
    reached = Reached()
    try:
        began = time.monotonic()
        reached.addresses = _addresses(access, limit_s)
        _note(reached, "DNS", began)
    except OSError as error:
        return _failed(reached, "DNS", why_unreachable(error, access).sentence)
    try:
        began = time.monotonic()
        with socket.create_connection((access.host, access.port), timeout=limit_s) as sock:
            _note(reached, "TCP", began)
            if access.tls is not None and (trouble := _encrypt(sock, access, reached)):
                return _failed(reached, "TLS", trouble)
    except OSError as error:
        return _failed(reached, "TCP", why_unreachable(error, access).sentence)
    for protocol, name in ((MQTT_5, "5"), (MQTT_3_1_1, "3.1.1")):
        began = time.monotonic()
        trouble, other_protocol = _connect(access, protocol, limit_s)
        if not trouble:
            _note(reached, "CONNACK", began)
            reached.protocol = name
            return reached
        if not other_protocol:
            break
    return _failed(reached, "CONNACK", trouble)


def _addresses(access: Access, limit_s: float) -> list[str]:
    """Return what a name means, within a limit that the system's resolver does not have."""
    answer: list[Any] = []

    def ask() -> None:
        try:
            told = socket.getaddrinfo(access.host, access.port, type=socket.SOCK_STREAM)
            answer.append(list(dict.fromkeys(str(each[4][0]) for each in told)))
        except (OSError, UnicodeError) as error:
            answer.append(error)

    thread = threading.Thread(target=ask, name="resolver", daemon=True)
    thread.start()
    thread.join(limit_s)
    if not answer:
        raise TimeoutError(f"no name server answers within {limit_s:g} s")
    (found,) = answer
    if isinstance(found, OSError):
        raise found
    if isinstance(found, UnicodeError):
        raise OSError(str(found))
    addresses: list[str] = found
    return addresses


def _encrypt(sock: socket.socket, access: Access, reached: Reached) -> str:
    """Shake hands; return why that failed, empty where it did not."""
    assert access.tls is not None  # noqa: S101  the caller has looked
    began = time.monotonic()
    try:
        with access.tls.wrap_socket(sock, server_hostname=access.host) as encrypted:
            _note(reached, "TLS", began)
            reached.tls_version = encrypted.version()
            der = encrypted.getpeercert(binary_form=True)
            reached.certificate = from_der(der, "the broker's certificate") if der else None
    except (OSError, ssl.CertificateError) as error:
        return why_unreachable(error, access).sentence
    except ValueError:
        return ""  # a certificate that OpenSSL takes and whose dates we cannot read
    return ""


def _connect(access: Access, protocol: int, limit_s: float) -> tuple[str, bool]:
    """Return why we were not let in, and whether another version of MQTT is worth a try."""
    client = new_client(access, protocol=protocol)
    answers: list[Any] = []
    client.on_connect = lambda *told: answers.append(told[3])
    client.on_disconnect = lambda *_: answers.append(None)
    properties = connect_properties(protocol)
    try:
        client.connect(access.host, access.port, keepalive=30, properties=properties)
        end = time.monotonic() + limit_s
        while not answers and time.monotonic() < end:
            client.loop(0.1)
    except (OSError, ValueError) as error:
        return why_unreachable(error, access).sentence, False
    if not answers:
        answers.append(f"{access.address} does not answer within {limit_s:g} s")
    client.disconnect()
    reason = answers[0]
    if isinstance(reason, str):
        return reason, False
    if reason is None:  # some old brokers close the connection on MQTT 5 without a word
        return why_closed(access).sentence, protocol == MQTT_5
    if reason.is_failure:
        older = reason.value == UNSUPPORTED_PROTOCOL and protocol == MQTT_5
        return why_refused(reason, access).sentence, older
    return "", False


def _note(reached: Reached, step: str, began: float) -> None:
    reached.took_ms[step] = round((time.monotonic() - began) * 1e3, 1)


def _failed(reached: Reached, step: str, trouble: str) -> Reached:
    reached.failed, reached.trouble = step, trouble
    return reached

"""Why a broker cannot be reached or does not want us, in words that say what to look at."""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

    from edge.mqtt.access import Access

LIMIT_S = 5.0  # for a connection that only asks why
ALERT_LIMIT_S = 1.0  # TLS 1.3 refuses a client's certificate after the handshake

# X509_V_ERR_ of OpenSSL's x509_vfy.h
NOT_YET_VALID, EXPIRED = 9, 10
UNKNOWN_CA = {2, 7, 18, 19, 20, 21, 24, 27, 30}
OTHER_HOST = {62, 64}
OTHER_PURPOSE = 26

# A part of OpenSSL's name of an alert that the broker sent, and what it is about.
ALERTS = (
    ("CERTIFICATE_REQUIRED", "it demands a client certificate: see `mqtt.tls.certificate_file`"),
    ("ALERT_UNKNOWN_CA", "it does not know the CA of our certificate"),
    ("ALERT_CERTIFICATE_EXPIRED", "our certificate has expired"),
    ("ALERT_CERTIFICATE_REVOKED", "our certificate was revoked"),
    ("ALERT_BAD_CERTIFICATE", "it does not accept our certificate"),
    ("ALERT_CERTIFICATE_UNKNOWN", "it does not accept our certificate"),
    ("ALERT_UNSUPPORTED_CERTIFICATE", "it does not accept our certificate's kind or purpose"),
    ("ALERT_ACCESS_DENIED", "it denies access"),
    ("ALERT_UNRECOGNIZED_NAME", "it does not answer to this host name"),
)
TOO_OLD = ("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "INAPPROPRIATE_FALLBACK")
NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH",
    "HTTP_REQUEST",
    "HANDSHAKE OPERATION TIMED OUT",
)


class Reason(NamedTuple):
    """Why there is no connection."""

    event: str
    """`broker_away`, `broker_untrusted` (we do not trust it), `broker_refused` (it refuses us)."""
    sentence: str


def why_unreachable(error: BaseException | None, access: Access) -> Reason:
    """Say why connecting failed; `error` is what connect or the TLS handshake raised."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Reason(
            "broker_untrusted", f"{access.address} is not trusted: {_mistrust(error, access)}"
        )
    if access.tls is not None and (told := _why_no_handshake(error, access)):
        return told
    if isinstance(error, OSError):
        words = (error.strerror or str(error) or type(error).__name__).lower()
    else:
        words = str(error or "for an unknown reason")
    return Reason("broker_away", f"{access.address} cannot be reached ({words})")


def why_closed(access: Access) -> Reason:
    """Say why a broker closed the connection without an answer, by asking it once more.

    Takes up to some seconds, and sends nothing but what a TLS handshake has in it.
    """
    try:
        with socket.create_connection((access.host, access.port), timeout=LIMIT_S) as sock:
            if access.tls is None:
                return _why_closed_in_clear(sock, access)
            with access.tls.wrap_socket(sock, server_hostname=access.host) as encrypted:
                return _said_after_handshake(encrypted, access) or _without_a_word(access)
    except OSError as error:
        return why_unreachable(error, access)


def why_refused(reason: ReasonCode, access: Access) -> Reason:
    """Say why the broker refused us, by the reason code in its answer."""
    text = str(reason)
    if text in {"Not authorized", "Bad user name or password"}:
        told = (
            "it lets nobody in without a name: see `mqtt.username`"
            if access.username is None
            else "a wrong user name or password, or no right to connect: see `mqtt.username` and "
            "`mqtt.password`"
        )
    else:
        told = text.lower()
    return Reason("broker_refused", f"{access.address} refuses us: {told}")


def why_not_taken(what: str, reason: ReasonCode, access: Access) -> Reason:
    """Say why the broker, which let us in, does not take a message or a subscription."""
    told = f"{access.address} does not take {what}: {str(reason).lower()}"
    if "authorized" in told:
        told += f"; has its access list (ACL) our topics for {access.username or 'this client'}?"
    return Reason("broker_refused", told)


def why_lost(reason: ReasonCode, access: Access) -> Reason:
    """Say why a connection ended."""
    text = str(reason).lower()
    if text == "unspecified error":
        text = "the network broke, or the broker ended"
    return Reason("broker_lost", f"the connection to {access.address} was lost: {text}")


def _mistrust(error: ssl.SSLCertVerificationError, access: Access) -> str:
    code = error.verify_code
    today = time.strftime("%Y-%m-%d", time.gmtime())
    if code in UNKNOWN_CA:
        told = "its certificate comes from no CA that we trust: see `mqtt.tls.ca_file`"
    elif code == EXPIRED:
        told = f"its certificate, or its CA's, has expired, by our clock ({today})"
    elif code == NOT_YET_VALID:
        told = (
            f"its certificate, or its CA's, is not valid yet, by our clock ({today}): is it set? "
            "Some boards have no clock chip and wait for the network's time"
        )
    elif code in OTHER_HOST:
        told = f"its certificate is for another host than {access.host}: see `mqtt.broker`"
    elif code == OTHER_PURPOSE:
        told = "its certificate is not made for a server"
    else:
        told = f"its certificate is not accepted: {error.verify_message}"
    return told


def _why_no_handshake(error: BaseException | None, access: Access) -> Reason | None:
    """Say why TLS did not come about; None where it was not even tried."""
    text = str(error).upper()
    silent = isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError))
    if silent or any(part in text for part in NOT_TLS):
        words = "does not answer with TLS: is it the port for `mqtts://`? That is usually 8883, "
        return Reason("broker_away", f"{access.address} {words}and 1883 for `mqtt://`")
    if not isinstance(error, ssl.SSLError):
        return None
    if told := _alert(error, access):
        return told
    if any(part in text for part in TOO_OLD):
        words = "it speaks no TLS from version 1.2 on"
        return Reason("broker_untrusted", f"{access.address} is not trusted: {words}")
    if "HANDSHAKE_FAILURE" in text:
        words = "the TLS handshake failed: no cipher in common, or it demands a certificate: "
        words += "see `mqtt.tls.certificate_file`"
        return Reason("broker_refused", f"{access.address} refuses us: {words}")
    words = (error.reason or str(error)).lower().replace("_", " ")
    return Reason("broker_away", f"{access.address}: the TLS handshake failed: {words}")


def _alert(error: BaseException | None, access: Access) -> Reason | None:
    """Say what the broker's alert means, where it is one about us."""
    text = str(error).upper()
    for part, words in ALERTS:
        if isinstance(error, ssl.SSLError) and part in text:
            return Reason("broker_refused", f"{access.address} refuses us: {words}")
    return None


def _said_after_handshake(sock: ssl.SSLSocket, access: Access) -> Reason | None:
    """Hear what TLS 1.3 says only then; a broker that is content waits for us to speak."""
    sock.settimeout(ALERT_LIMIT_S)
    try:
        sock.recv(1)
    except OSError as error:
        return _alert(error, access)
    return None


def _why_closed_in_clear(sock: socket.socket, access: Access) -> Reason:
    """See whether the other side speaks TLS, which we did not."""
    try:
        ssl.create_default_context().wrap_socket(sock, server_hostname=access.host).close()
        encrypted = True
    except ssl.SSLError as error:  # whom we do not trust, or who refuses us, speaks it all the same
        verified = isinstance(error, ssl.SSLCertVerificationError)
        encrypted = verified or "ALERT" in str(error).upper()
    except (OSError, ValueError):
        encrypted = False
    if encrypted:
        told = f"{access.address} speaks TLS: `mqtt.broker` must begin with `mqtts://`"
        return Reason("broker_away", told)
    return _without_a_word(access)


def _without_a_word(access: Access) -> Reason:
    told = "it closes the connection without an answer; its own log may say why"
    return Reason("broker_refused", f"{access.address} refuses us: {told}")

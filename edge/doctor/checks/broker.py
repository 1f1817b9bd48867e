"""The broker: whether the daemon will reach it with what the configuration says, step by step."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from edge.config.load import broker_access
from edge.config.mqtt import embedded_port
from edge.doctor.finding import Check, Finding, ok, problem, warning
from edge.doctor.packages import pip_install, version_of
from edge.doctor.reach import LIMIT_S, reach
from edge.errors import ConfigError
from edge.mqtt.certificates import DAY_S
from edge.supervisor.broker import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.doctor.patient import Patient
    from edge.doctor.reach import Reached
    from edge.mqtt.access import Access

STEPS = 4
CURES = {
    "DNS": "getent hosts {host}  (does this machine know the name? else write the IP address)",
    "TCP": "nc -vz {host} {port}  (is it on, does it listen there, does a firewall stand between?)",
    "TLS": "openssl s_client -connect {host}:{port}  (shows the certificate)",
    "CONNACK": "correct `mqtt.username` and the password; the broker's own log says why",
}


class Broker(Check):
    """Whether results will arrive."""

    name = "broker"
    group = "broker"
    limit_s = 2 * STEPS * LIMIT_S

    def look(self, patient: Patient) -> Iterator[Finding]:
        """Connect with the configured names and certificates, and leave again."""
        if patient.device is None:
            if patient.config is None:
                yield ok("broker", "not looked at: `edge doctor CONFIG` tries the one it names")
            return
        mqtt = patient.device.mqtt
        if (port := embedded_port(mqtt.broker)) is not None:
            yield _embedded(port)
            return
        try:
            access = broker_access(mqtt)
        except ConfigError as error:
            yield problem("broker", str(error), "correct it: see Security in the README")
            return
        reached = reach(access)
        yield judge(access, reached)
        for each in (reached.certificate, *access.certificates):
            if each is None:
                continue
            days = int((each.ends_at - time.time()) // DAY_S)
            facts = {"days_left": days}
            if told := each.warning(time.time()):
                yield warning("certificate", told, "renew it: see Renewing in the README", **facts)
            elif each is reached.certificate:
                yield ok("certificate", f"{each.what} is valid for {days} more days", **facts)


def judge(access: Access, reached: Reached) -> Finding:
    """Return the finding on the way to the broker."""
    facts = {
        "address": access.address,
        "failed": reached.failed or None,
        "addresses": reached.addresses,
        "took_ms": reached.took_ms,
        "tls": reached.tls_version,
        "mqtt": reached.protocol,
    }
    if reached.failed:
        cure = CURES[reached.failed].format(host=access.host, port=access.port)
        return problem("broker", f"{reached.failed}: {reached.trouble}", cure, **facts)
    steps = ", ".join(f"{step} {took:g} ms" for step, took in reached.took_ms.items())
    encrypted = f", {reached.tls_version}" if reached.tls_version else ""
    says = f"{access.address} lets us in with MQTT {reached.protocol}{encrypted} ({steps})"
    return ok("broker", says, **facts)


def _embedded(port: int) -> Finding:
    version = version_of("iotcore")
    if version is None:
        says = "`embedded`, and the broker's package is not installed"
        return problem("broker", says, pip_install("iotcore"), mqtt=None)
    with socket.socket() as sock:
        sock.settimeout(LIMIT_S)
        taken = sock.connect_ex((HOST, port)) == 0
    says = f"embedded (iotcore {version}), for this machine only; "
    says += f"{'somebody' if taken else 'nobody'} listens on {HOST}:{port} now"
    return ok("broker", says, version=version, port=port, taken=taken)

"""What a device has that a configuration can use."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.config.mqtt import DEFAULT_PORT, TLS_PORT, broker_place, parse_broker
from edge.doctor.accelerators import edgetpu_library, find_edge_tpus
from edge.doctor.cameras import Camera, find_cameras
from edge.doctor.checks.serial_ports import find_ports
from edge.doctor.reach import Reached, reach
from edge.engines.choose import installed
from edge.errors import ConfigError
from edge.mqtt.access import Access

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge.accelerators.coral.devices import EdgeTpu
    from edge.doctor.patient import Patient

USUAL_HOSTS = ("127.0.0.1", "homeassistant.local")
QUICK_S, PATIENT_S = 1.5, 5.0


@dataclass(frozen=True, slots=True)
class FoundBroker:
    """A broker, and how it received us when we came without a name."""

    url: str
    """`mqtt://HOST`, `mqtts://HOST:PORT`."""
    host: str
    trouble: str = ""
    """Why it could not be used, in a sentence; empty where it let us in."""
    step: str = ""
    """The step that failed: `DNS`, `TCP`, `TLS`, `CONNACK`."""

    @property
    def there(self) -> bool:
        """Whether something answered at all."""
        return self.step not in {"DNS", "TCP"}


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found."""

    cameras: list[Camera]
    edge_tpus: list[EdgeTpu]
    edgetpu_library: Path | None
    ports: dict[Path, str]
    engines: dict[str, str]
    """Versions by the name of the YAML."""
    broker: FoundBroker | None
    """The one that was named, else one of the usual that answers; None where there is none."""


def look_around(patient: Patient, broker: str | None) -> Survey:
    """Look at everything; `broker` is a host, `HOST:PORT` or a URL. Raises ConfigError."""
    return Survey(
        cameras=find_cameras(patient),
        edge_tpus=find_edge_tpus(patient),
        edgetpu_library=edgetpu_library(patient),
        ports=find_ports(patient),
        engines=installed(),
        broker=_named(broker) if broker is not None else _usual(USUAL_HOSTS),
    )


def _named(named: str) -> FoundBroker:
    """Return the broker that was named, whether it is there or not."""
    if named.partition(":")[0] == "embedded":
        url = _url(named)
        return FoundBroker(url, "127.0.0.1")
    if "://" in named:
        return _try(_url(named), PATIENT_S)
    url = _url(f"mqtt://{named}")
    found = _try(url, PATIENT_S)
    _, port, _ = broker_place(url)
    if port == DEFAULT_PORT and found.step == "TCP":
        encrypted = _try(_url(f"mqtts://{found.host}"), PATIENT_S)
        return encrypted if encrypted.there else found
    if port == TLS_PORT:
        return _try(url.replace("mqtt:", "mqtts:", 1), PATIENT_S)
    return found


def _url(named: str) -> str:
    try:
        return parse_broker(named)
    except ValueError as error:
        raise ConfigError(f"--broker: {error}") from None


def _usual(hosts: Sequence[str]) -> FoundBroker | None:
    """Try the usual places at once, and quickly."""
    found: dict[str, FoundBroker] = {}

    def ask(host: str) -> None:
        found[host] = _try(f"mqtt://{host}", QUICK_S)

    threads = [threading.Thread(target=ask, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(4 * QUICK_S)
    return next((found[host] for host in hosts if host in found and found[host].there), None)


def _try(url: str, limit_s: float) -> FoundBroker:
    import ssl

    host, port, encrypted = broker_place(url)
    tls = ssl.create_default_context() if encrypted else None
    reached: Reached = reach(Access(host, port, tls=tls), limit_s=limit_s)
    return FoundBroker(url, host, reached.trouble, reached.failed)

"""A paho client that is set up as all of ours are."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paho.mqtt.client import Client
    from paho.mqtt.properties import Properties

    from edge.mqtt.access import Access

LARGEST_RECEIVED = 262_144  # bytes of a packet; an MQTT 5 broker keeps larger ones to itself
MQTT_5, MQTT_3_1_1 = 5, 4  # protocol levels, as CONNECT says them


def new_client(access: Access, client_id: str = "", *, protocol: int = MQTT_5) -> Client:
    """Return a client of this broker, not connected yet; without an id it gets a random one."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    client = Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion(protocol)
    )
    client.username_pw_set(access.username, access.password)
    if access.tls is not None:
        client.tls_set_context(access.tls)
    client.on_socket_open = _send_at_once
    return client


def connect_properties(protocol: int) -> Properties | None:
    """Return what a client of this protocol says of itself when it connects."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    if protocol != MQTT_5:
        return None
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = LARGEST_RECEIVED
    return properties


def _send_at_once(_client: Client, _userdata: Any, sock: Any) -> None:
    """Results are small and must not wait for one another (Nagle) in the kernel."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

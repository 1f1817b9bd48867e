"""Who this device is to a broker: told by its machine id, for every Pi is born `raspberrypi`."""

import hashlib
import secrets
import uuid
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")
APPLICATION = b"edge-runtime"


def client_id(device: str) -> str:
    """Return the MQTT client id: the same at every start, different on every machine.

    The machine id itself is confidential (machine-id(5)), so a keyed hash of it is used. A
    machine without one is told by its first network address.
    """
    try:
        machine = MACHINE_ID.read_text(encoding="ascii").strip()
    except OSError:
        machine = ""
    machine = machine or f"{uuid.getnode():012x}"
    digest = hashlib.blake2b(device.encode(), key=machine.encode()[:64], person=APPLICATION)
    return f"edge-{digest.hexdigest()[:18]}"  # 23 characters: what MQTT 3.1.1 brokers must take


def new_boot() -> str:
    """Return a name for this start of the daemon, never used before."""
    return secrets.token_hex(8)

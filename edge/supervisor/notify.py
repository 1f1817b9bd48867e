"""Tells systemd how we are, by the protocol of sd_notify(3); silent where nobody listens."""

import os
import socket


def notify(*assignments: str) -> None:
    """Send assignments such as `READY=1` or `STATUS=...` to the service manager."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address[0] == "@":
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto("\n".join(assignments).encode(), address)
        except OSError:
            return  # a manager that went away is no reason to stop working


def watchdog_interval_s() -> float | None:
    """Return how often `WATCHDOG=1` is due: half of what systemd allows; None if it asks not."""
    if os.environ.get("WATCHDOG_PID") not in (None, str(os.getpid())):
        return None
    allowed_us = os.environ.get("WATCHDOG_USEC", "")
    return int(allowed_us) / 2e6 if allowed_us.isdigit() and int(allowed_us) else None

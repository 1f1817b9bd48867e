"""The installed service as its user and as its subscribers see it."""

from __future__ import annotations

import re
import subprocess
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from parties import Listener

    from system.container import Container

EDGE = "/opt/edge-runtime/bin/edge"
HOME = "/home/pi"
PIPELINE = """  {name}:
    source: {{type: images, path: {pictures}, tile: 8, truth: list, fps: {fps}, loop: true}}
    model: {{path: digits.tflite, labels: labels.txt}}   # beside this file
    decode: {{type: classification}}
    deadline_ms: 1000
"""


class Service:
    """`edge-runtime.service`, or an instance, in a container."""

    def __init__(self, container: Container, port: int, name: str | None = None) -> None:
        """`port` is that of the broker outside."""
        self.container = container
        self.port = port
        self.unit = f"edge-runtime@{name}.service" if name else "edge-runtime.service"
        self.device = name or "porch-pi"
        self._options = f" --name {name}" if name else ""
        self.pictures = container.run(
            "/opt/edge-runtime/bin/python -c 'from edge.bundled_files import bundled; "
            'print(bundled("models/digits/held-out.png"))\''
        ).strip()
        for file in ("digits.tflite", "labels.txt"):
            found = container.path(self.pictures).with_name(file)
            container.copy_in(found, f"{HOME}/{file}")

    def yaml(
        self, *, mqtt: str = "", more: str = "", fps: float = 30, pipelines: tuple[str, ...] = ()
    ) -> str:
        """Return the device's YAML; `mqtt` and `more` are lines of it."""
        written = "".join(
            PIPELINE.format(name=name, pictures=self.pictures, fps=fps)
            for name in pipelines or ("digits", "other")
        )
        return (
            f"# the test's own device\ndevice: {self.device}\n"
            f"mqtt:\n  broker: mqtt://127.0.0.1:{self.port}\n{mqtt}"
            f"telemetry: {{interval_s: 1}}\n{more}pipelines:\n{written}"
        )

    def install(self, text: str, *, status: int = 0) -> str:
        """Write a YAML in a home folder and install the service for it; return what that says."""
        self.container.write(f"{HOME}/{self.device}.yaml", text)
        command = f"{EDGE} service install {HOME}/{self.device}.yaml{self._options}"
        return self.container.run(command, status=status)

    def as_it_is(self) -> str:
        """Return what is configured in the container: the YAML, the units, what they grant."""
        return self.container.run(
            "cat /etc/edge-runtime/*.yaml /etc/systemd/system/edge-runtime*/* "
            "/var/lib/edge-runtime/models/labels.txt; ls /etc/systemd/system /etc/edge-runtime"
        )

    def run(self, words: str, *, status: int | None = 0) -> str:
        """Run systemctl on the unit."""
        verb, _, more = words.partition(" ")
        return self.container.run(f"systemctl {verb} {self.unit} {more}", status=status)

    def shown(self, name: str) -> str:
        """Return a property of the unit."""
        return self.run(f"show --value --property={name}").strip()

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        pid = int(self.shown("MainPID"))
        assert pid, self.run("status", status=None)
        return pid

    def worker(self, pipeline: str) -> int:
        """Return the process id of a pipeline's worker: the oldest is that of the first."""
        pid = self.pid
        found = self.container.run(
            f"for each in $(cat /proc/{pid}/task/{pid}/children); do "
            "grep -qa edge.worker /proc/$each/cmdline && echo $each; done"
        ).split()
        return sorted(map(int, found))[["digits", "other"].index(pipeline)]

    def journal(self, words: str) -> str:
        """Return what the journal has of the unit's newest start."""
        invocation = self.shown("InvocationID")
        return self.container.run(
            f"journalctl --quiet --output=cat _SYSTEMD_INVOCATION_ID={invocation} {words}"
        )


def results(listener: Listener, pipeline: str = "digits") -> list[dict[str, Any]]:
    """Return the results heard so far of a pipeline."""
    return listener.of(f"/{pipeline}/predictions")


def wait_for_result_since(listener: Listener, began: float, pipeline: str = "digits") -> float:
    """Wait for a result of a frame captured after a moment; return how many seconds that took.

    `began` is the moment on this process's wall clock, which the container shares.
    """
    text = datetime.fromtimestamp(began, timezone.utc).isoformat(timespec="milliseconds")
    since = text.replace("+00:00", "Z")
    listener.wait_for(f"/{pipeline}/predictions", lambda each: each["captured_at"] > since)
    return time.time() - began


def wait_for_another_boot(listener: Listener, pipeline: str = "digits") -> dict[str, Any]:
    """Wait for the first result of a daemon other than the one heard first, and return it."""
    first = listener.wait_for(f"/{pipeline}/predictions")["boot"]
    found: dict[str, Any] = listener.wait_for(
        f"/{pipeline}/predictions", lambda each: each["boot"] != first
    )
    return found


def exposure(printed: str) -> float:
    """Return the figure of `systemd-analyze security`."""
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", printed)
    assert found is not None, printed
    return float(found[1])


def shared_object(compiler: str, source: Path, target: Path) -> None:
    """Compile a library in C into the container."""
    words = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", str(target), str(source), "-ldl"]
    subprocess.run(words, check=True)

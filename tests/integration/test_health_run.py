"""The daemon on a machine whose firmware tells of under-voltage, by a `vcgencmd` of ours."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from parties import Daemon, Listener, Mosquitto, device

from edge.supervisor.sensors import Sensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.skipif(Sensors().firmware_in_sysfs, reason="the kernel of this machine tells itself")
def test_under_voltage_is_an_event_and_in_the_health_of_the_device(
    broker: Mosquitto,
    listener: Listener,
    start: Callable[..., Daemon],
    digits_30fps: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    says = tmp_path / "says"
    says.write_text("throttled=0x0\n")
    program = tmp_path / "bin" / "vcgencmd"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec cat {says}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    text = device(broker, f"  digits: {digits_30fps}", interval_s=0.5)
    start("home_assistant: {enabled: true}\n" + text)
    well = listener.wait_for("dev/health")
    assert well["under_voltage"] is False
    assert well["throttled"] == []
    assert well["memory"]["available_bytes"] > 0
    assert well["disk"]["free_bytes"] > 0
    assert listener.wait_for("dev/state")["under_voltage"] is False
    says.write_text("throttled=0x50005\n")
    event = listener.wait_for_event("under_voltage")
    assert event["pipeline"] is None
    assert "the power supply gives too little" in event["message"]
    throttled = listener.wait_for_event("throttling_began")
    assert throttled["details"]["throttled"] == ["throttled"]
    listener.wait_for("dev/state", lambda state: state["under_voltage"])
    ill = listener.wait_for("dev/health", lambda health: health["under_voltage"])
    assert ill["throttled"] == ill["throttled_ever"] == ["under-voltage", "throttled"]

"""`systemd/install.sh` on a device whose service runs: what a Pi owner does after `git pull`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from system.container import pip_of_the_host
from system.service import HOME, Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from parties import Mosquitto

    from system.container import Container

CHECKOUT = Path(__file__).parents[2]
NEEDED = ("pyproject.toml", "README.md", "LICENSE", "edge", "models", "device_configs", "systemd")
INSTALL_LIMIT_S = 600


def test_an_upgrade_is_the_same_command_and_restarts_what_runs(
    new_container: Callable[[str], Container], broker: Mosquitto
) -> None:
    device = new_container("upgraded")
    for part in NEEDED:
        device.copy_in(CHECKOUT / part, f"{HOME}/edge-runtime/{part}")

    def install() -> str:
        return device.run(
            f"{HOME}/edge-runtime/systemd/install.sh",
            timeout_s=INSTALL_LIMIT_S,
            environment=pip_of_the_host()[0] | {"PIP_CACHE_DIR": "/root/cache"},
        )

    assert "restarting" not in install()
    service = Service(device, broker.port)
    service.install(service.yaml())
    before = service.shown("MainPID")
    # A newer checkout, of the same version.
    marker = f"{HOME}/edge-runtime/edge/newer.py"
    device.write(marker, '"""Was not there before."""\n')
    assert "restarting edge-runtime.service" in install()
    device.run("/opt/edge-runtime/bin/python -c 'import edge.newer'")
    assert service.shown("ActiveState") == "active"
    assert service.shown("MainPID") != before

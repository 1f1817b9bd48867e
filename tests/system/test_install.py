"""The package in a fresh Debian, by nothing but what the README says."""

from edge import __version__
from system.container import Container


def test_the_wheel_brings_the_command_and_the_demo(container: Container) -> None:
    assert container.run("/opt/edge-runtime/bin/edge --version").strip() == f"edge {__version__}"
    printed = container.run("/opt/edge-runtime/bin/edge demo --seconds 3")
    assert "frames, accuracy" in printed

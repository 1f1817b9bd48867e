"""The containers that the tests of the installed service share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from parties import Mosquitto

from system.container import Container, missing, wheel
from system.service import Service

RECOVERED: dict[str, float] = {}


@pytest.fixture(scope="session")
def new_container() -> Iterator[Callable[[str], Container]]:
    """Boot a fresh Debian 12 of this host name: nothing of ours is installed in it."""
    if why := missing():
        pytest.skip(why)
    with ExitStack() as running:
        yield lambda name: running.enter_context(Container(name))


@pytest.fixture(scope="session")
def built_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout as a wheel."""
    return wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def container(new_container: Callable[[str], Container], built_wheel: Path) -> Container:
    """A device with the package in /opt/edge-runtime, as the README installs it."""
    device = new_container("porch-pi")
    device.copy_in(built_wheel, f"/root/{built_wheel.name}")
    device.run("python3 -m venv /opt/edge-runtime")
    device.pip(f"install --quiet /root/{built_wheel.name}")
    return device


@pytest.fixture(scope="session")
def broker(mosquitto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A mosquitto outside of the container."""
    with Mosquitto(mosquitto, tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="session")
def installed(container: Container, broker: Mosquitto) -> Service:
    """The service, installed for two pipelines of handwritten digits at 30 frames a second."""
    service = Service(container, broker.port)
    service.install(service.yaml())
    return service


@pytest.fixture(scope="session")
def as_installed(installed: Service) -> str:
    """How it was configured first."""
    return installed.as_it_is()


@pytest.fixture
def service(installed: Service, as_installed: str) -> Service:
    """The service as it was installed, just started, whatever a test before has done to it."""
    if installed.as_it_is() != as_installed:
        installed.install(installed.yaml())
    installed.run("restart")
    return installed


@pytest.fixture
def recovered() -> Callable[[str, float], None]:
    """Note how many seconds it took until results came again after a fault."""
    return RECOVERED.__setitem__


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how long it took to be back after each fault."""
    if RECOVERED:
        terminalreporter.section("seconds from the fault to the next frame's result")
        for fault, seconds in RECOVERED.items():
            terminalreporter.write_line(f"{seconds:7.2f}  {fault}")

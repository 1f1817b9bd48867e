"""The containers that the tests of the installed service share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from system.container import Container, missing, wheel


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

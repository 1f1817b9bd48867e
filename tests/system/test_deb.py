"""The Debian package: built twice, installed, upgraded, removed and purged as its user would."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from parties import Listener, Mosquitto
from proxy import Proxy

from edge import __version__
from system.container import pip_of_the_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from system.container import Container

CHECKOUT = Path(__file__).parents[2]
BUILT_IN = "/root/checkout"
PACKAGE = "edge-runtime"
UNIT = "edge-runtime.service"
CONFIGURATION = "/etc/edge-runtime/device.yaml"
DEMO_PORT = 1884  # as in the configuration that the package brings
BUILD_LIMIT_S = 1200
APT_LIMIT_S = 300
CHANGES = "./usr/share/doc/edge-runtime/changelog.Debian.gz"
POLICY = "/usr/sbin/policy-rc.d"
OF_APT_AND_THE_SYSTEM = (
    *("/var/lib/apt/", "/var/lib/dpkg/", "/var/lib/systemd/", "/var/cache/", "/var/log/"),
    *("/root/", "/tmp/", "/var/tmp/"),  # noqa: S108  named, not written to
)
"""Where files come and go whatever is installed; dpkg itself is asked."""


class Entry(NamedTuple):
    """A file of a package; the digest is of what is in it."""

    mode: int
    owner: int
    written_s: float
    link: str
    digest: str
    tells_tales: bool
    """Whether the folder that it was built in stands in it."""


def entries(package: Path) -> dict[str, Entry]:
    """Return what is in a package, by name."""
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    found = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE) as unpacking:
        assert unpacking.stdout is not None
        with tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive:
            for each in archive:
                file = archive.extractfile(each) if each.isfile() else None
                content = file.read() if file else b""
                tells = BUILT_IN.encode() in content or b"/.deb-" in content
                digest = hashlib.sha256(content).hexdigest()
                found[each.name] = Entry(
                    each.mode, each.uid, each.mtime, each.linkname, digest, tells
                )
    assert unpacking.returncode == 0
    return found


@pytest.fixture(scope="module")
def packages(
    new_container: Callable[[str], Container], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The package, and one of a higher version from the same sources.

    They are built in a fresh Debian that has python3-venv and nothing else for it, not as root.
    """
    workshop = new_container("workshop")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (CHECKOUT / name).exists():
            workshop.copy_in(CHECKOUT / name, f"{BUILT_IN}/{name}")
    workshop.run(f"useradd --create-home builder; chmod a+rX /root; chown -R builder {BUILT_IN}")
    settings = {**pip_of_the_host()[0], "HOME": "/home/builder"}
    settings["PIP_CACHE_DIR"] = "/home/builder/cache"
    target = tmp_path_factory.mktemp("packages")
    found = []
    for revision in ("1", "2"):
        printed = workshop.run(
            f"setpriv --reuid=builder --regid=builder --clear-groups "
            f"python3 {BUILT_IN}/systemd/deb/build.py --revision {revision}",
            timeout_s=BUILD_LIMIT_S,
            environment=settings,
        )
        inside = Path(printed.splitlines()[-1].partition(": ")[0])
        workshop.copy_out(str(inside), target / inside.name)
        found.append(target / inside.name)
    workshop.close()
    return found[0], found[1]


@pytest.fixture(scope="module")
def bare(new_container: Callable[[str], Container]) -> Iterator[Container]:
    """A fresh Debian with a host name of its own."""
    device = new_container("hall-pi")
    yield device
    device.close()


@pytest.fixture
def device(bare: Container, packages: tuple[Path, Path]) -> Iterator[Container]:
    """A Debian that the package is not installed on, with both versions of it in /root."""
    for number, package in enumerate(packages, start=1):
        if not bare.path(f"/root/{number}.deb").exists():
            shutil.copy(package, bare.path(f"/root/{number}.deb"))
    yield bare
    bare.run(f"apt-get purge -y {PACKAGE}; rm -f {POLICY}", status=None, timeout_s=APT_LIMIT_S)


def apt(device: Container, words: str, *, status: int = 0) -> str:
    """Run apt-get without a question."""
    return device.run(f"apt-get -y {words}", status=status, timeout_s=APT_LIMIT_S)


def install(device: Container, number: int = 1, *, status: int = 0) -> str:
    """Install one of the two versions."""
    return apt(device, f"install /root/{number}.deb", status=status)


def is_enabled(device: Container, unit: str = UNIT) -> str:
    return device.run(f"systemctl is-enabled {unit}", status=None).strip()


def is_active(device: Container, unit: str = UNIT) -> str:
    return device.run(f"systemctl is-active {unit}", status=None).strip()


def files_of(device: Container) -> set[str]:
    """Return all files, links and folders that are no concern of apt's or the system's alone."""
    printed = device.run("find / -xdev -print0", timeout_s=APT_LIMIT_S)
    return {
        each for each in printed.split("\0") if each and not each.startswith(OF_APT_AND_THE_SYSTEM)
    }


def yaml(device: str, port: int) -> str:
    """Return a configuration that publishes to a broker outside, thirty times a second."""
    models = "/usr/share/edge-runtime/models/digits"
    return f"""
device: {device}
mqtt: {{broker: "mqtt://127.0.0.1:{port}"}}
telemetry: {{interval_s: 1}}
pipelines:
  digits:
    source: {{type: images, path: {models}/held-out.png, tile: 8, truth: list, fps: 30, loop: true}}
    model: {{path: {models}/digits.tflite, labels: {models}/labels.txt}}
    decode: {{type: classification}}
    deadline_ms: 1000
"""


def test_two_builds_differ_in_nothing_but_their_version(packages: tuple[Path, Path]) -> None:
    first, second = map(entries, packages)
    assert first.pop(CHANGES) != second.pop(CHANGES)
    differ = {name for name in first.keys() | second if first.get(name) != second.get(name)}
    assert differ == set()


def test_nothing_in_it_tells_where_it_was_built(packages: tuple[Path, Path]) -> None:
    found = entries(packages[0])
    assert [name for name, entry in found.items() if entry.tells_tales] == []
    assert {entry.owner for entry in found.values()} == {0}
    assert [name for name in found if "/pip/" in name or "/numpy/tests/" in name] == []


def test_installed_it_runs_and_is_what_the_package_says(device: Container) -> None:
    install(device)
    assert (is_enabled(device), is_active(device)) == ("enabled", "active")
    with Listener(DEMO_PORT) as listener:  # the broker inside the daemon, as it is installed
        result = listener.wait_for("hall-pi/digits/predictions")
    assert result["predictions"][0]["label"] == result["truth"]
    assert device.run("edge --version").strip() == f"edge {__version__}"
    assert "ok" in device.run(f"edge check {CONFIGURATION}")
    # After all of this ran as root, too.
    assert device.run(f"dpkg --verify {PACKAGE}") == ""
    untracked = "comm -13 <(dpkg -L edge-runtime | sort) <(find /opt/edge-runtime | sort)"
    assert device.run(untracked) == ""


def test_it_starts_at_boot(device: Container) -> None:
    install(device)
    device.reboot()
    with Listener(DEMO_PORT) as listener:
        listener.wait_for("hall-pi/digits/predictions")


def first_arrivals(heard: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Return the sequence numbers by boot in the order they came, repeats left out."""
    found: dict[str, dict[int, None]] = {}
    for each in heard:
        found.setdefault(each["boot"], {})[each["sequence"]] = None
    return {boot: list(numbers) for boot, numbers in found.items()}


def is_of_another(boot: str) -> Callable[[dict[str, Any]], bool]:
    """Return what tells a result of another start of the daemon."""
    return lambda result: result["boot"] != boot


def test_an_upgrade_keeps_the_configuration_and_every_result(
    device: Container, mosquitto: str, tmp_path: Path
) -> None:
    install(device)
    topics = [f"{name}/digits/predictions" for name in ("device", "porch")]
    with (
        Mosquitto(mosquitto, tmp_path) as broker,
        Listener(broker.port) as listener,
        Proxy(broker.port) as link,
    ):
        for name in ("device", "porch"):
            device.write(f"/etc/edge-runtime/{name}.yaml", yaml(name, link.port))
        kept = device.run(f"sha256sum {CONFIGURATION}")
        device.run("systemctl restart edge-runtime && systemctl enable --now edge-runtime@porch")
        before = [len(listener.wait_for_many(topic, 30)) for topic in topics]
        link.stall(APT_LIMIT_S)  # the broker is out of reach meanwhile: results wait
        for folder in ("edge-runtime", "edge-runtime-porch"):
            device.wait_for(f"ls /var/lib/{folder}", lambda names: "spool" in names)

        install(device, 2)

        link.stall(0)
        boots = [listener.wait_for(topic)["boot"] for topic in topics]
        for topic, boot in zip(topics, boots, strict=True):
            listener.wait_for(topic, is_of_another(boot))
        device.run("systemctl stop edge-runtime edge-runtime@porch")
        listener.catch_up()
        arrived = [first_arrivals(listener.of(topic)) for topic in topics]
    assert device.run(f"sha256sum {CONFIGURATION}") == kept
    version = device.run("dpkg-query --show --showformat='${Version}' edge-runtime")
    assert version.startswith(f"{__version__}-2")
    for found, boot, count in zip(arrived, boots, before, strict=True):
        assert next(iter(found)) == boot
        assert len(found) == 2, "started anew once, by the upgrade"
        assert len(found[boot]) > count
        for numbers in found.values():
            assert numbers == list(range(len(numbers)))


def test_a_service_that_was_disabled_and_stopped_stays_so(device: Container) -> None:
    install(device)
    device.run("systemctl disable --now edge-runtime")
    install(device, 2)
    assert (is_enabled(device), is_active(device)) == ("disabled", "inactive")


def test_a_downgrade_is_possible(device: Container) -> None:
    install(device, 2)
    apt(device, "--allow-downgrades install /root/1.deb")
    assert is_active(device) == "active"


def test_removed_it_keeps_what_is_its_users_and_purged_nothing(device: Container) -> None:
    before = files_of(device)
    install(device)
    device.write("/etc/edge-runtime/environment", "EDGE_MQTT_PASSWORD=secret\n", mode=0o600)
    device.run(f"sed s/{DEMO_PORT}/{DEMO_PORT + 1}/ {CONFIGURATION} > /etc/edge-runtime/porch.yaml")
    device.run("systemctl enable --now edge-runtime@porch")
    device.run(f"edge service install {CONFIGURATION}")  # writes a drop-in, and copies the model
    configured = device.run(f"cat {CONFIGURATION}")

    apt(device, f"remove {PACKAGE}")
    assert is_active(device) == is_active(device, "edge-runtime@porch") == "inactive"
    assert device.run(f"cat {CONFIGURATION}") == configured
    assert "models" in device.run("ls /var/lib/edge-runtime")
    assert "/opt/edge-runtime" not in files_of(device)

    install(device)
    assert (is_enabled(device), is_active(device)) == ("enabled", "active")
    assert device.run(f"cat {CONFIGURATION}") == configured

    apt(device, f"purge {PACKAGE}")
    assert sorted(files_of(device) - before) == []
    assert device.run("ls -d /run/*edge* /run/private/*", status=None).count("edge-runtime") == 0
    assert device.run("systemctl list-unit-files --no-legend 'edge-runtime*'", status=None) == ""


def test_where_services_must_not_be_started_it_is_installed_and_enabled(device: Container) -> None:
    device.write(POLICY, "#!/bin/sh\nexit 101\n", mode=0o755)
    install(device)
    assert (is_enabled(device), is_active(device)) == ("enabled", "inactive")


def test_without_systemd_it_is_installed_upgraded_and_purged(device: Container) -> None:
    hidden = "mount -t tmpfs none /run/systemd"
    steps = "apt-get -y install /root/1.deb && apt-get -y install /root/2.deb"
    device.run(f"unshare --mount bash -ec '{hidden}; {steps}'", timeout_s=APT_LIMIT_S)
    device.run("systemctl daemon-reload")
    assert (is_enabled(device), is_active(device)) == ("enabled", "inactive")
    purge = f"apt-get -y purge {PACKAGE}"
    device.run(f"unshare --mount bash -ec '{hidden}; {purge}'", timeout_s=APT_LIMIT_S)
    assert "/opt/edge-runtime" not in files_of(device)


def test_it_does_not_mix_with_an_installation_by_pip(device: Container) -> None:
    device.run("python3 -m venv --without-pip /opt/edge-runtime")
    printed = install(device, status=100)
    assert "/opt/edge-runtime holds an installation by pip" in printed
    assert "sudo rm -rf /opt/edge-runtime" in printed
    device.run("rm -rf /opt/edge-runtime")
    install(device)
    assert is_active(device) == "active"

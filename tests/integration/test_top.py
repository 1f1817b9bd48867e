"""`edge top` beside a real broker: a fleet of simulated devices, a real one, the live screen."""

from __future__ import annotations

import json
import signal
import termios
from typing import TYPE_CHECKING, Any

import pytest
from commands import edge
from parties import Daemon, Listener, Mosquitto, device, free_port
from pseudo_terminal import ENTERED, LEFT, PseudoTerminal
from simulated_fleet import Crowd, SimulatedDevice, pooled

from edge.supervisor.broker import EmbeddedBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def crowd(broker: Mosquitto) -> Iterator[Crowd]:
    """Whoever says what simulated devices say."""
    with Crowd(broker.port) as talking:
        yield talking


def a_fleet(count: int, frames: int = 200) -> list[SimulatedDevice]:
    """So many devices that have answered frames."""
    devices = [SimulatedDevice(f"pi-{number:03}") for number in range(count)]
    for each in devices:
        each.work(frames)
    return devices


def report_soon(crowd: Crowd, devices: list[SimulatedDevice]) -> None:
    """Say online, and let every device report again and again: reports are not retained."""
    crowd.say_all([(each.status, "online") for each in devices], retain=True)
    crowd.repeat([each.metrics() for each in devices])


def top_json(broker: Mosquitto, *arguments: str) -> Any:
    """Return what `edge top --once --json` says."""
    done = edge("top", "--broker", broker.url, "--once", "--json", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_the_fleets_p99_is_that_of_all_samples_of_all_devices(
    broker: Mosquitto, crowd: Crowd
) -> None:
    devices = a_fleet(40)
    report_soon(crowd, devices)
    said = top_json(broker, "--sort", "p99")
    samples = pooled(devices)
    assert said["fleet"]["latency_ms"] == {
        "count": 40 * 200,
        "p50": samples.percentile(50) / 1000,
        "p99": samples.percentile(99) / 1000,
        "p99_9": samples.percentile(99.9) / 1000,
        "max": samples.max / 1000,
    }
    assert said["fleet"]["states"] == {"online": 40, "failed": 0, "silent": 0, "offline": 0}
    p99s = [each["latency_ms"]["p99"] for each in said["devices"]]
    assert p99s == sorted(p99s, reverse=True)
    (one,) = (each for each in said["devices"] if each["device"] == "pi-007")
    assert one["latency_ms"]["p99"] == pooled([devices[7]]).percentile(99) / 1000


def test_a_broker_of_mqtt_3_1_1_does_as_well() -> None:
    devices = a_fleet(5)
    with EmbeddedBroker() as broker, Crowd(broker.port) as crowd:
        report_soon(crowd, devices)
        done = edge("top", "--broker", broker.url, "--once", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    fleet = json.loads(done.stdout)["fleet"]
    assert fleet["states"]["online"] == 5
    assert fleet["latency_ms"]["p99"] == pooled(devices).percentile(99) / 1000


def test_a_broker_with_its_usual_bounds_names_its_thousands_of_devices(
    mosquitto: str, tmp_path: Path
) -> None:
    with Mosquitto(mosquitto, tmp_path, "allow_anonymous true") as broker:
        with Crowd(broker.port) as crowd:
            crowd.say_all([(f"edge/pi-{n}/status", "offline") for n in range(3000)], retain=True)
        assert top_json(broker)["fleet"]["states"]["offline"] == 3000


def test_a_real_device_is_shown_with_its_figures(
    broker: Mosquitto, start: Callable[..., Daemon], digits_30fps: str, listener: Listener
) -> None:
    start(device(broker, f"  digits:{digits_30fps}"))
    listener.wait_for("dev/digits/metrics", lambda metrics: metrics["frames"])
    said = top_json(broker)
    (one,) = said["devices"]
    assert (one["device"], one["state"], one["current"]) == ("dev", "online", True)
    assert one["fps"] > 0
    assert one["latency_ms"]["count"] > 0
    assert one["latency_ms"]["p50"] > 0
    assert (one["rung_name"], one["spooled"], one["undelivered_total"]) == ("full", 0, 0)
    (pipeline,) = one["pipelines"]
    assert (pipeline["name"], pipeline["state"]) == ("digits", "running")


def test_a_table_is_printed_where_there_is_no_terminal(broker: Mosquitto, crowd: Crowd) -> None:
    report_soon(crowd, a_fleet(2))
    crowd.say("edge/gone/status", "offline", retain=True)
    done = edge("top", "--broker", broker.url, "--once")
    assert done.returncode == 0
    head, sums, percentiles, header, *rows = done.stdout.splitlines()
    assert head.endswith("edge/#  3 devices: 2 online, 1 offline")
    assert sums.startswith("fleet: 40.0 fps, misses")
    assert percentiles.endswith("of 400 results in the last 5 minutes")
    assert header.split()[:3] == ["device", "state", "fps"]
    assert [row.split()[:3] for row in rows] == [
        ["gone", "offline", "-"],
        ["pi-000", "online", "20.0"],
        ["pi-001", "online", "20.0"],
    ]


def test_other_base_topics_are_heard_when_they_are_named(broker: Mosquitto, crowd: Crowd) -> None:
    for base in ("edge", "plant/north", "plant/south"):
        crowd.say(f"{base}/pi/status", "online", retain=True)
    bases = ("--base-topic", "plant/north", "--base-topic", "plant/south")
    said = top_json(broker, *bases, "--wait", "0.1")
    names = [(each["base_topic"], each["name"]) for each in said["devices"]]
    assert names == [("plant/north", "plant/north/pi"), ("plant/south", "plant/south/pi")]


def test_nothing_from_the_broker_moves_the_terminals_cursor(
    broker: Mosquitto, crowd: Crowd
) -> None:
    name = "\u202epi\u200b[bold]"
    crowd.say(f"edge/{name}/status", "online", retain=True)
    evil = {"rung_name": "\x1b[2J\x07", "fps": 1, "rung": 1}
    crowd.repeat([(f"edge/{name}/main/metrics", json.dumps(evil).encode())])
    done = edge("top", "--broker", broker.url, "--once")
    assert done.stdout.replace("\n", "").isprintable()
    assert r"\u202epi\u200b[bold]" in done.stdout
    assert r"\x1b[2J\x07" in done.stdout


def test_a_broker_that_is_not_there_is_told() -> None:
    port = free_port()
    done = edge("top", "--broker", f"mqtt://127.0.0.1:{port}", "--once")
    assert done.returncode == 1
    message = f"edge top: 127.0.0.1:{port} cannot be reached (connection refused)\n"
    assert done.stderr == message


def test_a_broker_that_refuses_is_told(mosquitto: str, tmp_path: Path) -> None:
    with Mosquitto(mosquitto, tmp_path, "allow_anonymous false") as broker:
        done = edge("top", "--broker", broker.url, "--once")
    assert done.returncode == 1
    why = "it lets nobody in without a name: see --username"
    assert done.stderr.replace("`", "") == f"edge top: 127.0.0.1:{broker.port} refuses us: {why}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json"], "--json needs --once"),
        (["--once", "--wait", "0"], "--wait must be more than 0 seconds, not 0"),
        (["--once", "--wait", "nan"], "--wait must be more than 0 seconds, not nan"),
        (["--once", "--base-topic", "edge/#"], "each part must be one level of a topic"),
        ([], "the live table needs a terminal"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], words: str) -> None:
    done = edge("top", *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def names(screen: list[str]) -> list[str]:
    """Return the devices on a screen."""
    return [line.split()[0] for line in screen if line.startswith("pi-")]


def test_the_live_screen_follows_keys_and_the_terminals_size(
    broker: Mosquitto, crowd: Crowd
) -> None:
    devices = a_fleet(30)
    report_soon(crowd, devices)
    every = sorted(each.name for each in devices)
    with PseudoTerminal("top", "--broker", broker.url) as terminal:
        terminal.wait_for(lambda screen: f"of {30 * 200:,} results" in "".join(screen))
        terminal.wait_for(lambda screen: names(screen) == every[:18] and len(screen) == 24)
        terminal.press("d")
        terminal.wait_for(lambda screen: names(screen) == every[:-19:-1])
        terminal.press("9")
        slowest = sorted(devices, key=lambda one: -pooled([one]).percentile(99))
        terminal.wait_for(lambda screen: names(screen) == [one.name for one in slowest[:18]])
        terminal.press("d\x1b[F")  # End
        terminal.wait_for(lambda screen: names(screen) == every[-18:])
        terminal.resize(12, 80)
        terminal.wait_for(lambda screen: len(screen) == 12 and names(screen) == every[-6:])
        terminal.press("q")
        assert terminal.wait() == 0
        assert terminal.modes == terminal.attributes
        assert terminal.written.index(ENTERED) < terminal.written.index(LEFT)
        assert b"\x1b[?25h" in terminal.written[-40:]  # the cursor is to be seen again


HEALTH = {
    "load_1m": 0.42, "throttled": ["under-voltage"], "uptime_s": 93784.5,
    "memory": {"total_bytes": 968204288, "available_bytes": 627036160},
    "disk": {"free_bytes": 25_000_000_000},
}  # fmt: skip
MACHINE = (
    "machine: held back by under-voltage, load 0.42, 627.0 of 968.2 MB of memory available, 25.0 GB"
)


def test_a_key_shows_a_devices_last_events(broker: Mosquitto, crowd: Crowd) -> None:
    devices = a_fleet(3)
    report_soon(crowd, devices)
    with PseudoTerminal("top", "--broker", broker.url) as terminal:
        terminal.wait_for(lambda screen: "pi-002" in "".join(screen))
        for number in (0, 1, 1):
            crowd.say(*devices[1].event(number, f"event {number} \x1b[2J"))
        crowd.say("edge/pi-001/health", json.dumps(HEALTH))
        terminal.press("j\r")
        terminal.wait_for(lambda screen: r"event 1 \x1b[2J" in "".join(screen))
        terminal.wait_for(lambda screen: MACHINE in "\n".join(screen))
        shown = [line for line in terminal.screen if "deadline_missed" in line]
        assert len(shown) == 2  # the newest first, the repeated one once
        assert r"event 1" in shown[0]
        terminal.press("\x1b")
        terminal.wait_for(lambda screen: "pi-002" in "".join(screen))
        terminal.press("\x03")  # Ctrl-C
        assert terminal.wait() == 0
        assert terminal.modes == terminal.attributes


def test_ctrl_z_gives_the_terminal_back_for_a_while(broker: Mosquitto, crowd: Crowd) -> None:
    report_soon(crowd, a_fleet(3))
    with PseudoTerminal("top", "--broker", broker.url) as terminal:
        terminal.wait_for(lambda screen: "pi-002" in "".join(screen))
        assert terminal.modes != terminal.attributes
        terminal.send(signal.SIGTSTP)
        terminal.wait_until_stopped()
        assert terminal.modes == terminal.attributes
        assert terminal.written.count(LEFT) == 1
        terminal.written = b""
        terminal.send(signal.SIGCONT)
        terminal.wait_for(lambda screen: "pi-002" in "".join(screen))
        assert not int(terminal.modes[3]) & termios.ICANON  # type: ignore[call-overload]
        terminal.send(signal.SIGTERM)
        assert terminal.wait() == 0
        assert terminal.modes == terminal.attributes


def test_a_broker_that_goes_and_comes_back_is_told_and_awaited(
    broker: Mosquitto,
) -> None:
    with PseudoTerminal("top", "--broker", broker.url) as terminal:
        terminal.wait_for(lambda screen: "0 devices" in "".join(screen))
        broker.kill()
        terminal.wait_for(lambda screen: "cannot be reached" in "".join(screen))
        broker.start()
        with Crowd(broker.port) as crowd:
            report_soon(crowd, a_fleet(1))
            terminal.wait_for(lambda screen: "pi-000" in "".join(screen))
            terminal.wait_for(lambda screen: "cannot be reached" not in "".join(screen))
        terminal.press("q")
        assert terminal.wait() == 0

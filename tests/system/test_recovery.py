"""What breaks on a device, and how long it takes until results come again."""

from __future__ import annotations

import json
import shutil
import time
from collections import defaultdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from proxy import Proxy

from system.service import (
    results,
    shared_object,
    wait_for_another_boot,
    wait_for_result_since,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from parties import Listener, Mosquitto

    from system.service import Service

    Recovered = Callable[[str, float], None]

DAY_S = 86_400
LONGEST_MS = 60_000
"""More than any frame takes here, and less than a step of the clock."""


def test_a_killed_supervisor_is_back_at_once(
    service: Service, listener: Listener, recovered: Recovered
) -> None:
    listener.wait_for("/digits/predictions")
    began = time.monotonic()
    service.container.run(f"kill -9 {service.pid}")
    wait_for_another_boot(listener)
    recovered("kill -9 of the supervisor", time.monotonic() - began)
    assert service.shown("NRestarts") == "1"


def begins_again_for_the(time: int, shown: str) -> bool:
    """Whether systemd has started it so many times anew, and it has come as far as to count."""
    counted = "ActiveState=active\n" in shown or "in a row" in shown
    return f"NRestarts={time}\n" in shown and counted


def test_one_that_is_killed_again_and_again_waits_a_little_longer_each_time(
    service: Service,
) -> None:
    for killed in range(2):
        service.container.run(f"kill -9 {service.pid}")
        service.container.wait_for(
            f"systemctl show {service.unit}",
            partial(begins_again_for_the, killed + 1),
        )
    service.container.wait_for(
        f"systemctl status {service.unit}", lambda status: "2 times in a row" in status
    )
    service.run("restart")  # asked for by a person it begins at once
    assert service.shown("ActiveState") == "active"
    assert "in a row" not in service.shown("StatusText")


def test_a_killed_worker_is_replaced_and_its_neighbour_does_not_notice(
    service: Service, listener: Listener, recovered: Recovered
) -> None:
    listener.wait_for("/digits/predictions")
    listener.wait_for("/other/predictions")
    supervisor, neighbour = service.pid, service.worker("other")
    service.container.run(f"kill -9 {service.worker('digits')}")
    began = time.time()  # what is captured from now on, another worker has captured
    recovered("kill -9 of a worker", wait_for_result_since(listener, began))
    died = json.loads(service.journal("--output=json EDGE_EVENT=worker_died"))
    assert died["EDGE_PIPELINE"] == "digits"
    assert died["PRIORITY"] == "3"
    assert "SIGKILL" in died["EDGE_HOW"]
    assert service.pid == supervisor
    service.container.run(f"kill -0 {neighbour}")


def test_a_worker_that_hangs_is_replaced(
    service: Service, listener: Listener, recovered: Recovered
) -> None:
    listener.wait_for("/digits/predictions")
    supervisor = service.pid
    service.container.run(f"kill -STOP {service.worker('digits')}")
    began = time.time()
    recovered("SIGSTOP of a worker", wait_for_result_since(listener, began))
    listener.wait_for_event("worker_died", lambda event: "stopped answering" in event["message"])
    assert service.pid == supervisor


def test_a_supervisor_that_hangs_is_restarted_by_the_watchdog(
    service: Service, listener: Listener, recovered: Recovered
) -> None:
    listener.wait_for("/digits/predictions")
    began = time.monotonic()
    service.container.run(f"kill -STOP {service.pid}")
    wait_for_another_boot(listener)
    recovered("SIGSTOP of the supervisor (WatchdogSec=15)", time.monotonic() - began)
    assert "Watchdog timeout" in service.container.run(f"journalctl -u {service.unit} -n 50")


def is_result(boot: str, sequence: int, payload: dict[str, Any]) -> bool:
    """Whether a payload is this result."""
    return (payload["boot"], payload["sequence"]) == (boot, sequence)


def test_nothing_accepted_is_lost_when_the_daemon_is_killed_while_the_link_is_dead(
    service: Service, listener: Listener, broker: Mosquitto
) -> None:
    with Proxy(broker.port) as link:
        text = service.yaml(more="sinks: [{type: jsonl, path: results.jsonl, keep: 0}]\n")
        service.install(text.replace(f":{broker.port}\n", f":{link.port}\n"))
        listener.wait_for("/digits/predictions")
        link.stall(600)
        kept = "/var/lib/edge-runtime/results.jsonl"
        before = int(service.container.run(f"wc -l < {kept}"))
        service.container.wait_for(f"wc -l < {kept}", lambda now: int(now) > before + 60)
        service.container.run(f"kill -9 {service.pid}")
        accepted = defaultdict(set)
        for line in service.container.run(f"cat {kept}").splitlines():
            result = json.loads(line)
            accepted[result["boot"], result["pipeline"]].add(result["sequence"])
        link.stall(0)
        for (boot, pipeline), sequences in accepted.items():
            listener.wait_for(f"/{pipeline}/predictions", partial(is_result, boot, max(sequences)))
            heard = {e["sequence"] for e in results(listener, pipeline) if e["boot"] == boot}
            assert sequences <= heard


def test_it_runs_from_a_root_that_is_read_only(
    service: Service, listener: Listener, recovered: Recovered
) -> None:
    listener.wait_for("/digits/predictions")
    container, began = service.container, time.monotonic()
    container.stop()
    container.options = ("--read-only",)
    try:
        container.start()
        wait_for_another_boot(listener)
        recovered("boot with a read-only root", time.monotonic() - began)
        container.run("touch /var/lib/nobody", status=1)
        assert service.shown("ActiveState") == "active"
    finally:
        container.stop()
        container.options = ()
        container.start()


def test_a_full_state_directory_stops_nothing(
    service: Service, listener: Listener, broker: Mosquitto
) -> None:
    state = "/var/lib/private/edge-runtime"
    service.run("stop")
    service.container.run(
        f"cp -a {state} {state}.full && mount -t tmpfs -o size=400k,mode=700 full {state} && "
        f"cp -a {state}.full/models {state}/ && chown --reference={state}.full {state} && "
        f"dd if=/dev/zero of={state}/filler bs=1k status=none",
        status=1,  # dd finds no space left, as it should
    )
    try:
        with Proxy(broker.port) as link:
            service.install(service.yaml().replace(f":{broker.port}\n", f":{link.port}\n"))
            first = listener.wait_for("/digits/predictions")
            link.stall(20)
            service.container.wait_for(
                f"journalctl -u {service.unit} EDGE_EVENT=spool_failed", bool
            )
            link.stall(0)
            began = time.time()
            wait_for_result_since(listener, began)
            assert listener.of("/digits/predictions")[-1]["boot"] == first["boot"]
    finally:
        service.run("stop")
        service.container.run(f"umount {state} && rm -r {state} && mv {state}.full {state}")


@pytest.fixture
def moved(service: Service) -> Iterator[Callable[[int], None]]:
    """Move the wall clock of the service by so many seconds."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the emulated camera: sudo apt install gcc libc6-dev")
    library, drop_in = "/usr/lib/moved_clock.so", f"/etc/systemd/system/{service.unit}.d/90.conf"
    source = Path(__file__).with_name("moved_clock.c")
    shared_object(compiler, source, service.container.path(library))
    service.container.write(
        drop_in,
        f"[Service]\nEnvironment=LD_PRELOAD={library} MOVED_CLOCK=/etc/moved "
        "EDGE_WORKER_ENVIRONMENT=MOVED_CLOCK\n",
    )
    service.container.write("/etc/moved", "0")
    service.container.run("systemctl daemon-reload")
    service.run("restart")
    yield lambda seconds: service.container.write("/etc/moved", str(seconds))
    service.container.run(f"rm {drop_in}; systemctl daemon-reload")


def is_off_by(seconds: int, payload: dict[str, Any]) -> bool:
    """Whether a result's wall clock goes so many seconds before ours."""
    captured_at = datetime.fromisoformat(payload["captured_at"].replace("Z", "+00:00"))
    return abs(captured_at.timestamp() - time.time() - seconds) < DAY_S / 24


def test_a_clock_that_is_set_makes_no_latency(
    service: Service, listener: Listener, moved: Callable[[int], None]
) -> None:
    boots = set()
    for seconds in (DAY_S, -DAY_S):
        moved(seconds)
        boots.add(listener.wait_for("/digits/predictions", partial(is_off_by, seconds))["boot"])
        since = len(listener.of("/digits/metrics"))
        listener.wait_for_many("/digits/metrics", since + 2)
    metrics = listener.of("/digits/metrics")
    assert max(each["latency_ms"]["max"] or 0 for each in metrics) < LONGEST_MS
    assert max(each["acknowledged_ms"]["max"] or 0 for each in metrics) < LONGEST_MS
    latencies = [each["latency_ms"]["total"] for each in results(listener)]
    assert 0 <= min(latencies) <= max(latencies) < LONGEST_MS
    assert len(boots) == 1
    assert service.journal("EDGE_EVENT=worker_died") == ""

"""What each kind of fault does. Each returns the moment from which the daemon has to recover."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from fault_injection.hostile import attack
from fault_injection.plan import PIPELINES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from fault_injection.plan import Fault
    from fault_injection.scene import Scene

ANSWER_LIMIT_S = 20.0
RECORDED_S = 1.5  # a full journal is tried again every second
DAY_S = 86_400
SHIFTS_S = (-20 * 365 * DAY_S, -DAY_S, -3600, -2.5, 0, 2.5, 3600, DAY_S, 365 * DAY_S)
WRONG = (
    "pipelines: [",
    "",
    "device: struck\n",
    "\0\1\2",
    "a: &a [*a, *a]\n" * 100,
    "device: struck\nmqtt: {broker: 'mqtt://127.0.0.1:1'}\npipelines: {steady: {source: 7}}\n",
)


class Moment(NamedTuple):
    """A moment by both clocks."""

    wall_s: float
    monotonic_s: float


class Struck(NamedTuple):
    """What a fault was."""

    at: Moment
    """When it was done, or was over where it lasted: from here on recovery is counted."""
    pipelines: tuple[str, ...] = PIPELINES
    """Those that have to recover."""


def now() -> Moment:
    """Return this moment."""
    return Moment(time.time(), time.monotonic())


def inject(scene: Scene, fault: Fault) -> Struck:
    """Do it. Raises TimeoutError where the daemon does not do its part."""
    scene.note(f"{fault} begins")
    struck = DOES[fault.kind](scene, fault, fault.chance())
    scene.note(f"{fault} is over")
    return struck


def _worker_kill(scene: Scene, fault: Fault, chance: random.Random) -> Struck:
    pid, number = scene.worker(fault.pipeline), chance.choice([signal.SIGKILL, signal.SIGSEGV])
    scene.strikes += 1
    at = now()
    _send(pid, number)
    return Struck(at, (fault.pipeline,))


def _worker_stop(scene: Scene, fault: Fault, _chance: random.Random) -> Struck:
    pid = scene.worker(fault.pipeline)
    scene.strikes += 1
    at = now()
    _send(pid, signal.SIGSTOP)
    return Struck(at, (fault.pipeline,))


def _worker_pause(scene: Scene, fault: Fault, chance: random.Random) -> Struck:
    """Stop it for less than it takes to be given up."""
    pid = scene.worker(fault.pipeline)
    _send(pid, signal.SIGSTOP)
    time.sleep(chance.uniform(0.1, 1.0))
    at = now()
    _send(pid, signal.SIGCONT)
    return Struck(at, (fault.pipeline,))


def _supervisor_kill(scene: Scene, _fault: Fault, _chance: random.Random) -> Struck:
    at = now()
    scene.manager.wait_for_start(scene.manager.strike(signal.SIGKILL))
    return Struck(at)


def _supervisor_stop(scene: Scene, _fault: Fault, _chance: random.Random) -> Struck:
    """Stop it; it is over when the watchdog has ended it."""
    scene.manager.wait_for_start(scene.manager.strike(signal.SIGSTOP))
    return Struck(Moment(*scene.manager.ended_s))


def _restart(scene: Scene, _fault: Fault, _chance: random.Random) -> Struck:
    """Restart it in order; counted from its end, which may take as long as a worker needs."""
    scene.manager.wait_for_start(scene.manager.strike(signal.SIGTERM))
    return Struck(Moment(*scene.manager.ended_s))


def _broker_kill(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    """Kill mosquitto; until it is back, connections are refused or closed as they are made."""
    scene.proxy.turning_away = turned_away = chance.random() < 0.5
    if not turned_away:
        scene.proxy.shut()
    scene.replace_broker(chance.uniform(0, 2.5))
    at = now()
    scene.proxy.turning_away = False
    scene.proxy.open()
    return Struck(at)


def _broker_cut(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    """Cut the connection up to three times, in order or by a reset."""
    for _ in range(chance.randint(1, 3)):
        scene.proxy.cut(reset=chance.random() < 0.5)
        time.sleep(chance.choice([0, 0.05, 0.5]))
    at = now()
    scene.proxy.cut(reset=True)
    return Struck(at)


def _broker_stall(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    """Let the connection be up and dead for a while; now and then long enough for the disk."""
    seconds = chance.uniform(0.3, 3.0) if chance.random() < 0.85 else 6.5
    scene.proxy.stall(seconds)
    time.sleep(seconds)
    at = now()
    if chance.random() < 0.3:
        scene.proxy.cut(reset=chance.random() < 0.5)
    return Struck(at)


def _camera_cut(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    scene.unplug()
    time.sleep(chance.uniform(0, 2.5))
    at = now()
    scene.plug_in()
    return Struck(at, ("camera",))


def _camera_stall(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    with scene.camera_trouble():
        time.sleep(chance.uniform(0.2, 2.5))
    return Struck(now(), ("camera",))


def _stream_cut(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    scene.stream.vanish()
    time.sleep(chance.uniform(0, 2.5))
    at = now()
    scene.stream.come_back()
    return Struck(at, ("stream",))


def _disk_full(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    """Fill the state directory while the broker is away so long that results would go there.

    Where it is no file system of its own, no file of the daemon's may grow instead. Half the time
    the daemon is killed meanwhile, too.
    """
    scene.proxy.shut()
    filled_first = chance.random() < 0.5
    if not filled_first:
        time.sleep(5.5)
    if scene.state.own:
        scene.state.fill()
    else:
        with suppress(ProcessLookupError):
            resource.prlimit(scene.manager.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    time.sleep(6.5 if filled_first else 1.5)
    if chance.random() < 0.5:
        if not scene.state.own:
            scene.witness.look_away()
        scene.manager.wait_for_start(scene.manager.strike(signal.SIGKILL))
    scene.state.free()
    if not scene.state.own:
        with suppress(ProcessLookupError):
            unbound = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(scene.manager.pid, resource.RLIMIT_FSIZE, unbound)
    at = now()
    scene.proxy.open()
    return Struck(at)


def _runtime_full(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    """Fill the runtime directory: what was accepted stays so, what comes meanwhile cannot be."""
    if chance.random() < 0.7:  # so that something waits there
        scene.proxy.shut()
        time.sleep(chance.uniform(0.3, 2.0))
    scene.witness.read(killed=True)
    scene.runtime.fill()
    time.sleep(chance.uniform(0.3, 2.0))
    if chance.random() < 0.5:
        scene.witness.look_away()
        scene.manager.wait_for_start(scene.manager.strike(signal.SIGKILL))
        time.sleep(chance.uniform(0, 1.5))
    at = now()
    scene.runtime.free()
    scene.proxy.open()
    time.sleep(RECORDED_S)
    scene.witness.look_away()
    return Struck(at)


def _state_read_only(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    """Kill the daemon and let it begin with a read-only disk; then restart it on a healed one."""
    if chance.random() < 0.3:  # so that something lies on the disk
        scene.proxy.shut()
        time.sleep(6.5)
    scene.manager.while_down.append(lambda: scene.note(f"ro: {scene.state.read_only(on=True)}"))
    at = now()
    scene.manager.wait_for_start(scene.manager.strike(signal.SIGKILL))
    scene.proxy.open()
    _wait_for_results(scene, at)
    scene.manager.while_down.append(lambda: scene.note(f"rw: {scene.state.read_only(on=False)}"))
    scene.manager.wait_for_start(scene.manager.strike(signal.SIGTERM))
    return Struck(now())


def _hostile_commands(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    before = scene.ledger.count("steered")
    attack(scene.subscriber, chance)
    at = now()
    _obeyed(scene, "ping", {})
    if scene.ledger.count("steered") != before:
        scene.ledger.problem("a hostile command was obeyed")
    return Struck(at)


def _steering(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    """Pause and resume a pipeline, or give it other values and the YAML's again."""
    name = chance.choice(PIPELINES)
    if chance.random() < 0.5:
        _obeyed(scene, "pause", {"pipeline": name})
        time.sleep(chance.uniform(0, 0.5))
        _obeyed(scene, "resume", {"pipeline": name})
    else:
        deadline_ms = float(chance.randint(500, 2000))
        _obeyed(scene, "set", {"pipeline": name, "deadline_ms": deadline_ms})
        _obeyed(scene, "set", {"pipeline": name, "reset": True})
    at = now()
    _obeyed(scene, "dump", {})
    return Struck(at)


def _reload(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    """Change the YAML so that one pipeline starts anew, another comes, or nothing much happens."""
    with scene.configuring:
        choice = chance.choice(["fps", "more", "interval", "nothing"])
        if choice == "fps":
            scene.configure(fps=chance.choice([8, 12]))
        elif choice == "more":
            scene.configure(more=True)
        elif choice == "interval":
            scene.configure(interval_s=chance.choice([0.5, 2]))
        scene.note(f"the YAML is changed: {choice}")
        _reloaded(scene, "reloaded")
        scene.configure()
        at = now()
        _reloaded(scene, "reloaded")
    return Struck(at)


def _reload_wrong(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    """Ask for a reload of a YAML that is none; the old one stays in force."""
    with scene.configuring:
        scene.manager.may_fail_s = time.monotonic() + ANSWER_LIMIT_S
        scene.write_config(chance.choice(WRONG))
        at = now()
        _reloaded(scene, "reload_failed")
        scene.configure()
        scene.manager.may_fail_s = time.monotonic() + 2
    return Struck(at)


def _clock_jump(scene: Scene, _fault: Fault, chance: random.Random) -> Struck:
    shift_s = chance.choice(SHIFTS_S)
    scene.note(f"the wall clock is {shift_s:g} s off")
    scene.clock.set(shift_s)
    scene.wall.shift(shift_s)
    return Struck(now())


DOES: dict[str, Callable[[Scene, Fault, random.Random], Struck]] = {
    "worker-kill": _worker_kill,
    "worker-stop": _worker_stop,
    "worker-pause": _worker_pause,
    "supervisor-kill": _supervisor_kill,
    "supervisor-stop": _supervisor_stop,
    "restart": _restart,
    "broker-kill": _broker_kill,
    "broker-cut": _broker_cut,
    "broker-stall": _broker_stall,
    "camera-cut": _camera_cut,
    "camera-stall": _camera_stall,
    "stream-cut": _stream_cut,
    "disk-full": _disk_full,
    "runtime-full": _runtime_full,
    "state-read-only": _state_read_only,
    "hostile-commands": _hostile_commands,
    "steering": _steering,
    "reload": _reload,
    "reload-wrong": _reload_wrong,
    "clock-jump": _clock_jump,
}


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait_for_results(scene: Scene, since: Moment) -> None:
    """Wait until every pipeline has answered a frame of after a moment. Raises TimeoutError."""
    ledger = scene.ledger
    if not ledger.wait_for(
        lambda: all(ledger.fresh(name, since.wall_s) for name in PIPELINES), ANSWER_LIMIT_S
    ):
        raise TimeoutError(f"no result of each pipeline for {ANSWER_LIMIT_S:g} s")


def _obeyed(scene: Scene, name: str, request: dict[str, object]) -> None:
    """Send a command until it is answered as done: it may fall into another fault's gap."""
    end = time.monotonic() + ANSWER_LIMIT_S
    wanted = f"{name}-{time.monotonic_ns()}"
    answers = scene.ledger.answers
    while time.monotonic() < end:
        scene.subscriber.command(name, json.dumps({**request, "id": wanted}).encode())
        if scene.ledger.wait_for(lambda: any(a["id"] == wanted and a["done"] for a in answers), 1):
            return
    raise TimeoutError(f"the command {name} {request} was not obeyed within {ANSWER_LIMIT_S:g} s")


def _reloaded(scene: Scene, event: str) -> None:
    """Ask for a reload until it is told: a daemon that is just starting does not hear it."""
    end = time.monotonic() + ANSWER_LIMIT_S
    before, starts = scene.ledger.count(event), scene.manager.starts
    while time.monotonic() < end:
        scene.manager.reload()
        if scene.ledger.wait_for(lambda: scene.ledger.count(event) > before, 2):
            return
        if scene.manager.starts > starts:  # another fault has restarted it: it has read the YAML
            return
    raise TimeoutError(f"no {event} within {ANSWER_LIMIT_S:g} s")

"""Injects one fault after the other, and judges what the daemon makes of each."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from fault_injection.kinds import Struck, inject
from fault_injection.plan import PIPELINES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fault_injection.plan import Fault, Step
    from fault_injection.scene import Scene

RECOVERY_S = 5.0
GIVEN_UP_S = 30.0
START_LIMIT_S = 60.0
ORPHAN_LIMIT_S = 5.0
DELIVERY_LIMIT_S = 60.0
LAST_LINES = 40
TOGETHER = "two at once"


class Failed(Exception):  # noqa: N818  it is how the daemon did, no error of ours
    """The daemon did not do what it must."""


class Run:
    """A plan at work on a scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._ledger = scene, scene.ledger
        self._recovery_s = RECOVERY_S * scene.patience
        self.recoveries: defaultdict[str, list[float]] = defaultdict(list)
        """Seconds, by the kind of fault."""
        self.slow: list[str] = []
        """Faults after which it took longer than is allowed; told at the end."""
        self.done = 0
        self.where = "the start"

    def begin(self) -> None:
        """Wait for the first results."""
        began_s = time.time()
        for name in PIPELINES:
            if not self._wait_for_fresh(name, began_s, START_LIMIT_S):
                raise Failed(f"{name} gave no result within {START_LIMIT_S:g} s of the start")

    def _wait_for_fresh(self, name: str, since_s: float, limit_s: float) -> bool:
        """Wait for a result of a frame taken since then. Raises Failed where anything is wrong."""
        ledger = self._ledger
        ledger.wait_for(lambda: ledger.fresh(name, since_s) or ledger.problems, limit_s)
        self._judge()
        return ledger.fresh(name, since_s) is not None

    def go(
        self, steps: Iterable[Step], *, told: Callable[[int], None] = lambda _done: None
    ) -> None:
        """Inject all of them. Raises Failed at the first that was not borne."""
        for step in steps:
            self.step(step)
            self.done += len(step.faults)
            told(self.done)

    def step(self, step: Step) -> None:
        """Inject one fault, or two at once, and wait until the daemon is back."""
        if step.faults:
            self.where = " with ".join(map(str, step.faults))
            kind = step.faults[0].kind if len(step.faults) == 1 else TOGETHER
            seconds = self._recovered(self._struck(step))
            self.recoveries[kind].append(seconds)
            self._scene.note(f"back after {seconds:.2f} s")
            self._judge()
            if seconds > self._recovery_s:
                self.slow.append(f"{self.where}: back after {seconds:.2f} s")
        time.sleep(step.rest_s)

    def _struck(self, step: Step) -> list[Struck]:
        """Do what the step says; its faults begin one after the other and go on side by side."""
        struck: list[Struck] = []
        errors: list[BaseException] = []

        def one(fault: Fault) -> None:
            try:
                struck.append(inject(self._scene, fault))
            except BaseException as error:  # noqa: BLE001  it is raised below
                errors.append(error)

        threads = [threading.Thread(target=one, args=(fault,)) for fault in step.faults]
        for thread in threads:
            thread.start()
            if thread is not threads[-1]:
                time.sleep(step.offset_s)
        for thread in threads:
            thread.join()
        self._judge()
        for error in errors:
            if isinstance(error, TimeoutError):
                raise Failed(str(error))
            raise error
        return struck

    def _recovered(self, struck: list[Struck]) -> float:
        """Wait until whoever was struck gives results again; return how long that took."""
        at = max(each.at for each in struck)
        names = {name for each in struck for name in each.pipelines}
        end_s = time.monotonic() + GIVEN_UP_S
        seconds = 0.0
        for name in names:
            if not self._wait_for_fresh(name, at.wall_s, end_s - time.monotonic()):
                raise Failed(f"{name} gave no result for {GIVEN_UP_S:g} s")
            seen = self._ledger.fresh(name, at.wall_s)
            assert seen is not None
            seconds = max(seconds, seen.arrived_s - at.monotonic_s)
        return seconds

    def _judge(self) -> None:
        """Raise Failed where anything is wrong so far."""
        died = self._ledger.count("worker_died")
        if died > self._scene.strikes:
            self._ledger.problem(f"{died} workers died, but {self._scene.strikes} were struck")
        if self._ledger.count("started") > self._scene.manager.starts:
            self._ledger.problem("it says `started` more often than it was started")
        if self._ledger.problems:
            raise Failed("; ".join(self._ledger.problems[:3]))

    def end(self) -> None:
        """End the daemon in order, and see that everything accepted has arrived."""
        self.where = "the end"
        scene, ledger = self._scene, self._ledger
        end_s = time.monotonic() + ORPHAN_LIMIT_S
        while orphans := scene.manager.orphans():
            if time.monotonic() > end_s:
                raise Failed(f"processes of a daemon that is no more: {orphans}")
            time.sleep(0.1)
        scene.manager.stop()
        scene.witness.read(killed=False)
        ledger.wait_for(lambda: not ledger.missing() or ledger.problems, DELIVERY_LIMIT_S)
        for lost in ledger.missing():
            ledger.problem(lost)
        self._judge()
        if self.slow:
            allowed = f"{self._recovery_s:g} s are allowed"
            raise Failed(f"{len(self.slow)} times it was slow, {allowed}: {'; '.join(self.slow)}")

    def tell(self, failure: Failed) -> str:
        """Return what happened before a failure, for a person."""
        scene = self._scene
        lines = [f"FAILED at {self.where}: {failure}", "", "what was done, newest last:"]
        began_s = scene.timeline[0][0]
        said = [
            (at, f"  event {said['event']}: {said['message'][:120]}")
            for at, said in list(self._ledger.events)
        ]
        for at, what in sorted([*scene.timeline, *said])[-2 * LAST_LINES :]:
            lines.append(f"{at - began_s:9.3f} {what}")
        log = scene.manager.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join([*lines, "", "the daemon's log ends with:", *log])

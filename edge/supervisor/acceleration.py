"""Whether a pipeline has its accelerator: tries it first, does without, and takes it back."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edge.info_parts import AcceleratorInfo
from edge.messages import AcceleratorFigures
from edge.supervisor.log import log
from edge.supervisor.probing import probe
from edge.wire import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.config.model import Model
    from edge.config.pipeline import Pipeline
    from edge.wire import Done, Late, Ready

RETRY_S = (5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0)
HEALTHY_S = 60.0  # one that held so long is tried again as soon as one never lost
COME_BACK_LIMIT_S = 30.0  # to load the model beside the one that runs
TWICE = 2  # a worker may die once of something else: of a camera's driver, by a person's hand
BLAMED = frozenset({"AcceleratorError", "GoldenError"})
"""What a worker fails of that may run well on the CPU."""


class Tell(Protocol):
    """Tells of an event of the pipeline."""

    def __call__(self, event: Any, message: str, *, level: int = ..., **details: Any) -> None:
        """Log it and publish it."""


class Acceleration:
    """A pipeline's accelerator: had, or lost and tried again with growing pauses.

    Where it is lost and `fallback: cpu` allows it, the models run on the CPU, and it is taken
    back beside them between two frames. A pipeline without one costs nothing here.
    """

    def __init__(
        self,
        rungs: Sequence[Pipeline],
        *,
        tell: Tell,
        leave: Callable[[], None],
        take_back: Callable[[], bool | None],
        give_up: Callable[[], None],
        before: Acceleration | None = None,
    ) -> None:
        """`rungs` are the pipeline on each of its rungs; `leave` is called before a change.

        `take_back` asks the worker to go over to the accelerator: False where it cannot be asked
        now, None where nothing runs that would have to. `give_up` ends a worker that does not
        answer. Where these are to follow other models, what is known from `before` is not tried
        again: a device may be for one process at a time, and the worker has it.
        """
        models = [one.model for one in rungs if one.model.accelerator is not None]
        self._models: list[Model] = []
        self._models += (model for model in models if model not in self._models)
        self._tell, self._leave = tell, leave
        self._ask_back, self._give_up = take_back, give_up
        self.on_cpu = False
        """Whether the models run without it for now."""
        self._in_use = False
        self._cause = self._trouble = ""
        self._engines: dict[int, Literal["litert", "tflite-runtime"]] = {}
        self._tries = self._losses = self._deaths = 0
        self._lost = asyncio.Event()
        self._answered = asyncio.Event()
        self.coming_back = False
        """Whether the worker is on its way to it."""
        self._lost_s = self._had_since_s = time.monotonic()
        self._cpu_s = 0.0
        if before is not None:
            self._learn(before)

    def _learn(self, before: Acceleration) -> None:
        """Take from other models on the same accelerators whether and how they can be used."""
        known = [model.accelerator for model in before._models]
        places = [
            known.index(model.accelerator) if model.accelerator in known else None
            for model in self._models
        ]
        for number, place in enumerate(places):
            if place is not None and place in before._engines:
                self._engines[number] = before._engines[place]
        if before.on_cpu and self.wanted and self._falls_back and None not in places:
            self.on_cpu, self._cause, self._trouble = True, before._cause, before._trouble
            self._lost_s, self._tries = before._lost_s, before._tries
            self._lost.set()

    def take_over(self, before: Acceleration) -> None:
        """Begin in the place of another model's, and go on with what that has counted."""
        self._losses += before._losses
        self._cpu_s += before._cpu_s
        if before.on_cpu and not self.on_cpu:
            self._cpu_s += time.monotonic() - before._lost_s

    @property
    def wanted(self) -> bool:
        """Whether the pipeline has an accelerator at all."""
        return bool(self._models)

    def applied(self, options: Pipeline, *, accelerated: bool) -> Pipeline:
        """Return a pipeline as it runs with the accelerator, or without it."""
        model = options.model
        if model.accelerator is None:
            return options
        if not accelerated:
            return options.model_copy(update={"model": model.on_cpu()})
        number = self._models.index(model)
        if number not in self._engines:
            return options
        engine = self._engines[number]  # the one that works with this library
        return options.model_copy(update={"model": model.model_copy(update={"engine": engine})})

    async def prove(self) -> Failed | None:
        """Try the accelerator before a worker is started with it.

        Returns what to fail with where it cannot be used and nothing else is allowed.
        """
        if self.on_cpu:
            return None
        for number, model in enumerate(self._models):
            if number in self._engines:
                continue
            found = await probe(model)
            if found.ok:
                self._engines[number] = found.engine
            elif not self._falls_back:
                return Failed("AcceleratorError", found.trouble)
            else:
                self._lose(found.cause, found.trouble)
                return None
        return None

    def ended(self, failure: Failed | None, how: str, *, stuck: bool, ready: bool) -> bool:
        """Take in that a worker ended; True where the next is started without the accelerator.

        One that said so itself, that got stuck, or that never became ready has been ended by it;
        one that died otherwise is given a second chance.
        """
        if not self.wanted:
            return False
        if self.on_cpu:
            self._came_back_not(f"the worker ended while it was taken back: {how}")
            return False
        if failure is not None and failure.error not in BLAMED:
            return False
        self._deaths += 1
        lasted = time.monotonic() - self._had_since_s > HEALTHY_S
        if failure is None and ready and not stuck and (lasted or self._deaths < TWICE):
            self._deaths = 1
            return False
        if not self._falls_back:
            self._engines.clear()  # it is tried before it is used again
            return False
        cause = "hung" if stuck else "crashed" if failure is None else "failed"
        self._lose(
            cause,
            failure.message
            if failure is not None
            else f"the {self.title} gave up: its worker was {how}",
        )
        return True

    def heard(self, record: Done | Late) -> bool:
        """Take in how a frame was run; True where it is the first that has the accelerator back."""
        if not self.coming_back or not record.accelerated:
            return False
        self._have(in_use=True)
        return True

    def _have(self, *, in_use: bool) -> None:
        self._leave()
        now_s = time.monotonic()
        away_s = round(now_s - self._lost_s, 3)
        self._cpu_s += now_s - self._lost_s
        self.on_cpu, self._in_use, self._cause, self._trouble = False, in_use, "", ""
        self._had_since_s, self._deaths = now_s, 0
        self._settle()
        self._tell(
            "accelerator_back",
            f"the {self.title} can be used again, after {away_s:g} s",
            away_s=away_s,
        )

    def spares(self, failed: Failed) -> bool:
        """Whether what a worker failed of does not fail the pipeline: the CPU goes on."""
        return self._falls_back and not self.on_cpu and self.wanted and failed.error in BLAMED

    def refused(self, message: str) -> None:
        """Take in that the worker cannot go over to the accelerator."""
        self._came_back_not(message)

    def ready(self, ready: Ready) -> None:
        """Take in that a worker has begun."""
        if not self.on_cpu:
            self._in_use, self._had_since_s = ready.accelerated, time.monotonic()

    async def watch(self) -> None:
        """Try a lost accelerator again and again, until cancelled."""
        while self.wanted:
            await self._lost.wait()
            await asyncio.sleep(RETRY_S[min(self._tries, len(RETRY_S) - 1)])
            self._tries += 1
            if await self._can_be_had():
                await self._come_back()

    @property
    def title(self) -> str:
        """What people call it."""
        titles = (model.accelerator.title for model in self._models if model.accelerator)
        return " and ".join(dict.fromkeys(titles))

    @property
    def _falls_back(self) -> bool:
        return all(model.fallback == "cpu" for model in self._models)

    def _lose(self, cause: str, trouble: str) -> None:
        self._leave()
        now_s = time.monotonic()
        if now_s - self._had_since_s > HEALTHY_S:
            self._tries = 0
        self.on_cpu, self._in_use, self._cause, self._trouble = True, False, cause, trouble
        self._lost_s, self._deaths = now_s, 0
        self._losses += 1
        self._engines.clear()
        self._lost.set()
        self._tell(
            "accelerator_lost",
            f"{trouble}; the model runs on the CPU until it can be used",
            level=logging.ERROR,
            accelerator=self.title,
            cause=cause,
        )

    async def _can_be_had(self) -> bool:
        """Try it in a process of its own, once it was reset where it had stopped answering."""
        if self._cause in {"hung", "crashed", "failed"}:
            for model in self._models:
                if model.accelerator and (said := await asyncio.to_thread(model.accelerator.reset)):
                    log(logging.INFO, "accelerator_reset", said)
        for number, model in enumerate(self._models):
            found = await probe(model)
            if not found.ok:
                if found.cause != self._cause:
                    log(logging.WARNING, "accelerator_lost", found.trouble, cause=found.cause)
                self._cause, self._trouble = found.cause, found.trouble
                return False
            self._engines[number] = found.engine
        return True

    async def _come_back(self) -> None:
        """Have the worker go over to it between two frames, and wait how that ends."""
        self._answered.clear()
        self.coming_back = True
        asked = self._ask_back()
        if asked is None:
            self._have(in_use=False)
            return
        if not asked:
            self._settle()
            return
        try:
            await asyncio.wait_for(self._answered.wait(), COME_BACK_LIMIT_S)
        except asyncio.TimeoutError:
            # Its thread for such changes hangs in the delegate; frames were run all the while.
            self._came_back_not(f"not ready after {COME_BACK_LIMIT_S:g} s", cause="hung")
            self._give_up()

    def _came_back_not(self, why: str, cause: str = "failed") -> None:
        if self.coming_back:
            self._cause, self._trouble = cause, why
            self._settle()
            log(logging.WARNING, "accelerator_lost", why, cause=cause)

    def _settle(self) -> None:
        self.coming_back = False
        self._answered.set()
        if not self.on_cpu:
            self._lost.clear()

    def figures(self) -> AcceleratorFigures | None:
        """Return what the metrics say of it; None without one."""
        if not self.wanted:
            return None
        now_s = time.monotonic()
        return AcceleratorFigures(
            in_use=self._in_use,
            losses_total=self._losses,
            cpu_seconds_total=round(self._cpu_s + (now_s - self._lost_s) * self.on_cpu, 3),
        )

    def info(self) -> AcceleratorInfo | None:
        """Return what the info message says of it; None without one."""
        if not self.wanted:
            return None
        return AcceleratorInfo(
            name=self.title,
            in_use=self._in_use,
            fallback="cpu" if self._falls_back else "none",
            cause=self._cause or None,
            trouble=self._trouble or None,
        )

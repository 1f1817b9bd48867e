"""What is remembered of a pipeline's update, and the steps from one record to the next.

Each step is a function from record to record; who takes one writes the new record before acting
on it, so that whatever ends the daemon, the next one finds what was meant.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge.config.canary import Canary

Phase = Literal["none", "fetching", "trying", "shadow", "probation"]
Ending = Literal["good", "refused", "rolled_back"]
MOST_RESUMED = 3
"""How often a step before the promotion is gone on with after the daemon has died in it."""


class Kept(BaseModel):
    """Part of the state file: strict, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Release(Kept):
    """A model that came over the air: all that is needed to run it, its card aside."""

    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of its card, which is the name of its folder."""
    name: str
    version: str
    key_id: str
    """Of the key that has signed it."""
    model: str
    """The model file's name in the folder."""
    model_sha256: str
    size_bytes: int
    labels: str | None = None
    golden: str | None = None
    options: dict[str, Any] = {}
    """What of a pipeline's `model` belongs to it: `mean`, `resize` and the like."""
    decode: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.name} {self.version}"


class Share(Kept):
    """Frames judged by their deadline, and those that missed it."""

    frames: int = 0
    missed: int = 0


class Last(Kept):
    """How the last update ended."""

    ending: Ending
    title: str
    why: str
    at: str


class Update(Kept):
    """What is remembered of one pipeline."""

    written: str
    """Digest of the YAML's model when the first update came; once it says otherwise that is heard.

    The YAML's model is what runs where `good` is null, and the last resort.
    """
    good: Release | None = None
    """The last good one; null is the YAML's."""
    former: Release | None = None
    """What was good before `good`, for `rollback-model`; null is the YAML's."""
    phase: Phase = "none"
    card: str = ""
    """URL of the card of the update under way."""
    canary: Canary = Canary()
    candidate: Release | None = None
    """The new model, once it is verified."""
    starts: int = 0
    """On probation, of workers with it; before, how often a start of the daemon has found it."""
    before: Share = Share()
    """Deadlines before the promotion."""
    last: Last | None = None

    @property
    def serving(self) -> Release | None:
        """What runs: null is the YAML's model."""
        return self.candidate if self.phase == "probation" else self.good

    @property
    def title(self) -> str:
        """What people call the new model."""
        return self.candidate.title if self.candidate is not None else self.card

    @property
    def releases(self) -> list[Release]:
        """All that must stay on disk."""
        return [each for each in (self.good, self.former, self.candidate) if each is not None]

    def _with(self, **changed: Any) -> Update:
        return self.model_copy(update=changed)

    def begun(self, card: str, canary: Canary) -> Update:
        """Take up a new update."""
        return self._with(
            phase="fetching", card=card, canary=canary, candidate=None, starts=0, before=Share()
        )

    def verified(self, release: Release) -> Update:
        """Its files are here, and are what a known key has signed."""
        return self._with(phase="trying", candidate=release, starts=0)

    def tried(self) -> Update:
        """It opens and gives its golden answers."""
        return self._with(phase="shadow", starts=0)

    def promoted(self, before: Share) -> Update:
        """It serves from now on; the swap into the running worker counts as its first start."""
        return self._with(phase="probation", starts=1, before=before)

    def counted(self, starts: int) -> Update:
        """Another start."""
        return self._with(starts=starts)

    def ended(self, ending: Ending, why: str, at: str) -> Update:
        """The update is over, one way or the other."""
        last = Last(ending=ending, title=self.title, why=why, at=at)
        good, former = self.good, self.former
        if ending == "good":
            good, former = self.candidate, self.good
        return Update(written=self.written, good=good, former=former, last=last)

    def kept(self, title: str, at: str) -> Update:
        """The new model is the good one: nothing changes."""
        last = Last(ending="good", title=title, why="it serves already", at=at)
        return Update(written=self.written, good=self.good, former=self.former, last=last)

    def gone_back(self, why: str, at: str) -> Update:
        """The good model gives way to the one before it."""
        title = self.good.title if self.good is not None else ""
        last = Last(ending="rolled_back", title=title, why=why, at=at)
        return self._with(good=self.former, former=None, last=last)


class Remembered(Kept):
    """The state file."""

    version: Literal[1] = 1
    pipelines: dict[str, Update] = {}

"""What is asked of `edge optimize prune`; known, and refused, before anything heavy is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from edge.errors import ConfigError

Scope: TypeAlias = Literal["layer", "global"]
MOST_ROUNDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked for."""

    structured: bool
    sparsity: float
    """The share of channels, or of weights, that shall go."""
    epochs: int
    rounds: int
    """Of structured pruning."""
    scope: Scope
    """Of unstructured pruning."""
    samples: int
    """At most so many of the training part calibrate int8."""
    seconds: float
    """Each model is timed so long."""

    def check(self) -> None:
        """Raise ConfigError where a number will not do."""
        if not 0 < self.sparsity < 1:
            raise ConfigError(
                f"--sparsity must be more than 0 and less than 1, not {self.sparsity:g}"
            )
        if not 1 <= self.rounds <= MOST_ROUNDS:
            raise ConfigError(f"--rounds must be from 1 to {MOST_ROUNDS}, not {self.rounds}")
        if self.structured and self.epochs < self.rounds:
            raise ConfigError(
                f"--epochs {self.epochs}: at least one is needed for each of {self.rounds} rounds"
            )

"""What is asked of `edge optimize distill`; known, and refused, before anything heavy is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from edge.errors import ConfigError

HIGHEST_TEMPERATURE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked for."""

    temperature: float
    alpha: float
    """The weight of the true classes; the teacher's answers have the rest."""
    features: tuple[tuple[str, str], ...]
    """Layers of the teacher and the student that shall give alike."""
    epochs: int
    fresh: bool
    """The student's weights are drawn anew."""
    seed: int
    samples: int
    """At most so many of the training part calibrate int8."""
    seconds: float
    """Each model is timed so long."""

    def check(self) -> None:
        """Raise ConfigError where a number will not do."""
        if not 0 < self.temperature <= HIGHEST_TEMPERATURE:
            raise ConfigError(
                f"--temperature must be more than 0 and at most {HIGHEST_TEMPERATURE}, not "
                f"{self.temperature:g}"
            )
        if not 0 <= self.alpha < 1:
            raise ConfigError(
                f"--alpha must be from 0 to less than 1, not {self.alpha:g}: 1 leaves nothing to "
                "the teacher"
            )


def pairs(words: list[str]) -> tuple[tuple[str, str], ...]:
    """Return layers of the teacher and the student, written TEACHER=STUDENT."""
    found = []
    for word in words:
        theirs, equals, ours = word.partition("=")
        if not theirs or not equals or not ours:
            raise ConfigError(f"--feature {word!r}: write TEACHER_LAYER=STUDENT_LAYER")
        found.append((theirs, ours))
    return tuple(found)

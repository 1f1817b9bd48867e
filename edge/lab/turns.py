"""Alternation: subjects take turns, so that whatever disturbs the machine hits all alike."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")


def in_turns(
    subjects: Sequence[T], wants_more: Callable[[T], bool], *, seed: int = 0
) -> Iterator[T]:
    """Yield the subjects, each once a round, until none of them wants more.

    Every round has an order of its own, drawn from the seed: no subject always follows the same
    other one, or falls in step with something that comes round on the machine.
    """
    order = random.Random(seed)  # noqa: S311  no secret
    while left := [subject for subject in subjects if wants_more(subject)]:
        order.shuffle(left)
        for subject in left:
            if wants_more(subject):  # it may have died since the round began
                yield subject

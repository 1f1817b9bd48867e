"""A broker that is away is asked for again soon, and ever more rarely."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge.mqtt.pauses import FIRST_S, LONGEST_S, Pauses

if TYPE_CHECKING:
    import pytest


def test_after_an_outage_the_last_pause_is_a_part_of_it_and_never_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    pauses, began_s = Pauses(), now_s
    while now_s < began_s + 600:
        away_s = now_s - began_s
        pause_s = pauses.next_s()
        assert FIRST_S[0] <= pause_s <= LONGEST_S
        assert pause_s <= max(FIRST_S[1], 0.75 * away_s)
        if away_s > 120:
            assert pause_s >= 30 * FIRST_S[0]
        now_s += pause_s
    pauses.is_there()
    now_s += 60
    assert pauses.next_s() <= FIRST_S[1]

"""Generated scenes as a source: seeded, paced as asked, with their true labels."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from edge.sources.scene import SCENE_S, UNPACED_FPS, SceneOptions

NEVER = threading.Event()


def frames(count: int, **options: Any) -> list[tuple[str | None, np.ndarray[Any, Any]]]:
    """Return the truth and the pixels of the first frames."""
    source = SceneOptions.model_validate({"type": "scene", "fps": None, **options}).make()
    source.open()
    found = []
    for number in range(count):
        grabbed = source.grab(NEVER)
        assert grabbed is not None
        assert grabbed.number == number
        found.append((grabbed.truth, np.array(source.retrieve())))
    return found


def test_a_frame_is_of_the_size_asked_for_and_says_which_digits_are_in_it() -> None:
    ((truth, pixels),) = frames(1, width=200, height=150, digits=4)
    assert pixels.shape == (150, 200, 3)
    assert pixels.dtype == np.uint8
    assert truth is not None
    assert truth.split() == sorted(truth.split())
    assert len(truth.split()) == 4
    assert set(truth.split()) <= set("0123456789")


def test_the_same_seed_gives_the_same_film_and_the_digits_move_in_it() -> None:
    one, again, other = (frames(3, width=96, height=96, seed=seed) for seed in (5, 5, 6))
    for (truth, pixels), (same_truth, same) in zip(one, again, strict=True):
        assert truth == same_truth
        assert (pixels == same).all()
    assert (one[0][1] != other[0][1]).any()
    assert (one[0][1] != one[2][1]).any()


def test_another_scene_comes_after_a_while_and_it_is_the_next_seeds() -> None:
    film = frames(round(SCENE_S * UNPACED_FPS) + 1, width=64, height=64, digits=1, seed=2)
    ((truth, pixels),) = frames(1, width=64, height=64, digits=1, seed=3)
    assert len({truth for truth, _ in film[:-1]}) == 1
    assert film[-1][0] == truth
    assert (film[-1][1] == pixels).all()


def test_without_digits_there_is_nothing_to_be_found() -> None:
    assert frames(1, digits=0)[0][0] == ""


def test_with_a_rate_it_is_live_and_without_one_it_is_pulled() -> None:
    live = SceneOptions(type="scene", fps=200, width=64, height=64)
    assert (live.live, live.rate) == (True, 200)
    pulled = SceneOptions(type="scene", fps=None)
    assert (pulled.live, pulled.rate) == (False, None)
    source = live.make()
    source.open()
    stamps = []
    for _ in range(3):
        grabbed = source.grab(NEVER)
        assert grabbed is not None
        stamps.append(grabbed.captured_ns)
    assert stamps == sorted(stamps)
    assert source.due_ns() is not None
    stop = threading.Event()
    stop.set()
    assert source.grab(stop) is None
    assert pulled.make().grab(stop) is None


@pytest.mark.parametrize("wrong", [{"width": 32}, {"digits": 6}, {"fps": 0}, {"seed": -1}])
def test_what_cannot_be_drawn_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SceneOptions.model_validate({"type": "scene", **wrong})


@pytest.mark.parametrize(("width", "height"), [(64, 64), (320, 64), (64, 320), (400, 300)])
def test_there_are_as_many_as_find_room_whatever_the_shape(width: int, height: int) -> None:
    for seed in range(0, 40, 8):
        for digits in (1, 5):
            ((truth, _),) = frames(1, width=width, height=height, digits=digits, seed=seed)
            assert truth is not None
            assert 1 <= len(truth.split()) <= digits

"""Pictures of what a pipeline sees: taken only when asked, of the frame that the result is of."""

from __future__ import annotations

import queue
from typing import Any

import cv2
import numpy as np
import pytest

from edge.sources.base import ModelInput
from edge.wire import Done, Look, Picture
from edge.worker.lens import Lens, draw
from edge.worker.mailbox import Slot

LONG_S = 20.0


def done(frame: int = 7, *labels: str) -> Done:
    predictions: list[Any] = [{"label": label, "score": 0.5} for label in labels]
    return Done(frame, 0, 0, 0, 0, 0, 0, "", None, predictions)


def slot() -> Slot:
    way: Any = None
    return Slot(np.zeros(1), way)


def picture(height: int, width: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)


def decoded(jpeg: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


class Asked:
    """A lens and what it said."""

    def __init__(self) -> None:
        self.said: queue.Queue[Any] = queue.Queue()
        self.lens = Lens(self.said.put)

    def frame(self, pixels: Any) -> Slot:
        """Let a frame go the whole way; its source writes into the same memory again."""
        held = slot()
        self.lens.captured(held, pixels)
        return held

    def answer(self, held: Slot, number: int) -> None:
        if held.picture is not None:
            self.lens.answered(held, done(number, "cat"))


def test_nobody_asks_and_nothing_is_copied() -> None:
    asked = Asked()
    held = asked.frame(picture(48, 64))
    assert held.picture is None


def test_who_asks_gets_the_frame_that_the_result_is_of() -> None:
    asked = Asked()
    asked.lens.ask(Look(100_000))
    pixels = np.full((240, 320, 3), 200, np.uint8)
    held = asked.frame(pixels)
    pixels[:] = 0  # the source's memory is written again
    asked.answer(held, 1)
    found = asked.said.get(timeout=LONG_S)
    assert isinstance(found, Picture)
    assert found.frame == 1
    assert decoded(found.jpeg)[:200].mean() == pytest.approx(200, abs=2)
    assert asked.frame(pixels).picture is None  # one picture for one question


def test_frames_on_their_way_meanwhile_give_no_second_picture() -> None:
    asked = Asked()
    asked.lens.ask(Look(100_000))
    first, second = asked.frame(picture(48, 64)), asked.frame(picture(48, 64))
    asked.answer(first, 1)
    asked.answer(second, 2)
    assert asked.said.get(timeout=LONG_S).frame == 1
    assert asked.said.empty()
    assert second.picture is None


def test_a_source_without_pictures_says_so() -> None:
    asked = Asked()
    asked.lens.ask(Look(100_000))
    asked.answer(asked.frame(ModelInput(b"\0")), 1)
    assert asked.said.get(timeout=LONG_S) == Picture(
        b"", 1, "the source gives no pictures, but the model's input itself"
    )


@pytest.mark.parametrize("max_bytes", [8 * 1024, 32 * 1024, 128 * 1024])
@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (8, 8), (2000, 20), (20, 2000)])
def test_a_picture_of_noise_keeps_to_its_bound(height: int, width: int, max_bytes: int) -> None:
    jpeg = draw(picture(height, width), done(1, "cat", "dög"), max_bytes=max_bytes)
    assert 0 < len(jpeg) <= max_bytes
    assert max(decoded(jpeg).shape[:2]) <= 1280 + 200


def test_the_predictions_are_written_on_it() -> None:
    black = np.zeros((240, 320, 3), np.uint8)
    with_one = decoded(draw(black, done(1, "cat"), max_bytes=100_000))
    with_two = decoded(draw(black, done(1, "cat", "dog"), max_bytes=100_000))
    assert with_one[:240].max() < 30  # the frame itself is not written over
    assert with_one[240:].max() > 200
    assert with_two.shape[0] > with_one.shape[0]


def found(label: str, x: float, y: float) -> dict[str, Any]:
    return {"label": label, "score": 0.5, "x": x, "y": y}


def test_a_ring_and_the_label_stand_where_something_was_found() -> None:
    grey = np.full((480, 640, 3), 128, np.uint8)
    objects = [found("7", 0.25, 0.5), found("cat", 0.99, 0.02)]
    shown = decoded(draw(grey, done(1)._replace(predictions=objects), max_bytes=100_000))
    changed = np.abs(shown[:480].astype(int) - 128).max(axis=2) > 60
    around = changed[240 - 30 : 240 + 30, 160 - 30 : 160 + 30]
    assert around.any()
    assert not changed[236:244, 156:164].any(), "what was found is not written over"
    assert changed[230:250, 178:260].any(), "its label is beside it"
    assert changed[:40, 500:].any(), "that of one at the edge is in the picture, too"
    assert not changed[60:200].any()
    assert not changed[280:].any()
    assert (grey == 128).all(), "the frame itself is left as it was"


def test_a_bound_that_nothing_fits_into_gives_nothing() -> None:
    assert draw(picture(100, 100), done(), max_bytes=10) == b""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edge.errors import ConfigError
from edge.scenery.glyphs import MARGIN, Ink, Pose, held_out_glyphs, paint
from edge.scenery.scenes import CONTRAST, PERIOD_S, Background, Scene
from edge.scenery.textures import KINDS, colour_of, luminance, texture
from edge.workshop.digits import split_digits
from edge.workshop.glyphs import PARTS, PartName, glyphs

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME_S = 1 / 30


def a_scene(
    seed: int,
    size: tuple[int, int] = (96, 96),
    digits: int = 3,
    part: PartName = "training",
    **options: Any,
) -> Scene:
    return Scene(seed, size, digits, glyphs=glyphs(part), **options)


def centres(boxes: NDArray[np.int32]) -> NDArray[np.float64]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def test_the_same_seed_gives_the_same_pixels_and_another_one_others() -> None:
    one, again, other = a_scene(3), a_scene(3), a_scene(4)
    for t in (0.0, 0.4, 7.25):
        mine, same = one.frame(t), again.frame(t)
        assert (mine.pixels == same.pixels).all()
        assert (mine.boxes == same.boxes).all()
        assert (mine.labels == same.labels).all()
        assert (mine.pixels != other.frame(t).pixels).any()


def test_frames_may_be_asked_for_in_any_order() -> None:
    scene = a_scene(8)
    forward = [scene.frame(t).pixels for t in (0.0, 1.0, 2.0)]
    backward = [scene.frame(t).pixels for t in (2.0, 1.0, 0.0)]
    assert all((a == b).all() for a, b in zip(forward, reversed(backward), strict=True))


@pytest.mark.parametrize("size", [(96, 96), (64, 64), (320, 240), (150, 90)])
def test_a_frame_is_what_it_says(size: tuple[int, int]) -> None:
    frame = a_scene(1, size, 2).frame(0)
    assert frame.pixels.shape == (size[1], size[0], 3)
    assert frame.pixels.dtype == np.uint8
    assert frame.boxes.shape == (2, 4)
    assert frame.boxes.dtype == np.int32
    assert frame.labels.shape == (2,)
    assert set(frame.labels.tolist()) <= set(range(10))


def test_a_scene_without_digits_is_a_background() -> None:
    frame = a_scene(1, digits=0).frame(0)
    assert frame.boxes.shape == (0, 4)
    assert frame.labels.shape == (0,)
    assert frame.pixels.std() > 0


def test_all_its_digits_stay_in_the_picture_and_apart_from_one_another() -> None:
    for seed, digits in itertools.product(range(6), (1, 3, 5)):
        scene = a_scene(seed, (96, 96), digits)
        labels = scene.frame(0).labels
        for t in np.arange(0, PERIOD_S, 0.35):
            frame = scene.frame(t)
            assert (frame.labels == labels).all()
            left, top, right, bottom = frame.boxes.T
            assert (left >= 0).all()
            assert (top >= 0).all()
            assert (right <= 96).all()
            assert (bottom <= 96).all()
            assert ((right - left) * (bottom - top) >= 40).all()
            for a, b in itertools.combinations(centres(frame.boxes), 2):
                assert np.abs(a - b).max() >= 10


def test_digits_move_smoothly_and_the_film_has_no_seam() -> None:
    scene = a_scene(11, (160, 120), 3)
    film = [centres(scene.frame(number * FRAME_S).boxes) for number in range(round(PERIOD_S * 30))]
    steps = [float(np.max(np.abs(b - a))) for a, b in itertools.pairwise([*film, film[0]])]
    assert max(steps) <= 5  # pixels in a 30th of a second
    assert float(np.max(np.array(film).std(axis=0))) >= 5  # and yet they get about


def test_a_box_holds_what_the_digit_changed_in_the_picture() -> None:
    ink = glyphs("training").ink
    for number in range(0, 40, 3):
        plain = np.full((60, 70, 3), 90, np.uint8)
        painted = plain.copy()
        pose = Pose(33.5, 28.25, 26, angle=0.2, shear=-0.1, width=1.1)
        box = paint(painted, ink[number], pose, Ink((230, 240, 250), sharpness=8))
        changed = cv2.boundingRect((painted[..., 0] > 160).astype(np.uint8))
        assert box == (changed[0], changed[1], changed[0] + changed[2], changed[1] + changed[3])


def test_a_digit_keeps_its_shape_when_it_is_painted_larger() -> None:
    held_out = glyphs("held_out")
    for glyph in held_out.ink[:20]:
        picture = np.zeros((64, 64, 3), np.uint8)
        paint(picture, glyph, Pose(32, 32, 64), Ink((255, 255, 255), sharpness=1))
        small = cv2.resize(picture[..., 0], (8, 8), interpolation=cv2.INTER_AREA)
        inner = glyph[MARGIN:-MARGIN, MARGIN:-MARGIN]
        assert np.corrcoef(small.ravel(), inner.ravel())[0, 1] > 0.9


def test_the_bundled_sheet_holds_the_glyphs_that_are_held_out() -> None:
    of_the_sheet, of_the_data = held_out_glyphs(), glyphs("held_out")
    assert (of_the_sheet.ink == of_the_data.ink).all()
    assert (of_the_sheet.labels == of_the_data.labels).all()
    assert of_the_sheet.number == of_the_data.number


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_has_a_texture_of_the_kinds_asked_for(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    for name, pattern in KINDS.items():
        noting = functools.partial(_noting, drawn, name, pattern)
        monkeypatch.setitem(KINDS, name, noting)
    for seed in range(8):
        a_scene(seed, digits=1, kinds=[kind])
    assert set(drawn) == {kind}
    for seed in range(40):
        a_scene(seed, digits=1)
    assert set(drawn) == set(KINDS)


def _noting(drawn: list[str], name: str, pattern: Any, *arguments: Any) -> Any:
    drawn.append(name)
    return pattern(*arguments)


def test_a_digit_beyond_the_edge_has_no_box_and_a_cut_one_the_part_that_is_seen() -> None:
    glyph, white = glyphs("training").ink[0], Ink((255, 255, 255))
    picture = np.zeros((40, 40, 3), np.uint8)
    assert paint(picture, glyph, Pose(200, 10, 20), white) is None
    assert not picture.any()
    box = paint(picture, glyph, Pose(40, 20, 30), white)
    assert box is not None
    assert box[2] == 40


def test_no_glyph_is_in_two_parts_and_they_are_the_split_of_the_digits_model() -> None:
    drawn = [glyphs(part) for part in PARTS]
    seen = [{glyph.tobytes() for glyph in each.ink} for each in drawn]
    assert [len(each.labels) for each in drawn] == [1077, 180, 540]
    for one, other in itertools.combinations(seen, 2):
        assert not one & other
    held_out = split_digits(0).test
    assert (drawn[2].labels == held_out.y).all()
    inner = slice(MARGIN, -MARGIN)
    assert (drawn[2].ink[:, inner, inner] == held_out.x[..., 0]).all()


def test_the_same_seed_has_another_background_in_another_part() -> None:
    drawn = [a_scene(5, digits=0, part=part).frame(0).pixels for part in PARTS]
    for one, other in itertools.combinations(drawn, 2):
        assert (one != other).any(axis=2).mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_texture_uses_the_whole_of_its_range(kind: str) -> None:
    for seed in range(10):
        values = KINDS[kind](np.random.default_rng(seed), (48, 40))
        assert values.shape == (40, 48)
        assert values.dtype == np.float32
        assert -1.001 <= np.min(values) < -0.4
        assert 0.4 < np.max(values) <= 1.001


def test_a_texture_keeps_to_its_two_luminances() -> None:
    for seed in range(30):
        pixels = texture(np.random.default_rng(seed), (48, 40), 120, 30)
        levels = pixels @ np.array([0.114, 0.587, 0.299])
        assert 88 <= levels.min() < levels.max() <= 152


def test_a_colour_has_the_luminance_asked_for() -> None:
    rng = np.random.default_rng(0)
    for level in (0, 5, 100, 200, 255):
        for _ in range(20):
            colour = colour_of(rng, level)
            assert luminance(colour) == pytest.approx(level)
            assert min(colour) >= -1e-9
            assert max(colour) <= 255 + 1e-9


def test_ink_stands_out_from_the_texture() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        drawn = Background.draw(rng, (64, 64), glyphs("training"), scale_px=20)
        level = luminance(drawn.ink_colour(rng))
        assert abs(level - drawn.level) >= drawn.spread + CONTRAST - 1e-6


def test_too_many_digits_are_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="40 digits of 20 to 34 pixels find no room in 96x96"):
        a_scene(0, (96, 96), 40)
    with pytest.raises(ConfigError, match="at least 16x16 pixels"):
        a_scene(0, (8, 8), 1)

"""What `cache: {mode: similar}` takes for the same scene, and what not, on real pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from asker import Asker, a_pipeline

from edge.config.cache import Cache
from edge.config.model import Model
from edge.tensors import TensorSpec
from edge.worker.cache import SimilarCache
from edge.worker.prepare import prepare
from edge.worker.preprocess import Preprocessor

if TYPE_CHECKING:
    from numpy.typing import NDArray

PHOTOS = ["cat_720p.jpg", "grace_hopper.bmp", "face.jpg", "traffic/0001.bmp"]
MODELS = [
    "mobilenet_v1_0.25_128_quant",  # uint8 [1, 128, 128, 3]
    "fomo_face_96",  # int8 [1, 96, 96, 3]
    "mobilenet_v2_1.0_224_quant",  # uint8 [1, 224, 224, 3]
]


class Camera:
    """Shows pictures to a pipeline's preprocessor and its cache."""

    def __init__(self, testdata: Path, model: str, **cache: Any) -> None:
        path = testdata / "models" / f"{model}.tflite"
        ready = prepare(a_pipeline(path, decode="raw", mode="similar", **cache))
        self.ask = Asker(ready.cache)
        self.preprocess = ready.preprocess
        self.tensor = ready.preprocess.buffer()

    def __call__(self, picture: NDArray[Any], at_ms: float = 0) -> int:
        self.preprocess(picture, self.tensor)
        return self.ask(self.tensor, at_ms)


def photo(testdata: Path, name: str) -> NDArray[Any]:
    """A photograph as a 720p camera would deliver it."""
    picture = cv2.imread(str(testdata / "images" / name))
    assert picture is not None
    return cv2.resize(picture, (1280, 720), interpolation=cv2.INTER_AREA)


def noisy(picture: NDArray[Any], seed: int, sigma: float = 6) -> NDArray[Any]:
    """The same scene through a sensor's noise and a camera's JPEG."""
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    seen = np.clip(picture + noise, 0, 255).astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, 85])
    decoded = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", PHOTOS)
def test_a_still_scene_with_sensor_noise_is_a_hit(testdata: Path, model: str, name: str) -> None:
    camera, scene = Camera(testdata, model), photo(testdata, name)
    assert [camera(noisy(scene, seed)) for seed in range(4)] == [0, 0, 0, 0]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", PHOTOS)
def test_another_scene_is_a_miss(testdata: Path, model: str, name: str) -> None:
    camera = Camera(testdata, model)
    for number, each in enumerate(PHOTOS):
        assert camera(photo(testdata, each)) == number
    assert camera(photo(testdata, name)) == PHOTOS.index(name)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", PHOTOS)
def test_something_small_that_enters_the_scene_is_a_miss_wherever_it_stands(
    testdata: Path, model: str, name: str
) -> None:
    # 1/16 of the width and of the height: it covers at least one whole cell. The mean of
    # the picture moves by less than 0.1 levels of 255.
    camera, scene = Camera(testdata, model), photo(testdata, name)
    camera(scene)
    for seed in range(10):
        chance = np.random.default_rng(seed)
        x, y = int(chance.integers(1280 - 80)), int(chance.integers(720 - 45))
        behind = scene[y : y + 45, x : x + 80].astype(int)
        step = 20 if behind.mean() < 128 else -20
        changed = scene.copy()
        changed[y : y + 45, x : x + 80] = np.clip(behind + step, 0, 255)
        assert abs(float(changed.mean()) - float(scene.mean())) < 0.1
        assert camera(noisy(changed, seed)) == camera.ask.frame


def test_a_small_photograph_in_the_scene_is_a_miss(testdata: Path) -> None:
    camera, scene = Camera(testdata, MODELS[2]), photo(testdata, "grace_hopper.bmp")
    camera(scene)
    visitor = cv2.resize(photo(testdata, "parrot.jpg"), (64, 36), interpolation=cv2.INTER_AREA)
    for x, y in ((0, 0), (613, 341), (1216, 684)):
        changed = scene.copy()
        changed[y : y + 36, x : x + 64] = visitor
        assert camera(changed) == camera.ask.frame


def test_a_change_of_colour_alone_is_a_miss(testdata: Path) -> None:
    # A traffic light: red and green of the same brightness.
    camera = Camera(testdata, MODELS[0])
    scene = np.full((720, 1280, 3), 90, np.uint8)
    scene[300:400, 600:700] = (0, 0, 196)  # BGR; 0.299 R = 0.587 G
    camera(scene)
    scene[300:400, 600:700] = (0, 100, 0)
    assert camera(scene) == 1


def test_a_slow_drift_is_measured_from_the_frame_that_was_run(testdata: Path) -> None:
    camera = Camera(testdata, MODELS[0], max_age_ms=3_600_000)
    answered = [camera(np.full((720, 1280, 3), 60 + level, np.uint8)) for level in range(60)]
    behind = [frame - ran for frame, ran in enumerate(answered)]
    assert max(behind) == 5  # levels: 0.02 of 255
    assert camera.ask.ran == list(range(0, 60, 6))


@pytest.mark.parametrize(("similarity", "levels"), [(1, 0), (0.99, 2), (0.98, 5), (0.9, 25)])
@pytest.mark.parametrize("model", MODELS)
def test_the_distance_is_in_shares_of_the_range_from_black_to_white(
    testdata: Path, model: str, similarity: float, levels: int
) -> None:
    camera = Camera(testdata, model, similarity=similarity)
    scene = np.full((720, 1280, 3), 100, np.uint8)
    assert camera(scene) == 0
    assert camera(scene + np.uint8(levels)) == 0
    assert camera(scene - np.uint8(levels)) == 0
    assert camera(scene + np.uint8(levels + 1)) == 3


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8"])
def test_with_mean_and_std_each_channel_is_measured_by_its_own_range(dtype: str) -> None:
    model = Model(path=Path("m.tflite"), mean=[120, 110, 100], std=[60, 80, 120])
    zero_point = {"float32": 0, "uint8": 128, "int8": 0}[dtype]
    spec = TensorSpec("x", (1, 64, 64, 3), dtype, scale=0.02, zero_point=zero_point)
    preprocess = Preprocessor(model, spec)
    ask = Asker(SimilarCache(Cache(mode="similar", similarity=0.9), preprocess))
    tensor = preprocess.buffer()

    def show(red: int, green: int, blue: int) -> int:
        preprocess(np.full((64, 64, 3), (blue, green, red), np.uint8), tensor)
        return ask(tensor)

    assert show(100, 100, 100) == 0
    assert [show(124, 124, 124), show(124, 76, 100)] == [0, 0]
    assert show(128, 100, 100) == 3
    assert show(100, 128, 100) == 4
    assert show(100, 100, 128) == 5


def test_an_input_with_no_number_in_it_is_never_similar() -> None:
    spec = TensorSpec("x", (1, 8, 8, 1), "float32")
    preprocess = Preprocessor(Model(path=Path("m.tflite")), spec)
    ask = Asker(SimilarCache(Cache(mode="similar", similarity=0.5), preprocess))
    nothing = np.full((1, 8, 8, 1), np.nan, np.float32)
    whole = np.zeros((1, 8, 8, 1), np.float32)
    assert [ask(nothing), ask(nothing), ask(whole), ask(whole)] == [0, 1, 2, 2]


def test_of_several_similar_pictures_the_most_similar_answers(testdata: Path) -> None:
    camera = Camera(testdata, MODELS[0], similarity=0.9)
    for level in (100, 130, 160):
        camera(np.full((720, 1280, 3), level, np.uint8))
    assert camera(np.full((720, 1280, 3), 118, np.uint8)) == 1
    assert camera(np.full((720, 1280, 3), 112, np.uint8)) == 0

"""A model proves itself on inputs whose answers are known; every file that is none is told so."""

from __future__ import annotations

import contextlib
import io
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config.model import Model
from edge.config.pipeline import Pipeline
from edge.engines.choose import choose, installed
from edge.engines.engine import Engine
from edge.engines.golden import Golden, Origin, read_golden, self_test, write_golden
from edge.engines.model_file import read_model_file
from edge.errors import GoldenError, GoldenFileError
from edge.worker import load_engine as loading
from edge.worker.load_engine import load_engine
from edge.worker.prepare import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models/digits/digits.tflite"
GOLDEN = ROOT / "models/digits/digits.golden.npz"
TELLING_BYTE = 5547  # of a convolution's weights: its highest bit moves an answer by 29 steps
BOTH = pytest.mark.parametrize("name", ["litert", "tflite-runtime"])


def engine(name: str = "auto", *, path: Path = DIGITS, threads: int = 1) -> Engine:
    if name == "tflite-runtime" and sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime has no wheel for Python 3.12 and newer")
    return Engine(path, choose(name), threads=threads)


def golden() -> Golden:
    digits = engine()
    return read_golden(GOLDEN, digits.inputs[0], digits.outputs)


def changed(of: Golden, place: tuple[int, ...], by: int) -> Golden:
    """Return a golden whose answers are all `by` more at one place of the first output."""
    answers = of.answers[0].copy()
    where: Any = (slice(None), *place)
    answers[where] += by
    return replace(of, answers=[answers])


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """The digits with one bit of one weight turned over."""
    data = bytearray(DIGITS.read_bytes())
    data[TELLING_BYTE] ^= 0x80
    path = tmp_path / "damaged.tflite"
    path.write_bytes(data)
    return path


@BOTH
@pytest.mark.parametrize("threads", [1, 3])
def test_the_digits_pass_on_each_engine(name: str, threads: int) -> None:
    found = self_test(engine(name, threads=threads), GOLDEN, steps=0)
    assert found["vectors"] == len(golden().inputs) == 16
    assert found["worst_steps"] == 0
    assert found["ms"] > 0


@BOTH
def test_one_turned_bit_of_a_weight_is_noticed(name: str, damaged: Path) -> None:
    digest = read_model_file(damaged).sha256
    with pytest.raises(GoldenError) as caught:
        self_test(engine(name, path=damaged), GOLDEN, steps=1, digest=digest)
    said = str(caught.value)
    assert said.startswith(f"{damaged}: on {name} {installed()[name]} it answers otherwise than")
    assert f"golden file {GOLDEN} says: input " in said
    assert " of 16, output StatefulPartitionedCall_1:0 at [0, " in said
    assert "29 steps apart (1 allowed)" in said
    assert "another build of the model (digits.tflite, sha256 2e0af40c5654" in said
    assert "\n" not in said
    assert self_test(engine(name, path=damaged), GOLDEN, steps=29)["worst_steps"] == 29


def test_a_value_is_told_in_real_units_and_in_quantized_ones(tmp_path: Path) -> None:
    right = golden().answers[0][0, 2, 0, 3]
    write_golden(changed(golden(), (2, 0, 3), 5), tmp_path / "wrong.npz")
    with pytest.raises(GoldenError) as caught:
        self_test(engine(), tmp_path / "wrong.npz", steps=1)
    (wrong, *_) = changed(golden(), (2, 0, 3), 5).answers[0][:, 2, 0, 3]
    was, is_ = ((int(each) + 128) / 256 for each in (right, wrong))
    told = f"at [0, 3] is {was:.4g} (quantized {right}), not {is_:.4g} (quantized {wrong})"
    assert f"input 3 of 16, output StatefulPartitionedCall_1:0 {told}" in str(caught.value)


def test_what_lies_between_two_right_answers_is_right(tmp_path: Path) -> None:
    inputs, answers = golden().inputs, golden().answers[0].copy()
    right = int(answers[0, 1, 0, 1])
    assert -100 < right < 100

    def steps_with(low: int, high: int) -> float:
        answers[:, 1, 0, 1] = low, high
        write_golden(Golden(inputs, [answers]), tmp_path / "two.npz")
        return self_test(engine(), tmp_path / "two.npz", steps=3)["worst_steps"]

    assert steps_with(right - 6, right + 9) == steps_with(right + 9, right - 6) == 0
    assert steps_with(right + 3, right + 9) == steps_with(right - 9, right - 3) == 3
    with pytest.raises(GoldenError, match=r"not 0\.\d+ \(quantized .* or .*: 4 steps apart"):
        steps_with(right + 4, right + 9)


def test_engines_differ_and_a_file_with_one_answer_says_so(testdata: Path, tmp_path: Path) -> None:
    path = testdata / "models/mobilenet_v1_0.25_128_quant.tflite"
    other, ours = engine("tflite-runtime", path=path), engine(path=path)
    inputs = np.random.default_rng(1).integers(0, 256, (4, *ours.inputs[0].shape), dtype=np.uint8)
    answers = np.stack([[ours.run(tensor)[0] for tensor in inputs]])
    origin = Origin(model="m.tflite", digest="0" * 64, engines=["litert 2.3.0 on pi"])
    write_golden(Golden(inputs, [answers], origin), tmp_path / "one.npz")
    assert self_test(ours, tmp_path / "one.npz", steps=0)["worst_steps"] == 0
    with pytest.raises(GoldenError, match=r"has the answers of litert 2\.3\.0 on pi, and others"):
        self_test(other, tmp_path / "one.npz", steps=1)
    both = np.stack([answers[0], [other.run(tensor)[0] for tensor in inputs]])
    write_golden(Golden(inputs, [both], origin), tmp_path / "both.npz")
    for each in (ours, other):
        assert self_test(each, tmp_path / "both.npz", steps=0)["worst_steps"] == 0


def test_a_float_output_has_255_steps(testdata: Path, tmp_path: Path) -> None:
    pose = engine(path=testdata / "models/movenet_single_pose_lightning_ptq.tflite")
    inputs = np.full((1, *pose.inputs[0].shape), 90, np.uint8)
    answers = pose.run(inputs[0])[0][np.newaxis, np.newaxis]
    step = float(answers.max()) / 255
    smallest = np.unravel_index(int(np.argmin(answers)), answers.shape)
    answers[smallest] += 4 * step
    write_golden(Golden(inputs, [answers]), tmp_path / "pose.npz")
    assert self_test(pose, tmp_path / "pose.npz", steps=4.1)["worst_steps"] == pytest.approx(4)
    with pytest.raises(GoldenError, match=r": 4 steps apart \(1 allowed\)"):
        self_test(pose, tmp_path / "pose.npz", steps=1)


def test_a_map_of_classes_may_differ_in_a_hundredth_of_its_values_a_step(
    testdata: Path, tmp_path: Path
) -> None:
    parts = engine(path=testdata / "models/deeplabv3_mnv2_dm05_pascal_quant.tflite")
    inputs = np.zeros((1, *parts.inputs[0].shape), np.uint8)
    answers = parts.run(inputs[0])[0][np.newaxis, np.newaxis]
    answers[0, 0, 0, 0, :12] += 1  # of 513 x 513
    write_golden(Golden(inputs, [answers]), tmp_path / "few.npz")
    assert 0 < self_test(parts, tmp_path / "few.npz", steps=1)["worst_steps"] < 0.01
    answers[0, 0, 0, 10:20] += 1
    write_golden(Golden(inputs, [answers]), tmp_path / "many.npz")
    with pytest.raises(GoldenError, match=r"; 1\.95 % of its values are wrong \(1 % are allowed\)"):
        self_test(parts, tmp_path / "many.npz", steps=1)


def test_the_same_golden_is_the_same_file_and_comes_back(tmp_path: Path) -> None:
    write_golden(golden(), tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == GOLDEN.read_bytes()
    with np.load(GOLDEN, allow_pickle=False) as file:
        assert sorted(file) == ["input", "origin", "output_0"]
        assert file["output_0"].shape == (2, 16, 1, 10)
    origin = golden().origin
    assert origin is not None
    assert origin.digest == read_model_file(DIGITS).sha256


# What prepare makes of it.


def a_pipeline(path: Path, **model: Any) -> Pipeline:
    return Pipeline.model_validate(
        {"source": {"type": "synthetic"}, "model": {"path": path, **model}}
    )


def test_a_pipeline_tells_how_it_did() -> None:
    ready = prepare(a_pipeline(DIGITS, golden=str(GOLDEN))).ready
    assert ready.golden is not None
    assert ready.golden["vectors"] == 16
    assert prepare(a_pipeline(DIGITS)).ready.golden is None


def test_a_wrong_model_is_refused_on_every_engine(damaged: Path) -> None:
    with pytest.raises(GoldenError) as caught:
        prepare(a_pipeline(damaged, golden=str(GOLDEN)))
    assert str(caught.value).endswith("does no better") == (len(installed()) > 1)
    with pytest.raises(GoldenError):
        prepare(a_pipeline(damaged, golden=str(GOLDEN), engine="litert"))
    assert prepare(a_pipeline(damaged, golden={"path": GOLDEN, "steps": 29})).ready.golden


def test_auto_makes_way_for_the_engine_that_answers_right(testdata: Path, tmp_path: Path) -> None:
    path = testdata / "models/mobilenet_v1_0.25_128_quant.tflite"
    other = engine("tflite-runtime", path=path)
    inputs = np.random.default_rng(1).integers(0, 256, (4, *other.inputs[0].shape), dtype=np.uint8)
    answers = np.stack([[other.run(tensor)[0] for tensor in inputs]])
    write_golden(Golden(inputs, [answers]), tmp_path / "other.npz")
    prepared = prepare(a_pipeline(path, golden=str(tmp_path / "other.npz")))
    assert prepared.ready.engine == prepared.engine.choice.name == "tflite-runtime"
    assert "fails the golden self-test" in prepared.ready.engine_reason
    (refusal,) = prepared.refusals
    assert refusal.startswith(f"the engine litert is not used: {path}: on litert ")
    with pytest.raises(GoldenError, match="on litert"):
        prepare(a_pipeline(path, golden=str(tmp_path / "other.npz"), engine="litert"))


class CountingEngine(Engine):
    """Knows how many inputs it was given."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.runs = 0

    def run(self, tensor: NDArray[Any]) -> list[NDArray[Any]]:
        self.runs += 1
        return super().run(tensor)


@pytest.mark.parametrize("keeps_state", [False, True])
def test_frames_of_a_model_with_state_find_no_trace_of_the_test(
    keeps_state: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "Engine", CountingEngine)
    summary = replace(read_model_file(DIGITS), keeps_state=keeps_state)
    model = Model.model_validate({"path": DIGITS, "golden": str(GOLDEN)})
    loaded = load_engine(model, choose("litert"), summary)
    assert isinstance(loaded.engine, CountingEngine)
    assert loaded.engine.runs == (0 if keeps_state else 16)
    assert loaded.golden is not None


# Files that are no golden file.


def refusal(path: Path) -> str:
    with pytest.raises(GoldenFileError) as caught:
        self_test(engine(), path, steps=1)
    said = str(caught.value)
    assert said.startswith(f"{path}: the golden file ")
    assert "\n" not in said
    return said.removeprefix(f"{path}: the golden file ")


INPUT, OUTPUT = golden().inputs, golden().answers[0]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"input": INPUT}, "has no array 'output_0'; it has input.npy"),
        ({"output_0": OUTPUT}, "has no array 'input'; it has output_0.npy"),
        (
            {"input": INPUT, "output_0": OUTPUT, "output_1": OUTPUT},
            "holds output_1.npy, which belongs to no output: the model has 1",
        ),
        (
            {"input": INPUT.view(np.uint8), "output_0": OUTPUT},
            "has input of uint8 [16, 1, 8, 8, 1], and the model needs int8 [vectors, 1, 8, 8, 1]",
        ),
        (
            {"input": INPUT[..., :4, :], "output_0": OUTPUT},
            "has input of int8 [16, 1, 8, 4, 1], and the model needs int8 [vectors, 1, 8, 8, 1]",
        ),
        (
            {"input": INPUT, "output_0": OUTPUT[0]},
            "has output_0 of int8 [16, 1, 10], and the model needs int8 [answers, vectors, 1, 10]",
        ),
        (
            {"input": INPUT[:3], "output_0": OUTPUT},
            "has 3 vectors in input and 16 in output_0",
        ),
        ({"input": INPUT[:0], "output_0": OUTPUT}, "has 0 vectors in input, and 1 to 64 are read"),
        (
            {"input": np.tile(INPUT, (5, 1, 1, 1, 1)), "output_0": OUTPUT},
            "has 80 vectors in input, and 1 to 64 are read",
        ),
        (
            {"input": np.array([{}, None]), "output_0": OUTPUT},
            "holds pickled objects in input, which are never read: save numbers",
        ),
        (
            {"input": np.asfortranarray(INPUT), "output_0": OUTPUT},
            "has input in Fortran order: save `numpy.ascontiguousarray` of it",
        ),
        (
            {"input": INPUT, "output_0": OUTPUT, "origin": np.array([1, 2])},
            "has an origin that is no text",
        ),
        (
            {"input": INPUT, "output_0": OUTPUT, "origin": np.array("{}")},
            "has an origin that says nothing of model, digest and engines",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_named(
    arrays: dict[str, NDArray[Any]], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type,unused-ignore]
    assert refusal(path) == reason


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def packed(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    no_archive = "is no .npz file, or is cut off or damaged"
    for content in (b"", b"not a zip", npy(INPUT), GOLDEN.read_bytes()[:-30]):
        path.write_bytes(content)
        assert refusal(path) == no_archive
    assert refusal(tmp_path) == "cannot be read: Is a directory"
    assert refusal(tmp_path / "none.npz") == "cannot be read: No such file or directory"
    with pytest.raises(GoldenFileError, match="cannot be written: No such file or directory"):
        write_golden(golden(), tmp_path / "no/folder.npz")


def test_damage_inside_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    good = {"input.npy": npy(INPUT), "output_0.npy": npy(OUTPUT)}
    assert self_test(engine(), packed(path, good), steps=1)
    for wrong in (b"", b"\x93NUMPY", b"garbage", npy(INPUT)[:100]):
        assert refusal(packed(path, good | {"input.npy": wrong})).startswith(
            "is damaged: input cannot be read: "
        )
    short = good | {"output_0.npy": npy(OUTPUT)[:-1]}
    expected = "is damaged: output_0 has 319 bytes, not those of [2, 16, 1, 10]"
    assert refusal(packed(path, short)) == expected
    data = bytearray(packed(path, good).read_bytes())
    data[data.index(INPUT.tobytes()) + 7] ^= 1
    path.write_bytes(data)
    assert refusal(path).startswith("is damaged: input cannot be read: Bad CRC-32")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = {"input.npy": npy(INPUT) + bytes(33 << 20), "output_0.npy": npy(OUTPUT)}
    path = packed(tmp_path / "bomb.npz", bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    assert refusal(path).startswith("holds 34,60")
    # One that declares less than it holds is read no further than that.
    data = path.read_bytes().replace(
        len(bomb["input.npy"]).to_bytes(4, "little"), (2000).to_bytes(4, "little")
    )
    path.write_bytes(data)
    assert refusal(path).startswith("is damaged: input cannot be read: ")
    for kind in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):  # they unpack more than they declare
        assert (
            refusal(packed(path, {**bomb, "input.npy": npy(INPUT)}, kind))
            == "is packed otherwise than numpy does"
        )
    path.write_bytes(bytes((32 << 20) + 1))
    assert refusal(path) == "has 33,554,433 bytes, and at most 33,554,432 are read"


SPECS = engine().inputs[0], engine().outputs


def read_or_refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with contextlib.suppress(GoldenFileError):
        read_golden(path, *SPECS)


@given(
    at=st.integers(0, len(GOLDEN.read_bytes()) - 1),
    garbage=st.binary(min_size=1, max_size=8),
    cut=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_any_damage_ends_in_one_message(
    tmp_path_factory: pytest.TempPathFactory, at: int, garbage: bytes, cut: bool
) -> None:
    content = bytearray(GOLDEN.read_bytes())
    content[at : at + len(garbage)] = garbage
    path = tmp_path_factory.getbasetemp() / f"fuzzed-{id(content)}.npz"
    read_or_refuse(path, bytes(content[:at] if cut else content))


@given(
    shape=st.text("0123456789,-() xL", max_size=20),
    descr=st.sampled_from(["'|i1'", "'|O'", "'<U9'", "[('a', '<i4')]", "'V0'", "(", "'>f8'"]),
    rest=st.binary(max_size=40),
    which=st.sampled_from(["input.npy", "output_0.npy", "origin.npy"]),
)
@settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_any_header_ends_in_one_message(
    tmp_path_factory: pytest.TempPathFactory, shape: str, descr: str, rest: bytes, which: str
) -> None:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + rest
    members = {"input.npy": npy(INPUT), "output_0.npy": npy(OUTPUT)} | {which: data}
    path = packed(tmp_path_factory.getbasetemp() / f"fuzzed-{id(members)}.npz", members)
    read_or_refuse(path, path.read_bytes())

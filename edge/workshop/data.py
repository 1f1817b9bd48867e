"""Reads the data a model is made and judged with: folders of pictures, or an .npz file.

Pictures become a model's input exactly as a device makes them; each sample is in one part only.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.errors import ConfigError, FrameError, SourceError
from edge.sources.images import find_files, read_frame
from edge.tensors import TensorSpec
from edge.worker.preprocess import Preprocessor
from edge.workshop.framework import bring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge.config.model import Model

TEST_SHARE = 0.3  # of data that has no test part of its own
VALIDATION_SHARE = 1 / 7  # of what is left
FEWEST_A_CLASS = 5  # of which one is held out, and one validates
FEWEST_UNLABELLED = 10
MAX_BYTES = 2 << 30  # of all samples as float32, for all are kept in memory
COLOURS = (1, 3)


@dataclass(frozen=True, slots=True)
class Input:
    """What a float model takes, and how a picture becomes it."""

    shape: tuple[int, ...]
    """Of one sample, without the batch."""
    model: Model
    """Its `resize`, `interpolation`, `colour`, `mean` and `std`, as in a device's YAML."""

    @property
    def spec(self) -> TensorSpec:
        """The input's tensor for one sample."""
        return TensorSpec("input", (1, *self.shape), "float32")

    @property
    def pixel_range(self) -> tuple[float, float]:
        """The least and the largest real value that a pixel of 0..255 becomes."""
        channels = self.shape[-1]
        mean, std = (
            np.resize(np.asarray(each, np.float64), channels)
            for each in (
                (self.model.mean, self.model.std) if self.model.mean is not None else (0.0, 255.0)
            )
        )
        ends = np.array([(0 - mean) / std, (255 - mean) / std])
        return float(ends.min()), float(ends.max())


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the samples, with their true classes."""

    x: NDArray[np.float32]
    """[n, *the input's shape]"""
    y: NDArray[np.int64]
    """[n], indices of classes; [0] where the data has no labels."""

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.x)


@dataclass(frozen=True, slots=True)
class Data:
    """A data set in three parts that share no sample."""

    training: Part
    validation: Part
    test: Part
    """Held out: neither training, early stopping nor calibration sees it."""
    classes: list[str]
    """Their names, in the order of the model's outputs; empty where the data has no labels."""
    digest: str
    """SHA-256: of an .npz file; of a folder that of `sha256sum`'s lines, sorted by path."""
    pictures: bool
    """Whether the samples were pixels, made into the input as a device does."""
    split: str
    """How the parts came about, in words."""
    named: bool = True
    """Whether the classes have names of their own; else they are numbers of outputs."""

    def without_labels(self) -> Data:
        """Return the same samples in the same parts, their labels forgotten."""
        training, validation, test = (
            Part(part.x, np.empty(0, np.int64))
            for part in (self.training, self.validation, self.test)
        )
        return replace(self, training=training, validation=validation, test=test, classes=[])

    @property
    def card(self) -> dict[str, Any]:
        """What a model's card says of it."""
        return {
            "sha256": self.digest,
            "classes": len(self.classes) or "no labels",
            "training": len(self.training),
            "validation": len(self.validation),
            "test": len(self.test),
            "split": self.split,
        }


def read_data(
    path: Path,
    form: Input,
    *,
    seed: int,
    labels: Sequence[str] = (),
    labelled: bool = True,
    on_sample: Callable[[], None] = lambda: None,
) -> Data:
    """Read a folder or an .npz file; `on_sample` hears of each picture read.

    A folder holds a folder of pictures for each class, or these below `train` and `test`; classes
    are sorted by name, numbers as numbers, where `labels` does not give their order. An .npz file
    holds `x` and `y`, or `x_train`, `y_train`, `x_test` and `y_test`, and perhaps `classes`. What
    has no test part is split by `seed`, each class in proportion. Unless it must be `labelled`,
    a folder of pictures without classes, or an .npz file without y, will do. Raises ConfigError,
    saying what is wrong, and where.
    """
    if not path.exists():
        raise ConfigError(f"{path}: there is no such folder or file")
    whole = path.is_dir()
    raw = _folder(path, form, labels, on_sample) if whole else _archive(path, form, labels)
    if labelled and raw.classes == []:
        raise ConfigError(f"{path}: has no labels: {_HOW_LABELS[whole]}")
    return _in_parts(raw, path, seed)


_HOW_LABELS = {
    True: "put its pictures into a folder for each class",
    False: "add y, the index of each sample's class",
}


def part_off(whole: Part, count: int, seed: int) -> tuple[Part, Part]:
    """Return the rest, and so many samples: each class in proportion, shuffled by the seed."""
    split = bring("sklearn.model_selection").train_test_split
    classes = whole.y if len(whole.y) else None
    rest, taken = split(np.arange(len(whole)), test_size=count, stratify=classes, random_state=seed)
    return _chosen(whole, rest), _chosen(whole, taken)


def _chosen(whole: Part, which: NDArray[np.int64]) -> Part:
    return Part(whole.x[which], whole.y[which] if len(whole.y) else whole.y)


@dataclass(frozen=True, slots=True)
class _Raw:
    """What was read, before it is split."""

    training: Part
    test: Part | None
    classes: list[str]
    digest: str
    pictures: bool
    named: bool = True


def _in_parts(raw: _Raw, path: Path, seed: int) -> Data:
    _check(raw, path)
    training, test = raw.training, raw.test
    split = "its own test part; "
    at_least = max(len(raw.classes), 1)
    if test is None:
        count = max(round(len(training) * TEST_SHARE), at_least)
        training, test = part_off(training, count, seed)
        split = f"{TEST_SHARE:.0%} held out for testing, "
    count = max(round(len(training) * VALIDATION_SHARE), at_least)
    training, validation = part_off(training, count, seed)
    share = len(validation) / (len(training) + len(validation))
    split += f"{share:.0%} of the rest for validation"
    split += f", each class in proportion, seed {seed}" if raw.classes else f", seed {seed}"
    return Data(training, validation, test, raw.classes, raw.digest, raw.pictures, split, raw.named)


def _check(raw: _Raw, path: Path) -> None:
    """Refuse what no figure could be trusted of."""
    for part in filter(None, (raw.training, raw.test)):
        if not np.isfinite(part.x).all():
            at = int(np.flatnonzero(~np.isfinite(part.x).reshape(len(part), -1).all(axis=1))[0])
            raise ConfigError(f"{path}: sample {at} holds NaN or infinity")
    if not raw.classes:
        if len(raw.training) < FEWEST_UNLABELLED:
            raise ConfigError(
                f"{path}: has {len(raw.training)} samples; at least {FEWEST_UNLABELLED} are needed"
            )
        return
    counts = np.bincount(raw.training.y, minlength=len(raw.classes)).tolist()
    held = [name for name, count in zip(raw.classes, counts, strict=True) if count]
    if len(held) == 1:
        raise ConfigError(
            f"{path}: all samples are of one class, {held[0]!r}: there is nothing to tell apart"
        )
    for name, count in zip(raw.classes, counts, strict=True):
        if 0 < count < FEWEST_A_CLASS:
            raise ConfigError(
                f"{path}: class {name!r} has {count} sample{'s' * (count > 1)} to train with; at "
                f"least {FEWEST_A_CLASS} are needed"
            )


def _folder(path: Path, form: Input, labels: Sequence[str], on_sample: Callable[[], None]) -> _Raw:
    halves = [path / "train", path / "test"]
    split = all(half.is_dir() for half in halves)
    roots = halves if split else [path]
    found = [list(_by_class(root)) for root in roots]
    classes = _in_order({name for files in found for name, _ in files if name is not None})
    if labels:
        unknown = [name for name in classes if name not in labels]
        if unknown:
            raise ConfigError(
                f"{path}: its folder {unknown[0]!r} is none of the labels ({len(labels)} are given)"
            )
        classes = list(labels) if classes else []
    for root, files in zip(roots, found, strict=True):
        stray = next((file for name, file in files if name is None), None)
        if classes and stray is not None:
            raise ConfigError(f"{stray}: lies in {root}, in none of its folders of classes")
    _refuse_too_many(path, sum(map(len, found)), form)
    parts = [_read_pictures(files, classes, form, on_sample) for files in found]
    digest = hashlib.sha256()
    for file in sorted(file for files in found for _, file in files):
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{sha256}  {file.relative_to(path)}\n".encode())
    return _Raw(parts[0], parts[1] if split else None, classes, digest.hexdigest(), pictures=True)


def _by_class(root: Path) -> Iterator[tuple[str | None, Path]]:
    """Yield each picture below a folder with its class, the first folder on the way to it."""
    try:
        files = find_files(root)
    except SourceError as error:
        raise ConfigError(str(error)) from error
    for file in files:
        inner = file.relative_to(root).parts
        if not any(part.startswith(".") for part in inner):
            yield (inner[0] if len(inner) > 1 else None), file


def _in_order(names: set[str]) -> list[str]:
    if all(name.isdecimal() for name in names):
        return sorted(names, key=int)
    return sorted(names)


def _read_pictures(
    files: list[tuple[str | None, Path]],
    classes: list[str],
    form: Input,
    on_sample: Callable[[], None],
) -> Part:
    preprocess = Preprocessor(form.model, form.spec)
    x = np.empty((len(files), *form.shape), np.float32)
    for at, (_, file) in enumerate(files):
        try:
            preprocess(read_frame(file, preprocess.reduction), x[at : at + 1])
        except FrameError as error:
            said = str(error)
            raise ConfigError(said if str(file) in said else f"{file}: {said}") from error
        on_sample()
    index = {name: at for at, name in enumerate(classes)}
    y = [index[name] for name, _ in files if name is not None] if classes else []
    return Part(x, np.array(y, np.int64))


def _archive(path: Path, form: Input, labels: Sequence[str]) -> _Raw:
    arrays = _read_arrays(path, form)
    names = set(arrays)
    split = {"x_train", "x_test"} <= names
    if not split and "x" not in names:
        raise ConfigError(
            f"{path}: must hold x and y, or x_train, y_train, x_test and y_test; it holds "
            f"{', '.join(sorted(names)) or 'nothing'}"
        )
    keys = [("x_train", "y_train"), ("x_test", "y_test")] if split else [("x", "y")]
    has_labels = [y in arrays for _, y in keys]
    if any(has_labels) != all(has_labels):
        raise ConfigError(f"{path}: only one of y_train and y_test is there")
    truths = [_indices(arrays[y], y, path) for _, y in keys] if all(has_labels) else []
    classes = _class_names(arrays, truths, labels, path) if truths else []
    pictures = all(_are_pixels(arrays[x], form) for x, _ in keys)
    parts = []
    for number, (name, y_name) in enumerate(keys):
        x = _samples(arrays[name], name, form, path, pictures=pictures)
        y = truths[number] if truths else np.empty(0, np.int64)
        if truths and len(x) != len(y):
            raise ConfigError(f"{path}: {name} has {len(x)} samples, {y_name} {len(y)} labels")
        parts.append(Part(x, y))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    named = bool(labels) or "classes" in arrays
    return _Raw(parts[0], parts[1] if split else None, classes, digest, pictures, named)


def _read_arrays(path: Path, form: Input) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        arrays = {}
        if unpacked <= MAX_BYTES:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # damage has many names: BadZipFile, ValueError, EOFError, zlib's
        if isinstance(error, ValueError) and "pickle" in str(error):
            raise ConfigError(f"{path}: holds pickled objects, which are never read") from error
        raise ConfigError(f"{path}: is no .npz file, or is damaged") from error
    if unpacked > MAX_BYTES:
        raise ConfigError(
            f"{path}: holds {unpacked >> 20:,} MB, and at most {MAX_BYTES >> 20:,} MB are read"
        )
    samples = max((len(each) for each in arrays.values() if each.ndim), default=0)
    _refuse_too_many(path, samples, form)
    return arrays


def _refuse_too_many(path: Path, samples: int, form: Input) -> None:
    needed = samples * math.prod(form.shape) * 4
    if needed > MAX_BYTES:
        raise ConfigError(
            f"{path}: its {samples:,} samples take {needed >> 20:,} MB as the model's input, and "
            f"at most {MAX_BYTES >> 20:,} MB are kept in memory: take fewer"
        )


def _indices(y: NDArray[Any], name: str, path: Path) -> NDArray[np.int64]:
    """Return the classes' indices, [n], of indices [n] or [n, 1]."""
    flat = y.reshape(len(y)) if y.ndim == 2 and y.shape[1:] == (1,) else y  # noqa: PLR2004
    if flat.ndim != 1 or flat.dtype.kind not in "iu" or (len(flat) and int(flat.min()) < 0):
        raise ConfigError(
            f"{path}: {name} is {y.dtype} {list(y.shape)}; it must be the index of each sample's "
            "class, from 0, as whole numbers"
        )
    return flat.astype(np.int64)


def _class_names(
    arrays: dict[str, NDArray[Any]],
    truths: list[NDArray[np.int64]],
    labels: Sequence[str],
    path: Path,
) -> list[str]:
    count = max((int(np.max(y, initial=-1)) for y in truths), default=-1) + 1
    names = list(labels) or [str(name) for name in arrays.get("classes", ())]
    if names and len(names) < count:
        raise ConfigError(f"{path}: has class {count - 1}, and only {len(names)} names are given")
    return names or [str(number) for number in range(count)]


def _are_pixels(x: NDArray[Any], form: Input) -> bool:
    """Whether they are 8-bit pictures for a model that takes pictures."""
    takes = len(form.shape) == 3 and form.shape[2] in COLOURS  # noqa: PLR2004
    grey = x.ndim == 3  # noqa: PLR2004  [n, height, width]
    return takes and x.dtype == np.uint8 and (grey or (x.ndim == 4 and x.shape[3] in COLOURS))  # noqa: PLR2004


def _samples(
    x: NDArray[Any], name: str, form: Input, path: Path, *, pictures: bool
) -> NDArray[np.float32]:
    """Return pictures as a device makes them, other numbers as they are: float32 [n, *shape]."""
    if pictures:
        preprocess = Preprocessor(form.model, form.spec)
        made = np.empty((len(x), *form.shape), np.float32)
        for picture, tensor in zip(x, made, strict=True):
            coloured = picture[..., np.newaxis] if picture.ndim == 2 else picture  # noqa: PLR2004
            # RGB to OpenCV's BGR; grey to three alike
            bgr = np.ascontiguousarray(
                np.broadcast_to(coloured, (*coloured.shape[:2], 3))[..., ::-1]
            )
            preprocess(bgr, tensor[np.newaxis])
        return made
    if x.dtype.kind not in "fiu":
        raise ConfigError(f"{path}: {name} is {x.dtype}: it must hold numbers")
    if (*x.shape[1:], 1) == form.shape:
        x = x[..., np.newaxis]
    if x.shape[1:] != form.shape:
        raise ConfigError(
            f"{path}: {name} is {x.dtype} {list(x.shape)}; the model takes samples of "
            f"{list(form.shape)}"
        )
    return x.astype(np.float32)

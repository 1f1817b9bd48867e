"""Image files, and files that hold a model's input, as frames."""

from __future__ import annotations

import glob
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from edge.errors import FrameError, SourceError
from edge.options import FilePath
from edge.sources import jpeg
from edge.sources.base import Grabbed, ModelInput, Source, SourceOptions, whole
from edge.sources.pacing import Pacer

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from typing_extensions import Self

IMAGE_SUFFIXES = frozenset(
    [".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)
TENSOR_SUFFIXES = frozenset([".npy", ".bin"])
KEPT_BYTES = 64 << 20  # decoded pictures of a looping source that stay in memory


class ImagesOptions(SourceOptions):
    """Pictures from files."""

    type: Literal["images"] = Field(description="Pictures from files.")
    path: FilePath | Annotated[list[FilePath], Field(min_length=1)] = Field(
        description="A folder (all its images, by name, with sub-folders), a file, a glob, or a "
        "list of these. Files named .npy and .bin hold a model's input as it is."
    )
    fps: float | None = Field(
        default=None,
        ge=0.0001,
        le=10_000,
        description="Frames a second: a live source. Without it each file is run once, in "
        "order, and none is dropped.",
    )
    loop: bool = Field(default=False, description="Begin again after the last.")
    truth: Literal["none", "folder", "name", "list"] = Field(
        default="none",
        description="Where the true label stands: the name of the file's `folder`; the file's "
        "`name` up to the first _, or its stem; or a `list`, a text file beside the picture of "
        "the same name with .txt, one label a line, a tile each.",
    )
    tile: int | None = Field(
        default=None,
        ge=1,
        le=8192,
        description="Each picture is a sheet of square tiles of so many pixels; every tile is "
        "a frame, row by row.",
    )

    @property
    def live(self) -> bool:
        """Whether it has a rate of its own."""
        return self.fps is not None

    @model_validator(mode="after")
    def _lists_go_with_sheets(self) -> Self:
        if self.truth == "list" and self.tile is None:
            raise ValueError("`truth: list` goes with `tile`: it names the true label of each tile")
        return self

    @property
    def rate(self) -> float | None:
        """Frames a second."""
        return self.fps

    def verify(self) -> None:
        """Find the files, as far as that can be said before the start."""
        for path in self.path if isinstance(self.path, list) else [self.path]:
            find_files(path)

    def make(self) -> Source:
        """Return the source these options describe, not yet opened."""
        return Images(self)


def find_files(path: Path) -> list[Path]:
    """Return the files that a path stands for: itself, a folder's images, a glob's matches.

    Raises SourceError when there is none.
    """
    if path.is_dir():
        kinds = IMAGE_SUFFIXES | TENSOR_SUFFIXES
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in kinds and p.is_file())
        if not found:
            raise SourceError(f"{path}: holds no images ({', '.join(sorted(kinds))})")
        return found
    if path.exists():
        return [path]
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207
    if not found:
        raise SourceError(f"{path}: no such file or folder, and as a glob it matches nothing")
    return [file for match in found for file in find_files(match)]


def read_frame(
    path: Path, reduction: Callable[[int, int], int] = whole
) -> NDArray[Any] | ModelInput:
    """Read a file: pixels (uint8, height x width x 3, BGR), or a model's input (.npy, .bin).

    A JPEG is made smaller by what `reduction` says of its width and height. Raises
    FrameError when it cannot be read.
    """
    return read_smaller(path, reduction)[0]


def read_smaller(
    path: Path, reduction: Callable[[int, int], int]
) -> tuple[NDArray[Any] | ModelInput, tuple[int, int] | None]:
    """Read a file as `read_frame` does; also return its full width and height, if it is a JPEG."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".bin":
            return ModelInput(path.read_bytes()), None
        if suffix == ".npy":
            return ModelInput(_read_array(path)), None
        return _read_picture(path, reduction)
    except OSError as error:
        raise FrameError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_array(path: Path) -> NDArray[Any]:
    import numpy as np

    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
    except OSError:
        raise
    # Its header is parsed as Python: whatever can be wrong with a text can come out.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else "it is empty"
        raise FrameError(f"{path}: is no .npy array: {reason}") from error
    if not isinstance(array, np.ndarray):
        raise FrameError(f"{path}: is no .npy array but an archive of several")
    return array


def _read_picture(
    path: Path, reduction: Callable[[int, int], int]
) -> tuple[NDArray[Any], tuple[int, int] | None]:
    import cv2
    import numpy as np

    data = np.fromfile(path, np.uint8)
    if not data.size:
        raise FrameError(f"{path}: is empty (0 bytes)")
    try:
        picture = jpeg.decode(data, reduction)
    except cv2.error as error:
        raise FrameError(f"{path}: cannot be decoded: {error.err}") from error
    if picture is None:
        raise FrameError(f"{path}: is no image that OpenCV can read, or is damaged")
    return picture, jpeg.full_size(data, picture)


class Images(Source):
    """Goes through files, and through the tiles of each where they are sheets."""

    def __init__(self, options: ImagesOptions) -> None:
        self._options = options
        self._pacer = Pacer(options.fps) if options.fps is not None else None
        self._kept: dict[Path, tuple[NDArray[Any], tuple[int, int] | None]] = {}
        self._kept_bytes = 0
        self._number = -1

    def make_smaller(
        self, reduction: Callable[[int, int], int], scaling: Callable[[int, int], float]
    ) -> None:
        """From the next file on, decode them smaller; what was kept may be too small."""
        super().make_smaller(reduction, scaling)
        self._kept.clear()
        self._kept_bytes = 0

    def open(self) -> None:
        """Find the files."""
        paths = self._options.path if isinstance(self._options.path, list) else [self._options.path]
        self._files = [file for path in paths for file in find_files(path)]
        self._frames = self._walk()

    def grab(self, stop: threading.Event) -> Grabbed | None:
        """Take the next file or tile, waiting until it is due where the source has a rate."""
        step, captured_ns = 1, 0
        if self._pacer is not None:
            due = self._pacer.next(stop)
            if due is None:
                return None
            number, captured_ns = due
            step = number - self._number
            self.lost = self._pacer.lost
        if stop.is_set():
            return None
        for _ in range(step):  # frames that were lost are passed over, as a camera's are
            self._number += 1
            found = next(self._frames, None)
            if found is None:
                return None
            self._path, self._tile, truth = found
        name = str(self._path) if self._options.tile is None else f"{self._path}#{self._tile}"
        return Grabbed(self._number, captured_ns or time.monotonic_ns(), name, truth)

    def retrieve(self) -> NDArray[Any] | ModelInput:
        """Read the file, or cut out the tile, that was grabbed last."""
        picture = self._read(self._path)
        side = self._options.tile
        if side is None or isinstance(picture, ModelInput):
            return picture
        row, column = divmod(self._tile, picture.shape[1] // side)
        cut: NDArray[Any] = picture[row * side :, column * side :][:side, :side]
        return cut

    def due_ns(self) -> int | None:
        """When the next frame is due, where there is a rate."""
        return self._pacer.due_ns if self._pacer is not None else None

    def _walk(self) -> Iterator[tuple[Path, int, str | None]]:
        """Every file (as tile 0), or all tiles of each, with the true label where it is asked."""
        while True:
            for path in self._files:
                if self._options.tile is None:
                    yield path, 0, self._truth(path)
                else:
                    yield from self._tiles(path, self._options.tile)
            if not self._options.loop:
                return

    def _tiles(self, path: Path, side: int) -> Iterator[tuple[Path, int, str | None]]:
        try:
            sheet = self._read(path)
        except FrameError as error:
            raise SourceError(str(error)) from error
        if isinstance(sheet, ModelInput) or min(sheet.shape[:2]) < side:
            raise SourceError(f"{path}: is no sheet of tiles of {side} pixels")
        tiles = (sheet.shape[0] // side) * (sheet.shape[1] // side)
        listed = self._options.truth == "list"
        truths = _true_labels(path.with_suffix(".txt"), tiles) if listed else []
        for tile in range(tiles):
            yield path, tile, truths[tile] if listed else self._truth(path)

    def _truth(self, path: Path) -> str | None:
        if self._options.truth == "folder":
            return path.parent.name
        if self._options.truth == "name":
            return path.stem.split("_", 1)[0]
        return None

    def _read(self, path: Path) -> NDArray[Any] | ModelInput:
        """Read a file, from memory where it comes round again and there is room to keep it."""
        if path in self._kept:
            frame, self.size = self._kept[path]
            return frame
        tiles = self._options.tile is not None
        read, size = read_smaller(path, whole if tiles else self.reduction)
        if tiles:
            size = None
        again = self._options.loop or tiles
        if again and not isinstance(read, ModelInput) and self._room_for(read.nbytes):
            self._kept[path] = (read, size)
            self._kept_bytes += read.nbytes
        self.size = size
        return read

    def _room_for(self, nbytes: int) -> bool:
        return self._kept_bytes + nbytes <= KEPT_BYTES


def _true_labels(path: Path, tiles: int) -> list[str]:
    try:
        labels = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: the true labels cannot be read: {error}") from error
    if len(labels) != tiles:
        raise SourceError(f"{path}: names {len(labels)} labels for a sheet of {tiles} tiles")
    return labels

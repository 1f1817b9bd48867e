"""Every source delivers its frames in order, says which were lost, and says what is wrong."""

from __future__ import annotations

import contextlib
import http.server
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from standing_clock import StandingClock

from edge.errors import FrameError, SourceError
from edge.sources import images
from edge.sources.base import Grabbed, ModelInput, Source, SourceOptions
from edge.sources.camera import CameraOptions, driver_stamp
from edge.sources.images import ImagesOptions, find_files, read_frame
from edge.sources.synthetic import STEP_PX, SyntheticOptions
from edge.sources.video import VideoOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MS = 1_000_000
NEVER = threading.Event()
SECOND_NS = 1_000_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StandingClock:
    clock = StandingClock()
    clock.use(monkeypatch)
    monkeypatch.setattr(NEVER, "wait", clock.wait)
    return clock


def opened(options: SourceOptions) -> Source:
    source = options.make()
    source.open()
    return source


def grabbed(source: Source) -> Grabbed:
    frame = source.grab(NEVER)
    assert frame is not None
    return frame


def all_of(source: Source) -> Iterator[tuple[Grabbed, NDArray[Any] | ModelInput]]:
    """Every frame, with its pixels as they were at that time."""
    while (frame := source.grab(NEVER)) is not None:
        pixels = source.retrieve()
        yield frame, pixels if isinstance(pixels, ModelInput) else pixels.copy()


def pictures(**fields: Any) -> ImagesOptions:
    return ImagesOptions(type="images", **fields)


def names(source: Source) -> list[str]:
    return [Path(frame.name).name for frame, _ in all_of(source)]


def write_picture(path: Path, grey: int, *, width: int = 6, height: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), grey, np.uint8))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures in two sub-folders and beside them, and a file that is none."""
    for grey, name in enumerate(["b/2.png", "a/3.png", "a/1.BMP", "c.png", "a.jpg"]):
        write_picture(tmp_path / name, grey * 50)
    (tmp_path / "README.txt").write_text("not a picture")
    return tmp_path


# Images: which files.


def test_a_folder_is_all_its_pictures_by_name_with_its_sub_folders(folder: Path) -> None:
    found = [str(path.relative_to(folder)) for path in find_files(folder)]
    assert found == ["a/1.BMP", "a/3.png", "a.jpg", "b/2.png", "c.png"]
    assert names(opened(pictures(path=folder))) == ["1.BMP", "3.png", "a.jpg", "2.png", "c.png"]


def test_a_file_stands_for_itself_whatever_it_is_called(folder: Path) -> None:
    assert find_files(folder / "README.txt") == [folder / "README.txt"]


def test_a_glob_is_its_matches_in_order(folder: Path) -> None:
    assert find_files(folder / "*.png") == [folder / "c.png"]
    assert find_files(folder / "**" / "*.png") == [
        folder / "a" / "3.png",
        folder / "b" / "2.png",
        folder / "c.png",
    ]


def test_a_folder_that_a_glob_matches_is_all_its_pictures(folder: Path) -> None:
    found = [path.name for path in find_files(folder / "[ab]")]
    assert found == ["1.BMP", "3.png", "2.png"]


def test_a_folder_whose_name_looks_like_a_glob_is_that_folder(tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "day[1]" / "x.png", 9)
    assert find_files(tmp_path / "day[1]") == [picture]


def test_a_list_keeps_its_own_order(folder: Path) -> None:
    source = opened(pictures(path=[folder / "c.png", folder / "a", folder / "*.jpg"]))
    assert names(source) == ["c.png", "1.BMP", "3.png", "a.jpg"]


def test_a_folder_without_pictures_says_what_it_looked_for(tmp_path: Path) -> None:
    (tmp_path / "README.txt").touch()
    with pytest.raises(SourceError, match=r"holds no images \(.*\.bmp.*\.png"):
        opened(pictures(path=tmp_path))
    with pytest.raises(SourceError, match="holds no images"):
        pictures(path=tmp_path).verify()


def test_a_path_that_is_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere: no such file or folder, and as a glob"):
        pictures(path=[tmp_path / "nowhere"]).verify()


# Images: what is in them.


def test_pixels_are_bgr_and_what_was_written(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "x.png"), picture)
    pixels = read_frame(tmp_path / "x.png")
    assert isinstance(pixels, np.ndarray)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, picture)


def test_a_grey_picture_has_three_channels_all_the_same(tmp_path: Path) -> None:
    picture = np.arange(35, dtype=np.uint8).reshape(5, 7)
    cv2.imwrite(str(tmp_path / "x.png"), picture)
    np.testing.assert_array_equal(
        np.asarray(read_frame(tmp_path / "x.png")), np.repeat(picture[..., None], 3, axis=2)
    )


def test_a_real_photograph_is_read_as_opencv_reads_it(testdata: Path) -> None:
    path = testdata / "images" / "grace_hopper.bmp"
    np.testing.assert_array_equal(
        np.asarray(read_frame(path)), np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR))
    )


def test_npy_and_bin_files_are_the_models_input_as_it_is(tmp_path: Path) -> None:
    tensor = np.arange(12, dtype=np.int8).reshape(1, 3, 4)
    np.save(tmp_path / "x.npy", tensor)
    (tmp_path / "x.bin").write_bytes(tensor.tobytes())
    array, data = read_frame(tmp_path / "x.npy"), read_frame(tmp_path / "x.bin")
    assert isinstance(array, ModelInput)
    assert isinstance(array.data, np.ndarray)
    assert array.data.dtype == np.int8
    np.testing.assert_array_equal(array.data, tensor)
    assert data == ModelInput(tensor.tobytes())
    assert names(opened(pictures(path=tmp_path))) == ["x.bin", "x.npy"]


NPY = b"\x93NUMPY\x01\x00"
A_PETABYTE = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000000,), }\n"
UNREADABLE = {
    "nothing.png": b"",
    "damaged.png": b"\x89PNG\r\n\x1a\n and no more",
    "text.jpg": b"this is a text",
    "nothing.npy": b"",
    "text.npy": b"this is a text, and a rather long one",
    "truncated.npy": NPY + b"\x76\x00{'descr': '|u1', 'fortran_order': False, 'sha",
    "unclosed.npy": NPY + b"\x10\x00{'descr': '|u1' (",
    "short.npy": NPY
    + b"\x46\x00{'descr': '|u1', 'fortran_order': False, 'shape': (100,), }".ljust(72)
    + b"\n too short",
    "huge.npy": NPY + len(A_PETABYTE).to_bytes(2, "little") + A_PETABYTE,
    "an archive.npy": b"PK\x03\x04 and no more",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_is_a_bad_frame_with_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(UNREADABLE[name])
    with pytest.raises(FrameError, match=name):
        read_frame(tmp_path / name)


def test_an_npz_archive_called_npy_is_a_bad_frame(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    with pytest.raises(FrameError, match=r"x\.npy"):
        read_frame(tmp_path / "x.npy")


def test_an_npy_file_is_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FrameError, match=r"x\.npy: is no \.npy array: .*pickle"):
        read_frame(tmp_path / "x.npy")


@pytest.mark.parametrize("suffix", [".png", ".npy", ".bin"])
def test_a_file_that_went_away_is_a_bad_frame_that_says_so(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(FrameError, match="cannot be read: No such file or directory"):
        read_frame(tmp_path / f"gone{suffix}")


# Images: in which order, and when.


def test_each_file_is_given_once_and_numbered(folder: Path) -> None:
    began_ns = time.monotonic_ns()
    options = pictures(path=folder)
    assert not options.live
    frames = [frame for frame, _ in all_of(opened(options))]
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    times = [began_ns, *(frame.captured_ns for frame in frames), time.monotonic_ns()]
    assert times == sorted(times)


def test_a_bad_file_does_not_end_the_source(folder: Path) -> None:
    (folder / "a" / "2.png").write_bytes(b"damaged")
    source = opened(pictures(path=folder / "a"))
    grabbed(source)
    source.retrieve()
    assert Path(grabbed(source).name).name == "2.png"
    with pytest.raises(FrameError):
        source.retrieve()
    assert Path(grabbed(source).name).name == "3.png"
    source.retrieve()


def test_a_loop_begins_again_after_the_last_and_goes_on_numbering(folder: Path) -> None:
    source = opened(pictures(path=folder / "a", loop=True))
    frames = [grabbed(source) for _ in range(5)]
    assert [Path(frame.name).name for frame in frames] == ["1.BMP", "3.png"] * 2 + ["1.BMP"]
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]


def test_a_loop_keeps_pictures_in_memory_as_far_as_there_is_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    really = images.read_smaller

    def reading(path: Path, reduction: Any) -> tuple[NDArray[Any] | ModelInput, Any]:
        read.append(path.name)
        return really(path, reduction)

    monkeypatch.setattr(images, "read_smaller", reading)
    monkeypatch.setattr(images, "KEPT_BYTES", 4 * 6 * 3)  # one picture
    source = opened(pictures(path=folder / "a", loop=True))
    for _ in range(3):
        for grey in (100, 50):
            grabbed(source)
            assert (np.asarray(source.retrieve()) == grey).all()
    assert read == ["1.BMP", "3.png", "3.png", "3.png"]


def test_with_fps_pictures_are_live_and_due_at_their_time(
    folder: Path, clock: StandingClock
) -> None:
    options = pictures(path=folder, fps=100)
    assert options.live
    began_ns = clock.now_ns
    frames = [frame for frame, _ in all_of(opened(options))]
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.captured_ns for frame in frames] == [began_ns + n * 10 * MS for n in range(5)]


def test_pictures_that_fell_due_in_a_stall_are_passed_over_and_lost(
    folder: Path, clock: StandingClock
) -> None:
    source = opened(pictures(path=folder, fps=100))
    assert grabbed(source).name.endswith("1.BMP")
    clock.now_ns += 31 * MS
    frame = grabbed(source)
    assert frame.number == 3
    assert frame.name.endswith("2.png")
    assert source.lost == 2
    assert (np.asarray(source.retrieve()) == 0).all()
    clock.now_ns += 50 * MS
    assert source.grab(NEVER) is None  # the last ones fell due meanwhile


@pytest.mark.parametrize("fps", [None, 1000])
def test_a_source_that_is_to_stop_gives_no_picture(folder: Path, fps: float | None) -> None:
    stop = threading.Event()
    stop.set()
    assert opened(pictures(path=folder, fps=fps)).grab(stop) is None


def test_opened_anew_it_finds_new_files_and_goes_on_numbering(folder: Path) -> None:
    source = opened(pictures(path=folder / "a"))
    assert grabbed(source).number == 0
    source.close()
    write_picture(folder / "a" / "0.png", 1)
    source.open()
    frames = [(frame.number, Path(frame.name).name) for frame, _ in all_of(source)]
    assert frames == [(1, "0.png"), (2, "1.BMP"), (3, "3.png")]


# Images: true labels and sheets of tiles.


def test_the_true_label_is_the_folders_name(folder: Path) -> None:
    source = opened(pictures(path=[folder / "a", folder / "b"], truth="folder"))
    assert [frame.truth for frame, _ in all_of(source)] == ["a", "a", "b"]


def test_the_true_label_is_the_files_name_up_to_the_first_underscore(tmp_path: Path) -> None:
    for name in ("cat_1_left.png", "dog_2.png", "owl.png"):
        write_picture(tmp_path / name, 0)
    source = opened(pictures(path=tmp_path, truth="name"))
    assert [frame.truth for frame, _ in all_of(source)] == ["cat", "dog", "owl"]


def test_without_being_asked_there_is_no_true_label(folder: Path) -> None:
    assert {frame.truth for frame, _ in all_of(opened(pictures(path=folder)))} == {None}


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """Two rows of three tiles of 4 pixels, of 0, 10 ... 50, and a rest that is no tile."""
    picture = np.full((9, 15, 3), 255, np.uint8)
    for tile in range(6):
        row, column = divmod(tile, 3)
        picture[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] = tile * 10
    cv2.imwrite(str(tmp_path / "sheet.png"), picture)
    (tmp_path / "sheet.txt").write_text("a\nb\nc\nd\ne\nf\n")
    return tmp_path / "sheet.png"


def test_a_sheet_is_its_tiles_row_by_row_with_the_label_of_each(sheet: Path) -> None:
    frames = list(all_of(opened(pictures(path=sheet, tile=4, truth="list"))))
    assert [frame.name for frame, _ in frames] == [f"{sheet}#{tile}" for tile in range(6)]
    assert "".join(str(frame.truth) for frame, _ in frames) == "abcdef"
    for tile, (_, pixels) in enumerate(frames):
        np.testing.assert_array_equal(np.asarray(pixels), np.full((4, 4, 3), tile * 10))


def test_tiles_that_were_lost_are_passed_over_with_their_labels(
    sheet: Path, clock: StandingClock
) -> None:
    source = opened(pictures(path=sheet, tile=4, truth="list", fps=100, loop=True))
    assert grabbed(source).truth == "a"
    clock.now_ns += 85 * MS
    frame = grabbed(source)
    assert (frame.number, frame.truth) == (8, "c")
    assert (np.asarray(source.retrieve()) == 20).all()


def test_a_sheet_without_a_label_for_each_tile_is_refused(sheet: Path) -> None:
    sheet.with_suffix(".txt").write_text("a b c")
    with pytest.raises(SourceError, match=r"sheet\.txt: names 3 labels for a sheet of 6 tiles"):
        grabbed(opened(pictures(path=sheet, tile=4, truth="list")))
    sheet.with_suffix(".txt").unlink()
    with pytest.raises(SourceError, match=r"sheet\.txt: the true labels cannot be read"):
        grabbed(opened(pictures(path=sheet, tile=4, truth="list")))


def test_a_picture_smaller_than_a_tile_is_no_sheet(sheet: Path) -> None:
    with pytest.raises(SourceError, match="no sheet of tiles of 10 pixels"):
        grabbed(opened(pictures(path=sheet, tile=10)))


def test_a_models_input_is_no_sheet(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(100))
    np.save(tmp_path / "y.npy", np.zeros((8, 8, 3), np.uint8))
    for name in ("x.bin", "y.npy"):
        with pytest.raises(SourceError, match=f"{name}: is no sheet"):
            grabbed(opened(pictures(path=tmp_path / name, tile=4)))


def test_a_list_of_labels_without_tiles_is_an_error_of_the_configuration(sheet: Path) -> None:
    with pytest.raises(ValidationError, match="`truth: list` goes with `tile`"):
        pictures(path=sheet, truth="list")


# Synthetic.


def synthetic(**fields: Any) -> SyntheticOptions:
    return SyntheticOptions(type="synthetic", **fields)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (320, 240), (3, 5), (1, 1)])
def test_the_pattern_has_the_size_asked_for_and_moves(width: int, height: int) -> None:
    source = opened(synthetic(width=width, height=height, fps=None))
    seen = []
    for number in range(4):
        assert grabbed(source).number == number
        frame = source.retrieve()
        assert isinstance(frame, np.ndarray)
        assert frame.shape == (height, width, 3)
        assert frame.dtype == np.uint8
        seen.append(frame.tobytes())
    if width > STEP_PX:
        assert len(set(seen)) == 4


def test_the_pattern_comes_round_again_after_a_lap() -> None:
    source = opened(synthetic(width=20, height=6, fps=None))
    frames = []
    for _ in range(11):
        grabbed(source)
        frames.append(np.asarray(source.retrieve()).tobytes())
    assert len(set(frames[:5])) == 5
    assert frames[5:10] == frames[:5]


def test_without_fps_the_pattern_is_pulled_and_with_fps_it_is_live() -> None:
    assert not synthetic(fps=None).live
    assert synthetic().live


def test_the_pattern_at_a_pace_is_captured_when_it_is_due(clock: StandingClock) -> None:
    source = opened(synthetic(width=64, height=4, fps=50))
    began_ns = clock.now_ns
    assert grabbed(source) == Grabbed(0, began_ns)
    assert grabbed(source) == Grabbed(1, began_ns + 20 * MS)
    clock.now_ns += 70 * MS
    assert grabbed(source) == Grabbed(4, began_ns + 80 * MS)
    assert source.lost == 2
    after_the_stall = np.asarray(source.retrieve()).copy()

    unstalled = opened(synthetic(width=64, height=4, fps=None))
    for _ in range(5):
        grabbed(unstalled)
    np.testing.assert_array_equal(after_the_stall, np.asarray(unstalled.retrieve()))


def test_a_pattern_that_is_to_stop_gives_no_frame() -> None:
    stop = threading.Event()
    stop.set()
    assert opened(synthetic(fps=None)).grab(stop) is None


# Video.

VIDEO_FRAMES = 10


@pytest.fixture(scope="module", params=["MJPG", "mp4v"])
def film(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Ten frames at 20 fps; the n-th is grey 25 * n all over."""
    path = tmp_path_factory.mktemp("video") / f"{request.param}.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*request.param), 20.0, (64, 48))
    assert writer.isOpened()
    for number in range(VIDEO_FRAMES):
        writer.write(np.full((48, 64, 3), 25 * number, np.uint8))
    writer.release()
    return path


def video(path: Path | str, **fields: Any) -> VideoOptions:
    return VideoOptions(type="video", path=str(path), **fields)


def shown(pixels: NDArray[Any] | ModelInput) -> int:
    """Which frame of the film this is, told by its grey."""
    assert isinstance(pixels, np.ndarray)
    assert pixels.shape == (48, 64, 3)
    return round(float(pixels.mean()) / 25)


def test_a_pulled_film_is_given_frame_by_frame_and_none_is_dropped(film: Path) -> None:
    options = video(film, fps=None)
    assert not options.live
    frames = [(frame.number, shown(pixels)) for frame, pixels in all_of(opened(options))]
    assert frames == [(number, number) for number in range(VIDEO_FRAMES)]


def test_a_looping_film_begins_again_and_goes_on_numbering(film: Path) -> None:
    source = opened(video(film, fps=None, loop=True))
    frames = []
    for _ in range(2 * VIDEO_FRAMES + 3):
        frame = grabbed(source)
        frames.append((frame.number, shown(source.retrieve())))
    assert frames == [(number, number % VIDEO_FRAMES) for number in range(23)]
    source.close()


@pytest.mark.parametrize(("fps", "period_ms"), [("file", 50), (40, 25), (12.5, 80)])
def test_a_live_film_keeps_its_own_pace_or_the_one_asked_for(
    film: Path, clock: StandingClock, fps: Any, period_ms: int
) -> None:
    options = video(film, fps=fps)
    assert options.live
    began_ns = clock.now_ns
    frames = [(frame.captured_ns, shown(pixels)) for frame, pixels in all_of(opened(options))]
    expected = [(began_ns + number * period_ms * MS, number) for number in range(VIDEO_FRAMES)]
    assert frames == expected


def test_frames_of_a_film_that_fell_due_in_a_stall_are_passed_over(
    film: Path, clock: StandingClock
) -> None:
    source = opened(video(film))
    grabbed(source)
    clock.now_ns += 190 * MS
    assert grabbed(source).number == 3
    assert shown(source.retrieve()) == 3
    assert source.lost == 2
    assert grabbed(source).number == 4
    assert shown(source.retrieve()) == 4
    clock.now_ns += 60 * SECOND_NS
    assert source.grab(NEVER) is None
    source.close()
    source.close()


def test_a_film_reuses_the_memory_of_its_frames(film: Path) -> None:
    if film.stem == "MJPG":
        return  # OpenCV gives a JPEG memory of its own
    source = opened(video(film, fps=None))
    grabbed(source)
    first = source.retrieve()
    grabbed(source)
    assert np.shares_memory(np.asarray(source.retrieve()), np.asarray(first))
    source.close()


def write_mjpeg(path: Path, jpegs: list[bytes], width: int, height: int) -> Path:
    """Write a film of JPEGs with a frame of each, by replacing those that OpenCV wrote."""
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (width, height)
    )
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for _ in jpegs:
        writer.write(noise)  # takes more bytes than what goes in its place
    writer.release()
    data = bytearray(path.read_bytes())
    at = 0
    for jpeg_file in jpegs:
        at = data.index(b"00dc", at) + 8
        length = int.from_bytes(data[at - 4 : at], "little")
        assert len(jpeg_file) <= length
        data[at : at + length] = jpeg_file.ljust(length, b"\0")
        at += length
    path.write_bytes(data)
    return path


def as_jpeg(grey: int, width: int, height: int) -> bytes:
    ok, data = cv2.imencode(".jpg", np.full((height, width, 3), grey, np.uint8))
    assert ok
    return data.tobytes()


def test_a_film_of_jpegs_is_decoded_no_larger_than_it_is_needed(tmp_path: Path) -> None:
    path = write_mjpeg(tmp_path / "x.avi", [as_jpeg(n * 50, 64, 48) for n in range(3)], 64, 48)
    source = video(path, fps=None).make()
    source.reduction = lambda width, height: 4 if {width, height} == {64, 48} else 1
    source.open()
    frames = [(np.asarray(pixels).shape, np.asarray(pixels).mean()) for _, pixels in all_of(source)]
    assert [shape for shape, _ in frames] == [(12, 16, 3)] * 3
    assert [mean for _, mean in frames] == pytest.approx([0, 50, 100], abs=2)
    source.close()


def test_a_damaged_jpeg_in_a_film_is_a_bad_frame_and_not_the_films_end(tmp_path: Path) -> None:
    jpegs = [as_jpeg(50, 64, 48), b"no picture", as_jpeg(100, 64, 48)]
    source = opened(video(write_mjpeg(tmp_path / "x.avi", jpegs, 64, 48), fps=None))
    grabbed(source)
    assert np.asarray(source.retrieve()).mean() == pytest.approx(50, abs=2)
    grabbed(source)
    with pytest.raises(FrameError, match=r"x\.avi: frame 1 could not be decoded"):
        source.retrieve()
    grabbed(source)
    assert np.asarray(source.retrieve()).mean() == pytest.approx(100, abs=2)
    assert source.grab(NEVER) is None
    source.close()


def test_an_interlaced_film_of_jpegs_is_left_to_ffmpeg(tmp_path: Path) -> None:
    """Its frames are two pictures of half the height each."""
    fields = as_jpeg(200, 64, 24) + as_jpeg(200, 64, 24)
    source = video(write_mjpeg(tmp_path / "x.avi", [fields] * 3, 64, 48), fps=None).make()
    source.reduction = lambda *_: 8
    source.open()
    numbers = []
    for frame, pixels in all_of(source):
        numbers.append(frame.number)
        assert np.asarray(pixels).shape[1:] == (64, 3)
    assert numbers == [0, 1, 2]
    source.close()


@pytest.mark.parametrize("fps", [None, "file"])
def test_a_film_that_is_to_stop_gives_no_frame(film: Path, fps: Any) -> None:
    stop = threading.Event()
    stop.set()
    source = opened(video(film, fps=fps))
    assert source.grab(stop) is None
    source.close()


def test_a_film_that_is_not_there_is_named(tmp_path: Path) -> None:
    options = video(tmp_path / "gone.avi")
    with pytest.raises(SourceError, match=r"gone\.avi: there is no such video file"):
        options.verify()
    with pytest.raises(SourceError, match=r"gone\.avi: there is no such video file"):
        options.make().open()


def test_a_file_that_is_no_film_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.avi").write_text("no film at all")
    with pytest.raises(SourceError, match=r"notes\.avi: no video can be read there"):
        video(tmp_path / "notes.avi").make().open()


class JpegServer(http.server.BaseHTTPRequestHandler):
    """Sends pictures of grey 0, 1, 2 ... as network cameras do, one a 40 ms."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):  # the client went away
            for grey in range(200):
                data = as_jpeg(grey, 64, 48)
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}"
                self.wfile.write(head.encode() + b"\r\n\r\n" + data + b"\r\n")
                time.sleep(0.04)

    def log_message(self, *_: object) -> None:
        pass


def test_a_stream_of_jpegs_is_decoded_small_and_its_rhythm_is_learnt() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), JpegServer) as server:
        threading.Thread(target=server.serve_forever).start()
        source = video(f"http://127.0.0.1:{server.server_port}/stream.mjpg").make()
        source.reduction = lambda *_: 2
        source.open()
        assert source.due_ns() is None
        for number in range(100):
            frame = grabbed(source)
            assert frame.number == number
            pixels = np.asarray(source.retrieve())
            assert pixels.shape == (24, 32, 3)
            assert round(float(pixels.mean())) == pytest.approx(number, abs=2)
            due_ns = source.due_ns()
            if due_ns is not None:
                break
        else:
            pytest.fail("no rhythm after 100 frames")
        assert 20 * MS < due_ns - frame.captured_ns < 60 * MS
        source.close()
        server.shutdown()


def test_a_stream_is_live_and_not_looked_for_before_the_start() -> None:
    options = video("rtsp://192.0.2.1/stream", fps=None)
    assert options.live
    options.verify()


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://admin:s3cret@camera.invalid:554/ch0?profile=1",
        "rtsp://admin:s3cret@s3cret@camera.invalid/ch0",
        "rtsp://admin:s3cret/s3cret@camera.invalid/ch0",
        "rtsp://admin:s3cret#s3cret@camera.invalid/ch0",
        "rtsp://admin:s3cret?s3cret@camera.invalid/ch0",
        "rtsp://admin:s3cret[@camera.invalid/ch0",
    ],
)
def test_the_password_in_a_streams_address_is_never_shown(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf:
        def __init__(self, *_: Any) -> None:
            pass

        def isOpened(self) -> bool:  # noqa: N802  OpenCV's name
            return False

    monkeypatch.setattr(cv2, "VideoCapture", Deaf)
    with pytest.raises(SourceError, match="no stream answers there") as caught:
        video(address).make().open()
    assert "s3cret" not in str(caught.value)
    assert "camera.invalid" in str(caught.value)


@pytest.mark.parametrize("fps", [0, -1, 20_000, float("nan"), "own"])
def test_a_pace_that_is_none_is_an_error_of_the_configuration(fps: Any) -> None:
    with pytest.raises(ValidationError, match="fps"):
        video("film.avi", fps=fps)


def test_the_path_of_a_film_is_against_the_yaml_and_an_address_is_not() -> None:
    def path(value: str) -> str:
        options = TypeAdapter(VideoOptions).validate_python(
            {"type": "video", "path": value}, context={"folder": "/etc/edge"}
        )
        return options.path

    assert path("film.avi") == "/etc/edge/film.avi"
    assert path("/films/film.avi") == "/films/film.avi"
    assert path("http://host/film.avi") == "http://host/film.avi"


# Camera: what cannot go wrong at will with the emulated one of test_camera.py, by a stand-in.


def camera(**fields: Any) -> CameraOptions:
    return CameraOptions(type="camera", **fields)


def test_the_drivers_stamp_is_the_capture_time() -> None:
    now_ns = 123_456_789_012_345
    assert driver_stamp(123_456_750.25, now_ns=now_ns) == 123_456_750_250_000
    assert driver_stamp(now_ns / 1e6 - 1999, now_ns=now_ns) < now_ns - 1998 * MS


def test_a_stamp_that_follows_one_of_the_driver_is_believed_however_old() -> None:
    now_ns = 123_456_789_000_000
    old_ms = 123_456_789.0 - 9000
    before_ns = round((old_ms - 33) * 1e6)
    assert driver_stamp(old_ms, now_ns=now_ns, before_ns=before_ns) == round(old_ms * 1e6)
    assert driver_stamp(old_ms - 34, now_ns=now_ns, before_ns=before_ns) == now_ns
    assert driver_stamp(0.0, now_ns=now_ns, before_ns=before_ns) == now_ns


@pytest.mark.parametrize(
    "stamp_ms",
    [0.0, -1.0, 123_456_789.0 - 2001, 123_456_790.0, 1_700_000_000_000.0],
    ids=["none", "unsupported", "too old", "from the future", "the wall clock's"],
)
def test_a_stamp_of_another_clock_is_not_believed(stamp_ms: float) -> None:
    now_ns = 123_456_789_000_000
    assert driver_stamp(stamp_ms, now_ns=now_ns) == now_ns


@pytest.mark.parametrize("device", [9999, "/dev/video9999", "/dev/v4l/by-id/usb-none"])
def test_a_camera_that_is_not_there_is_named_and_says_how_to_find_one(device: str | int) -> None:
    node = f"/dev/video{device}" if isinstance(device, int) else device
    options = camera(device=device)
    options.verify()  # it may come
    with pytest.raises(SourceError, match=f"{node}: there is no such camera.*/dev/v4l/by-id"):
        options.make().open()


def test_a_camera_without_permission_says_which_group_to_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "video0").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SourceError, match=r"video0: no permission; .*usermod -aG video"):
        camera(device=str(tmp_path / "video0")).make().open()


def test_closing_a_camera_that_was_never_opened_is_harmless() -> None:
    camera().make().close()


class StandIn:
    """What OpenCV's capture does, for a node that is an ordinary file."""

    stamps_ms: list[float]
    decodable: bool
    last: StandIn

    def __init__(self, *_: Any) -> None:
        self.asked: dict[int, float] = {}
        self.released = False
        self._at = -1
        StandIn.last = self

    def isOpened(self) -> bool:  # noqa: N802  OpenCV's name
        return True

    def set(self, what: int, value: float) -> bool:
        self.asked[what] = value
        return True

    def grab(self) -> bool:
        self._at += 1
        return self._at < len(self.stamps_ms)

    def get(self, what: int) -> float:
        if what == cv2.CAP_PROP_FOURCC:
            return cv2.VideoWriter.fourcc(*"BGR3")
        assert what == cv2.CAP_PROP_POS_MSEC
        return self.stamps_ms[self._at]

    def retrieve(self, into: NDArray[Any] | None) -> tuple[bool, NDArray[Any] | None]:
        if not self.decodable:
            return False, None
        return True, np.zeros((4, 4, 3), np.uint8) if into is None else into

    def release(self) -> None:
        self.released = True


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A camera at 100 fps that stood still for 50 ms after its 30th frame, then broke."""
    began_ms = time.monotonic_ns() / 1e6 - 1000
    StandIn.stamps_ms = [began_ms + 10 * n + (50 if n >= 30 else 0) for n in range(40)]
    StandIn.decodable = True
    monkeypatch.setattr(cv2, "VideoCapture", StandIn)
    (tmp_path / "video0").touch()
    node = str(tmp_path / "video0")
    return opened(camera(device=node, width=640, height=480, fps=100, fourcc="YUYV"))


def test_a_camera_is_asked_for_the_size_rate_and_format_of_the_yaml(stand_in: Source) -> None:
    assert StandIn.last.asked == {
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"YUYV"),
        cv2.CAP_PROP_FRAME_WIDTH: 640,
        cv2.CAP_PROP_FRAME_HEIGHT: 480,
        cv2.CAP_PROP_FPS: 100,
    }
    stand_in.close()
    assert StandIn.last.released


def test_what_a_camera_lost_is_a_gap_in_its_numbers_and_counted(stand_in: Source) -> None:
    frames = [grabbed(stand_in) for _ in range(40)]
    assert stand_in.lost == 5
    assert frames[-1].number == 39 + 5
    numbers = [frame.number for frame in frames]
    assert numbers == sorted(set(numbers))
    expected = [round(stamp_ms * 1e6) for stamp_ms in StandIn.stamps_ms]
    assert [frame.captured_ns for frame in frames] == expected


def test_a_camera_that_gives_no_more_frames_is_a_lost_source(stand_in: Source) -> None:
    for _ in range(40):
        grabbed(stand_in)
    with pytest.raises(SourceError, match="video0: gives no more frames"):
        stand_in.grab(NEVER)


def test_a_frame_of_a_camera_that_cannot_be_decoded_is_a_bad_frame(stand_in: Source) -> None:
    grabbed(stand_in)
    StandIn.decodable = False
    with pytest.raises(FrameError, match="video0: a frame could not be decoded"):
        stand_in.retrieve()


def test_a_file_that_is_no_camera_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "video0").touch()
    monkeypatch.setattr(StandIn, "isOpened", lambda _: False)
    monkeypatch.setattr(cv2, "VideoCapture", StandIn)
    with pytest.raises(SourceError, match="video0: is no camera that V4L2 can open, or is in use"):
        camera(device=str(tmp_path / "video0")).make().open()

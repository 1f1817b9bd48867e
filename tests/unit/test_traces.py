"""What a recording becomes: a story, events for the viewers, a file in a bounded folder."""

from __future__ import annotations

import gzip
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from trace_format import check_trace

from edge import flight
from edge.cli.trace import tell as print_story
from edge.config.recorder import Recorder
from edge.errors import ConfigError
from edge.flight import Frame, Hand, Pause, Recording, Sample, ShadowPass
from edge.supervisor.sensor_log import Felt
from edge.supervisor.sensors import Reading
from edge.supervisor.story import Facts, Story, tell
from edge.supervisor.trace_events import trace_events
from edge.supervisor.trace_folder import list_traces, read_story, write_trace

if TYPE_CHECKING:
    from pathlib import Path

MS = 1_000_000
PERIOD = 33 * MS
END = 40 * PERIOD
FACTS = Facts(
    device="pi",
    boot="b",
    pipeline="porch",
    at="2026-11-25T00:00:00.000Z",
    clock_synced=True,
    about={"model": "m.tflite"},
    sources=["camera", "video"],
    deadlines_ms=[20.0, 50.0],
    end_ns=END,
)


def frame(number: int, *, inference_ms: float = 12, source: int = 0, **fields: Any) -> Frame:
    """A frame every 33 ms: 1 ms for each stage but the forward pass."""
    at = number * PERIOD
    inferred = at + 3 * MS + round(inference_ms * MS)
    way = (at, at + MS, at + 2 * MS, at + 3 * MS, inferred, inferred + MS)
    whole = Frame(flight.ANSWERED, source, 0, 1, 0, 0, 0, 0, 0, number, *way)
    return whole._replace(**fields)


def look(number: int, waited_ms: float, *, engine_ms: tuple[float, ...] = ()) -> Sample:
    """What the kernel had counted just before a frame."""
    engine = tuple(round(each * MS) for each in engine_ms)
    return Sample(0, number * PERIOD - 5 * MS, round(waited_ms * MS), 0, 0, 0, engine)


def recording(*, slow: int = 20, **parts: Any) -> Recording:
    frames = [frame(n, inference_ms=31 if n == slow else 12) for n in range(1, 31)]
    return Recording(frames, [], [], [], [])._replace(**parts)


def story(recorded: Recording, felt: tuple[Felt, ...] = (), **how: Any) -> Story:
    how = how or {"why": "deadline_missed", "offending": (0, 20)}
    return tell(recorded, FACTS, felt, **how)


def test_the_offending_frame_stands_among_its_neighbours_beside_what_is_usual() -> None:
    told = story(recording())
    assert told.offending is not None
    row = told.frames[told.offending]
    assert (row.frame, row.missed, row.total_ms) == (20, True, 35.0)
    assert [each.frame for each in told.frames] == list(range(8, 29))
    assert told.usual_ms["inference"] == 12.0
    assert told.usual_of == 29
    assert told.sentence.startswith(
        "frame 20 missed by 15 ms: inference 31 ms against its usual 12"
    )


def test_waiting_is_told_from_the_looks_around_the_frame_and_less_what_is_usual() -> None:
    looks = [look(n, 1.0 * n + (18 if n > 20 else 0)) for n in range(31)]
    told = story(recording(samples=looks))
    assert told.causes == ["other_processes"]
    assert told.offending is not None
    waited_ms = told.frames[told.offending].waited_ms
    assert waited_ms == pytest.approx(18 + 1, abs=0.1)  # it waited 1 ms as always, too
    assert told.frames[told.offending - 1].waited_ms == 0


def test_an_engine_thread_that_waited_counts_as_the_frames_waiting() -> None:
    looks = [look(n, 0, engine_ms=(17.0 if n > 20 else 0.0,)) for n in range(31)]
    assert story(recording(samples=looks)).causes == ["other_processes"]


def test_where_the_kernel_tells_nothing_nothing_is_claimed() -> None:
    looks = [look(n, 0)._replace(waited_ns=flight.UNKNOWN) for n in range(31)]
    told = story(recording(samples=looks))
    assert told.causes == []
    assert told.frames[told.offending or 0].waited_ms is None


def test_a_collection_during_the_frame_is_blamed_and_one_before_it_is_not() -> None:
    at = 20 * PERIOD
    during = Pause(2, at + 5 * MS, at + 20 * MS)
    assert story(recording(pauses=[during])).causes == ["garbage_collection"]
    before = Pause(2, at - 20 * MS, at - 5 * MS)
    assert story(recording(pauses=[before])).causes == []


def test_the_shadow_of_the_frame_before_is_blamed_for_the_wait_and_its_own_is_not() -> None:
    at = 20 * PERIOD
    ahead = ShadowPass(1, 0, 19, at - 2 * MS, at + 15 * MS)
    told = story(recording(shadows=[ahead]))
    assert told.causes == ["shadow"]
    assert told.offending is not None
    assert told.frames[told.offending].shadow_ms == 15
    own = ShadowPass(1, 0, 20, at + 36 * MS, at + 50 * MS)
    assert story(recording(shadows=[own])).causes == []


def test_a_worker_that_died_in_the_shadow_of_a_frame_is_told_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hand = Hand(1, 77, 30, flight.SHADOW, 0, END - 4 * MS, 0, 0, 0)
    died = recording(hands=[hand])
    told = story(died, why="worker_died", how="killed by SIGSEGV", offending=(0, 30))
    assert told.sentence == (
        "the worker ended (killed by SIGSEGV) with frame 30 in its shadow stage for 4 ms"
    )
    assert (told.frames[-1].what, told.frames[-1].stages_ms) == ("in shadow", {"shadow": 4})
    print_story(told)
    assert "in shadow\n" in capsys.readouterr().out
    events = trace_events(died, FACTS, (), (0, 30))
    (last,) = [e for e in events if e["name"] == "frame 30: in its shadow stage at the end"]
    assert last["dur"] == 4000


def test_throttling_near_the_frame_is_blamed_and_long_ago_is_not() -> None:
    slow = Reading(80.0, ("frequency capped",), (600, 600))
    full = Reading(70.0, (), (1500, 1500))
    near = (Felt(0, full), Felt(20 * PERIOD, slow))
    told = story(recording(), near)
    assert told.sentence.endswith("the CPU was throttled to 600 MHz (frequency capped)")
    long_ago = (Felt(20 * PERIOD - 5_000 * MS, slow), Felt(20 * PERIOD, full))
    assert story(recording(), long_ago).causes == []


def test_a_forward_pass_of_another_source_is_blamed_for_the_wait() -> None:
    at = 20 * PERIOD
    waited = (at, at + MS, at + 2 * MS, at + 25 * MS, at + 37 * MS, at + 38 * MS)
    other = frame(20, source=1)._replace(taken_ns=at + 2 * MS, inferred_ns=at + 25 * MS)
    frames = [each for each in recording().frames if each.number != 20]
    late = Frame(flight.ANSWERED, 0, 0, 1, 0, 0, 0, 0, 0, 20, *waited)
    told = story(recording(frames=[*frames, other, late]))
    assert told.causes == ["queue"]
    assert "the model was busy 23 ms with video" in told.sentence


def test_a_worker_that_died_is_told_with_the_frame_in_its_hand() -> None:
    at = END - 9 * MS
    hand = Hand(1, 77, 31, flight.INFERENCE, 0, at, at + MS, at + 2 * MS, at + 3 * MS)
    resting = Hand(2, 78, 30, flight.RESTING, 0, 1, 2, 3, 4)
    died = recording(hands=[hand, resting])
    told = story(died, why="worker_died", how="killed by SIGKILL", offending=(0, 31))
    assert told.sentence == (
        "the worker ended (killed by SIGKILL) with frame 31 in its inference stage for 6 ms, "
        "which usually takes 12 ms"
    )
    assert told.frames[-1].what == "in hand"
    assert told.frames[-1].stages_ms == {"capture": 1, "preprocess": 1, "wait": 1, "inference": 6}


def test_a_worker_that_died_idle_is_told_so() -> None:
    told = story(recording(), why="worker_died", how="killed by SIGKILL")
    assert told.sentence == "the worker ended (killed by SIGKILL) with no frame in hand"
    assert told.offending is None


def everything() -> tuple[Recording, tuple[Felt, ...]]:
    """A recording of all that there is: two sources that overlap, a batch, a cached, a late one."""
    frames = recording().frames
    late = [frame(n, source=1, runner=1, inference_ms=20) for n in range(1, 31)]
    frames += [each._replace(captured_ns=each.captured_ns - 40 * MS) for each in late]
    frames += [frame(31, batch=2), frame(32)._replace(what=flight.LATE, batch=1)]
    frames += [frame(33)._replace(what=flight.CACHED)]
    hand = Hand(1, 77, 34, flight.PREPROCESS, 0, END - 9 * MS, 0, 0, 0)
    looks = [look(n, n, engine_ms=(0.0,)) for n in range(31)]
    pauses = [Pause(2, -PERIOD, -PERIOD + MS), Pause(2, 5 * PERIOD, 5 * PERIOD + MS)]
    felt = tuple(Felt(n * PERIOD, Reading(50.0 + n, (), (1500, 1400))) for n in range(30))
    shadows = [ShadowPass(0, 0, 6, 6 * PERIOD + 17 * MS, 6 * PERIOD + 22 * MS)]
    return Recording(frames, looks, pauses, [hand], shadows), felt


def test_events_keep_to_the_format_and_mark_the_offending_frame() -> None:
    recorded, felt = everything()
    events = trace_events(recorded, FACTS, felt, (0, 20))
    tracks = check_trace({"traceEvents": events})
    assert {"frames of camera", "frames of video", "worker thread 0"} <= set(tracks)
    assert {"worker thread 1", "garbage collection"} <= set(tracks)
    marked = [each for each in events if each.get("cname") == "terrible"]
    assert [each["name"] for each in marked] == ["frame 20: the offending one"]
    (whole,) = [each for each in events if each["ph"] == "i" and each["s"] == "g"]
    assert whole["name"] == "frame 20 missed by 15.000 ms"
    curves = {each["name"] for each in events if each["ph"] == "C"}
    assert {"waiting", "clock (MHz)", "temperature (C)", "latency of camera (ms)"} <= curves
    latency = next(each for each in events if each["name"] == "latency of camera (ms)")
    assert latency["args"]["deadline"] == 20.0


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    return tmp_path / "state" / "traces"


def write(folder: Path, **bounds: Any) -> Path:
    recorded, felt = everything()
    events = trace_events(recorded, FACTS, felt, (0, 20))
    return write_trace(folder, "porch-miss", events, story(recorded, felt), Recorder(**bounds))


def test_a_file_tells_its_story_again(traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(traces)
    recorded, felt = everything()
    told = read_story(path)
    assert told == story(recorded, felt)
    check_trace(json.loads(gzip.decompress(path.read_bytes())))
    print_story(told)
    printed = capsys.readouterr().out
    assert printed.startswith(told.sentence)
    assert "temperature: " in printed
    assert ">     20" in printed


def test_traces_are_bounded_in_number_and_the_newest_stay(traces: Path) -> None:
    paths = [write(traces, keep=3) for _ in range(5)]
    assert list_traces(traces) == paths[:1:-1]


def test_traces_are_bounded_in_bytes(traces: Path) -> None:
    first = write(traces)
    first.write_bytes(b"x" * 900_000)
    second = write(traces, max_mb=1)
    assert list_traces(traces) == [second, first]
    second.write_bytes(b"x" * 500_000)
    third = write(traces, max_mb=1)
    assert list_traces(traces) == [third, second]


def test_numbers_tell_the_order_when_the_clock_was_wrong(traces: Path) -> None:
    first, second = write(traces), write(traces)
    os.utime(first, (2e9, 2e9))
    os.utime(second, (1e9, 1e9))
    assert list_traces(traces) == [second, first]
    third = write(traces, keep=2)
    assert list_traces(traces) == [third, second]


def test_what_is_not_ours_is_neither_listed_nor_deleted(traces: Path) -> None:
    traces.mkdir(parents=True)
    other = traces / "mine.json.gz"
    other.write_text("", encoding="utf-8")
    left = traces / ".trace-abandoned"
    left.write_text("", encoding="utf-8")
    os.utime(left, (1e9, 1e9))
    write(traces, keep=1)
    path = write(traces, keep=1)
    assert list_traces(traces) == [path]
    assert other.exists()
    assert not left.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "holds no JSON"),
        (b"\x1f\x8b\x08 cut", "is damaged"),
        (b"nonsense", "holds no JSON"),
        (b"[" * 100_000, "holds no JSON"),
        (b"[]", "is no trace that"),
        (b'{"traceEvents": []}', "is no trace that"),
        (b'{"edge": {"format": "edge-runtime trace", "version": 2}}', "another version"),
        (b'{"edge": {"format": "edge-runtime trace", "version": 1}}', "`device` is not as"),
    ],
)
def test_a_damaged_or_foreign_file_is_one_message(content: bytes, why: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=why) as caught:
        read_story(file)
    assert "\n" not in str(caught.value)


def test_a_file_cut_anywhere_is_one_message(traces: Path) -> None:
    path = write(traces)
    whole = path.read_bytes()
    for length in range(3, len(whole), 997):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigError):
            read_story(path)


def test_an_offending_frame_that_is_not_there_is_damage(traces: Path) -> None:
    path = write(traces)
    document = json.loads(gzip.decompress(path.read_bytes()))
    document["edge"]["offending"] = 500
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ConfigError, match="is not in it"):
        read_story(path)

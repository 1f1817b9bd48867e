"""`edge bench --pipeline`: the loop as the daemon runs it, against the forward pass alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import edge

from edge.config.load import load
from edge.config.pipeline import Pipeline
from edge.errors import ConfigError, SourceError
from edge.lab import saved
from edge.lab.loop_against import against_loops, loop_against_table, refuse_another_pace
from edge.lab.loop_bench import LoopPlan, measure_loops
from edge.lab.loop_report import figures_table, make_loop_report, ratios_table
from edge.lab.machine import this_machine
from edge.latency.hdr_codec import decode
from edge.messages import STAGES

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models/digits/digits.tflite"
MODEL = {"path": DIGITS, "engine": "litert", "threads": 1}


def pipeline(**source: Any) -> Pipeline:
    """A pipeline over test frames, or what `source` says."""
    synthetic = {"type": "synthetic", "width": 64, "height": 48, "fps": None}
    return Pipeline.model_validate(
        {"source": synthetic | source, "model": MODEL, "deadline_ms": 3_600_000}
    )


def test_as_fast_as_possible_both_throughputs_are_compared() -> None:
    plan = LoopPlan(0.4, turns=2)
    turns: list[None] = []
    cases = measure_loops(
        {"a": pipeline(), "b": pipeline()}, plan, device=None, on_turn=lambda: turns.append(None)
    )
    assert len(turns) == 4
    report = make_loop_report(cases, plan, at="now", machine=this_machine())
    assert [case.pipeline for case in report.cases] == ["a", "b"]
    for case in report.cases:
        assert (case.engine, case.threads) == ("litert", 1)
        assert case.bare_rate_hz is None
        assert case.answered > 0
        assert case.dropped == {"mailbox": 0, "source": 0}, "a pulled source loses nothing"
        assert case.stages_ms.keys() == set(STAGES)
        assert case.loop_ms is not None
        assert case.loop_ms.count == case.answered
        stages = sum(each.mean for each in case.stages_ms.values())
        assert stages == pytest.approx(case.loop_ms.mean, rel=0.01)
        assert case.p50_ratio is not None
        assert 0 < case.p50_ratio.low <= case.p50_ratio.median <= case.p50_ratio.high
        assert case.throughput_ratio is not None
        assert case.throughput_ratio.high < 1, "the forward pass is a part of the loop"
        assert case.hdr_ns is not None
        assert decode(case.hdr_ns).count == case.answered
        assert decode(case.bare_hdr_ns).count == case.bare_ms.count
        assert [row[0].strip() for row in figures_table(case).rows][2:] == list(STAGES)
    assert [row[0] for row in ratios_table(report).rows] == ["a", "b"]


def test_paced_the_forward_pass_alone_is_paced_alike() -> None:
    plan = LoopPlan(1.0, rate_hz=40, turns=2)
    (case,) = measure_loops({"a": pipeline(fps=40)}, plan, device=None, on_turn=lambda: None)
    (told,) = make_loop_report([case], plan, at="now", machine=this_machine()).cases
    assert told.bare_rate_hz == 40
    assert told.throughput_ratio is None, "the source sets the pace of both"
    assert 0 < told.bare_ms.count <= 44
    due = told.answered + told.dropped["mailbox"] + told.dropped["source"]
    seconds = sum(turn.seconds for turn in case.loop)
    assert 0 < due <= 40 * (seconds + 1), "frames fall due at the rate and no faster"


def test_a_camera_that_is_not_there_is_told_with_a_way_out() -> None:
    absent = Pipeline.model_validate(
        {"source": {"type": "camera", "device": "/dev/absent"}, "model": MODEL}
    )
    with pytest.raises(SourceError, match=r"/dev/absent: there is no such camera.*--input-size"):
        measure_loops({"a": absent}, LoopPlan(1, turns=1), device=None, on_turn=lambda: None)


def test_the_command_measures_with_frames_of_the_size_asked_for_and_takes_the_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    config = tmp_path / "device.yaml"
    one = f"{{source: {{type: camera}}, model: {{path: {DIGITS}, engine: litert}}}}"
    config.write_text(f"device: dev\npipelines:\n  one: {one}\n  two: {one}\n", encoding="utf-8")
    short = ("--seconds", "0.3", "--turns", "1", "--synthetic")
    assert edge("tune", config, *short).returncode == 0
    sizes = ("--input-size", "64x48", "--seconds", "0.5", "--json")
    done = edge("bench", "--pipeline", config, "two", *sizes)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    found = [(case["pipeline"], case["source"]) for case in report["cases"]]
    assert found == [("two", "synthetic 64x48, as fast as possible")]
    assert report["cases"][0]["engine_reason"].startswith("tuned ")
    assert list(load(config).pipelines["two"].all_sources) == ["camera"], "the file is left alone"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "takes a device YAML"),
        (["{demo}", "nix"], "has no pipeline nix; it has digits"),
        (["{demo}", "digits", "more"], "takes a device YAML"),
        (["{demo}", "--compare"], "--compare does not go with --pipeline"),
        (["{demo}", "--threads", "2"], "--threads does not go with --pipeline"),
        (["{demo}", "--rate", "0"], "--rate must be more than 0"),
        (["absent.yaml"], "absent.yaml: there is no such file"),
        (["{camera}", "--rate", "5000"], "type `camera` cannot be run at 5000 Hz"),
    ],
)
def test_wrong_usage_is_one_clear_line(arguments: list[str], told: str, tmp_path: Path) -> None:
    camera = tmp_path / "camera.yaml"
    one = f"{{source: {{type: camera}}, model: {{path: {DIGITS}}}}}"
    camera.write_text(f"device: dev\npipelines: {{one: {one}}}\n", encoding="utf-8")
    demo = ROOT / "device_configs/demo.yaml"
    words = [word.format(demo=demo, camera=camera) for word in arguments]
    done = edge("bench", "--pipeline", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_tables_are_printed_for_people() -> None:
    plan = LoopPlan(0.2, turns=1)
    cases = measure_loops({"a": pipeline()}, plan, device=None, on_turn=lambda: None)
    report = make_loop_report(cases, plan, at="now", machine=this_machine())
    plain = figures_table(report.cases[0]).plain().splitlines()
    assert plain[1].startswith("bare forward pass ")
    assert plain[2].startswith("capture to result ")
    assert "synthetic 64x48, as fast as possible" in ratios_table(report).markdown()


def test_a_saved_run_is_compared_with_its_spread(tmp_path: Path) -> None:
    plan = LoopPlan(0.2, turns=1)
    cases = measure_loops({"a": pipeline()}, plan, device=None, on_turn=lambda: None)
    report = make_loop_report(cases, plan, at="then", machine=this_machine())
    saved.save(report, tmp_path / "saved.json")
    then = saved.load_loops(tmp_path / "saved.json")
    assert then == report
    refuse_another_pace(then, tmp_path, rate_hz=None)
    with pytest.raises(ConfigError, match="was measured without --rate"):
        refuse_another_pace(then, tmp_path, rate_hz=30)
    with pytest.raises(ConfigError, match="its format is 'edge-bench-pipeline'"):
        saved.load(tmp_path / "saved.json")

    case = report.cases[0].model_copy(
        update={"turn_p50_ms": [1.0] * 10, "bare_turn_p50_ms": [0.5] * 10}
    )
    slower = case.model_copy(update={"turn_p50_ms": [1.2] * 10})
    one, other = (report.model_copy(update={"cases": [each]}) for each in (case, slower))
    (change,) = against_loops(other, one).changes
    assert (change.ratio, change.low, change.high, change.verdict) == (1.2, 1.2, 1.2, "slower")
    throttled = slower.model_copy(update={"bare_turn_p50_ms": [0.6] * 10})
    (change,) = against_loops(report.model_copy(update={"cases": [throttled]}), one).changes
    assert change.verdict == "cannot tell", "the forward pass alone was slower in the same measure"

    another = slower.model_copy(update={"threads": 2, "digest": "ab"})
    found = against_loops(report.model_copy(update={"cases": [another]}), one)
    engine = f"litert {case.engine_version}"
    assert found.differences == [
        "a: the model was another one",
        f"a: {engine}, 1 thread then, {engine}, 2 threads now",
    ]
    assert [row[0] for row in loop_against_table(found).rows] == ["a"]
    renamed = slower.model_copy(update={"pipeline": "b"})
    assert not against_loops(report.model_copy(update={"cases": [renamed]}), one).changes


@pytest.mark.parametrize(
    ("options", "measured"),
    [
        ([], "door: synthetic 64x48 at 50 fps, yard: synthetic 64x48 at 25 fps"),
        (["--rate", "40"], "door: synthetic 64x48 at 40 fps, yard: synthetic 64x48 at 40 fps"),
        (
            ["--input-size", "32x24"],
            "door: synthetic 32x24 at 50 fps, yard: synthetic 32x24 at 25 fps",
        ),
    ],
)
def test_several_sources_keep_their_rates_where_none_is_given(
    tmp_path: Path, options: list[str], measured: str
) -> None:
    config = tmp_path / "device.yaml"
    size = "type: synthetic, width: 64, height: 48"
    sources = f"{{door: {{{size}, fps: 50}}, yard: {{{size}, fps: 25}}}}"
    one = f"{{sources: {sources}, model: {{path: {DIGITS}, engine: litert}}}}"
    config.write_text(f"device: dev\npipelines: {{watch: {one}}}\n", encoding="utf-8")
    done = edge("bench", "--pipeline", config, "--seconds", "0.5", "--json", *options)
    assert done.returncode == 0, done.stderr
    (case,) = json.loads(done.stdout)["cases"]
    assert case["source"] == measured
    assert case["answered"] > 0


def test_several_sources_whose_rates_are_not_known_need_one(tmp_path: Path) -> None:
    config = tmp_path / "device.yaml"
    streams = "{a: {type: video, path: 'rtsp://a/b'}, b: {type: video, path: 'rtsp://c/d'}}"
    one = f"{{sources: {streams}, model: {{path: {DIGITS}}}}}"
    config.write_text(f"device: dev\npipelines: {{watch: {one}}}\n", encoding="utf-8")
    done = edge("bench", "--pipeline", config, "--input-size", "32x24")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "edge bench: watch has a source whose rate is not known: give --rate\n"

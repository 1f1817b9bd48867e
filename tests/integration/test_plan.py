"""`edge plan`: what it foretells, beside what the pipelines then do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commands import edge

from edge.config.device import Device
from edge.lab.loop_run import LoopRun
from edge.lab.machine import this_machine
from edge.lab.plan import Plan, Planner, Run
from edge.lab.plan_report import PlanReport, make_plan_report, plan_table, sentences
from edge.lab.prediction import unanswered
from edge.lab.slices import slice_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models/digits/digits.tflite"
SECONDS = 1.5
ATTEMPTS = 4  # on a machine on which other things go on, now more and now less
CORES = sorted(os.sched_getaffinity(0))[:2]


def pipeline(path: Path, fps: float | None, **options: Any) -> dict[str, Any]:
    """A pipeline over test frames, on two cores at the most."""
    return {
        "source": {"type": "synthetic", "width": 320, "height": 240, "fps": fps},
        "model": {"path": str(path), "engine": "litert", "threads": 1},
        "decode": {"type": "raw"},
        "deadline_ms": 1000,
        "rehearse": "never",
        "cpu": {"affinity": CORES},
    } | options


def plan_and_run(*pipelines: dict[str, Any], run: bool = True) -> tuple[Plan, Run | None]:
    named = {f"p{number}": each for number, each in enumerate(pipelines)}
    device = Device.model_validate({"device": "dev", "pipelines": named})
    planner = Planner(device, seconds=SECONDS, said=print, on_step=lambda: None)
    return planner.plan(seed=1), planner.run() if run else None


@pytest.fixture(scope="module")
def model(testdata: Path) -> Path:
    """A model that takes some milliseconds on a desktop, and some tens on a small board."""
    return testdata / "models/mobilenet_v2_1.0_224_quant.tflite"


@pytest.fixture(scope="module")
def way_s(model: Path) -> float:
    """How long one of its frames keeps the engine, here and now."""
    options = Device.model_validate({"pipelines": {"a": pipeline(model, None)}}).pipelines["a"]
    with LoopRun() as run:
        worker = run.start("a", options)
        run.warm(worker)
        worker.begin()
        run.run(0.5)
        (tally,) = run.stop([worker])
    return tally.cpu_s / tally.answered


def kind(share: float) -> str:
    return "none" if share <= 0.02 else "some" if share <= 0.1 else "many"


def compare(plan: Plan, run: Run, expected: Sequence[str]) -> list[str]:
    """Return what of the plan did not come true."""
    wrong = []
    for place, (real, word) in enumerate(zip(run.outcomes, expected, strict=True)):
        shares = [unanswered(each.sources[0]) for each in (plan.together.outcomes[place], real)]
        if [kind(share) for share in shares] != [word, word]:
            wrong.append(f"p{place}: {shares[0]:.3f} foretold, {shares[1]:.3f} seen, not {word}")
    planned = sum(plan.together.cores(place) for place in range(len(expected)))
    used = sum(each.cpu_ns for each in run.outcomes) / run.seconds / 1e9
    if abs(planned - used) > 0.1 * used:
        wrong.append(f"{planned:.3f} cores foretold, {used:.3f} used")
    return wrong


@pytest.mark.alone
@pytest.mark.parametrize(
    ("loads", "expected"),
    [
        pytest.param([0.15], ["none"], id="one light pipeline"),
        pytest.param([2.5], ["many"], id="a model slower than its camera"),
        pytest.param([0.25, 0.25], ["none", "none"], id="two that fit together"),
        pytest.param([0.8, 0.8, 0.8], ["many"] * 3, id="three that fit alone only"),
    ],
)
def test_the_plan_comes_true(
    loads: list[float], expected: list[str], model: Path, way_s: float
) -> None:
    wrong: list[list[str]] = []
    while len(wrong) < ATTEMPTS:
        plan, run = plan_and_run(*(pipeline(model, each / way_s) for each in loads))
        assert run is not None
        wrong.append(compare(plan, run, expected))
        if not wrong[-1]:
            break
    assert not wrong[-1], wrong
    report = make_plan_report(plan, run, at="now", seconds=SECONDS, seed=1, machine=this_machine())
    assert report.fits == ("many" not in expected)
    assert report.head_room is not None
    assert (report.head_room >= 1) == report.fits
    for pipeline_ in report.pipelines:
        assert (pipeline_.verdict != "does not fit") == report.fits
        assert ("engine is short" in pipeline_.because) == (loads == [2.5])
        assert ("cores are short" in pipeline_.because) == (len(loads) == 3)
    header = plan_table(report).header
    kinds = [row[header.index("")] for row in plan_table(report).rows]
    assert kinds == ["plan", "run"] * len(loads)
    assert any(line.startswith("cores: ") for line in sentences(report))


def test_pulled_sources_have_a_throughput_and_no_deadline(model: Path, way_s: float) -> None:
    plan, run = plan_and_run(pipeline(model, None), run=False)
    report = make_plan_report(plan, run, at="now", seconds=SECONDS, seed=1, machine=this_machine())
    (found,) = report.pipelines
    assert found.verdict == "no deadline"
    assert found.sources[0].planned.answered_hz == pytest.approx(1 / way_s, rel=0.4)
    assert report.head_room is None
    assert report.fits
    assert "as fast as it is asked" in found.because


def test_the_command_says_it_in_json_and_by_its_exit_status(tmp_path: Path) -> None:
    config = tmp_path / "device.yaml"
    front = "{type: synthetic, width: 64, height: 48, fps: 30}"
    back = "{type: camera, width: 32, height: 24, fps: 20, device: /dev/absent}"
    one = f"model: {{path: {DIGITS}, engine: litert}}, deadline_ms: 2000"
    config.write_text(
        f"device: dev\npipelines: {{both: {{sources: {{front: {front}, back: {back}}}, {one}}}}}\n",
        encoding="utf-8",
    )
    done = edge("plan", config, "--seconds", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert "1 pipeline, 1 s each alone: about" in done.stderr
    assert "/dev/absent: there is no such camera" in done.stderr
    assert "planned with synthetic 32x24 at 20 fps instead" in done.stderr
    report = PlanReport.model_validate_json(done.stdout)
    (found,) = report.pipelines
    assert [source.name for source in found.sources] == ["front", "back"]
    assert [source.rate_hz for source in found.sources] == pytest.approx([30, 20], rel=0.01)
    assert [source.in_place_of for source in found.sources] == [
        None,
        "camera 32x24 at 20 fps",
    ]
    assert json.loads(done.stdout)["run_cores"] is None

    config.write_text(config.read_text(encoding="utf-8").replace("2000", "0.001"), encoding="utf-8")
    done = edge("plan", config, "--seconds", "0.5", "--verify")
    assert done.returncode == 1
    assert "does not fit: the deadline is short: alone a frame takes " in done.stdout
    assert "a P99 needs 100 frames" in done.stdout
    assert "head-room: none" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if " run " in line]
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["absent.yaml"], "absent.yaml: there is no such file"),
        (["{demo}", "--seconds", "0"], "--seconds must be more than 0 and at most 3600, not 0"),
        (["{demo}", "--seconds", "nan"], "--seconds must be more than 0"),
        (["{demo}", "--seed", "-1"], "--seed must be a number from 0 to"),
    ],
)
def test_wrong_usage_is_one_clear_line(arguments: list[str], told: str) -> None:
    demo = ROOT / "device_configs/demo.yaml"
    done = edge("plan", *(word.format(demo=demo) for word in arguments))
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_slice_of_the_scheduler_is_measured() -> None:
    assert 0.3e6 < slice_ns() < 100e6

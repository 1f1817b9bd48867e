"""The exposition is Prometheus' format, and says what the metrics say, whatever they are."""

import json
from dataclasses import replace
from typing import Any

import pytest
from scraper import Samples, assert_machine, assert_same
from test_messages import HEALTH, SILENT_HEALTH, metrics

from edge.health import Health
from edge.messages import LadderFigures, Message, Metrics, SourceFigures
from edge.sinks.exposition import exposition

HOSTILE = [
    'quotes " and \\ and \\n',
    "two\nlines # HELP edge_fps x\nedge_fps 1",
    '"} 1\nedge_evil{a="',
    "\\",
    "Größe, 大きさ \u2028 \x85 \x0b",
    "a,b=c{d}e",
    "tab\tand\rreturn",
]


def payload(report: Message) -> Any:
    """What MQTT says of it."""
    return json.loads(report.to_json())


def source_figures(report: Metrics) -> SourceFigures:
    names = SourceFigures.__dataclass_fields__
    return SourceFigures(**{name: getattr(report, name) for name in names})


@pytest.mark.parametrize("frames", [0, 3, 1500])
def test_all_figures_are_those_of_the_metrics(frames: int) -> None:
    report = metrics(frames)
    assert_same(Samples(exposition([report])), payload(report))


def test_several_pipelines_and_sources_stand_side_by_side() -> None:
    door, empty = metrics(1500), metrics(0)
    yard = replace(
        metrics(120),
        pipeline="yard",
        waiting=7,
        sources={"left": source_figures(door), "right": source_figures(empty)},
    )
    samples = Samples(exposition([door, yard]))
    assert_same(samples, payload(yard))
    # What the daemon says of itself is said once, by the newest.
    assert_same(samples, payload(replace(door, waiting=7)))
    assert samples.of("edge_frames_total", device="porch-pi") == {
        "door": door.frames_total,
        "yard": yard.frames_total,
    }


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_can_break_out_of_its_label(text: str) -> None:
    ladder = LadderFigures(steps_down_total=0, steps_up_total=0, seconds_total={text: 1.5})
    report = metrics(3)
    report = replace(
        report,
        device=text,
        pipeline=text,
        ladder=ladder,
        sources={text: source_figures(report)},
        stages_ms={text: report.acknowledged_ms},
    )
    assert_same(Samples(exposition([report])), payload(report))


def test_without_metrics_there_is_nothing_to_say() -> None:
    assert exposition([]) == ""


@pytest.mark.parametrize("health", [HEALTH, SILENT_HEALTH], ids=["told", "not told"])
def test_the_machine_is_told_as_far_as_it_tells(health: Health) -> None:
    samples = Samples(exposition([], health))
    assert_machine(samples, payload(health))
    told = samples.get("edge_machine_under_voltage", device="porch-pi")
    assert told == health.under_voltage

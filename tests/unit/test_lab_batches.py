"""A frame's share of a forward pass of several, beside a pass of its own."""

import json

import pytest
from lab_reports import report, subject

from edge.lab.batches import batch_shares, shares_table
from edge.lab.plot import plot
from edge.lab.report import Report
from edge.lab.table import bench_table

ALONE = [[1.0, 1.01, 0.99]] * 20
OF_FOUR = [[2.0, 2.02, 1.98]] * 20
MEASURED = report(
    [
        subject(ALONE, threads=2),
        subject(ALONE),
        subject(OF_FOUR, batch=4),
        subject(OF_FOUR, batch=4, engine="tflite-runtime"),
    ]
)


def test_a_share_is_compared_with_the_same_subject_alone() -> None:
    (share,) = batch_shares(MEASURED)
    assert (share.engine, share.threads, share.batch) == ("litert", 1, 4)
    assert (share.then_p50_ms, share.now_p50_ms, share.ratio) == (1.0, 0.5, 0.5)
    assert share.verdict == "faster"


def test_batches_are_told_apart_in_every_output() -> None:
    table = bench_table(MEASURED)
    assert list(table.header[:3]) == ["engine", "threads", "batch"]
    assert "frames/s" in table.header
    assert [row[2] for row in table.rows] == ["1", "1", "4", "4"]
    shares = shares_table(MEASURED, batch_shares(MEASURED))
    assert list(shares.rows[0]) == [
        *("litert", "1", "4"),
        *("1.000", "0.5000", "0.500", "0.500 to 0.500", "faster"),
    ]
    assert "1 thread, batch 4: 60 invokes" in plot(MEASURED)


def test_without_batches_nothing_is_said_of_them() -> None:
    plain = report([subject(ALONE)])
    assert batch_shares(plain) == []
    header = bench_table(plain).header
    assert "batch" not in header
    assert "per s" in header


def test_what_was_saved_before_there_were_batches_is_of_single_frames() -> None:
    whole = json.loads(report([subject(ALONE)]).model_dump_json())
    del whole["subjects"][0]["batch"]
    (found,) = Report.model_validate_json(json.dumps(whole)).subjects
    assert found.batch == 1


@pytest.mark.parametrize("batch", [0, "2"])
def test_a_batch_that_cannot_be_is_refused(batch: object) -> None:
    with pytest.raises(ValueError, match="batch"):
        subject(ALONE, batch=batch)

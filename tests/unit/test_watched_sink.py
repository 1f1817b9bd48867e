"""An outage of a sink is told once, and so is its end; the next one is told again."""

from pathlib import Path
from typing import Any

import pytest
from test_messages import INFO

from edge.messages import Event
from edge.sinks.jsonl import JsonlOptions
from edge.supervisor.watched_sink import SETTLED_S, WatchedSink


class Sender:
    """What `Outlet` is to a sink: its events go to that sink, too."""

    def __init__(self, path: Path) -> None:
        options = JsonlOptions(type="jsonl", path=path, messages=["events"])
        self.now_s = 1000.0
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.sink = WatchedSink(options, self.tell, clock=lambda: self.now_s)

    def tell(self, event: Any, message: str, *, level: int = 0, **details: Any) -> None:
        del level
        self.told.append((event, message, details))
        self.send(event)

    def send(self, event: Any) -> None:
        self.sink.send(
            Event(
                device="d",
                boot="b",
                pipeline=None,
                sequence=0,
                at="2026-05-04T03:02:01.000Z",
                clock_synced=True,
                event=event,
                message="x",
            )
        )


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    return Sender(tmp_path / "folder" / "out.jsonl")


def test_each_outage_is_told_once_and_its_end(sender: Sender, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for outage in (1, 2):
        for _ in range(5):
            sender.send("started")
            sender.now_s += 1
        assert [event for event, *_ in sender.told] == ["sink_failed", "sink_back"] * (
            outage - 1
        ) + ["sink_failed"]
        assert str(folder / "out.jsonl") in sender.told[-1][1]
        folder.mkdir()
        sender.now_s += SETTLED_S
        sender.send("started")
        event, message, details = sender.told[-1]
        assert event == "sink_back"
        # Five of ours, and the event that told of it.
        assert details == {"refused": 6}
        assert message.endswith("takes messages again after 15 s; 6 were refused")
        assert len((folder / "out.jsonl").read_text().splitlines()) == 2
        (folder / "out.jsonl").unlink()
        folder.rmdir()
    assert len(sender.told) == 4


def test_a_sink_that_takes_every_other_message_has_one_outage(
    sender: Sender, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    for _ in range(50):
        sender.send("started")
        sender.now_s += SETTLED_S / 3
        folder.mkdir()
        sender.send("started")
        sender.now_s += SETTLED_S / 3
        (folder / "out.jsonl").unlink()
        folder.rmdir()
    assert [event for event, *_ in sender.told] == ["sink_failed"]


def test_a_message_that_the_sink_does_not_want_is_no_sign_of_life(
    sender: Sender, tmp_path: Path
) -> None:
    sender.send("started")
    (tmp_path / "folder").mkdir()
    sender.now_s += SETTLED_S
    sender.sink.send(INFO)
    assert len(sender.told) == 1
    sender.send("started")
    assert len(sender.told) == 2

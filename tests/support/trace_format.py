"""The rules of the Chrome trace event format, as the viewers that read it enforce them."""

from collections import defaultdict
from typing import Any

NEEDED = {
    "X": {"name", "cat", "ts", "dur", "pid", "tid"},
    "i": {"name", "ts", "pid", "tid", "s"},
    "C": {"name", "ts", "pid", "args"},
    "M": {"name", "pid", "args"},
    **{phase: {"name", "cat", "ts", "pid", "tid", "id"} for phase in "stf"},
}
COLOURS = {"terrible", "bad"}  # of the viewer's own names for colours


def check_trace(document: dict[str, Any]) -> list[str]:
    """Check a trace; return the names of its tracks. Fails where a viewer would complain."""
    named: dict[Any, str] = {}
    slices = defaultdict(list)
    flows: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    newest = 0.0
    for event in document["traceEvents"]:
        phase = event["ph"]
        assert NEEDED[phase] <= event.keys(), event
        if phase == "M":
            if event["name"] == "thread_name":
                named[event["tid"]] = event["args"]["name"]
            continue
        assert event["ts"] >= newest, "events come in the order of their times"
        newest = event["ts"]
        assert event.get("cname", "bad") in COLOURS
        if phase == "X":
            assert event["dur"] >= 0, event
            slices[event["tid"]].append(event)
        elif phase == "C":
            assert event["args"]
            assert all(isinstance(value, (int, float)) for value in event["args"].values()), event
        elif phase == "i":
            assert event["s"] in {"g", "p", "t"}
        else:
            flows[event["id"]].append(event)
    for track, on_it in slices.items():
        assert track in named, f"track {track} has no name"
        _nest(on_it)
    for of_one in flows.values():
        assert [each["ph"] for each in of_one] == ["s", "t", "f"]
        for each in of_one:
            assert any(
                slice_["ts"] <= each["ts"] <= slice_["ts"] + slice_["dur"]
                for slice_ in slices[each["tid"]]
            ), "a flow is bound to a slice"
    return list(named.values())


def _nest(on_one_track: list[dict[str, Any]]) -> None:
    """Slices of one track lie beside or within one another: they never cross."""
    open_until: list[float] = []
    for event in on_one_track:
        while open_until and open_until[-1] <= event["ts"] + 0.0005:
            open_until.pop()
        end = event["ts"] + event["dur"]
        assert not open_until or end <= open_until[-1] + 0.0005, f"{event} crosses another"
        open_until.append(end)

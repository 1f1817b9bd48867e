"""Sinks beside the broker say what MQTT says, in one run."""

import json
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from parties import Daemon, Listener, Mosquitto, device, free_port, wait_for_port
from scraper import Samples, assert_machine, assert_same

from edge.cli import main
from edge.config.load import load
from edge.errors import ConfigError

Start = Callable[..., Daemon]


def test_all_sinks_say_what_mqtt_says(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str, tmp_path: Path
) -> None:
    lines, textfile = tmp_path / "out.jsonl", tmp_path / "edge.prom"
    sinks = (
        "sinks:\n"
        f"  - {{type: jsonl, path: {lines}, messages: [predictions, metrics, events, info]}}\n"
        f"  - {{type: prometheus, path: {textfile}}}\n"
    )
    more = (
        "    cache: {mode: similar, similarity: 0.5}\n    ladder: {rungs: [{name: few, every: 2}]}"
    )
    pipelines = f"  plain: {digits_30fps}\n  more: {digits_30fps}\n{more}"
    daemon = start(sinks + device(broker, pipelines), "--max-frames", "120")
    assert daemon.wait() == 0, daemon.log
    listener.wait_for("dev/status", lambda word: word == "offline")
    written = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    for pipeline in ("plain", "more"):
        of_it = [one for one in written if one.get("pipeline") == pipeline]
        results = listener.of(f"{pipeline}/predictions")
        reports = listener.of(f"{pipeline}/metrics")
        assert len(results) > 30
        assert [one for one in of_it if "predictions" in one] == results
        # What was reported before the broker answered went to the file alone.
        assert [one for one in of_it if "window_s" in one][-len(reports) :] == reports
        assert [one for one in of_it if "event" in one] == listener.of(f"{pipeline}/events")
    assert listener.of("dev/info")[-1] in written
    samples = Samples(textfile.read_text(encoding="utf-8"))
    newest = {name: listener.of(f"{name}/metrics")[-1] for name in ("plain", "more")}
    own = ("supervisor_rss_bytes", "temperature_c", "waiting", "spooled", "undelivered_total")
    of_the_daemon = {key: newest["more"][key] for key in own}
    for report in newest.values():  # the daemon's own figures are those of the last report
        assert_same(samples, report | of_the_daemon)
    assert_machine(samples, listener.of("dev/health")[-1])
    assert newest["more"]["cache"]["hits_total"] > 0
    assert sorted(tmp_path.glob("*edge.prom*")) == [textfile]


def test_a_port_answers_scrapers_with_what_mqtt_says(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    port = free_port()
    text = f"sinks: [{{type: prometheus, port: {port}}}]\n"
    start(text + device(broker, f"  digits: {digits_30fps}", interval_s=0.5))
    wait_for_port(port)
    listener.wait_for("digits/metrics")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        samples = Samples(answer.read().decode())
    count = samples.get("edge_frames_total", device="dev", pipeline="digits")
    fps = samples.get("edge_fps", device="dev", pipeline="digits")
    same = listener.wait_for(
        "digits/metrics", lambda one: (one["frames_total"], one["fps"]) == (count, fps)
    )
    assert_same(samples, same)


def test_a_reload_moves_to_another_sink_on_the_same_port(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str
) -> None:
    port = free_port()
    pipelines = f"  digits: {digits_30fps}"
    text = f"sinks: [{{type: prometheus, port: {port}}}, {{type: stdout}}]\n"
    daemon = start(text + device(broker, pipelines))
    listener.wait_for_event("model_loaded")
    wait_for_port(port)
    daemon.config.write_text(text.replace(", {type: stdout}", "") + device(broker, pipelines))
    daemon.send(signal.SIGHUP)
    listener.wait_for_event("reloaded")
    wait_for_port(port)
    assert "sink_failed" not in daemon.log


def test_a_sink_that_fails_is_told_on_mqtt_and_the_loop_goes_on(
    broker: Mosquitto, listener: Listener, start: Start, digits_30fps: str, tmp_path: Path
) -> None:
    text = f"sinks: [{{type: jsonl, path: {tmp_path}/gone/out.jsonl}}]\n"
    daemon = start(text + device(broker, f"  digits: {digits_30fps}"), "--max-frames", "30")
    assert daemon.wait() == 0, daemon.log
    told = listener.wait_for_event("sink_failed")
    assert "gone/out.jsonl cannot be written: No such file or directory" in told["message"]
    assert len(listener.wait_for_many("digits/predictions", 30)) == 30
    assert daemon.log.count("sink_failed") == 1


@pytest.mark.parametrize("options", ["", ", port: 9469, path: x.prom", ", path: x.txt"])
def test_one_place_for_prometheus_is_asked_for(
    options: str, broker: Mosquitto, digits_30fps: str, tmp_path: Path
) -> None:
    file = tmp_path / "device.yaml"
    text = f"sinks: [{{type: prometheus{options}}}]\n"
    file.write_text(text + device(broker, f"  digits: {digits_30fps}"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"`path`"):
        load(file)


def test_check_names_what_sinks_lack(
    broker: Mosquitto, digits_30fps: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "device.yaml"

    def check(*sinks: str) -> str:
        lines = "".join(f"  - {{type: {sink}}}\n" for sink in sinks)
        rest = device(broker, f"  digits: {digits_30fps}")
        file.write_text(f"sinks:\n{lines}{rest}", encoding="utf-8")
        status = main(["check", str(file)])
        said = capsys.readouterr()
        assert status == (2 if said.err else 0)
        return (said.err or said.out).replace(f"{tmp_path}/", "")

    assert check("jsonl, path: no/x.jsonl", f"prometheus, path: {tmp_path}/no/x.prom") == (
        "edge check: 2 problems\n"
        "device.yaml:2: sinks[0].path: no: there is no such folder\n"
        "device.yaml:3: sinks[1].path: no: there is no such folder\n"
    )
    (tmp_path / "folder").mkdir()
    assert "sinks[0].path: folder: is no regular file" in check("jsonl, path: folder")
    assert "sinks[1]: goes to x.jsonl, where sinks[0] goes already" in check(
        "jsonl, path: x.jsonl", "jsonl, path: ./x.jsonl"
    )
    assert check("jsonl, path: x.jsonl", "prometheus, port: 9469", "stdout").endswith(
        "sink jsonl: x.jsonl\nsink prometheus: 127.0.0.1:9469\nsink stdout: standard output\n"
    )

"""Writes a device YAML for a machine that was looked at: what is not there is a comment."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

from edge import __version__
from edge.bundled_files import bundled
from edge.config.mqtt import embedded_port

if TYPE_CHECKING:
    from pathlib import Path

    from edge.doctor.cameras import Camera
    from edge.doctor.model_facts import ModelFacts
    from edge.doctor.survey import FoundBroker, Survey
    from edge.doctor.v4l2 import Size

PLAIN = re.compile(r"[A-Za-z/]([A-Za-z0-9_./:@-]*[A-Za-z0-9_./@-])?")
READ_AS_ELSE = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
FORMATS = ("MJPG", "YUYV")  # those that a camera's frames are decoded from best, in this order
WANTED_PIXELS, WANTED_FPS = 1280 * 720, 30.0
COMMENT_AT = 47


def draft(
    survey: Survey, model: ModelFacts, *, device: str, folder: Path, of_the_demo: bool
) -> str:
    """Return the text of a device YAML that will lie in `folder`.

    `of_the_demo` tells that the model is the one that came with us, which reads digits.
    """
    day = time.strftime("%Y-%m-%d")
    return "\n".join(
        [
            f"# Written by `edge init` {__version__} on {day}. What this machine has stands here,",
            "# what it could have is a comment. Every field is in the Configuration reference of",
            "# the README; `edge schema --markdown` prints the same.",
            _line(f"device: {scalar(device)}", "a level of all topics: edge/DEVICE/..."),
            "",
            "mqtt:",
            *_mqtt(survey),
            "",
            "telemetry:",
            _line("  interval_s: 10", "seconds between two reports of figures"),
            "",
            *_home_assistant(survey),
            "",
            "pipelines:",
            _line("  main:", "a level of the topics, too; several run side by side"),
            *_source(survey, model, device=device, of_the_demo=of_the_demo),
            *_model(survey, model, folder=folder, of_the_demo=of_the_demo),
            *_decode(model),
            _line("    deadline_ms: 100", "a result is in time so long after its frame's capture"),
            "",
        ]
    )


def scalar(value: str) -> str:
    """Return a text as YAML: plain where every reader takes it for that text, else in quotes."""
    if PLAIN.fullmatch(value) and value.lower() not in READ_AS_ELSE:
        return value
    return json.dumps(value)


def _mqtt(survey: Survey) -> list[str]:
    broker = survey.broker
    if broker is None:
        lines = [
            _line("  broker: embedded", "a broker inside the daemon, for this machine alone"),
            _line("  # broker: mqtt://192.168.1.10", "another, of which none was found"),
        ]
    else:
        lines = [_line(f"  broker: {scalar(broker.url)}", _how_it_received_us(broker))]
    lines += [
        "  # Who we are there. A password never stands in this file:",
        "  # username: edge",
        "  # password_file: ${CREDENTIALS_DIRECTORY}/mqtt   # a systemd credential, or",
        "  # password: ${EDGE_MQTT_PASSWORD}                # the environment",
    ]
    if broker is None or not broker.url.startswith("mqtts:"):
        lines.append("  # Encrypted it is `broker: mqtts://HOST`, and with a CA of your own:")
    else:
        lines.append("  # With a CA of your own:")
    return [*lines, "  # tls: { ca_file: ca.crt }"]


def _how_it_received_us(broker: FoundBroker) -> str:
    if embedded_port(broker.url) is not None:
        return "a broker inside the daemon, for this machine alone"
    if not broker.trouble:
        return "it let us in without a name"
    return {
        "CONNACK": "it lets nobody in without a name: see below",
        "TLS": "its certificate has to be looked at: see below",
    }.get(broker.step, "it did not answer when this was written")


def _home_assistant(survey: Survey) -> list[str]:
    about = "Home Assistant finds the device through the broker"
    if survey.broker is not None and survey.broker.host == "homeassistant.local":
        return ["home_assistant:", _line("  enabled: true", about)]
    return [_line("# home_assistant: { enabled: true }", about)]


def _source(survey: Survey, model: ModelFacts, *, device: str, of_the_demo: bool) -> list[str]:
    if not model.takes_pictures:
        return [
            "    # The model takes no pictures. Its input comes as tensors by MQTT: what",
            "    # `edge publish-frames FOLDER` makes of the .npy files in a folder.",
            "    source:",
            "      type: mqtt",
            f"      topic: {scalar(f'frames/{device}')}",
        ]
    usable = [each for each in survey.cameras if not each.trouble]
    others = [each for each in survey.cameras if each not in usable[:1]]
    lines = _camera(usable[0]) if usable else _no_camera(of_the_demo=of_the_demo)
    for each in others:
        kind = "picamera" if each.kind == "ribbon" else "camera"
        why = f" ({each.trouble})" if each.trouble else ""
        lines.insert(
            0, f"    # There is also {each.path}: {_one_line(each.name)}{why}, `type: {kind}`."
        )
    if survey.ports:
        shown = ", ".join(map(str, survey.ports))
        lines.insert(0, f"    # Serial ports that are there: {shown}")
    return lines


def _camera(camera: Camera) -> list[str]:
    name = _one_line(camera.name)
    if camera.kind == "ribbon":
        return ["    source:", _line("      type: picamera", f"{name}, on the camera port")]
    lines = [
        "    source:",
        "      type: camera",
        _line(f"      device: {scalar(str(camera.path))}", name),
    ]
    formats = {each.fourcc: each.sizes for each in camera.formats}
    fourcc = next((each for each in FORMATS if each in formats), next(iter(formats), None))
    if fourcc is None:
        return lines
    offered = ", ".join(each for each in formats if each != fourcc)
    also = f"it also gives {_one_line(offered)}" if offered else "its one format"
    lines.append(_line(f"      fourcc: {scalar(fourcc)}", also))
    if size := best_size(formats[fourcc]):
        shown = ", ".join(f"{each.width}x{each.height}" for each in formats[fourcc][:6])
        lines.append(_line(f"      width: {size.width}", f"it has {shown}"))
        lines.append(f"      height: {size.height}")
        if size.fps:
            lines.append(f"      fps: {best_rate(size):g}")
    return lines


def best_size(sizes: tuple[Size, ...]) -> Size | None:
    """Return the largest size up to 1280x720, or the smallest where all are larger."""
    fitting = [each for each in sizes if each.width * each.height <= WANTED_PIXELS]
    return fitting[0] if fitting else sizes[-1] if sizes else None


def best_rate(size: Size) -> float:
    """Return the fastest rate up to 30 frames a second, or the slowest where all are faster."""
    return next((fps for fps in size.fps if fps <= WANTED_FPS), size.fps[-1])


def _no_camera(*, of_the_demo: bool) -> list[str]:
    lines = [
        "    # There is no camera. With one it is",
        "    # source: { type: camera, device: /dev/video0, width: 1280, height: 720, fps: 30 }",
    ]
    if not of_the_demo:
        return [
            *lines,
            "    # and until then a moving test pattern shows that all else works:",
            "    source: { type: synthetic, fps: 10 }",
        ]
    return [
        *lines,
        "    # and until then the pictures of digits that came with the model:",
        "    source:",
        "      type: images",
        f"      path: {scalar(str(_digits()))}",
        _line("      tile: 8", "a sheet of tiles of 8x8 pixels"),
        _line(
            "      truth: list", "the right answers lie beside it: `edge top` shows the accuracy"
        ),
        "      fps: 10",
        "      loop: true",
    ]


def _digits() -> Path:
    return bundled("models/digits/held-out.png")


def _model(survey: Survey, model: ModelFacts, *, folder: Path, of_the_demo: bool) -> list[str]:
    about = (
        "reads handwritten digits; put your own model here"
        if of_the_demo
        else f"its output is {model.outputs}"
    )
    lines = ["    model:", _line(f"      path: {scalar(_short(model.path, folder))}", about)]
    if model.labels is not None:
        lines.append(f"      labels: {scalar(_short(model.labels, folder))}")
    elif model.decoder.type != "raw":
        lines.append(_line("      # labels: labels.txt", "names of the classes, one a line"))
    installed = ", ".join(f"{name} {version}" for name, version in survey.engines.items())
    lines.append(
        _line("      engine: auto", f"installed: {installed}; `edge tune` finds the fastest")
    )
    if model.takes_pictures:
        fit = "crop" if model.square else "letterbox"
        about = "the middle of the picture; `letterbox` takes all of it"
        lines.append(_line(f"      resize: {fit}", about if model.square else "all of the picture"))
    return [*lines, *_accelerator(survey, model, folder=folder)]


def _accelerator(survey: Survey, model: ModelFacts, *, folder: Path) -> list[str]:
    there = [f"on {each.bus.upper()} ({each.where})" for each in survey.edge_tpus]
    if model.edgetpu:
        found = (
            f"an Edge TPU {there[0]}"
            if there
            else "the model is compiled for it; none is plugged in"
        )
        lines = [_line("      accelerator: edgetpu", found)]
        if model.cpu_build is not None:
            path = scalar(_short(model.cpu_build, folder))
            return [*lines, _line(f"      cpu_path: {path}", "what runs while it cannot be used")]
        return [
            *lines,
            _line("      # cpu_path: model.tflite", "the same for the CPU, as a fallback"),
        ]
    if there:
        return [
            f"      # There is an Edge TPU {there[0]}. It runs models that were compiled for it",
            "      # (`edgetpu_compiler MODEL`): name that one above, and",
            "      # accelerator: edgetpu",
            f"      # cpu_path: {_short(model.path, folder)}",
        ]
    return [_line("      # accelerator: edgetpu", "a Coral Edge TPU; none is plugged in")]


def _decode(model: ModelFacts) -> list[str]:
    if model.decoder.type == "raw":
        return [_line("    decode: { type: raw }", "the outputs as numbers: no decoder knows them")]
    if model.decoder.type == "centroids":
        about = "middles of objects; class 0 is the background"
        return [_line("    decode: { type: centroids, threshold: 0.5 }", about)]
    return [_line("    decode: { type: classification, top_k: 3 }", "the three best classes")]


def _short(path: Path, folder: Path) -> str:
    """Return a path as it is written in a YAML of this folder."""
    path = path.absolute()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _line(text: str, comment: str) -> str:
    """Return a line with its comment behind it, or above it where it is long."""
    if len(text) < COMMENT_AT:
        return f"{text:{COMMENT_AT}} # {comment}"
    indent = text[: len(text) - len(text.lstrip())]
    return f"{indent}# {comment}:\n{text}"


def _one_line(text: str) -> str:
    """Return a device's name, which may hold anything, as it can stand in a comment."""
    return "".join(sign for sign in text if sign.isprintable())

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from edge.config.device import Device
from edge.config.load import load
from edge.config.problems import Document, _Spot
from edge.errors import ConfigError

Refusal = Callable[..., list[str]]

GOOD = """\
device: pi
pipelines:
  porch:
    source: {type: synthetic}
    model: {path: a.tflite}
"""
SOURCES = "`camera`, `images`, `mqtt`, `picamera`, `scene`, `synthetic` or `video`"
THREADS = "threads: must be a whole number from 1 to 64, or `auto`"
UNKNOWN = "is not known here; known are"
IMAGES_KEYS = "`type`, `deadline_ms`, `path`, `fps`, `loop`, `truth`, `tile`"
LIST_ALONE = "`truth: list` goes with `tile`: it names the true label of each tile"
KEY = "a key must be text: put quotes around it"
NO_PIPELINES = "is missing: The pipelines by name; they run side by side."
TOP_KEYS = (
    "`device`, `mqtt`, `telemetry`, `recorder`, `commands`, `updates`, `home_assistant`, `sinks`, "
    "`wake_up_limit_us`, `pipelines`"
)
NO_ONE = "must be a mapping (`key: value`), not 1"
QUOTES = "put quotes around it"
MEAN = "mean: must be a number, or a list of 1 to 3 numbers"
RESIZE = "resize: must be `stretch`, `letterbox` or `crop`"
KEYS = ", ".join(f"`{key}`" for key in (
    "path", "labels", "engine", "threads", "accelerator", "fallback", "cpu_path", "golden",
    "resize", "interpolation", "colour", "mean", "std"
))  # fmt: skip
PATH = ".path: must be a path, or a list of one or more paths"
FPS = ".fps: must be a number from 0.0001 to 10000, or `file`, or `null`"
NAMES = "pipelines: must be a mapping with one or more names"
NAME = "the name must be letters, digits, - and _ (it is a level of the topics)"
LEVEL = "must be one level of a topic: not empty, without / + # and no $ in front"
URLS = "`mqtt://HOST[:PORT]` or, with TLS, `mqtts://HOST[:PORT]`"
BROKER = f".broker: must be {URLS}, or `embedded`, a broker inside this daemon"
NO_URL = f".broker: is no URL: must be {URLS}, the port 1 to 65535"
KEEPALIVE = ".keepalive_s: must be a whole number from 5 to 3600"
DEADLINE = "deadline_ms: must be a number, more than 0 and at most 3600000"
IN_CLEAR = (
    "must not stand in the file in clear: write ${NAME} and set it in the environment, "
    "or use `password_file`"
)


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refusal:
    """Return a function that gives the lines said against a YAML text, without its name."""
    monkeypatch.chdir(tmp_path)

    def told(text: str, **environ: str) -> list[str]:
        Path("pi.yaml").write_text(dedent(text), encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load(Path("pi.yaml"), environ)
        lines = str(caught.value).splitlines()
        assert all(line.startswith("pi.yaml:") for line in lines)
        return [line.removeprefix("pi.yaml:") for line in lines]

    return told


def test_all_problems_are_told_at_once_in_the_order_of_the_file(refusal: Refusal) -> None:
    text = """\
    device: porch/pi
    mqtt:
      broker: 192.168.1.10
      username: edge
      password: hunter2
    telemetry: {interval_s: 0}
    pipelines:
      status:
        source: {type: camara, width: 1280}
        model: {path: a.tflite, threds: 2}
      porch:
        source:
          type: images
          path: 5
        model:
          threads: ${THREADS}
          engine: ${ENGINE}
          mean: [1, x]
        deadline_ms: soon
        deadline_ms: 12
        publish: every
    """
    reserved = "command, status, info, metrics, events, predictions, state, health"
    assert refusal(text, THREADS="many") == [
        f"1: device: {LEVEL}",
        f"3: mqtt{BROKER}",
        f"5: mqtt.password: {IN_CLEAR}",
        "6: telemetry.interval_s: must be a number from 0.5 to 3600, not 0",
        f"8: pipelines.status: the name is a topic of its own; these names are taken: {reserved}",
        f"9: pipelines.status.source.type: must be {SOURCES}, not 'camara'; did you mean `camera`?",
        "10: pipelines.status.model.threds: is not known here; did you mean `threads`?",
        f"14: pipelines.porch.source{PATH}, not 5",
        "15: pipelines.porch.model.path: is missing: The .tflite file.",
        f"16: pipelines.porch.model.{THREADS}, not what ${{THREADS}} holds",
        "17: pipelines.porch.model.engine: the environment variable ENGINE is not set",
        "18: pipelines.porch.model.mean[1]: must be a number, not 'x'",
        f"19: pipelines.porch.{DEADLINE}, not 'soon'",
        "20: pipelines.porch.deadline_ms: stands here a second time, first on line 19: keep one",
        "21: pipelines.porch.publish: must be a mapping (`key: value`), not 'every'",
    ]


def test_a_build_for_the_cpu_belongs_to_an_accelerator(refusal: Refusal) -> None:
    text = "pipelines: {porch: {source: {type: synthetic}, model: {path: a, cpu_path: b}}}"
    problem = "`cpu_path` is for models with an `accelerator`: write `path`, or name it"
    assert refusal(text) == [f"1: pipelines.porch.model: {problem}"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("threads: abc", f"{THREADS}, not 'abc'"),
        ("threads: 65", f"{THREADS}, not 65"),
        ("threads: 1.5", f"{THREADS}, not 1.5"),
        ("threads: true", f"{THREADS}, not true"),
        ("threads:", f"{THREADS}, but it is empty"),
        ("threads: {}", f"{THREADS}, not an empty mapping"),
        ("threads: [1]", f"{THREADS}, not a list"),
        ("threads: .inf", f"{THREADS}, not inf"),
        (f"threads: {'9' * 200}", f"{THREADS}, not {'9' * 60}..."),
        (f"threads: {'x' * 200}", f"{THREADS}, not '{'x' * 60}'"),
        ("labels: 5", "labels: must be a path, or a list of texts, not 5"),
        ("labels: [a, 5]", "labels[1]: must be text, not 5: put quotes around it"),
        ("labels: [a, null]", "labels[1]: must be text, but it is empty"),
        ("mean: x", f"{MEAN}, not 'x'"),
        ("mean: []", f"{MEAN}, not an empty list"),
        ("mean: [1, 2, 3, 4]", f"{MEAN}, not a list"),
        ("mean: nan\n      std: 1", f"{MEAN}, not 'nan'"),
        ("mean: [1, true]\n      std: 1", "mean[1]: must be a number, not true"),
        ("mean: [1, -.inf]\n      std: 1", "mean[1]: must be a number, not -inf"),
        ("resize: strech", f"{RESIZE}, not 'strech'; did you mean `stretch`?"),
        ("resize: no", f"{RESIZE}, not 'no'"),
        ("color: rgb", "color: is not known here; did you mean `colour`?"),
        ("RESIZE: crop", "RESIZE: is not known here; did you mean `resize`?"),
        ("accelerator: coral", "accelerator: must be `edgetpu`, or a mapping, not 'coral'"),
        (
            "accelerator: {device: usb}",
            "accelerator.type: is missing: it must be `delegate` or `edgetpu`",
        ),
        ("golden: 5", "golden: must be a path, or a mapping with `path` and `steps`, not 5"),
        ("golden: {path: a, steps: -1}", "golden.steps: must be a number from 0 to 255, not -1"),
        ("golden: {path: a, zzz: b}", f"golden.zzz: {UNKNOWN} `path`, `steps`"),
        ("zzz: 1", f"zzz: {UNKNOWN} {KEYS}"),
        ('"z\\nz": 1', f"'z\\nz': {UNKNOWN} {KEYS}"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(
    refusal: Refusal, line: str, problem: str
) -> None:
    above = "pipelines:\n  porch:\n    source: {type: synthetic}\n    model:\n      path: a\n"
    assert refusal(f"{above}      {line}") == [f"6: pipelines.porch.model.{problem}"]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{type: webcam}", f".type: must be {SOURCES}, not 'webcam'"),
        ("{type: vido}", f".type: must be {SOURCES}, not 'vido'; did you mean `video`?"),
        ("{type: [x]}", f".type: must be {SOURCES}, not a list"),
        ("{type: }", f".type: must be {SOURCES}, but it is empty"),
        ("{path: x}", f".type: is missing: it must be {SOURCES}"),
        ("webcam", f": must be a mapping with `type`: {SOURCES}, not 'webcam'"),
        ("a://u:x/y@b", f": must be a mapping with `type`: {SOURCES}, not 'a://***@b'"),
        ("{type: images, path: x, lop: y}", ".lop: is not known here; did you mean `loop`?"),
        ("{type: images, path: []}", f"{PATH}, not an empty list"),
        ("{type: images, path: [a, {}]}", ".path[1]: must be a path, not an empty mapping"),
        ("{type: images, images: x, path: y}", f".images: {UNKNOWN} {IMAGES_KEYS}"),
        ("{type: images, path: x, truth: list}", f": {LIST_ALONE}"),
        ("{type: video, path: x, fps: fast}", f"{FPS}, not 'fast'"),
        ("{type: video, path: x, fps: 0}", f"{FPS}, not 0"),
        (
            "{type: camera, device: 1.5}",
            f".device: must be text, or a whole number, not 1.5: {QUOTES}",
        ),
        ("{type: camera, fourcc: MJPEG}", ".fourcc: must be text of 4 characters, not 'MJPEG'"),
        (
            "{type: camera, fourcc: MJPß}",
            (
                ".fourcc: does not fit, not 'MJPß': "
                "Pixel format asked of it, as four letters: MJPG, YUYV, ..."
            ),
        ),
        ("{type: synthetic, width: 0}", ".width: must be a whole number from 1 to 8192, not 0"),
    ],
)
def test_a_plugin_is_told_by_its_fields_and_not_by_pydantics_tags(
    refusal: Refusal, source: str, problem: str
) -> None:
    text = f"pipelines:\n  images:\n    model: {{path: x}}\n    source: {source}"
    assert refusal(text) == [f"4: pipelines.images.source{problem}"]


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        ("source:", ": has no `source`, nor `sources`: frames must come from somewhere"),
        (
            "source: {type: camera}\n    sources: {a: {type: camera}}",
            ": has both `source` and `sources`: write all of them in `sources`",
        ),
        (
            "sources: {}",
            ".sources: must be a mapping with one or more names, not an empty mapping",
        ),
        (
            "sources: {metrics: {type: camera}}",
            (
                ".sources.metrics: is a topic of its own; these names are taken: command, "
                "status, info, metrics, events, predictions, state, health"
            ),
        ),
        ("sources: {a: {type: webcam}}", f".sources.a.type: must be {SOURCES}, not 'webcam'"),
        (
            "sources: {a: {type: camera}, b: {type: images, path: x}}",
            (
                ": `sources`: b has no rate of its own (`fps`), so nothing says when its frames "
                "are due; give it `fps`, or a pipeline of its own"
            ),
        ),
    ],
)
def test_sources_are_told_by_their_names(refusal: Refusal, sources: str, problem: str) -> None:
    (told,) = refusal(f"pipelines:\n  porch:\n    model: {{path: x}}\n    {sources}")
    assert told.partition(": ")[2] == f"pipelines.porch{problem}"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("pipelines: {}", [f"1: {NAMES}, not an empty mapping"]),
        ("pipelines: [a]", [f"1: {NAMES}, not a list"]),
        ("pipelines: {1: {}}", [f"1: pipelines.1: {KEY}", f"1: {NAMES}, not an empty mapping"]),
        ("\nfoo: 1", [f"2: pipelines: {NO_PIPELINES}", f"2: foo: {UNKNOWN} {TOP_KEYS}"]),
        (
            "pipelines:\n  a b: {model: {path: x}}",
            [
                f"2: pipelines.a b: {NAME}",
                (
                    "2: pipelines.a b: has no `source`, nor `sources`: frames must come from "
                    "somewhere"
                ),
            ],
        ),
        (
            "pipelines: {'[key]': 1}",
            [f"1: pipelines.[key]: {NAME}", f"1: pipelines.[key]: {NO_ONE}"],
        ),
    ],
)
def test_the_top_of_the_file_is_told(refusal: Refusal, text: str, problems: list[str]) -> None:
    assert refusal(text) == problems


@pytest.mark.parametrize(
    ("mqtt", "problem"),
    [
        (
            "{broker: 'mqtt://u:hunter2@pi'}",
            ".broker: must not hold a user or password: write them as `username`, `password`",
        ),
        (
            "{broker: 'mqtt://h/p'}",
            ".broker: must end after the port: the topic goes to `base_topic`",
        ),
        ("{broker: 'mqtt://u:hunter2/2@pi'}", NO_URL),
        ("{broker: 'mqtt://pi:99999'}", NO_URL),
        ('{broker: "mqtt://pi\\n"}', BROKER),
        ("{broker: 'embedded:0'}", ".broker: the port must be 1 to 65535"),
        ("{password: '${SECRET}'}", ": a password needs a `username` beside it"),
        ("{username: u, password: ['${SECRET}']}", ".password: must be text"),
        (
            "{username: u, password: '${SECRET}', password_file: x}",
            ": `password` and `password_file` exclude each other: keep one",
        ),
        ("{username: 5}", ".username: must be text, not 5: put quotes around it"),
        ("{keepalive_s: '${SECRET}'}", f"{KEEPALIVE}, not what ${{SECRET}} holds"),
        ("{keepalive_s: '${SECRET}${N}'}", f"{KEEPALIVE}, not what ${{SECRET}} and ${{N}} holds"),
        ("{base_topic: a//b}", f".base_topic: {LEVEL}"),
        ('{base_topic: "\\t"}', ".base_topic: must be at most 128 characters, each printable"),
        ("{passwrd: hunter2}", ".passwrd: is not known here; did you mean `password`?"),
        ("mqtt://u:hunter2@pi", ": must be a mapping (`key: value`), not 'mqtt://***@pi'"),
        ("'${SECRET}'", ": must be a mapping (`key: value`), not what ${SECRET} holds"),
    ],
)
def test_the_broker_is_told_and_no_secret_ever(refusal: Refusal, mqtt: str, problem: str) -> None:
    assert refusal(GOOD + f"mqtt: {mqtt}", SECRET="hunter2", N="1") == [f"6: mqtt{problem}"]  # noqa: S106


def test_a_validators_own_words_never_quote_the_environment() -> None:
    document = Document(variables={("mqtt", "broker"): ("X",)}, secrets={"hunter2"})
    spot = _Spot("value_error", "Value error, hunter2 is no broker")
    spot.place, spot.field = ("mqtt",), Device.model_fields["mqtt"]
    assert spot.problem(document).text == "is not allowed: The broker that results go to."


def test_a_variable_that_is_not_set_is_told_once(refusal: Refusal) -> None:
    text = GOOD.replace("synthetic", "'${KIND}'") + "mqtt:\n  keepalive_s: ${NOPE}\n"
    assert refusal(text) == [
        "4: pipelines.porch.source.type: the environment variable KIND is not set",
        "7: mqtt.keepalive_s: the environment variable NOPE is not set",
    ]


def test_a_home_that_nobody_has_is_told(refusal: Refusal) -> None:
    assert refusal(GOOD.replace("a.tflite", "~nobody-here/a.tflite")) == [
        "5: pipelines.porch.model.path: begins with ~, the home of a user that is not known here"
    ]


def test_a_mistake_in_an_anchor_is_told_for_each_that_uses_it(refusal: Refusal) -> None:
    text = """\
    pipelines:
      a: &a
        source: {type: synthetic}
        model: {path: x}
        on_late: wait
      b:
        <<: *a
        deadline_ms: 0
    """
    assert refusal(text) == [
        "5: pipelines.a.on_late: must be `drop` or `run`, not 'wait'",
        "5: pipelines.b.on_late: must be `drop` or `run`, not 'wait'",
        f"8: pipelines.b.{DEADLINE}, not 0",
    ]


def test_of_very_many_problems_the_first_hundred_are_told(refusal: Refusal) -> None:
    told = refusal(GOOD + "".join(f"k{n}: 1\n" for n in range(300)))
    assert len(told) == 101
    assert told[0].startswith("6: k0: is not known here")
    assert told[-1] == " and 200 more"

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.config.device import Device
from edge.config.load import load, read_password
from edge.config.mqtt import Mqtt, embedded_port
from edge.errors import ConfigError

ROOT = Path(__file__).parents[2]
GOOD = """\
device: pi
pipelines:
  porch:
    source: {type: images, path: [a, /b, "*.jpg"]}
    model: {path: ../m.tflite}
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Any:
    """Return a function that loads a YAML text."""

    def device(text: str, **environ: str) -> Device:
        (tmp_path / "pi.yaml").write_text(text, encoding="utf-8")
        return load(tmp_path / "pi.yaml", environ)

    return device


def test_the_device_configs_of_this_repository_load() -> None:
    files = sorted((ROOT / "device_configs").glob("*.yaml"))
    assert files
    for file in files:
        assert load(file, {"EDGE_MQTT_PASSWORD": "x"}).pipelines


def test_paths_are_relative_to_the_file(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = loaded(GOOD)
    assert device.pipelines["porch"].model.path == tmp_path.parent / "m.tflite"
    expected = [tmp_path / "a", Path("/b"), tmp_path / "*.jpg"]
    assert device.pipelines["porch"].source.path == expected
    monkeypatch.chdir(tmp_path)
    assert load(Path("pi.yaml"), {}) == device
    video = GOOD.replace('images, path: [a, /b, "*.jpg"]', "video, path: a.mp4")
    assert loaded(video).pipelines["porch"].source.path == str(tmp_path / "a.mp4")


@pytest.mark.parametrize("off", ["off", '"off"', "false"])
def test_a_cache_is_off_however_a_program_writes_it(loaded: Any, off: str) -> None:
    assert loaded(GOOD).pipelines["porch"].cache.mode == "off"
    assert loaded(GOOD + f"    cache: {{mode: {off}}}\n").pipelines["porch"].cache.mode == "off"


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ("{mode: on}", "cache.mode: must be `off`, `exact` or `similar`, not 'on'"),
        ("{mode: true}", "cache.mode: must be `off`, `exact` or `similar`, not true"),
        ("{mode: similiar}", "did you mean `similar`?"),
        ("{size: 0}", "cache.size: must be a whole number from 1 to 1000, not 0"),
        ("{max_age_ms: 0}", "cache.max_age_ms: must be a number, more than 0 and at most 86400000"),
        ("{similarity: 5}", "cache.similarity: must be a number from 0.5 to 1, not 5"),
        ("{max_age: 5}", "cache.max_age: is not known here; did you mean `max_age_ms`?"),
    ],
)
def test_what_is_wrong_with_a_cache_is_told_by_its_field(
    loaded: Any, cache: str, said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(GOOD + f"    cache: {cache}\n")
    assert "pi.yaml:6: pipelines.porch.cache." in str(error.value)
    assert said in str(error.value)


def test_what_is_left_out_has_its_default(loaded: Any) -> None:
    pipeline = loaded(GOOD).pipelines["porch"]
    assert pipeline.deadline_ms == 100
    assert pipeline.decode.type == "classification"
    assert loaded(GOOD).mqtt == Mqtt()


def test_a_number_from_the_environment_is_a_number(loaded: Any) -> None:
    device = loaded(GOOD + "telemetry: {interval_s: '${N}'}", N="2.5")
    assert device.telemetry.interval_s == 2.5


def test_the_environment_is_the_process_s_own_where_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_TEST_NAME", "porch-pi")
    (tmp_path / "pi.yaml").write_text(GOOD.replace(": pi", ": ${EDGE_TEST_NAME}"))
    assert load(tmp_path / "pi.yaml").device == "porch-pi"


def test_yes_and_no_are_understood_where_only_a_boolean_can_stand(loaded: Any) -> None:
    text = GOOD.replace("type: images", "type: images, fps: 1, loop: yes")
    assert loaded(text).pipelines["porch"].source.loop is True


@pytest.mark.parametrize(
    ("broker", "port"), [("embedded", 1883), ("embedded:9", 9), ("mqtt://[::1]:8883", None)]
)
def test_a_broker_is_a_url_or_embedded(loaded: Any, broker: str, port: int | None) -> None:
    device = loaded(GOOD + f"mqtt: {{broker: '{broker}'}}")
    assert embedded_port(device.mqtt.broker) == port


def test_a_password_comes_from_the_environment(loaded: Any) -> None:
    device = loaded(GOOD + "mqtt: {username: u, password: '${P}'}", P="hunter2")
    assert read_password(device.mqtt) == "hunter2"
    assert "hunter2" not in repr(device)
    assert read_password(Mqtt()) is None


@pytest.mark.parametrize(
    ("content", "password"),
    [(b"hunter2", "hunter2"), (b"hunter2\n", "hunter2"), (b" a \n\r\n", " a \n"), (b"\n\n", "\n")],
)
def test_a_password_comes_from_a_file_without_its_last_line_end(
    loaded: Any, tmp_path: Path, content: bytes, password: str
) -> None:
    (tmp_path / "secret").write_bytes(content)
    device = loaded(
        GOOD + "mqtt: {username: u, password_file: '${CREDENTIALS_DIRECTORY}/secret'}",
        CREDENTIALS_DIRECTORY=str(tmp_path),
    )
    assert read_password(device.mqtt) == password


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "the file cannot be read: No such file or directory"),
        (b"", "the file is empty"),
        (b"\r\n", "the file is empty"),
        (b"\xff", "holds no text in UTF-8"),
        (b"x" * 70_000, "is longer than a password can be (65535 bytes)"),
    ],
)
def test_a_password_file_that_is_of_no_use_is_told(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_password(Mqtt(username="u", password_file=tmp_path / "secret"))
    assert str(caught.value) == f"mqtt.password_file: {problem}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("none.yaml", "none.yaml: there is no such file"),
        (".", ".: is a directory, not a YAML file"),
        ("a" * 300, f"{'a' * 300}: cannot be read: File name too long"),
        ("a\0b", "a\0b: cannot be read: embedded null byte"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(
    name: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load(Path(name), {})
    assert str(caught.value) == problem


LOAD_BOTH = """
import sys
from pathlib import Path
from edge.config.load import load
from edge.errors import ConfigError
load(Path("good.yaml"))
try:
    load(Path("bad.yaml"))
except ConfigError:
    heavy = {"numpy", "cv2", "paho", "tflite_runtime", "ai_edge_litert", "tflite", "iotcore"}
    print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_loading_imports_neither_numpy_nor_cv2_nor_paho_nor_an_engine(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "bad.yaml").write_text("a: 1", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", LOAD_BOTH],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


WORDS = ["device", "mqtt", "broker", "password", "pipelines", "a", "source", "type", "images"]
WORDS += ["camera", "video", "model", "path", "labels", "fps", "decode", "threads", "mean", "std"]
WORDS += ["publish", "${X}", "${Y}", "$${", "*a", "&a", "<<", "!!int", "!x", "~", "~x", "null"]
WORDS += ["true", ".nan", "1e999", "0x1F", "embedded", "mqtt://h", "''", "|", ">", "[key]", '"\\0"']
SIGNS = [": ", ":\n", "\n", "\n  ", "\n    ", "- ", "{", "}", "[", "]", ", ", "\t", "# "]
PIECES = st.sampled_from([piece.encode() for piece in WORDS + SIGNS]) | st.binary(max_size=3)
LEAVES = st.sampled_from(
    [None, True, 0, -1, 10**400, 0.5, float("nan"), "", "x", "~x", "a/b", "${X}", "images", "raw"]
)
KEYS = st.sampled_from(WORDS)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6)
)
SOURCES = st.fixed_dictionaries(
    {"type": st.sampled_from(["images", "camera", "video", "?"])},
    optional=dict.fromkeys(["path", "fps", "device", "truth", "tile", "x"], VALUES),
)
MODELS = st.fixed_dictionaries(
    {"path": VALUES}, optional=dict.fromkeys(["labels", "mean", "std", "threads"], VALUES)
)
PIPELINES = st.fixed_dictionaries(
    {"source": SOURCES, "model": MODELS},
    optional=dict.fromkeys(["decode", "publish", "deadline_ms", "x"], VALUES),
)
DEVICES = st.fixed_dictionaries(
    {"pipelines": st.dictionaries(KEYS, PIPELINES | VALUES, max_size=2)},
    optional=dict.fromkeys(["device", "mqtt", "telemetry"], VALUES),
)
FUZZ = settings(
    deadline=None,
    database=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def says_so_or_loads(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    told = f"{file}:"
    try:
        load(file, {"X": "hunter2"})
    except ConfigError as error:
        told = str(error)
    assert all(line.startswith(f"{file}:") for line in told.splitlines())
    assert "hunter2" not in told


@given(st.binary(max_size=200) | st.lists(PIECES, max_size=60).map(b"".join))
@FUZZ
def test_any_bytes_give_a_device_or_a_config_error(tmp_path: Path, content: bytes) -> None:
    says_so_or_loads(content, tmp_path / "pi.yaml")


@given(DEVICES)
@FUZZ
def test_any_data_in_the_right_places_gives_a_device_or_a_config_error(
    tmp_path: Path, value: dict[str, Any]
) -> None:
    says_so_or_loads(yaml.safe_dump(value).encode(), tmp_path / "pi.yaml")

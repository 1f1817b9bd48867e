"""The YAML that `edge init` drafts: of whatever was found, it loads and says what was found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edge.accelerators.coral.devices import EdgeTpu
from edge.accelerators.edgetpu import EdgeTpuOptions
from edge.bundled_files import bundled
from edge.config.load import load
from edge.doctor.cameras import Camera
from edge.doctor.draft import best_rate, best_size, draft, scalar
from edge.doctor.model_facts import ModelFacts, model_facts
from edge.doctor.survey import FoundBroker, Survey
from edge.doctor.v4l2 import Format, Size
from edge.sources.camera import CameraOptions
from edge.sources.images import ImagesOptions
from edge.sources.mqtt import MqttOptions
from edge.sources.picamera import PicameraOptions
from edge.sources.synthetic import SyntheticOptions

if TYPE_CHECKING:
    from edge.config.device import Device

NOTHING = Survey([], [], None, {}, {"litert": "2.3.0"}, None)
SIZES = (
    Size(1920, 1080, (30.0, 15.0)),
    Size(1280, 720, (60.0, 30.0)),
    Size(640, 480, (30.0,)),
)
WEBCAM = Camera(
    "v4l2",
    "Webcam: \x1b[31mHD, with: colons # and more",
    Path("/dev/video0"),
    Path("/dev/v4l/by-id/usb-046d_HD: Pro-video-index0"),
    "uvcvideo",
    (Format("YUYV", SIZES[2:]), Format("MJPG", SIZES)),
)


@pytest.fixture
def digits() -> ModelFacts:
    return model_facts(bundled("models/digits/digits.tflite"))


def drafted(
    survey: Survey,
    model: ModelFacts,
    folder: Path,
    *,
    device: str = "porch",
    of_the_demo: bool = False,
) -> Device:
    text = draft(survey, model, device=device, folder=folder, of_the_demo=of_the_demo)
    assert all(line.isprintable() for line in text.splitlines())
    file = folder / "device.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, {})


def source_of(device: Device) -> Any:
    return device.pipelines["main"].source


def test_with_nothing_there_it_shows_the_demos_digits(tmp_path: Path, digits: ModelFacts) -> None:
    device = drafted(NOTHING, digits, tmp_path, of_the_demo=True)
    assert device.mqtt.broker == "embedded"
    assert isinstance(source_of(device), ImagesOptions)
    model = device.pipelines["main"].model
    assert (model.path, model.labels) == (digits.path, digits.labels)


def test_another_model_without_a_camera_has_a_test_pattern(
    tmp_path: Path, digits: ModelFacts
) -> None:
    assert isinstance(source_of(drafted(NOTHING, digits, tmp_path)), SyntheticOptions)


def test_a_camera_is_written_as_it_can_be_opened(tmp_path: Path, digits: ModelFacts) -> None:
    device = drafted(replace(NOTHING, cameras=[WEBCAM]), digits, tmp_path)
    source = source_of(device)
    assert isinstance(source, CameraOptions)
    assert source.device == str(WEBCAM.stable)
    assert (source.fourcc, source.width, source.height, source.fps) == ("MJPG", 1280, 720, 30)


def test_a_camera_that_does_not_say_what_it_gives_has_the_defaults(
    tmp_path: Path, digits: ModelFacts
) -> None:
    silent = replace(WEBCAM, formats=(), stable=None)
    source = source_of(drafted(replace(NOTHING, cameras=[silent]), digits, tmp_path))
    assert (source.device, source.width) == ("/dev/video0", 1280)


def test_a_camera_on_the_camera_port_comes_before_its_neighbours(
    tmp_path: Path, digits: ModelFacts
) -> None:
    ribbon = Camera("ribbon", "imx708", Path("/dev/video0"), driver="rp1-cfe")
    device = drafted(replace(NOTHING, cameras=[ribbon, WEBCAM]), digits, tmp_path)
    assert isinstance(source_of(device), PicameraOptions)
    assert f"# There is also {WEBCAM.stable}: " in (tmp_path / "device.yaml").read_text()


def test_cameras_that_cannot_be_opened_are_told_in_a_comment(
    tmp_path: Path, digits: ModelFacts
) -> None:
    ribbon = Camera("ribbon", "imx219", Path("/dev/video0"), trouble="picamera2 is not installed")
    closed = replace(WEBCAM, trouble="no permission to open it")
    survey = replace(NOTHING, cameras=[ribbon, closed], ports={Path("/dev/ttyUSB0"): "GPS"})
    device = drafted(survey, digits, tmp_path)
    assert isinstance(source_of(device), SyntheticOptions)
    text = (tmp_path / "device.yaml").read_text()
    assert "# There is also /dev/video0: imx219 (picamera2 is not installed), `type: pica" in text
    assert "(no permission to open it)" in text
    assert "# Serial ports that are there: /dev/ttyUSB0" in text


@pytest.mark.parametrize(
    ("sizes", "size", "fps"),
    [
        (SIZES, (1280, 720), 30.0),
        (SIZES[:1], (1920, 1080), 30.0),
        ((Size(320, 240, (120.0, 90.0)),), (320, 240), 90.0),
    ],
)
def test_the_best_size_is_the_largest_that_is_not_too_large(
    sizes: tuple[Size, ...], size: tuple[int, int], fps: float
) -> None:
    best = best_size(sizes)
    assert best is not None
    assert (best.width, best.height) == size
    assert best_rate(best) == fps


@pytest.mark.parametrize(
    ("broker", "words"),
    [
        (FoundBroker("mqtt://homeassistant.local", "homeassistant.local"), "let us in without"),
        (
            FoundBroker("mqtt://10.0.0.2:1884", "10.0.0.2", "refuses us", "CONNACK"),
            "it lets nobody in without a name",
        ),
        (FoundBroker("mqtts://10.0.0.2", "10.0.0.2", "is not trusted", "TLS"), "its certificate"),
        (FoundBroker("mqtt://[::1]", "::1", "cannot be reached", "TCP"), "did not answer when"),
        (FoundBroker("embedded:1884", "127.0.0.1"), "a broker inside the daemon"),
    ],
)
def test_a_broker_is_written_with_how_it_received_us(
    broker: FoundBroker, words: str, tmp_path: Path, digits: ModelFacts
) -> None:
    device = drafted(replace(NOTHING, broker=broker), digits, tmp_path)
    assert device.mqtt.broker == broker.url
    assert device.mqtt.password is None
    assert device.home_assistant.enabled == (broker.host == "homeassistant.local")
    assert words in (tmp_path / "device.yaml").read_text()


@pytest.mark.parametrize("name", ["porch-pi", "12", "true", "a: b", "é & è", "'\"", "x:"])
def test_names_stay_what_they_are(name: str, tmp_path: Path, digits: ModelFacts) -> None:
    assert yaml.safe_load(f"a: {scalar(name)}") == {"a": name}
    assert drafted(NOTHING, digits, tmp_path, device=name).device == name


def test_paths_below_the_yamls_folder_are_relative(tmp_path: Path, digits: ModelFacts) -> None:
    model = tmp_path / "models/a.tflite"
    model.parent.mkdir()
    model.write_bytes(digits.path.read_bytes())
    device = drafted(NOTHING, model_facts(model), tmp_path)
    assert "path: models/a.tflite" in (tmp_path / "device.yaml").read_text()
    assert device.pipelines["main"].model.path == model


CORAL = EdgeTpu("usb", "2-1", Path("/dev/bus/usb/002/003"))


def test_a_coral_and_a_model_for_the_cpu_go_together_in_a_comment_only(
    tmp_path: Path, digits: ModelFacts
) -> None:
    device = drafted(replace(NOTHING, edge_tpus=[CORAL]), digits, tmp_path)
    assert device.pipelines["main"].model.accelerator is None
    text = (tmp_path / "device.yaml").read_text()
    assert "There is an Edge TPU on USB (2-1)" in text
    assert "# accelerator: edgetpu" in text


def test_a_model_for_the_edge_tpu_has_it_and_the_build_for_the_cpu(
    tmp_path: Path, testdata: Path
) -> None:
    model = model_facts(testdata / "models/mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    found = drafted(replace(NOTHING, edge_tpus=[CORAL]), model, tmp_path).pipelines["main"].model
    assert isinstance(found.accelerator, EdgeTpuOptions)
    assert found.cpu_path == testdata / "models/mobilenet_v1_0.25_128_quant.tflite"
    assert found.on_cpu().path == found.cpu_path


@pytest.mark.parametrize(
    ("name", "decoder", "pictures", "square"),
    [
        ("mobilenet_v2_1.0_224_quant", "classification", True, True),
        ("vww_96_int8", "classification", True, True),
        ("movenet_single_pose_lightning_ptq", "raw", True, True),
        ("fomo_face_96", "centroids", True, True),
        ("ad01_int8", "raw", False, False),  # its output has the shape of its input
        ("okay_nabu", "raw", False, False),  # one number, no classes
        ("str_ww_ref_model", "classification", False, False),
    ],
)
def test_the_decoder_is_told_by_the_outputs(
    name: str, decoder: str, pictures: bool, square: bool, testdata: Path
) -> None:
    facts = model_facts(testdata / f"models/{name}.tflite")
    assert (facts.decoder.type, facts.takes_pictures, facts.square) == (decoder, pictures, square)


def test_a_model_that_takes_no_pictures_has_its_input_from_mqtt(
    tmp_path: Path, testdata: Path
) -> None:
    model = model_facts(testdata / "models/ad01_int8.tflite")
    source = source_of(drafted(replace(NOTHING, cameras=[WEBCAM]), model, tmp_path, device="p"))
    assert isinstance(source, MqttOptions)
    assert source.topic == "frames/p"


def test_labels_beside_the_model_are_taken_where_they_are_as_many(
    tmp_path: Path, digits: ModelFacts
) -> None:
    model = tmp_path / "a.tflite"
    model.write_bytes(digits.path.read_bytes())
    assert model_facts(model).labels is None
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    (tmp_path / "my-labels.txt").write_text("\n".join("0123456789"))
    assert model_facts(model).labels == tmp_path / "my-labels.txt"
    (tmp_path / "a.txt").write_text("\n".join("abcdefghij"))
    assert model_facts(model).labels == tmp_path / "a.txt"

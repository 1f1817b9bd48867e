"""Installing the service into the root of another system: what goes where, and what is granted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge.catalogue.secret_key import SecretKey
from edge.cli import main
from edge.service import carry
from edge.service.place import Place
from edge.service.plan import Plan, plan, service_environment
from edge.service.rewrite import with_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models" / "digits"
YAML = """\
device: porch   # at the door
mqtt: {{broker: 'mqtt://10.0.0.1'{mqtt}}}
{more}pipelines:
  digits:
    source: {source}
    model:
      path: digits.tflite      # int8
      labels: labels.txt
{pipeline}"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a model beside which the YAML is written."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("digits.tflite", "labels.txt"):
        shutil.copy(DIGITS / name, folder)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of another system, which knows Debian's groups."""
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/group").write_text("root:x:0:\nvideo:x:44:\nplugdev:x:46:\ndialout:x:20:\n")
    return folder


@pytest.fixture
def write(home: Path) -> Callable[..., Path]:
    """Write a YAML, and return its path."""

    def written(
        mqtt: str = "",
        more: str = "",
        pipeline: str = "",
        source: str = "{type: synthetic, fps: 5}",
    ) -> Path:
        config = home / "porch.yaml"
        config.write_text(YAML.format(mqtt=mqtt, more=more, pipeline=pipeline, source=source))
        return config

    return written


@pytest.fixture
def install(write: Callable[..., Path], root: Path) -> Callable[..., Plan]:
    """Put all files for a YAML into the root, without trying its model first."""

    def run(name: str | None = None, **parts: str) -> Plan:
        place = Place(name, root)
        planned = plan(write(**parts), place, service_environment(place))
        for file in planned.missing():
            file.put()
        return planned

    return run


@pytest.fixture
def command(write: Callable[..., Path], root: Path) -> Iterator[Callable[..., int]]:
    """Run `edge service install` on a YAML; return the exit status."""
    environ = dict(os.environ)
    yield lambda *options, **parts: main(
        ["service", "install", str(write(**parts)), "--root", str(root), *options]
    )
    os.environ.clear()
    os.environ.update(environ)


def test_everything_is_put_where_the_unit_looks(command: Callable[..., int], root: Path) -> None:
    assert command() == 0
    state, etc = root / "var/lib/edge-runtime", root / "etc"
    assert (state / "models/digits.tflite").read_bytes() == (DIGITS / "digits.tflite").read_bytes()
    assert (state / "models/labels.txt").read_text() == (DIGITS / "labels.txt").read_text()
    unit = etc / "systemd/system/edge-runtime.service"
    assert unit.read_text() == (ROOT / "systemd/edge-runtime.service").read_text()
    link = etc / "systemd/system/multi-user.target.wants/edge-runtime.service"
    assert str(link.readlink()) == "/etc/systemd/system/edge-runtime.service"
    rules = etc / "udev/rules.d/60-edge-runtime.rules"
    assert rules.read_text() == (ROOT / "systemd/60-edge-runtime.rules").read_text()


def test_the_yaml_keeps_its_comments_and_names_the_new_places(
    install: Callable[..., Plan], root: Path
) -> None:
    install()
    assert (root / "etc/edge-runtime/device.yaml").read_text() == YAML.format(
        mqtt="", more="", pipeline="", source="{type: synthetic, fps: 5}"
    ).replace("digits.tflite", "/var/lib/edge-runtime/models/digits.tflite").replace(
        "labels.txt", "/var/lib/edge-runtime/models/labels.txt"
    )


def test_an_instance_has_folders_of_its_own(install: Callable[..., Plan], root: Path) -> None:
    install("gate")
    assert (root / "var/lib/edge-runtime-gate/models/digits.tflite").is_file()
    text = (root / "etc/edge-runtime/gate.yaml").read_text()
    assert "path: /var/lib/edge-runtime-gate/models/digits.tflite" in text
    units = root / "etc/systemd/system"
    assert (units / "edge-runtime@.service").is_file()
    assert (units / "edge-runtime@gate.service.d/50-installed.conf").is_file()
    link = units / "multi-user.target.wants/edge-runtime@gate.service"
    assert str(link.readlink()) == "/etc/systemd/system/edge-runtime@.service"


@pytest.mark.parametrize("name", ["device", "a/b", "-x", "", "a b", "x" * 65])
def test_a_name_that_no_instance_can_have_is_refused(
    command: Callable[..., int], name: str, capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    assert command(f"--name={name}") == 2
    assert f"--name {name}: " in capsys.readouterr().err
    assert not (root / "etc/edge-runtime").exists()


def test_a_second_time_nothing_is_written(
    command: Callable[..., int], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command()
    before = {path: path.lstat().st_mtime_ns for path in root.rglob("*")}
    capsys.readouterr()
    command()
    assert "written" not in capsys.readouterr().out
    assert {path: path.lstat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_dry_run_shows_what_would_be_and_does_nothing(
    command: Callable[..., int], root: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(root.rglob("*"))
    assert command("--dry-run") == 0
    printed = capsys.readouterr().out
    assert f"models/digits.tflite: would be written, a copy of {home}/digits.tflite" in printed
    assert "    SupplementaryGroups=\n" in printed
    assert sorted(root.rglob("*")) == before


def test_a_wrong_yaml_changes_nothing(
    command: Callable[..., int], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(pipeline="    dedline_ms: 5\n") == 2
    assert "did you mean `deadline_ms`?" in capsys.readouterr().err
    assert not (root / "etc/edge-runtime").exists()


def drop_in(root: Path) -> list[str]:
    path = root / "etc/systemd/system/edge-runtime.service.d/50-installed.conf"
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_what_opens_no_device_may_open_none(install: Callable[..., Plan], root: Path) -> None:
    install()
    assert drop_in(root) == ["[Service]", "SupplementaryGroups=", "DeviceAllow="]


def test_a_camera_brings_its_group_and_its_devices(
    install: Callable[..., Plan], root: Path
) -> None:
    install(source="{type: camera}", more="wake_up_limit_us: 50\n")
    assert "SupplementaryGroups=video" in drop_in(root)
    assert "DeviceAllow=char-video4linux rw" in drop_in(root)
    assert "DeviceAllow=/dev/cpu_dma_latency rw" in drop_in(root)
    assert not any("usb" in line or "tty" in line for line in drop_in(root))


def test_a_group_that_the_system_does_not_know_is_left_out(
    install: Callable[..., Plan], root: Path
) -> None:
    (root / "etc/group").write_text("root:x:0:\n")
    install(source="{type: camera}")
    assert "SupplementaryGroups=video" not in drop_in(root)


def test_real_time_and_niceness_are_granted_as_the_yaml_asks(
    install: Callable[..., Plan], root: Path
) -> None:
    install(pipeline="    cpu: {scheduling: fifo, priority: 30}\n")
    assert {"RestrictRealtime=no", "LimitRTPRIO=30"} <= set(drop_in(root))
    install(pipeline="    cpu: {nice: -5}\n")
    assert "LimitNICE=-5" in drop_in(root)
    assert "RestrictRealtime=no" not in drop_in(root)


def test_a_secret_becomes_a_credential_that_only_root_can_read(
    install: Callable[..., Plan], root: Path, home: Path
) -> None:
    (home / "pw").write_text("geheim")
    (home / "pw").chmod(0o600)
    install(mqtt=", username: u, password_file: pw")
    secret = root / "etc/edge-runtime/device.credentials/mqtt-password"
    assert secret.read_text() == "geheim"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.parent.stat().st_mode & 0o777 == 0o700
    text = (root / "etc/edge-runtime/device.yaml").read_text()
    assert 'password_file: "${CREDENTIALS_DIRECTORY}/mqtt-password"' in text
    granted = "/etc/edge-runtime/device.credentials/mqtt-password"
    assert f"LoadCredential=mqtt-password:{granted}" in drop_in(root)


def test_the_keys_that_sign_models_are_public_and_lie_beside_the_yaml(
    install: Callable[..., Plan], root: Path, home: Path
) -> None:
    key = SecretKey.new().public
    (home / "factory.pub").write_text(key.file)
    (home / "ca.crt").write_text("a certificate")
    trust = f"{{keys: [{key.text}, factory.pub], fetch_from: ['https://h/'], ca_file: ca.crt}}"
    install(more=f"updates: {trust}\n")
    folder = root / "etc/edge-runtime"
    assert (folder / "factory.pub").read_text() == key.file
    assert (folder / "ca.crt").read_text() == "a certificate"
    text = (folder / "device.yaml").read_text()
    assert f"keys: [{key.text}, factory.pub]" in text
    assert not (folder / "device.credentials").exists()


def test_a_credential_that_the_yaml_names_already_must_be_there(
    command: Callable[..., int], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mqtt = ", username: u, password_file: '${CREDENTIALS_DIRECTORY}/broker'"
    assert command(mqtt=mqtt) == 2
    folder = root / "etc/edge-runtime/device.credentials"
    assert f"there is no such credential: put it into {folder}/broker" in capsys.readouterr().err
    folder.mkdir(parents=True)
    (folder / "broker").write_text("geheim")
    assert command(mqtt=mqtt) == 0
    assert any(line.startswith("LoadCredential=broker:") for line in drop_in(root))
    assert "${CREDENTIALS_DIRECTORY}/broker" in (root / "etc/edge-runtime/device.yaml").read_text()


def test_what_the_service_cannot_see_is_told_with_its_line(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(source="{type: images, path: /home/pi/pictures, fps: 5}") == 2
    told = capsys.readouterr().err
    assert "porch.yaml:5: pipelines.digits.source.path: /home/pi/pictures: " in told
    assert "lies in /home, which is hidden from the service" in told


def test_a_sink_beside_the_yaml_goes_to_the_state_directory(
    command: Callable[..., int],
    root: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(carry, "HIDDEN", (str(home),))
    command(more="sinks: [{type: jsonl, path: results.jsonl}]\n")
    text = (root / "etc/edge-runtime/device.yaml").read_text()
    assert "path: /var/lib/edge-runtime/results.jsonl" in text
    assert "results.jsonl is written to /var/lib/edge-runtime" in capsys.readouterr().out


def test_a_sink_elsewhere_stays_there_and_may_write_there(
    install: Callable[..., Plan], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "HIDDEN", ())
    install(more=f"sinks: [{{type: jsonl, path: {tmp_path}/results.jsonl}}]\n")
    assert f"path: {tmp_path}/results.jsonl" in (root / "etc/edge-runtime/device.yaml").read_text()
    assert f"ReadWritePaths=-{tmp_path}" in drop_in(root)


def test_two_models_of_one_name_both_find_room(
    install: Callable[..., Plan], root: Path, home: Path
) -> None:
    (home / "small").mkdir()
    shutil.copy(home / "digits.tflite", home / "small/digits.tflite")
    install(
        pipeline="  other:\n    source: {type: synthetic, fps: 5}\n"
        "    model: {path: small/digits.tflite}\n"
    )
    text = (root / "etc/edge-runtime/device.yaml").read_text()
    assert "path: /var/lib/edge-runtime/models/digits.tflite  " in text
    assert "{path: /var/lib/edge-runtime/models/digits-2.tflite}" in text
    assert (root / "var/lib/edge-runtime/models/digits-2.tflite").is_file()


def test_what_belongs_to_a_model_goes_with_it_however_briefly_it_is_written(
    install: Callable[..., Plan], root: Path, home: Path
) -> None:
    shutil.copy(DIGITS / "digits.golden.npz", home)
    models = root / "var/lib/edge-runtime/models"
    for written in ("digits.golden.npz", "{path: digits.golden.npz, steps: 2}"):
        install(pipeline=f"      golden: {written}\n")
        assert (models / "digits.golden.npz").is_file()
        text = (root / "etc/edge-runtime/device.yaml").read_text()
        assert "/var/lib/edge-runtime/models/digits.golden.npz" in text
        (models / "digits.golden.npz").unlink()


def test_a_library_beside_the_yaml_is_told_where_the_service_cannot_see_it(
    command: Callable[..., int],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(carry, "HIDDEN", (str(home),))
    assert command(pipeline="      accelerator: {library: ./libx.so}\n") == 2
    assert f"accelerator.library: {home}/libx.so: lies in {home}" in capsys.readouterr().err


def test_an_alias_that_would_have_to_name_two_places_is_told(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    more = "sinks: [{type: jsonl, path: &same digits.tflite}]\n"
    other = "  other:\n    source: {type: synthetic, fps: 5}\n    model: {path: *same}\n"
    assert command(more=more, pipeline=other) == 2
    assert "without an alias" in capsys.readouterr().err


def test_variables_come_from_the_services_file_not_from_here(
    command: Callable[..., int],
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGE_MQTT_PASSWORD", "ours")
    name = "EDGE_MQTT_PASSWORD"
    mqtt = f", username: u, password: '${{{name}}}'"
    assert command(mqtt=mqtt) == 2
    assert "the environment variable EDGE_MQTT_PASSWORD is not set" in capsys.readouterr().err
    (root / "etc/edge-runtime").mkdir(parents=True)
    (root / "etc/edge-runtime/environment").write_text("# secret\nEDGE_MQTT_PASSWORD='theirs'\n")
    assert command(mqtt=mqtt) == 0
    assert service_environment(Place(root=root))[name] == "theirs"


def test_a_packages_unit_and_rules_are_not_written_again(
    install: Callable[..., Plan], root: Path
) -> None:
    for path in ("systemd/system/edge-runtime.service", "udev/rules.d/60-edge-runtime.rules"):
        (root / "usr/lib" / path).parent.mkdir(parents=True)
        (root / "usr/lib" / path).touch()
    install()
    units = root / "etc/systemd/system"
    assert not (units / "edge-runtime.service").exists()
    assert not (root / "etc/udev").exists()
    link = units / "multi-user.target.wants/edge-runtime.service"
    assert str(link.readlink()) == "/usr/lib/systemd/system/edge-runtime.service"
    assert drop_in(root)


def test_uninstalling_leaves_what_is_the_users_and_purging_does_not(
    install: Callable[..., Plan], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install()
    install("gate")
    assert main(["service", "uninstall", "--root", str(root), "--name", "gate"]) == 0
    units = root / "etc/systemd/system"
    assert not (units / "edge-runtime@.service").exists()
    assert (units / "edge-runtime.service").exists()
    assert (root / "etc/udev/rules.d/60-edge-runtime.rules").exists()
    assert (root / "etc/edge-runtime/gate.yaml").exists()
    assert main(["service", "uninstall", "--root", str(root), "--purge"]) == 0
    left = [str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()]
    assert sorted(left) == [
        "etc/edge-runtime/gate.yaml",
        "etc/group",
        "var/lib/edge-runtime-gate/models/digits.tflite",
        "var/lib/edge-runtime-gate/models/labels.txt",
    ]
    capsys.readouterr()
    main(["service", "uninstall", "--root", str(root)])
    assert "nothing to do, it is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a:\n  p: x.y   # why\n", "a:\n  p: /new   # why\n"),
        ("a: {p: 'x.y', q: 1}\n", "a: {p: /new, q: 1}\n"),
        ('a:\n  "p": &name "x.y"\n', 'a:\n  "p": &name /new\n'),
        ("a:\n  p: !!str x.y\n", "a:\n  p: !!str /new\n"),
        ("a:\n  p: >-\n    x.y\n  q: 1\n", "a:\n  p: /new\n  q: 1\n"),
        ("b: &b {p: x.y}\na: {<<: *b}\n", "b: &b {p: /new}\na: {<<: *b}\n"),
        ("b: &b x.y\na: {p: *b}\n", "b: &b /new\na: {p: *b}\n"),
        ("é: ü\r\na:\r\n  p: x.y\r\n", "é: ü\r\na:\r\n  p: /new\r\n"),
    ],
)
def test_a_value_is_replaced_where_it_stands(before: str, after: str) -> None:
    assert with_values(before, {("a", "p"): "/new"}) == after


def test_what_is_no_plain_path_is_quoted() -> None:
    text = "a: {p: [x, y]}\n"
    changed = with_values(text, {("a", "p", 0): "${C}/x", ("a", "p", 1): "/a b: #"})
    assert changed == 'a: {p: ["${C}/x", "/a b: #"]}\n'


def test_both_units_are_one_but_for_names() -> None:
    def settings(name: str) -> list[str]:
        lines = (ROOT / "systemd" / name).read_text().splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    single = "\n".join(settings("edge-runtime.service"))
    for old, new in (
        ("Edge inference runtime", "Edge inference runtime (%i)"),
        ("/device.yaml", "/%i.yaml"),
        ("StateDirectory=edge-runtime", "StateDirectory=edge-runtime-%i"),
        ("RuntimeDirectory=edge-runtime", "RuntimeDirectory=edge-runtime-%i"),
    ):
        single = single.replace(old, new)
    assert single.splitlines() == settings("edge-runtime@.service")

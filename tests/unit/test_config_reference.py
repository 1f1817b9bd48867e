import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from edge.cli import main
from edge.config.model import Model
from edge.config.pipeline import Pipeline
from edge.config.reference import alternatives_of, json_schema, markdown_reference, plugins
from edge.options import Options

ROOT = Path(__file__).parents[2]


def all_options(base: type[Options] = Options) -> Iterator[type[Options]]:
    for model in base.__subclasses__():
        yield model
        yield from all_options(model)


PARTS = [model for model in all_options() if model.__module__.startswith("edge.")]


@pytest.mark.parametrize("model", PARTS, ids=lambda model: model.__name__)
def test_every_field_of_every_part_is_described(model: type[Options]) -> None:
    assert model.__doc__
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name} has no description"
        assert field.description.endswith((".", "...")), f"{model.__name__}.{name}: no sentence"


def test_the_schema_is_a_schema_of_draft_2020_12() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "edge: a device"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_schema_accepts_the_device_configs_of_this_repository() -> None:
    files = sorted((ROOT / "device_configs").glob("*.yaml"))
    assert files
    for file in files:
        value = yaml.safe_load(file.read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(json_schema()).validate(value)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("source", {"type": "webcam"}),
        ("source", {"type": "images", "path": "x", "width": 5}),
        ("source", {"type": "video"}),
        ("source", {"type": "video", "path": "x", "fps": 0}),
        ("decode", {"type": "raw", "top_k": 1}),
        ("model", {"path": "x", "threads": 65}),
        ("model", {"path": "x", "golden": 5}),
        ("model", {"path": "x", "golden": {"steps": 2}}),
        ("on_late", "wait"),
        ("deadline", 5),
    ],
)
def test_the_schema_refuses_what_the_daemon_refuses(part: str, value: object) -> None:
    pipeline: dict[str, Any] = {"source": {"type": "synthetic"}, "model": {"path": "x"}}
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid({"pipelines": {"a": pipeline}})
    assert not validator.is_valid({"pipelines": {"a": {**pipeline, part: value}}})


@pytest.mark.parametrize("golden", ["g.npz", {"path": "g.npz"}, {"path": "g", "steps": 0}, None])
def test_the_schema_accepts_short_forms(golden: object) -> None:
    pipeline = {"source": {"type": "synthetic"}, "model": {"path": "x", "golden": golden}}
    jsonschema.Draft202012Validator(json_schema()).validate({"pipelines": {"a": pipeline}})


def test_the_schema_wants_a_password_that_is_not_in_clear() -> None:
    validator = jsonschema.Draft202012Validator(json_schema()["$defs"]["Mqtt"])
    assert validator.is_valid({"username": "u", "password": "${EDGE_MQTT_PASSWORD}"})
    assert not validator.is_valid({"username": "u", "password": "hunter2"})


def test_every_field_in_the_schema_is_described() -> None:
    schema = json_schema()
    for part in (schema, *schema["$defs"].values()):
        assert part["description"]
        assert all("description" in field for field in part["properties"].values())


def test_the_reference_has_a_table_for_every_part() -> None:
    headings = [line for line in markdown_reference().splitlines() if line.startswith("#")]
    kinds = [f"### `sinks`, `type: {kind}`" for kind in ("jsonl", "prometheus", "stdout")]
    for model, name in ((Pipeline, "source"), (Model, "accelerator"), (Pipeline, "decode")):
        choices = plugins(alternatives_of(model.model_fields[name]))
        kinds += [f"### `{name}`, `type: {kind}`" for kind in choices]
    assert headings == [
        "### The device",
        "### `mqtt`",
        "### `mqtt.tls`",
        "### `mqtt.spool`",
        "### `telemetry`",
        "### `recorder`",
        "### `commands`",
        "### `updates`",
        "### `home_assistant`",
        "### `home_assistant.occupancy`",
        "### `pipelines.NAME`",
        "### `pipelines.NAME.model`",
        "### `pipelines.NAME.model.golden`",
        "### `pipelines.NAME.batch`",
        "### `pipelines.NAME.cpu`",
        "### `pipelines.NAME.publish`",
        "### `pipelines.NAME.cache`",
        "### `pipelines.NAME.ladder`",
        "### `pipelines.NAME.ladder.rungs`",
        "### `pipelines.NAME.canary`",
        *kinds,
    ]


def test_the_reference_says_values_defaults_and_meaning() -> None:
    rows = markdown_reference().splitlines()
    name = "Name of the device, a level of its topics; the host name if not given."
    assert f"| `device` | text | the host name | {name} |" in rows
    assert (
        "| `threads` | whole number from 1 to 64, or `auto` | `auto` | Threads of the forward pass "
        "(the cores are shared); `auto` takes what `edge tune` chose, else 1. |"
    ) in rows
    for beginning in (
        "| `mqtt` | see `mqtt` | its defaults |",
        "| `pipelines` | names, for each see `pipelines.NAME` | required |",
        "| `fps` | number from 0.0001 to 10000, or `file`, or `null` | `file` |",
        "| `truth` | `none`, `folder`, `name` or `list` | `none` |",
        "| `path` | path, or list of one or more paths | required |",
        "| `threshold` | number | `0` |",
        "| `password` | text | none |",
        "| `loop` | `true` or `false` | `false` |",
        "| `rungs` | list, for each see `pipelines.NAME.ladder.rungs` | required |",
        "| `cache` | see `pipelines.NAME.cache` | none |",
    ):
        assert any(row.startswith(beginning) for row in rows), beginning
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows if row.startswith("|"))


SHOW_BOTH = """
import socket
socket.gethostname = lambda: "another"
from edge.config.reference import json_schema, markdown_reference
print(json_schema(), markdown_reference())
"""


def test_the_reference_is_the_same_on_every_machine() -> None:
    shown = [
        subprocess.run(
            [sys.executable, "-c", SHOW_BOTH],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "HOME": f"/home/{seed}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert shown[0] == shown[1] == f"{json_schema()} {markdown_reference()}\n"
    assert str(ROOT) not in shown[0]


def test_the_command_prints_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
    assert main(["schema", "--markdown"]) == 0
    assert capsys.readouterr().out == markdown_reference()

"""The AsyncAPI document is one, and its schemas are those of the messages, no wider."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import scraper
from jsonschema import Draft7Validator
from test_messages import MESSAGES
from topics import Topics

from edge import messages
from edge.asyncapi import document
from edge.cli import main
from edge.commands import REQUESTS
from edge.messages import Message, Metrics, Result

DOCUMENT = document()
TOPICS = Topics(DOCUMENT)
# Of https://github.com/asyncapi/spec-json-schemas (Apache-2.0), as in npm's @asyncapi/specs 6.11.1.
OFFICIAL = Path(scraper.__file__).with_name("asyncapi-3.0.0.json.gz")


def official_schema() -> Any:
    return json.loads(gzip.decompress(OFFICIAL.read_bytes()))


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def resolve(reference: str, whole: Any) -> Any:
    assert reference.startswith("#/")
    for step in reference[2:].split("/"):
        whole = whole[step]
    return whole


def test_it_is_an_asyncapi_document_by_the_official_schema() -> None:
    validator = Draft7Validator(official_schema())
    assert list(validator.iter_errors(DOCUMENT)) == []
    assert not validator.is_valid({**DOCUMENT, "asyncapi": "2.6.0"})
    assert not validator.is_valid({**DOCUMENT, "chanels": {}})


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > 30
    for reference in found:
        assert isinstance(resolve(reference, DOCUMENT), dict), reference


def test_every_payload_is_a_json_schema() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)


def test_every_topic_has_its_levels_explained_and_somebody_who_uses_it() -> None:
    for parameter in DOCUMENT["components"]["parameters"].values():
        assert parameter["description"]
    used = {operation["channel"]["$ref"] for operation in DOCUMENT["operations"].values()}
    assert used == {f"#/channels/{name}" for name in DOCUMENT["channels"]}


def test_operations_say_how_it_is_published() -> None:
    bindings = {
        name: (one["action"], one["bindings"]["mqtt"]["qos"], one["bindings"]["mqtt"]["retain"])
        for name, one in DOCUMENT["operations"].items()
    }
    assert bindings["sendPipelinePredictions"] == ("send", 1, False)
    assert bindings["sendPipelineMetrics"] == ("send", 0, False)
    assert bindings["sendInfo"] == ("send", 1, True)
    assert bindings["sendStatus"] == ("send", 1, True)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_payload_fits_on_its_topic_and_nothing_else_does(name: str) -> None:
    message = MESSAGES[name]
    topic, payload = message.topic("edge"), json.loads(message.to_json())
    assert TOPICS.errors(topic, payload) == []
    for key in payload:
        assert TOPICS.errors(topic, {k: v for k, v in payload.items() if k != key})
        assert TOPICS.errors(topic, {**payload, key: [None]})
    assert TOPICS.errors(topic, {**payload, "unheard_of": 1})
    for key in ("at", "captured_at"):
        if key in payload:
            assert TOPICS.errors(topic, {**payload, key: "yesterday"})


def test_predictions_are_those_of_the_decoders() -> None:
    topic, payload = "edge/porch-pi/door/predictions", json.loads(MESSAGES["result"].to_json())
    assert not TOPICS.errors(topic, {**payload, "predictions": []})
    for wrong in (
        {"label": "7", "index": 7},
        {"label": 7, "index": 7, "score": 1},
        {"output": "scores", "shape": [1], "values": ["1"]},
    ):
        assert TOPICS.errors(topic, {**payload, "predictions": [wrong]})
    text = DOCUMENT["components"]["schemas"]["ClassScore"]["properties"]["score"]["description"]
    assert text == "In the model's real units."


def test_objects_within_a_payload_are_closed_as_well() -> None:
    payload = json.loads(MESSAGES["metrics of many"].to_json())
    payload["cache"]["latency_ms"]["p42"] = 1.0
    assert TOPICS.errors("edge/porch-pi/door/metrics", payload)


def test_the_status_is_a_bare_word() -> None:
    assert TOPICS.errors("edge/porch-pi/status", "online") == []
    assert TOPICS.errors("edge/porch-pi/status", "away")


def test_fields_are_described_by_the_docstrings_under_them() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    described = schemas["Result"]["properties"]
    assert described["rung_name"]["description"] == "`full` for rung 0."
    assert described["boot"]["description"] == "Changes with every start of the daemon."
    of_the_source = schemas["SourceResult"]["properties"]
    assert of_the_source["rung_name"] == described["rung_name"]
    window = schemas["Metrics"]["properties"]["latency_ms"]
    assert window["description"].startswith("Capture to result, in the window;")
    assert window["allOf"] == [{"$ref": "#/components/schemas/Distribution"}]


def test_all_fields_stand_in_their_order() -> None:
    for kind in (Result, Metrics):
        schema = DOCUMENT["components"]["schemas"][kind.__name__]
        assert list(schema["properties"]) == [each.name for each in fields(kind)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting(Message):
    """Say that somebody is there.

    Once.
    """

    topic_name: ClassVar[str] = "greeting"

    way: Literal["loud", "soft"]
    """How."""


def test_a_message_that_is_added_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "Greeting", Greeting, raising=False)
    made = document()
    assert list(Draft7Validator(official_schema()).iter_errors(made)) == []
    assert made["channels"]["greeting"]["address"] == "{base}/{device}/greeting"
    assert made["operations"]["sendGreeting"]["action"] == "send"
    said = made["components"]["messages"]["Greeting"]
    assert (said["summary"], said["description"]) == ("Say that somebody is there.", "Once.")
    way = made["components"]["schemas"]["Greeting"]["properties"]["way"]
    assert way == {"type": "string", "enum": ["loud", "soft"], "description": "How."}


def test_every_command_is_received_and_answered() -> None:
    answers = DOCUMENT["channels"]["commandCommandAnswer"]
    assert answers["address"] == "{base}/{device}/command/{command}/answer"
    for name in REQUESTS:
        level = name.title().replace("-", "")
        operation = DOCUMENT["operations"][f"receiveCommand{level}"]
        assert operation["action"] == "receive"
        assert operation["reply"] == {"channel": {"$ref": "#/channels/commandCommandAnswer"}}
        request = f"#/channels/command{level}"
        assert operation["channel"] == {"$ref": request}


@pytest.mark.parametrize(
    ("name", "payload", "fits"),
    [
        ("ping", {}, True),
        ("ping", {"id": "1"}, True),
        ("ping", {"id": 1}, False),
        ("set", {"pipeline": "door", "threshold": 0.5}, True),
        ("set", {"threshold": 0.5}, False),
        ("set", {"pipeline": "door", "treshold": 0.5}, False),
    ],
)
def test_a_request_may_leave_out_what_has_a_default(
    name: str, payload: dict[str, Any], fits: bool
) -> None:
    assert (TOPICS.errors(f"edge/porch-pi/command/{name}", payload) == []) == fits


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--asyncapi"]) == 0
    assert json.loads(capsys.readouterr().out) == DOCUMENT


def test_one_kind_of_output_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["schema", "--asyncapi", "--markdown"])
    assert "not allowed with" in capsys.readouterr().err

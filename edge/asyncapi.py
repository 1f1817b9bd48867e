"""An AsyncAPI 3.0 document of every topic and payload, made from the classes of messages.

The format is https://www.asyncapi.com/docs/reference/specification/v3.0.0, its MQTT bindings are
https://github.com/asyncapi/bindings/tree/master/mqtt. A message that is added is in it.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
from dataclasses import fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args, get_type_hints

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

import edge
from edge.commands import Request
from edge.decoders.base import DecoderOptions
from edge.messages import OFFLINE, ONLINE, Message, status_topic
from edge.plugins import derives, options_of

if TYPE_CHECKING:
    from collections.abc import Iterator

BINDINGS = "0.2.0"
SCHEMAS = "#/components/schemas/"
LEVEL = re.compile(r"\{(\w+)\}")
TIME = re.compile(r"(.+_)?at")
"""What fields are called that hold a time."""
PARAMETERS: dict[str, dict[str, Any]] = {
    "base": {
        "description": "What all topics begin with: `mqtt.base_topic` of the YAML, which may have "
        "several levels.",
        "default": "edge",
        "examples": ["edge", "site/hall-2"],
    },
    "device": {"description": "Name of the device: `device` of the YAML, else its host name."},
    "pipeline": {"description": "Name of the pipeline in the YAML."},
    "command": {"description": "Name of the command, `unknown` where there is none of that name."},
    "source": {"description": "Name among the pipeline's `sources`, where it has several."},
}
STATUS_TOPIC = status_topic("{base}", "{device}")
STATUS: dict[str, Any] = {
    "name": "Status",
    "summary": "Whether the device is there: the bare word, which is also the last will.",
    "contentType": "text/plain",
    "payload": {"type": "string", "enum": [ONLINE, OFFLINE]},
}
SERVER: dict[str, Any] = {
    "host": "{host}:{port}",
    "protocol": "mqtt",
    "description": "The broker that the YAML names. MQTT 5 is tried first, then 3.1.1.",
    "variables": {"host": {"default": "127.0.0.1"}, "port": {"default": "1883"}},
    "bindings": {
        "mqtt": {
            "lastWill": {"topic": STATUS_TOPIC, "qos": 1, "message": OFFLINE, "retain": True},
            "bindingVersion": BINDINGS,
        }
    },
}


class Said(NamedTuple):
    """A message on a topic."""

    message: str
    topic: str
    qos: int
    retain: bool
    received: bool

    @property
    def channel(self) -> str:
        """Name of its topic: `pipelinePredictions`, from all levels below the device's."""
        first, *rest = re.findall(r"\w+", self.topic.removeprefix("{base}/{device}/"))
        return "".join([first, *(level[0].upper() + level[1:] for level in rest)])

    @property
    def action(self) -> str:
        """What the daemon does with it."""
        return "receive" if self.received else "send"


def document() -> dict[str, Any]:
    """Return the document: what the daemon sends, and what it receives."""
    kinds = message_kinds()
    said = [
        Said(kind.__name__, topic, kind.qos, kind.retain, kind.received)
        for kind in kinds
        for topic in topics(kind)
    ]
    said.append(Said(STATUS["name"], STATUS_TOPIC, qos=1, retain=True, received=False))
    used = {name for each in said for name in LEVEL.findall(each.topic)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "edge-runtime",
            "version": edge.__version__,
            "description": "What a device says, and what may be said to it. A payload is one JSON "
            "object in UTF-8, but for the status; times are UTC.",
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        "defaultContentType": "application/json",
        "servers": {"broker": SERVER},
        "channels": {each.channel: _channel(each, said) for each in said},
        "operations": {
            f"{each.action}{each.channel[0].upper()}{each.channel[1:]}": _operation(each, said)
            for each in said
        },
        "components": {
            "messages": {kind.__name__: _message(kind) for kind in kinds} | {"Status": STATUS},
            "parameters": {name: PARAMETERS.get(name, {}) for name in sorted(used)},
            "schemas": payload_schemas(kinds),
        },
    }


def message_kinds() -> list[type[Message | Request]]:
    """Return every kind of message there is: they stand in modules, not rooms, of the package."""
    names = [found.name for found in pkgutil.iter_modules(edge.__path__) if not found.ispkg]
    modules = [importlib.import_module(f"edge.{name}") for name in names if name != "__main__"]
    values = [value for module in modules for value in vars(module).values()]
    kinds = [value for value in values if derives(value, Message) or derives(value, Request)]
    return list(dict.fromkeys(kinds))


def topics(kind: type[Message | Request]) -> list[str]:
    """Return the topics of a kind of message, with `{field}` for what a field says.

    There are two where a level is left out when its field is null.
    """
    if issubclass(kind, Request):
        return [kind.topic("{base}", "{device}")]
    found, types = [], get_type_hints(kind)
    for null in (False, True):
        message = object.__new__(kind)
        for each in fields(kind):
            absent = null and type(None) in get_args(types[each.name])
            object.__setattr__(message, each.name, None if absent else f"{{{each.name}}}")
        found.append(message.topic("{base}"))
    return list(dict.fromkeys(found))


def payload_schemas(kinds: list[type[Message | Request]]) -> dict[str, Any]:
    """Return the JSON Schema (draft 7) of each payload and of its parts, by their names.

    They refer to one another as components of the document.
    """
    decoders = cast("dict[str, type[DecoderOptions]]", options_of("edge.decoders", DecoderOptions))
    predictions = [decoder.prediction for decoder in decoders.values()]
    parts = [*kinds, *predictions]
    _, schemas = TypeAdapter.json_schemas(
        [(part.__name__, "serialization", TypeAdapter(part)) for part in parts],
        schema_generator=_Payloads,
        ref_template=f"{SCHEMAS}{{model}}",
    )
    found: dict[str, Any] = schemas["$defs"]
    for each in found.values():
        if "predictions" in each["properties"]:  # what they are is the decoders' business
            items = [{"$ref": f"{SCHEMAS}{part.__name__}"} for part in predictions]
            each["properties"]["predictions"]["items"] = {"anyOf": items}
    return found


def _channel(one: Said, said: list[Said]) -> dict[str, Any]:
    """Return a topic with all that is said on it."""
    names = LEVEL.findall(one.topic)
    on_it = [each.message for each in said if each.topic == one.topic]
    return {
        "address": one.topic,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in on_it},
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in names},
    }


def _operation(one: Said, said: list[Said]) -> dict[str, Any]:
    """Return what the daemon does on a topic, one way."""
    channel = f"#/channels/{one.channel}"
    alike = [each for each in said if (each.topic, each.action) == (one.topic, one.action)]
    return {
        "action": one.action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{each.message}"} for each in alike],
        "bindings": {
            "mqtt": {
                "qos": max(each.qos for each in alike),
                "retain": any(each.retain for each in alike),
                "bindingVersion": BINDINGS,
            }
        },
    }


def _message(kind: type[Message | Request]) -> dict[str, Any]:
    first, _, more = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")
    words = {"summary": first, "description": more}
    return {
        "name": kind.__name__,
        **{key: " ".join(text.split()) for key, text in words.items() if text},
        "payload": {"$ref": f"{SCHEMAS}{kind.__name__}"},
    }


class _Payloads(GenerateJsonSchema):
    """Closes each object to other fields, and describes its own by the docstrings under them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """No: a title made of the field's name says nothing new."""
        del schema
        return False

    def dataclass_schema(self, schema: Any) -> dict[str, Any]:
        """Return the schema of a payload, or of a part of one."""
        return _described(super().dataclass_schema(schema), schema["cls"])

    def typed_dict_schema(self, schema: Any) -> dict[str, Any]:
        """Return the schema of a prediction."""
        return _described(super().typed_dict_schema(schema), schema["cls"])


def _described(made: dict[str, Any], kind: type) -> dict[str, Any]:
    """Return the schema of an object, and say what its fields are.

    Ours always has all of them; a request may leave out what has a default.
    """
    texts = dict(_docs(kind))
    properties: dict[str, Any] = made["properties"]
    for name, field in properties.items():
        if TIME.fullmatch(name) and field.get("type") == "string":
            field["format"] = "date-time"
        if name in texts:
            # Draft 7 ignores what stands beside a reference.
            whole = {"allOf": [field]} if "$ref" in field else field
            properties[name] = {**whole, "description": texts[name]}
    may_lack = issubclass(kind, Request)
    required = [name for name in properties if not may_lack or name in _without_default(kind)]
    return {**made, "required": required, "additionalProperties": False}


def _without_default(kind: type[Any]) -> set[str]:
    return {each.name for each in fields(kind) if each.default is dataclasses.MISSING}


def _docs(kind: type) -> Iterator[tuple[str, str]]:
    """Yield (field, docstring under it) of a class, after those of what it derives from."""
    ours = [each for each in kind.__mro__ if each not in {dict, object}]
    for each in reversed(ours):
        for definition in ast.parse(inspect.getsource(each)).body:
            for field, below in pairwise(getattr(definition, "body", [])):
                match field, below:
                    case (
                        ast.AnnAssign(target=ast.Name(id=name)),
                        ast.Expr(value=ast.Constant(value=str(text))),
                    ):
                        yield name, " ".join(text.split())

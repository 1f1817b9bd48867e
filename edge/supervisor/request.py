"""Reads what came on a command topic: hostile until proven otherwise, never an exception but ours.

Touches nothing: what is done about a request is `edge.supervisor.commands`' business.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from edge.commands import REQUESTS, Request

LARGEST_REQUEST = 4096  # bytes; ours have some 60
LONGEST_TOPIC = 256  # bytes
LONGEST_CORRELATION = 256  # bytes; it is sent back
LONGEST_ID = 128  # characters
SHOWN = 64  # characters of somebody else's words in a message of ours
PROBLEMS_TOLD = 3


class RequestError(Exception):
    """A request cannot be obeyed; the message says why."""


def parse(name: str, payload: bytes) -> Request:
    """Return the request that came on `command/NAME`. Raises RequestError."""
    if name not in REQUESTS:
        raise RequestError(f"there is no command {shown(name)}; known: {', '.join(REQUESTS)}")
    if len(payload) > LARGEST_REQUEST:
        raise RequestError(
            f"the payload has {len(payload)} bytes, a request at most {LARGEST_REQUEST}"
        )
    try:
        return _adapter(name).validate_json(payload if payload.strip() else b"{}")
    except ValidationError as error:
        problems = [_in_words(each) for each in error.errors(include_url=False)[:PROBLEMS_TOLD]]
        raise RequestError("; ".join(problems)) from None


@cache
def _adapter(name: str) -> TypeAdapter[Request]:
    return TypeAdapter(REQUESTS[name])


def _in_words(problem: Any) -> str:
    if problem["type"] == "json_invalid":
        return f"the payload is no JSON: {problem['ctx']['error'][: 2 * SHOWN]}"
    where = ".".join(str(level) for level in problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        return f"there is no key {shown(where)} in this request"
    if not where:
        return "the payload must be one JSON object"
    if problem["type"] == "missing":
        return f"`{where}` is missing"
    words: str = problem["msg"]
    return f"`{where}`: {words[:1].lower()}{words[1:]}"


def id_of(payload: bytes) -> str | None:
    """Return the id of a request that may be wrong in all else; None where it has none."""
    if len(payload) > LARGEST_REQUEST:
        return None
    try:
        found = from_json(payload)
    except ValueError:
        return None
    name = found.get("id") if isinstance(found, dict) else None
    return name if isinstance(name, str) and len(name) <= LONGEST_ID else None


def wrong_with_topic(topic: str, base_topic: str, device: str) -> str:
    """Return what is wrong with a response topic, in words; nothing where it will do.

    What lies below `base_topic` is for what devices say themselves, and hear: an answer there
    would be taken for one of these. Only the answers' own topics are free.
    """
    if not topic or len(topic.encode("utf-8", "replace")) > LONGEST_TOPIC:
        return f"must have 1 to {LONGEST_TOPIC} bytes"
    if any(sign in topic for sign in "+#"):
        return "must have no + or #"
    if topic.startswith("$"):
        return "must not begin with $"
    if not topic.isprintable():
        return "must be printable"
    answers = [f"{base_topic}/{device}/command/{name}/answer" for name in REQUESTS]
    if (topic == base_topic or topic.startswith(f"{base_topic}/")) and topic not in answers:
        return f"must not lie below {base_topic}/"
    return ""


def shown(words: str) -> str:
    """Return somebody else's words as they can stand in a message: short and on one line."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in words[:SHOWN])
    return f"`{plain}{'...' if len(words) > SHOWN else ''}`"

"""Holds what is said over MQTT against the AsyncAPI document."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from jsonschema import Draft7Validator, FormatChecker

FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _is_utc_with_milliseconds(value: object) -> bool:
    text = str(value)
    datetime.fromisoformat(text.removesuffix("Z"))
    return re.fullmatch(r"[^Z]*\.\d{3}Z", text) is not None


class Topics:
    """The channels of a document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._patterns: dict[str, str] = {
            name: re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(channel["address"]))
            for name, channel in document["channels"].items()
        }

    def channel(self, topic: str) -> str:
        """Return the one channel that a topic belongs to."""
        (found,) = [
            name for name, pattern in self._patterns.items() if re.fullmatch(pattern, topic)
        ]
        return found

    def errors(self, topic: str, payload: Any) -> list[str]:
        """Return what is wrong with a payload as each of its topic's messages; none if one fits."""
        wrong: list[str] = []
        for name in self._document["channels"][self.channel(topic)]["messages"]:
            schema = self._document["components"]["messages"][name]["payload"]
            whole = {"components": self._document["components"], "allOf": [schema]}
            validator = Draft7Validator(whole, format_checker=FORMATS)
            found = [f"{one.json_path}: {one.message}" for one in validator.iter_errors(payload)]
            if not found:
                return []
            wrong += found
        return wrong

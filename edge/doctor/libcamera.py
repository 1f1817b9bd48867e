"""Asks libcamera which cameras it finds: a process of its own, for it may crash or hang."""

import json

from edge.errors import SourceError
from edge.sources.picamera import models


def main() -> None:
    """Print one JSON object: the cameras by their models, or why there are none."""
    try:
        told: dict[str, object] = {"models": models()}
    except SourceError as error:
        told = {"models": [], "trouble": str(error)}
    print(json.dumps(told), flush=True)  # noqa: T201  its one word to who started it

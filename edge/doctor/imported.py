"""Imports OpenCV and says what it can: a process of its own, for the import may crash it."""

import importlib
import json
import re
from typing import Any

ABLE = {  # names of the lines of OpenCV's build information
    "v4l2": re.compile(r"v4l/v4l2:\s+YES"),
    "ffmpeg": re.compile(r"FFMPEG:\s+YES"),
    "gstreamer": re.compile(r"GStreamer:\s+YES"),
}


def main() -> None:
    """Print one JSON object: what was imported, or why it was not."""
    try:
        cv2 = importlib.import_module("cv2")
        build = cv2.getBuildInformation()
    except Exception as error:  # noqa: BLE001  an import raises whatever it likes
        found: dict[str, Any] = {"failed": " ".join(f"{type(error).__name__}: {error}".split())}
    else:
        able = [name for name, line in ABLE.items() if line.search(build)]
        found = {"version": cv2.__version__, "file": cv2.__file__, "able": able}
    print(json.dumps(found), flush=True)  # noqa: T201  its one word to who started it

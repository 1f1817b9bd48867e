"""Makes a .keras file that is the same, byte for byte, for the same network."""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from edge.workshop.framework import quiet

NO_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can hold
SHARED = re.compile(rb'("shared_object_id": )(\d+)')


def as_keras_file(network: Any) -> bytes:
    """Return the network, uncompiled, as a .keras file.

    What Keras writes holds the date, and where objects lay in memory as their numbers: both are
    put right here. The format is a zip file of metadata.json, config.json and model.weights.h5
    (keras/src/saving/saving_lib.py).
    """
    plain = type(network).from_config(network.get_config())  # without optimizer and its state
    plain.set_weights(network.get_weights())
    with tempfile.TemporaryDirectory(prefix="edge-network-") as folder:
        path = Path(folder) / "network.keras"
        with quiet():  # with numpy 2, h5py's way to read a variable is deprecated
            plain.save(path)
        made = io.BytesIO()
        with zipfile.ZipFile(path) as saved, zipfile.ZipFile(made, "w") as out:
            for name in saved.namelist():
                out.writestr(zipfile.ZipInfo(name, NO_DATE), _settled(name, saved.read(name)))
    return made.getvalue()


def _settled(name: str, content: bytes) -> bytes:
    if name == "metadata.json":
        told = json.loads(content)
        return json.dumps(told | {"date_saved": "1980-01-01@00:00:00"}).encode()
    if name == "config.json":
        numbers: dict[bytes, int] = {}
        return SHARED.sub(
            lambda found: found[1] + b"%d" % numbers.setdefault(found[2], len(numbers)), content
        )
    return content

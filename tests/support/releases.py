"""Makes models, folders with cards and signatures, and serves them: what a publisher does."""

from __future__ import annotations

import hashlib
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tflite
import yaml

from edge.catalogue.card import CARD, SIGNATURE, CardFile
from edge.catalogue.secret_key import SecretKey
from edge.catalogue.signature import sign

if TYPE_CHECKING:
    from typing_extensions import Self

DIGITS = Path(__file__).parents[2] / "models/digits"
ROLES = {"labels.txt": "labels", "README.md": "readme", "digits.golden.npz": "golden"}


def model_folder(
    folder: Path, model: bytes, files: dict[str, bytes] | None = None, **card: Any
) -> str:
    """Make a model's folder; return the SHA-256 of its card. `card` replaces its fields."""
    folder.mkdir(parents=True)
    described: dict[str, Any] = {}
    for name, content in {"digits.tflite": model, **(files or {})}.items():
        (folder / name).write_bytes(content)
        role: Any = ROLES.get(name, "model")
        described[name] = CardFile.of(folder / name, role).model_dump()
    fields = {
        "name": "digits",
        "version": "1.1",
        "description": "One handwritten digit.",
        "licence": "Apache-2.0",
        "files": described,
    }
    content = yaml.safe_dump(fields | card, sort_keys=False).encode()
    (folder / CARD).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def other_build() -> bytes:
    """Return the digits' model with one bit of one weight turned over: it says the same."""
    data = bytearray((DIGITS / "digits.tflite").read_bytes())
    data[25_000] ^= 0x01
    return bytes(data)


def permuted() -> bytes:
    """Return the digits' model with its last layer's rows moved by one: it is always wrong."""
    data = bytearray((DIGITS / "digits.tflite").read_bytes())
    model: Any = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    dense = next(
        graph.Operators(n)
        for n in range(graph.OperatorsLength())
        if model.OperatorCodes(graph.Operators(n).OpcodeIndex()).BuiltinCode() == 9
    )
    for number in dense.InputsAsNumpy()[1:]:  # weights [10, 256], biases [10]
        tensor = graph.Tensors(number)
        rows = model.Buffers(tensor.Buffer()).DataAsNumpy().reshape(10, -1)
        rows[:] = np.roll(rows, 1, axis=0)
        scales = tensor.Quantization().ScaleAsNumpy()
        scales[:] = np.roll(scales, 1)
    return bytes(data)


class Publisher:
    """Somebody with a key, a folder of models and a web server."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.key = SecretKey.new()
        self.asked: list[str] = []
        self.held = threading.Event()
        """Unset, no model file is given out."""
        self.held.set()
        self._port = 0
        self.open()
        self.url = f"http://127.0.0.1:{self._port}/"

    def open(self) -> None:
        """Serve, at the same address as before."""
        handler = partial(_Quiet, directory=str(self.root))
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._server.asked = self.asked  # type: ignore[attr-defined]
        self._server.held = self.held  # type: ignore[attr-defined]
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Be away: nobody listens there."""
        self.held.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def yaml(self) -> str:
        """Return what a device's YAML says to take this publisher's models."""
        return f"updates: {{keys: [{self.key.public.text}], fetch_from: ['{self.url}']}}\n"

    def publish(self, name: str, model: bytes, *, key: SecretKey | None = None, **more: Any) -> str:
        """Publish the digits with another model; return the URL of its card."""
        labels = {each: (DIGITS / each).read_bytes() for each in ["labels.txt"]}
        files = {**labels, **more.pop("files", {})}
        folder = self.root / name
        shutil.rmtree(folder, ignore_errors=True)
        model_folder(folder, model, files, **more)
        self.sign(name, key)
        return f"{self.url}{name}/{CARD}"

    def sign(self, name: str, key: SecretKey | None = None) -> None:
        """Sign what a folder says now."""
        content = (self.root / name / CARD).read_bytes()
        text = sign(content, key or self.key, comment=name)
        (self.root / name / SIGNATURE).write_text(text)


class _Quiet(SimpleHTTPRequestHandler):
    """Says nothing, and waits where it is told to."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append(self.path)
        if self.path.endswith(".tflite"):
            server.held.wait(60)
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Take no note."""

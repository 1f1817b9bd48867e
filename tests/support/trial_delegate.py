"""An accelerator that is not there: a delegate's library that does what a file tells it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


class TrialDelegate:
    """A TFLite external delegate; `trial_delegate.c` says what it does, and its options."""

    def __init__(self, library: Path, switch: Path) -> None:
        self.library = library
        self._switch = switch

    @staticmethod
    def compile(compiler: str, folder: Path, *more: str) -> Path:
        """Compile the library; `more` goes to the compiler."""
        library = folder / "libtrial.so"
        command = [compiler, "-shared", "-fPIC", "-O2", *more, "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True)
        return library

    def be(self, words: str) -> None:
        """From the next step or forward pass on: `ok`, `error`, `crash`, `hang` or `slow MS`."""
        new = self._switch.with_suffix(".new")
        new.write_text(words, encoding="utf-8")
        new.rename(self._switch)

    def options(self, **more: str) -> dict[str, str]:
        """Return what it is made with so that `be` is heard; `in_` stands for `in`."""
        return {"switch": str(self._switch)} | {key.rstrip("_"): v for key, v in more.items()}

    def yaml(self, **more: str) -> str:
        """Return the value of `accelerator:` in the YAML."""
        return json.dumps({"library": str(self.library), "options": self.options(**more)})

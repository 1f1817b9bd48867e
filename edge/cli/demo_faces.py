"""What the demo is about: which configuration it runs, and what it makes of the results."""

from collections import Counter
from typing import Any, Protocol

from rich.text import Text

MAP_COLUMNS, MAP_ROWS = 44, 13  # a sign is about twice as high as wide: 4 to 3, as the frames


class Face(Protocol):
    """One of the demo's models at work."""

    title: str
    config: str
    """Where its configuration is bundled."""
    pipeline: str
    """The one that is in it."""

    def take(self, result: dict[str, Any]) -> bool:
        """Take in a result; return whether it is right."""

    def said(self) -> str:
        """Return the newest result in a few words."""

    def correctness(self) -> str:
        """Return how often it was right, for a line."""

    def rows(self) -> list[tuple[str, str | Text]]:
        """Return what the table shows of it, by what it is called there."""


class Digits:
    """One digit a frame, and which one it is."""

    title = "edge demo: handwritten digits, int8, over MQTT"
    config, pipeline = "device_configs/demo.yaml", "digits"

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}
        self._right = self._results = 0

    def take(self, result: dict[str, Any]) -> bool:
        """Take in a result; return whether the best label is the true one."""
        self._last = result
        right = bool(result["predictions"]) and result["predictions"][0]["label"] == result["truth"]
        self._right += right
        self._results += 1
        return right

    def said(self) -> str:
        """Return the newest result in a few words."""
        if not self._last.get("predictions"):
            return "digit ?"
        best = self._last["predictions"][0]
        return f"digit {best['label']} ({best['score']:.2f}, truth {self._last['truth']})"

    def correctness(self) -> str:
        """Return how often it was right."""
        share = self._right / self._results if self._results else 0.0
        return f"accuracy {share:.2%} of {self._results:,}"

    def rows(self) -> list[tuple[str, str | Text]]:
        """Return what the table shows of it."""
        return [("prediction", self.said()), ("accuracy", self.correctness().split(" ", 1)[1])]


class Scenes:
    """Several moving digits a frame, which ones they are and where."""

    title = "edge demo --detect: moving digits, found by an int8 model, over MQTT"
    config, pipeline = "device_configs/demo-detect.yaml", "scene"

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}
        self._there = self._told = self._right = 0

    def take(self, result: dict[str, Any]) -> bool:
        """Take in a result; return whether it told all digits that are there, and no other."""
        self._last = result
        told = Counter(each["label"] for each in result["predictions"])
        there = Counter((result["truth"] or "").split())
        self._there += there.total()
        self._told += told.total()
        self._right += (told & there).total()
        return told == there

    def said(self) -> str:
        """Return the newest result in a few words."""
        told = self._last.get("predictions")
        if not told:
            return "no digit"
        return "  ".join(f"{each['label']} at {each['x_px']},{each['y_px']}" for each in told)

    def correctness(self) -> str:
        """Return how many digits were found, and how many of those told were there."""
        found = self._right / self._there if self._there else 0.0
        right = self._right / self._told if self._told else 0.0
        return f"found {found:.1%} of {self._there:,} digits, {right:.1%} of those told are right"

    def rows(self) -> list[tuple[str, str | Text]]:
        """Return what the table shows of it: a map of the frame, and the digits in words."""
        told = self._last.get("predictions") or []
        scores = "  ".join(f"{each['label']} ({each['score']:.2f})" for each in told)
        return [
            ("the frame", self._map(told)),
            ("told", self.said()),
            ("scores", scores or "-"),
            ("truth", (self._last.get("truth") or "no digit").replace(" ", "  ")),
            ("so far", self.correctness()),
        ]

    @staticmethod
    def _map(told: list[dict[str, Any]]) -> Text:
        """Return the labels where they stand in the frame."""
        places = {}
        for each in reversed(told):  # the best over the others
            column = min(int(each["x"] * MAP_COLUMNS), MAP_COLUMNS - 1)
            places[min(int(each["y"] * MAP_ROWS), MAP_ROWS - 1), column] = each["label"]
        text = Text()
        for row in range(MAP_ROWS):
            for column in range(MAP_COLUMNS):
                label = places.get((row, column))
                text.append(label or "·", style="bold green" if label else "dim")
            text.append("\n" if row < MAP_ROWS - 1 else "")
        return text

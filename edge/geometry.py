"""Where the model's input lies in the frame that it was made of; imports nothing of ours."""

from dataclasses import dataclass, replace

from typing_extensions import Self


@dataclass(frozen=True, slots=True)
class Geometry:
    """Undoes what resizing did: places in the input become places in the frame.

    `stretch`, `letterbox` and `crop` are all one map a side, of fractions: a place is 0 at the left
    (upper) edge and 1 at the right (lower) one. Of padding around the frame it is below 0 or
    above 1.
    """

    width: int
    """Of the frame in pixels, as its camera or file has it."""
    height: int
    left: float = 0.0
    """The input's left edge in the frame; below 0 where there is padding, above where it is cut."""
    top: float = 0.0
    across: float = 1.0
    """The input's width, as a share of the frame's."""
    down: float = 1.0

    def of(self, x: float, y: float) -> tuple[float, float]:
        """Return the place in the frame of a place in the input."""
        return self.left + x * self.across, self.top + y * self.down

    def pixel(self, x: float, y: float) -> tuple[int, int]:
        """Return the frame's pixel, column and row, that holds a place in the frame.

        The nearest one for a place beside the frame.
        """
        column, row = int(x * self.width), int(y * self.height)
        return min(max(column, 0), self.width - 1), min(max(row, 0), self.height - 1)

    def of_size(self, width: int, height: int) -> Self:
        """Return the same for a frame of that size which was made smaller, both sides alike."""
        return replace(self, width=width, height=height)


NO_PICTURE = Geometry(width=1, height=1)
"""Of an input that has no places."""

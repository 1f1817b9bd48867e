"""Frames that a broker lends to a worker, and to the next one when it dies: which of them kill."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.wire import Began

MOST_SUSPECTS = 1000


class InHand:
    """Finds the frames that workers die of, so that they do not go round for ever.

    A worker may have had several in hand when it died. They are suspects; the next worker takes
    frames one by one, and whichever suspect it dies of alone is to be left out.
    """

    def __init__(self) -> None:
        self._now: dict[int, bytes] = {}
        self._suspects: OrderedDict[bytes, None] = OrderedDict()
        self._left_out: OrderedDict[bytes, None] = OrderedDict()

    @property
    def left_out(self) -> list[bytes]:
        """Digests of frames that are not to be run."""
        return list(self._left_out)

    @property
    def careful(self) -> bool:
        """Whether the next worker should take frames one by one."""
        return bool(self._suspects)

    def began(self, record: Began) -> None:
        """Take note that a worker has a frame in hand."""
        self._now[record.frame] = record.digest

    def settled(self, frame: int) -> None:
        """Take note that a frame has its result, or its failure was told."""
        digest = self._now.pop(frame, None)
        if digest is not None:
            self._suspects.pop(digest, None)
            self._left_out.pop(digest, None)

    def worker_died(self) -> None:
        """Judge what was in hand."""
        digests = set(self._now.values())
        self._now.clear()
        if len(digests) == 1 and (digest := digests.pop()) in self._suspects:
            del self._suspects[digest]
            self._left_out[digest] = None
        else:
            self._suspects.update(dict.fromkeys(digests))
        for known in (self._suspects, self._left_out):
            while len(known) > MOST_SUSPECTS:
                known.popitem(last=False)

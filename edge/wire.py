"""What a worker and the supervisor say to one another, and the socket they say it over.

Records are tuples of builtin values in `marshal` form, a packet each (SOCK_SEQPACKET: a
worker that dies leaves no half record). Both ends are one program run by one user, on one
machine; nothing from outside is ever read this way.
"""

import errno
import marshal
import select
import socket
from collections import deque
from typing import Any, Generic, NamedTuple, TypeVar, get_args

BACKLOG = 1000  # records a worker keeps while the supervisor is not reading
LARGEST_BYTES = 200_000  # a packet must fit the kernel's socket buffer (212,992 by default)


class Ready(NamedTuple):
    """The model is loaded and warm."""

    engine: str
    engine_version: str
    engine_reason: str
    threads: int
    digest: str
    size_bytes: int
    inputs: list[str]
    outputs: list[str]
    init_ms: float
    first_invoke_ms: float
    warm_up_frames: int
    rung: int = 0
    """Of the ladder; 0 is the pipeline as configured."""
    batch: int = 1
    """How many frames can share a forward pass."""
    accelerated: bool = False
    """Whether the model runs on the accelerator of the configuration."""
    golden: dict[str, float] | None = None
    """What the golden self-test found, by the fields of `GoldenInfo`; None where there is none."""
    revision: int = 0
    """Which of the models that the pipeline has had; 0 is the one that it was made with."""


class Done(NamedTuple):
    """A frame got its result; times are monotonic nanoseconds at the end of each stage."""

    frame: int
    captured_ns: int
    retrieved_ns: int
    prepared_ns: int
    taken_ns: int
    inferred_ns: int
    decoded_ns: int
    name: str
    truth: str | None
    predictions: list[dict[str, Any]]
    cached: tuple[int, int, float, int] | None = None
    """From the cache: frame that was run, nanoseconds between the captures, similarity, and which
    source that frame was of."""
    source: int = 0
    """Which of the pipeline's sources; `frame` is the number it has there."""
    batch: int = 1
    """How many frames shared the forward pass; none of them was done before all were."""
    rung: int = 0
    asked: tuple[str, str | None, bytes | None, str | None] | None = None
    """Of a frame from a broker: its topic, the response topic, the correlation data, and when its
    sender says it sent it."""
    unpacking_ns: int = 0
    """How long it took to make pixels of what came from a broker; part of `capture`."""
    accelerated: bool = False
    revision: int = 0

    @property
    def stages_ns(self) -> dict[str, int]:
        """How long each stage took; together they are the time from capture to result."""
        return {
            "capture": self.retrieved_ns - self.captured_ns,
            "wait": self.taken_ns - self.prepared_ns,
            "preprocess": self.prepared_ns - self.retrieved_ns,
            "inference": self.inferred_ns - self.taken_ns,
            "decode": self.decoded_ns - self.inferred_ns,
        }


class Late(NamedTuple):
    """A frame was past its deadline before the forward pass, and dropped."""

    frame: int
    captured_ns: int
    retrieved_ns: int
    prepared_ns: int
    taken_ns: int
    source: int = 0
    rung: int = 0
    accelerated: bool = False
    revision: int = 0

    @property
    def stages_ns(self) -> dict[str, int]:
        """How long each stage took that it went through."""
        return {
            "capture": self.retrieved_ns - self.captured_ns,
            "wait": self.taken_ns - self.prepared_ns,
            "preprocess": self.prepared_ns - self.retrieved_ns,
        }


class Beat(NamedTuple):
    """The worker is alive; counts are since its start, one for each source."""

    replaced: list[int]
    """Frames replaced in the mailbox."""
    lost: list[int]
    """Frames the source's clock says were due but nobody took."""
    skipped: list[int]
    """Frames passed over because a rung runs only every n-th."""
    busy_since_ns: int
    """When the forward pass under way began; 0 when there is none."""
    unshadowed: int = 0
    """Frames chosen for the model in shadow, since it began, for which there was no time."""


class Note(NamedTuple):
    """Something to tell: an event of the pipeline."""

    event: str
    message: str
    details: dict[str, Any]


class Began(NamedTuple):
    """A frame that the broker gives to the next worker when this one dies is in hand."""

    frame: int
    digest: bytes
    """Of the message; the same when it comes again."""


class Failed(NamedTuple):
    """The worker cannot do its work and ends."""

    error: str
    """The name of the class in `edge.errors`."""
    message: str


class Refused(NamedTuple):
    """The pipeline cannot change to a rung, an accelerator or a model, and stays where it is."""

    rung: int
    message: str
    accelerated: bool = False
    revision: int = 0
    error: str = "ModelError"
    """The name of the class in `edge.errors`."""


class Shadowed(NamedTuple):
    """A frame that has its result was answered by the model in shadow as well."""

    revision: int
    """Of the model in shadow."""
    frame: int
    source: int
    agreed: bool | None
    """Whether both said the same; None where the model in shadow failed."""
    served_ns: int
    """The forward pass of the model that serves."""
    inference_ns: int
    """The forward pass of the model in shadow; 0 where it did not come to its end."""
    failure: str
    """In words; empty where there is none."""


class Picture(NamedTuple):
    """What was asked for with `Look`."""

    jpeg: bytes
    """Empty where there is none."""
    frame: int
    why_not: str
    """In words, where there is none."""


class Ended(NamedTuple):
    """The source has no more frames, or as many as asked for were answered."""


class Job(NamedTuple):
    """Supervisor to worker, first: what to do."""

    device: str | None
    """Whose tuning counts; None when there is none to look for."""
    pipeline: str
    options: str
    """The pipeline's options on this rung, as JSON."""
    first_frames: list[int]
    """The number of the next frame of each source; none given is 0 for all."""
    max_frames: int | None
    check_only: bool
    rung: int = 0
    broker: str | None = None
    """The device's `mqtt:` as JSON, secrets among it, where a source comes from its broker."""
    left_out: list[bytes] = []  # noqa: RUF012  never changed; marshal knows lists
    """Digests of frames that are not to be run, once each: workers died of them."""
    careful: bool = False
    """A worker died with frames in hand: take them one by one, so that it shows of which."""
    revision: int = 0


class Change(NamedTuple):
    """Supervisor to worker: go over to another rung, accelerator or model, between two frames.

    Answered by `Ready` when it is prepared, beside the running one, or by `Refused`.
    """

    rung: int
    options: str
    """The pipeline's options on that rung, as JSON."""
    revision: int = 0


class Accompany(NamedTuple):
    """Supervisor to worker: run another model in shadow, in the place of any other.

    Answered like `Change`.
    """

    rung: int
    options: str
    """The pipeline's options with that model, on that rung, as JSON."""
    revision: int
    share: float
    """Of the frames, 0 to 1; 0 ends it, and is not answered."""


class Look(NamedTuple):
    """Supervisor to worker: send a picture of the next frame that is answered."""

    max_bytes: int


class Accepted(NamedTuple):
    """Supervisor to worker: a frame's result, or its failure, is recorded and cannot be lost."""

    frame: int


class Stop(NamedTuple):
    """Supervisor to worker: finish the frame in hand and end."""


Record = (
    Ready
    | Done
    | Late
    | Beat
    | Note
    | Began
    | Failed
    | Refused
    | Shadowed
    | Picture
    | Ended
    | Job
    | Change
    | Accompany
    | Look
    | Accepted
    | Stop
)
KINDS: tuple[type[Any], ...] = get_args(Record)
R = TypeVar("R", bound="tuple[Any, ...]")


class RecordWire(Generic[R]):
    """One end of a socket that carries records. Sending never blocks, unless told that it may."""

    def __init__(self, sock: socket.socket, kinds: tuple[type[Any], ...]) -> None:
        """Both ends know the same kinds of record, in the same order."""
        self.socket = sock
        sock.setblocking(False)
        self._kinds = kinds
        self._number = {kind: number for number, kind in enumerate(kinds)}
        self.backlog: deque[bytes] = deque()
        """What the other end has not taken yet."""
        self.overflowed = 0

    def send(self, record: R, *, may_wait: bool = False) -> None:
        """Send a record, or keep it for the next call while the other end is not reading.

        Past `BACKLOG` records kept the oldest is dropped and counted in `overflowed`;
        `may_wait` waits for room instead. Raises ConnectionError when the other end is gone,
        ValueError when the record is too large.
        """
        packet = marshal.dumps((self._number[type(record)], *record))
        if len(packet) > LARGEST_BYTES:
            raise ValueError(f"a record of {len(packet)} bytes is too large to send")
        self.backlog.append(packet)
        while not self._flush():
            if may_wait:
                select.select([], [self.socket], [], 1.0)
            elif len(self.backlog) > BACKLOG:
                self.backlog.popleft()
                self.overflowed += 1
            else:
                return

    def _flush(self) -> bool:
        while self.backlog:
            try:
                self.socket.send(self.backlog[0])
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                    return False
                raise ConnectionError("the other end is gone") from error
            self.backlog.popleft()
        return True

    def receive(self) -> R | None:
        """Return the next record, or None when there is none yet.

        Raises ConnectionError when the other end is gone and everything was read.
        """
        try:
            packet = self.socket.recv(LARGEST_BYTES)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            # It ended without reading all of ours; what it had sent is still to come.
            return self.receive()
        except OSError as error:
            raise ConnectionError("the other end is gone") from error
        if not packet:
            raise ConnectionError("the other end has closed")
        number, *values = marshal.loads(packet)  # noqa: S302  from our own process
        return self._kinds[number](*values)  # type: ignore[no-any-return]

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to receive; False when the time has passed."""
        return bool(select.select([self.socket], [], [], timeout_s)[0])


class Wire(RecordWire[Record]):
    """One end of the socket between a worker and the supervisor."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, KINDS)

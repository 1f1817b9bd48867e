"""What a result says beside its predictions: times, cache, the request it answers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Where one frame's time went, in milliseconds; the stages sum up to the total."""

    total: float
    """From capture to the decoded result."""
    capture: float
    """From the capture time until its pixels were in memory."""
    wait: float
    """From ready for the model until the model took it, or its answer was found in the cache."""
    preprocess: float
    """Resize, colour, quantization."""
    inference: float
    """The forward pass, with input copied in and outputs copied out; 0 when cached."""
    decode: float
    """From output tensors to predictions; 0 when cached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """A result that was made for an earlier frame; no forward pass ran for this one."""

    frame: int
    """The frame it was made for."""
    source: str
    """Whose frame that was: of several sources it may be another's than this one's."""
    age_ms: float
    """From the capture of that frame to the capture of this one; at most `max_age_ms`."""
    similarity: float
    """Of the two inputs; 1 is no difference, by the distance of the cache's mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The message that a frame came in, and what the device spent on it.

    The durations are by the device's own clock, so that the sender's need not agree with it.
    """

    topic: str
    correlation: str | None
    """The message's correlation data, base64."""
    sent_at: str | None
    """The message's user property `sent_at`, as its sender wrote it."""
    queue_ms: float
    """From the receipt to the result, less `compute_ms`."""
    compute_ms: float
    """Making pixels of the message, preprocessing, forward pass and decoding."""

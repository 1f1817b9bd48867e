"""Frames that came in messages: what their results say of it, and where answers may go."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from edge.result_parts import Request

if TYPE_CHECKING:
    from edge.wire import Done


def requested(done: Done) -> Request | None:
    """Return what a result says of the message its frame came in; None where it came in none."""
    if done.asked is None:
        return None
    topic, _, correlation, sent_at = done.asked
    stages_ns = done.stages_ns
    compute_ns = done.unpacking_ns + sum(
        stages_ns[stage] for stage in ("preprocess", "inference", "decode")
    )
    return Request(
        topic=topic,
        correlation=base64.b64encode(correlation).decode() if correlation is not None else None,
        sent_at=sent_at,
        queue_ms=round((done.decoded_ns - done.captured_ns - compute_ns) / 1e6, 3),
        compute_ms=round(compute_ns / 1e6, 3),
    )


def why_no_answer(topic: str, base_topic: str) -> str | None:
    """Say why an answer must not go to a topic; None where it may.

    Whoever may send frames must not make us publish, with our rights, where commands are taken
    and states are kept: nothing below the base topic of the fleet, nor what is the broker's own.
    """
    if not topic or "+" in topic or "#" in topic or not topic.isprintable():
        return "on what is no topic"
    if topic.startswith("$"):
        return "on a topic of the broker's own"
    if topic == base_topic or topic.startswith(f"{base_topic}/"):
        return f"below {base_topic}/, where devices speak"
    return None

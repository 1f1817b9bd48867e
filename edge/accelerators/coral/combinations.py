"""Which libedgetpu goes with which engine and Python, as others have reported in public.

Nobody here has a Coral: each row is what its source says, and no more.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

RELEASES = "https://github.com/feranick/libedgetpu/releases"
"""Builds of libedgetpu against each TensorFlow of today, by Nicola Ferralis, as Debian packages."""

ADVISED = {"litert": "16.0TF2.19.1-1", "tflite-runtime": "v16.0TF2.13.1-2"}
"""The release of libedgetpu that others report to work with an engine, by its tag."""


class Combination(NamedTuple):
    """A library, an engine and a Python that were tried together."""

    library: str
    engine: str
    python: str
    machine: str
    outcome: Literal["works", "crashes"]
    source: str
    """Who says so, and when."""
    link: str


COMBINATIONS = (
    Combination(
        "16.0TF2.19.1-1",
        "ai-edge-litert 2.2.0",
        "the system's (3.11, 3.13)",
        "64-bit Raspberry Pi OS 12 and 13",
        "works",
        "an installer that tries the model on the Coral at its end",
        "https://github.com/jiteshsaini/coral_USB_ml_accelerator/blob/master/setup_coral.sh",
    ),
    Combination(
        "built for TensorFlow 2.19.1",
        "ai-edge-litert",
        "not told",
        "not told",
        "works",
        'the builds\' maintainer, September 2025: "perfectly compatible"',
        "https://github.com/google-ai-edge/LiteRT/issues/3611",
    ),
    Combination(
        "16.0TF2.17.1-1",
        "tflite-runtime 2.17.1 of TFlite-builds",
        "3.11",
        "x86-64 and 64-bit ARM, Debian 12",
        "works",
        "what Frigate 0.16 installs; on an old x86-64 a user built the wheel anew, February 2025",
        "https://github.com/blakeblackshear/frigate/pull/16369",
    ),
    Combination(
        "built for TensorFlow 2.13.1",
        "tflite-runtime 2.13.1, 2.14.1, 2.15.0",
        "not told",
        "x86-64, Ubuntu 22.04",
        "works",
        'the builds\' maintainer, January 2024: "No more segmentation faults"',
        "https://github.com/google-coral/edgetpu/issues/812",
    ),
    Combination(
        "of the same builds, before March 2024",
        "TensorFlow's, version not told",
        "3.11",
        "Raspberry Pi 5",
        "works",
        'the reporter of the crash, February 2024: "work without any issues"',
        "https://github.com/tensorflow/tensorflow/issues/62371",
    ),
    Combination(
        "of the same builds, March 2024",
        "TFLite, version not told",
        "3.11",
        "Raspberry Pi 4, Bookworm",
        "works",
        'a user, March 2024: "works perfectly"',
        "https://github.com/google-coral/pycoral/issues/137",
    ),
    Combination(
        "Google's (RuntimeVersion 14)",
        "tflite-runtime 2.5.0.post1",
        "3.9",
        "32-bit Raspberry Pi OS 11",
        "works",
        "Coral's support, September 2022",
        "https://github.com/google-coral/edgetpu/issues/660",
    ),
    Combination(
        "Google's 16.0",
        "tflite-runtime 2.12 to 2.15",
        "not told",
        "not told",
        "crashes",
        'December 2023: the last to work is 2.11.1, "any later version leads to a segmentation '
        'fault"',
        "https://github.com/google-coral/edgetpu/issues/812",
    ),
    Combination(
        "Google's",
        "ai-edge-litert",
        "the system's (3.11, 3.13)",
        "64-bit Raspberry Pi OS 12 and 13",
        "crashes",
        'the installer of the first row: "crashes under ai-edge-litert"',
        "https://github.com/jiteshsaini/coral_USB_ml_accelerator/blob/master/setup_coral.sh",
    ),
)
"""What was reported, best advice first."""


def how_to_install(engine: str) -> str:
    """Say which libedgetpu to install for an engine, and from where."""
    release = ADVISED.get(engine, ADVISED["litert"])
    return (
        f"install libedgetpu1-std from {RELEASES}/tag/{release}, which is reported to work with "
        f"{engine}"
    )


def markdown_table() -> str:
    """Return the combinations as a table for the README."""
    head = ("libedgetpu", "engine", "Python", "on", "outcome", "source")
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in COMBINATIONS:
        cells = [*row[:5], f"[{row.source}]({row.link})"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)

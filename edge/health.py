"""What a device says of the machine it is."""

from dataclasses import dataclass
from typing import ClassVar

from edge.messages import Message

HELD_BACK_BY = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
"""What can hold the cores of a Raspberry Pi back, in its firmware's words and order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreClock:
    """The clock of cores that change theirs together (a policy of the kernel's cpufreq)."""

    cores: list[int]
    mhz: int | None
    """Now."""
    min_mhz: int | None
    """The kernel keeps it between this and `max_mhz`; the firmware may hold it below."""
    max_mhz: int | None
    governor: str | None
    """The kernel's rule for it: `ondemand`, `schedutil`, `performance`, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The machine's memory."""

    total_bytes: int
    available_bytes: int
    """That programs could have without swapping."""
    swap_total_bytes: int
    swap_free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Where the daemon's state directory lies."""

    total_bytes: int
    free_bytes: int
    """For users other than root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health(Message):
    """`BASE/DEVICE/health`: how the machine is, every `interval_s`; null is what it does not tell.

    Under-voltage and throttling are there while they last and for half a minute after.
    """

    topic_name: ClassVar[str] = "health"
    qos: ClassVar[int] = 0

    at: str
    clock_synced: bool
    uptime_s: float | None
    """Since the machine started."""
    temperature_c: float | None
    """Of the hottest zone."""
    under_voltage: bool | None
    """Whether the power supply gives too little."""
    throttled: list[str] | None
    """What holds the cores back: `under-voltage`, `frequency capped`, `throttled`,
    `soft temperature limit`."""
    throttled_ever: list[str] | None
    """All that has since the daemon began; since boot where only `vcgencmd` tells it."""
    clocks: list[CoreClock]
    """Of all cores."""
    load_1m: float | None
    """Threads that run or want to, on average over a minute; 5 and 15 minutes beside it."""
    load_5m: float | None
    load_15m: float | None
    cores: int
    """How many the daemon may use."""
    memory: Memory | None
    disk: Disk | None
    """Null where there is no state directory."""

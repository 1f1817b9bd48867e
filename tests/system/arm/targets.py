"""The systems that are tried."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A Debian that is what a Raspberry Pi OS is made of."""

    name: str
    suite: str
    architecture: str
    """Debian's word for it."""
    machine: str
    """What `uname -m` says there."""
    engine: str = ""
    """The engine that `auto` must take."""
    refused: str = ""
    """What the installer must say where it refuses the system."""

    @property
    def bits(self) -> int:
        """The word size of its programs, whatever the kernel is."""
        return {"arm64": 64, "armhf": 32}[self.architecture]

    @property
    def qemu_machine(self) -> str:
        """What `uname -m` says under qemu-user by itself."""
        return {"arm64": "aarch64", "armhf": "armv7l"}[self.architecture]

    @property
    def root(self) -> str:
        """The name of the root that it runs in."""
        return f"{self.suite}-{self.architecture}"


TARGETS = (
    Target(
        name="bookworm-arm64",
        suite="bookworm",
        architecture="arm64",
        machine="aarch64",
        engine="litert",
    ),
    Target(
        name="bookworm-armhf",
        suite="bookworm",
        architecture="armhf",
        machine="armv7l",
        engine="tflite-runtime",
    ),
    # A 32-bit Raspberry Pi OS on a Pi 4 boots a 64-bit kernel.
    Target(
        name="bookworm-armhf-64-bit-kernel",
        suite="bookworm",
        architecture="armhf",
        machine="aarch64",
        engine="tflite-runtime",
    ),
    Target(
        name="trixie-arm64",
        suite="trixie",
        architecture="arm64",
        machine="aarch64",
        engine="litert",
    ),
    Target(
        name="bookworm-armhf-armv6",
        suite="bookworm",
        architecture="armhf",
        machine="armv6l",
        refused="this processor is an ARMv6",
    ),
)

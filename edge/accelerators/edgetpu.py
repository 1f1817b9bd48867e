"""The Coral Edge TPU, on USB or PCIe, through Google's libedgetpu or a build of it by others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from edge.accelerators.base import AcceleratorOptions, Explained, Library, Trouble
from edge.accelerators.coral import causes, usb
from edge.accelerators.coral.devices import Machine

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

LIBRARY = "libedgetpu.so.1"
OPERATOR = "edgetpu-custom-op"
"""What stands in a model for all that was compiled for an Edge TPU."""


class EdgeTpuOptions(AcceleratorOptions):
    """A Coral Edge TPU."""

    type: Literal["edgetpu"] = Field(description="A Coral Edge TPU.")
    device: Annotated[str, Field(pattern=r"^(any|(usb|pci)(:\d{1,2})?)$")] = Field(
        default="any",
        description="Which one: `any`, the first on `usb` or `pci`, or by its number there, such "
        "as `usb:0` or `pci:1`.",
    )
    library: Library | None = Field(
        default=None,
        description="The runtime to load in place of the one installed, `libedgetpu.so.1`: a "
        "path, relative to this file.",
    )

    @property
    def title(self) -> str:
        """`Edge TPU`, and which."""
        return "Edge TPU" if self.device == "any" else f"Edge TPU {self.device}"

    def library_names(self) -> list[str]:
        """Return the one that is named, else that of the Debian package."""
        return [self.library or LIBRARY]

    def delegate_options(self) -> dict[str, str]:
        """Return `device`, in the form of libedgetpu's `edgetpu_c.h`."""
        return {} if self.device == "any" else {"device": self.device}

    def claims(self) -> str | None:
        """Return the device it opens, alone."""
        return f"edgetpu {self.device}"

    def excludes(self, other: AcceleratorOptions) -> bool:
        """Whether both may open the same device: `any` and `usb` may open any, `usb:0` one."""
        if not isinstance(other, EdgeTpuOptions):
            return False
        (bus, _, number), (their_bus, _, theirs) = (
            each.device.partition(":") for each in (self, other)
        )
        if "any" in {bus, their_bus}:
            return True
        return bus == their_bus and (not number or not theirs or int(number) == int(theirs))

    def unfit(self, path: Path, operators: Container[str]) -> Explained | None:
        """Find a model that was not compiled for it, which would run on the CPU unnoticed."""
        return None if OPERATOR in operators else causes.not_compiled(self._wanted, path)

    def explain(self, trouble: Trouble) -> Explained:
        """Say which of the known causes it is, with its cure."""
        return causes.explain(self._wanted, trouble, Machine())

    def remarks(self, *, taken: int, operators: int) -> list[str]:
        """Tell of a port that slows it down."""
        del taken, operators  # one of its operators stands for many of the model's
        return list(causes.remarks(self._wanted, Machine()))

    def reset(self) -> str:
        """Reset the one on USB, as pulling it out and plugging it in would."""
        return usb.reset(self.device, Machine())

    @property
    def _wanted(self) -> causes.Wanted:
        return causes.Wanted(self.title, self.device, self.library_names()[0])

"""The Coral Edge TPU, on USB or PCIe, through Google's libedgetpu or a build of it by others."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge.accelerators.base import AcceleratorOptions, Explained, Library, Trouble
from edge.accelerators.delegate import in_words

LIBRARY = "libedgetpu.so.1"


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

    def explain(self, trouble: Trouble) -> Explained:
        """Say how far it came and what it said."""
        return Explained(trouble.cause, f"the {self.title} {in_words(trouble.cause, trouble)}")

"""Reads the header of an ELF file, as far as it decides whether this kernel can map the file.

Source: System V ABI, "Object Files" and "Program Loading": tables of `Elf32_Ehdr`, `Elf64_Ehdr`
and their program headers.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"\x7fELF"
BITS_64, LITTLE_ENDIAN = 2, 1
PT_LOAD = 1
HEADER_BYTES = 64


def load_alignment(path: Path) -> int | None:
    """Return the smallest alignment, in bytes, of the segments that are loaded.

    A kernel with larger pages cannot map the file. None for what is no ELF file, or loads nothing.
    Raises OSError.
    """
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
            return None
        wide = header[4] == BITS_64
        order = "<" if header[5] == LITTLE_ENDIAN else ">"
        # e_phoff, then e_phentsize and e_phnum
        (table,) = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", header, 32 if wide else 28)
        size, count = struct.unpack_from(f"{order}HH", header, 54 if wide else 42)
        file.seek(table)
        entries = file.read(size * count)
    # p_type stands first, p_align last: at 48 of 56 bytes, or at 28 of 32
    where, kind = (48, "Q") if wide else (28, "I")
    found = []
    for at in range(0, len(entries) - size + 1, size or len(entries) + 1):
        (p_type,) = struct.unpack_from(f"{order}I", entries, at)
        if p_type == PT_LOAD:
            (alignment,) = struct.unpack_from(f"{order}{kind}", entries, at + where)
            found.append(int(alignment))
    return min(found, default=None)

"""The little of the ELF format (elf(5)) that tells which pages a library was built for."""

import struct
from pathlib import Path

PT_LOAD = 1


def load_alignment(path: Path) -> int:
    """Return the largest page size, in bytes, with which a 64- or 32-bit library can be loaded.

    It is the least alignment of its loadable segments, for the kernel maps whole pages. Raises
    ValueError where the file is no little-endian ELF file.
    """
    contents = path.read_bytes()
    if contents[:4] != b"\x7fELF" or contents[5] != 1:
        raise ValueError(f"{path} is no little-endian ELF file")
    wide = contents[4] == 2
    (table,) = struct.unpack_from("<Q" if wide else "<I", contents, 32 if wide else 28)
    size, count = struct.unpack_from("<HH", contents, 54 if wide else 42)
    alignments = []
    for header in range(table, table + size * count, size):
        kind = struct.unpack_from("<I", contents, header)[0]
        at, form = (header + 48, "<Q") if wide else (header + 28, "<I")
        if kind == PT_LOAD:
            alignments.append(struct.unpack_from(form, contents, at)[0])
    return int(min(alignments))

"""HdrHistogram's V2 compressed encoding in base64: what Java, C, Go, Rust and JavaScript read.

The format is defined by its Java original, https://github.com/HdrHistogram/HdrHistogram:
`AbstractHistogram.java` (encodeIntoByteBuffer, fillBufferFromCountsArray and their inverses) and
`ZigZagEncoding.java`. Everything is big-endian:

    int32 0x1c849314, int32 length of the zlib stream, the zlib stream; in it
    int32 0x1c849313, int32 length of the counts, int32 normalizing index offset, int32 figures,
    int64 lowest value, int64 highest value, float64 conversion ratio, then the counts:
    each counter as a ZigZag LEB128 number of at most 9 bytes, a run of n zeros as -n.

Offset and ratio concern only what is inside a DoubleHistogram; HdrHistogramJS writes other numbers
there than Java's 0 and 1.0, so like the Go reader this one does not look at them.
"""

import base64
import struct
import zlib

from edge.latency.histogram import Histogram

OUTER = struct.Struct(">II")  # cookie, length
INNER = struct.Struct(">Iiiiqqd")  # cookie, length, offset, figures, lowest, highest, ratio
OUTER_COOKIE = 0x1C849304
INNER_COOKIE = 0x1C849303
WORD_SIZE = 0x10  # readers mask these bits out; writers of V2 set them so
WORD_SIZE_MASK = 0xF0
SEVEN_BITS = 0x7F
LAST_SHIFT = 56  # the ninth byte carries 8 bits and has no continuation bit
MAX_INFLATED_BYTES = 1 << 18
"""Enough for every counter of the default range at 9 bytes (212,008), too little for a bomb."""


def encode(histogram: Histogram) -> str:
    """The histogram as one line of base64."""
    body = _encode_counts(histogram)
    header = INNER.pack(
        INNER_COOKIE | WORD_SIZE,
        len(body),
        0,
        histogram.significant_figures,
        histogram.lowest_trackable,
        histogram.highest_trackable,
        1.0,
    )
    packed = zlib.compress(header + body)
    return base64.b64encode(OUTER.pack(OUTER_COOKIE | WORD_SIZE, len(packed)) + packed).decode()


def decode(text: str) -> Histogram:
    """The histogram in `text`; ValueError says what is wrong with anything else."""
    inflated = _inflate(_unwrap(text))
    if len(inflated) < INNER.size:
        raise ValueError("not an HDR histogram: the compressed part is shorter than its header")
    cookie, length, _offset, figures, lowest, highest, _ratio = INNER.unpack_from(inflated)
    if cookie & ~WORD_SIZE_MASK != INNER_COOKIE:
        raise ValueError(f"not an HDR histogram in V2 encoding: its inner cookie is {cookie:#x}")
    if length != len(inflated) - INNER.size:
        raise ValueError(
            f"not an HDR histogram: it promises {length} bytes of counts and has "
            f"{len(inflated) - INNER.size}"
        )
    histogram = Histogram(lowest, highest, figures)
    histogram.add_counts(_decode_counts(inflated, histogram.counts_length))
    return histogram


def _encode_counts(histogram: Histogram) -> bytes:
    body = bytearray()
    counts = histogram.counts
    end = 0
    for index in sorted(counts):
        zeros = index - end
        if zeros:  # a lone zero is written as itself, as Java does
            _append_leb128(body, 2 * zeros - 1 if zeros > 1 else 0)
        _append_leb128(body, 2 * counts[index])
        end = index + 1
    return bytes(body) if body else b"\0"


def _append_leb128(body: bytearray, zigzag: int) -> None:
    shift = 0
    while zigzag > SEVEN_BITS and shift < LAST_SHIFT:
        body.append(zigzag & SEVEN_BITS | 0x80)
        zigzag >>= 7
        shift += 7
    body.append(zigzag)


def _decode_counts(inflated: bytes, counts_length: int) -> dict[int, int]:
    counts: dict[int, int] = {}
    index = 0
    shift = zigzag = 0
    for byte in memoryview(inflated)[INNER.size :]:
        if shift < LAST_SHIFT and byte & 0x80:
            zigzag |= (byte & SEVEN_BITS) << shift
            shift += 7
            continue
        zigzag |= byte << shift
        if zigzag & 1:
            index += (zigzag + 1) >> 1
        else:
            if zigzag:
                counts[index] = zigzag >> 1
            index += 1
        if index > counts_length:
            raise ValueError(f"not an HDR histogram: more than its {counts_length} counters")
        shift = zigzag = 0
    if shift:
        raise ValueError("not an HDR histogram: its last count is cut off")
    return counts


def _unwrap(text: str) -> bytes:
    """The zlib stream, after the base64 and the outer header are found to be in order."""
    if len(text) > 2 * MAX_INFLATED_BYTES:
        raise ValueError(f"not an HDR histogram: {len(text)} characters are too many")
    try:
        wrapped = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"not an HDR histogram: its base64 is malformed ({error})") from error
    if len(wrapped) < OUTER.size:
        raise ValueError(f"not an HDR histogram: {len(wrapped)} bytes are too few")
    cookie, length = OUTER.unpack_from(wrapped)
    if cookie & ~WORD_SIZE_MASK != OUTER_COOKIE:
        raise ValueError(f"not an HDR histogram in V2 compressed encoding: cookie {cookie:#x}")
    if length != len(wrapped) - OUTER.size:
        raise ValueError(
            f"not an HDR histogram: it promises {length} compressed bytes and has "
            f"{len(wrapped) - OUTER.size}"
        )
    return wrapped[OUTER.size :]


def _inflate(packed: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(packed, MAX_INFLATED_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"not an HDR histogram: its compression is broken ({error})") from error
    if len(inflated) > MAX_INFLATED_BYTES:
        raise ValueError(f"not an HDR histogram: it inflates beyond {MAX_INFLATED_BYTES} bytes")
    if not inflater.eof or inflater.unused_data:
        raise ValueError("not an HDR histogram: its compressed part does not end where it says")
    return inflated

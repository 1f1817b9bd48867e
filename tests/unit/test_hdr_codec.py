"""Our encoding is read by HdrHistogram and theirs by us; nothing malformed gets past ValueError."""

import base64
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.latency.hdr_codec import MAX_INFLATED_BYTES, decode, encode
from edge.latency.histogram import Histogram

# Written by Java: HdrHistogram/HdrHistogram, src/test/resources/org/HdrHistogram/
# jHiccup-2.0.7S.logV2.hlog, the intervals from 5 s to 20 s; each after the log's own maximum in ms.
JHICCUP = (
    """
0.426 HISTFAAAAEF42pNpmSzMwMAgywABTBDKT4GBgdnNYMcCBvsPEBEWPhElOR4pARUpKTkpGQkxq2mMegZnGI0+MZuIcAEA
Ho8Jvw==,0.442 HISTFAAAAEF42pNpmSzMwMAgxwABTBDKT4GBgdnNYMcCBvsPEBEWIS4FITEhDiEJERE+GT6ZkhZGLbl7jEq
rWHREmFgAIbAJMw==,0.459 HISTFAAAAEJ42pNpmSzMwMCgwAABTBDKD8hndjPYsYDB/gNEhEtMQEBBTk5MQERCRkBEQEWlh9
FJbg9jE+MS5ig1LhYmADkkCcE=,0.459 HISTFAAAAEB42pNpmSzMwMAgxwABTBDKT4GBgdnNYMcCBvsPEBEWIREgEOIQEuGT4
xHg41Oo0pIqu8LYwVImwMfGBAAfkgkw,1551.892 HISTFAAAAJZ42pNpmSzMwMB0nQECmCCUnwIDA7ObwY4FDPYfYDJMXFxsb
GwMbBwszDwsDDxsHFw6RWJMLJMZmcqBMJrJmskSiA2ZZJmkgRBCgmheIORGI1H5rEzMQAyDzFhY2EWRWUwMWCBxQtQQhAIWJiy
AaEHyFbKwsLHAADYWAWmiFeKS5gACLsIEzdQICAgBIQShEfhFABXDF+M=,0.426 HISTFAAAAD142pNpmSzMwMAgxQABTBDKT4
GBgdnNYMcCBvsPEBEeFi4mPg4WLhY2BjY2FhYOBSkpASEtoRA+NgDkCQZR,0.524 HISTFAAAAER42pNpmSzMwMCgyAABTBDKT
4GBgdnNYMcCBvsPUBk2HgkZKREpEQUeGSEBAQ6xSYxhCnp7GJ02sWgJsbCwMgEAO0AJSQ==,0.459 HISTFAAAAEB42pNpmSzM
wMAgxwABTBDKT4GBgdnNYMcCBvsPUBk2AT4eCQURHgkuEREOHjERlSQhhWuMSV9Y7ERYWAAa4gko,0.459 HISTFAAAAD942pN
pmSzMwMAgxwABTBDKT4GBgdnNYMcCBvsPMBkRIR4RMRk5KQE+PgEhMRmzEjWZJ4whW1hMBNiYAB42CTA=,0.492 HISTFAAAAE
N42pNpmSzMwMCgyAABTBDKT4GBgdnNYMcCBvsPUBkWFhE5GT4FKQkRCR4ZCREpqwmMBhpHGG16WHx42JgYmAA6swk+,0.442 H
ISTFAAAAD542pNpmSzMwMAgywABTBDKT4GBgdnNYMcCBvsPMBkuMTEFHgklFRkRATkJERGdKgudfYwRTSwGalwAF2IJOw==,0.
524 HISTFAAAAEZ42pNpmSzMwMCgxAABTBDKT4GBgdnNYMcCBvsPEBE2IQEFCQkpGREpHj4hKS6NU4z7GDMkuBoYDSYw2wiwML
EyAQBQ3wne,0.459 HISTFAAAAEB42pNpmSzMwMAgxwABTBDKT4GBgdnNYMcCBvsPUBk2DjElIR4RHiExKQE5IT61iCodtXWMd
n0sKVJMTAAekAk0,0.459 HISTFAAAAEF42pNpmSzMwMAgzwABTBDKT4GBgdnNYMcCBvsPUBkWISERJSUJESklHhEJEREhqwZG
LakPjDZdLBYCHCwAKOkJPg==,0.475 HISTFAAAAEF42pNpmSzMwMAgzwABTBDKT4GBgdnNYMcCBvsPUAk2HjkJBSk+Pi4BMT4
xIQE9pxIluTOMPhtYbITY2JgAKLoJOQ==
"""
).replace("\n", "")

# Written by HdrHistogramJS with odd figures for index offset and conversion ratio; read by
# hdrhistogram-go hdr_encoding_test.go, TestHistogram_Load: one value, 42.
JS_42 = "HISTFAAAAB94nJNpmSzMwMDABMSMQMzMAAGMUJoJxg9mAgA1TQGm"
# In hdrhistogram-go hdr_encoding_test.go and HdrHistogramJS src/encoding.spec.ts: one value, 42.
GO_42 = "HISTFAAAAB542pNpmSzMwMDAxAABzFCaEUoz2X+AMIKZAEARAtM="
# hdrhistogram-go hdr_encoding_test.go: empty, 20 to 1000, 3 figures, no counts at all.
GO_EMPTY = "HISTFAAAABl4nJNpmSzMgADMUFoEyn1h/wHCAgBDogN4"
# HdrHistogramJS test_files/bug-whitespace.hlog: empty, one zero count.
JS_EMPTY = "HISTFAAAABx4nJNpmSzMwMDACMXMDBDAyCD/HwzgfAB/wwdn"
# HdrHistogramJS src/encoding.spec.ts: the older V1 encoding, which readers of V2 refuse.
JS_V1 = (
    "HISTIgAAAFd42pNpmazIwMAYxgABTBDKT4GBgdnNYMcCBvsPUBkeBkYGZqA8MwMbAzsDC5DFBCTZgJCDQY1BjkGL"
    "QZRBlUEPCB8zWDCYMxgDZZkZhgJgHDibAY8JB/A="
)


def jhiccup() -> Iterator[tuple[float, str]]:
    for interval in JHICCUP.split(","):
        max_ms, text = interval.split(" ")
        yield float(max_ms), text


def wrap(inflated: bytes, *, cookie: int = 0x1C849314, length: int | None = None) -> str:
    """What a writer would make of these inner bytes."""
    packed = zlib.compress(inflated)
    header = struct.pack(">Ii", cookie, len(packed) if length is None else length)
    return base64.b64encode(header + packed).decode()


def inner(
    body: bytes = b"\0",
    *,
    cookie: int = 0x1C849313,
    length: int | None = None,
    figures: int = 3,
    lowest: int = 1,
    highest: int = 100_000,
) -> bytes:
    """The inner header and the counts behind it."""
    size = len(body) if length is None else length
    return struct.pack(">IiiiqqQ", cookie, size, 0, figures, lowest, highest, 0) + body


def inflated(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text)[8:])


def decoded_or_refused(text: str) -> None:
    """Whatever the input: a sound histogram or a ValueError, nothing else."""
    try:
        histogram = decode(text)
    except ValueError:
        return
    assert all(0 <= index < histogram.counts_length for index in histogram.counts)
    assert all(0 < count < 2**63 for count in histogram.counts.values())
    assert histogram.min <= histogram.percentile(50) <= histogram.max


def test_java_histograms_have_the_maximum_their_log_says() -> None:
    for max_ms, text in jhiccup():
        histogram = decode(text)
        assert histogram.parameters == (20_000, 3_600_000_000_000, 2)
        assert round(histogram.max / 1e6, 3) == max_ms


def test_java_histograms_add_up_to_what_javas_own_test_expects() -> None:
    # HistogramLogReaderWriterTest.java, jHiccupV2Log(), nextIntervalHistogram(5, 20).
    parts = [decode(text) for _, text in jhiccup()]
    accumulated = Histogram(1, 3_600_000_000_000, 3)
    for part in parts:
        for index, count in part.counts.items():
            accumulated.record(part._lowest(index), count)
    assert len(parts) == 15
    assert accumulated.count == Histogram.merged(parts).count == 11_664
    assert accumulated.percentile(99.9) == 1_536_163_839
    assert accumulated.max == 1_544_552_447


def test_our_bytes_are_javas_bytes() -> None:
    for _, text in jhiccup():
        assert inflated(encode(decode(text))) == inflated(text)


@pytest.mark.parametrize("text", [JS_42, GO_42])
def test_histograms_from_go_and_javascript_are_read(text: str) -> None:
    histogram = decode(text)
    assert histogram.count == 1
    assert histogram.min == histogram.max == histogram.mean == 42


def test_empty_histograms_from_go_and_javascript_are_read() -> None:
    assert decode(GO_EMPTY) == Histogram(20, 1000, 3)
    assert decode(JS_EMPTY) == Histogram(1, 2**53 - 1, 3)


counts = st.one_of(st.integers(1, 5), st.integers(1, 100_000), st.integers(1, 2**63 - 1))
# Neighbours make single zeros, spread makes long runs.
values = st.one_of(st.integers(0, 40), st.integers(0, 100_000), st.integers(0, 3_600_000_000))


@settings(max_examples=60, deadline=None)
@given(
    filled=st.dictionaries(values, counts, max_size=50),
    figures=st.integers(1, 5),
    lowest=st.integers(1, 5000),
)
def test_decoding_undoes_encoding(filled: dict[int, int], figures: int, lowest: int) -> None:
    histogram = Histogram(lowest, 3_600_000_000, figures)
    histogram.add_counts({at % histogram.counts_length: count for at, count in filled.items()})
    text = encode(histogram)
    assert text.isascii()
    assert text.startswith("HISTFAAA")
    assert decode(text) == histogram


@settings(max_examples=30, deadline=None)
@given(recordings=st.dictionaries(values, st.integers(1, 2**40), max_size=50))
def test_hdrhistogram_and_we_read_each_other(recordings: dict[int, int]) -> None:
    reference = pytest.importorskip("hdrh.histogram", reason="hdrhistogram: x86-64 wheels only")
    ours, theirs = Histogram(), reference.HdrHistogram(1, 3_600_000_000, 3)
    for value, count in recordings.items():
        ours.record(value, count)
        theirs.record_value(value, count)

    assert decode(theirs.encode().decode()) == ours
    read: Any = reference.HdrHistogram.decode(encode(ours))
    assert read.get_total_count() == ours.count
    assert {index: count for index, count in enumerate(read.counts) if count} == ours.counts
    assert (read.get_min_value(), read.get_max_value()) == (ours.min, ours.max)
    assert read.get_mean_value() == pytest.approx(ours.mean, rel=1e-12)
    assert read.get_value_at_percentile(100) == ours.percentile(100)


def test_the_greatest_count_survives_and_a_greater_one_is_refused() -> None:
    histogram = Histogram()
    histogram.record(5, 2**63 - 1)
    assert decode(encode(histogram)) == histogram
    histogram.record(5)
    with pytest.raises(ValueError, match="byte must be in range"):
        encode(histogram)


def test_the_fullest_default_histogram_fits_our_own_limit() -> None:
    histogram = Histogram()
    histogram.add_counts(dict.fromkeys(range(histogram.counts_length), 2**62))
    assert decode(encode(histogram)) == histogram


def test_a_second_of_latencies_is_small_on_the_wire() -> None:
    histogram = Histogram()
    for i in range(1000):
        histogram.record(int(8000 + 1500 * math.sin(i) + 30 * (i % 7)))
    assert len(encode(histogram)) < 1500


GOOD = inner(b"\x01\x02")  # one zero left out, then one value

MALFORMED = {
    "empty": ("", "too few"),
    "short": ("AAAA", "too few"),
    "no base64": ("HISTFAAA!", "base64 is malformed"),
    "base64 unpadded": (JS_42[:-1], "base64 is malformed"),
    "base64 with a newline": (JS_42 + "\n", "base64 is malformed"),
    "not ASCII": ("HISTFÄÄÄ", "base64 is malformed"),
    "too long": ("A" * (2 * MAX_INFLATED_BYTES + 1), "too many"),
    "V1": (JS_V1, "V2 compressed encoding"),
    "uncompressed": (base64.b64encode(GOOD).decode(), "V2 compressed encoding"),
    "outer length too great": (wrap(GOOD, length=999), "promises 999 compressed"),
    "outer length negative": (wrap(GOOD, length=-1), "promises 4294967295 compressed"),
    "no zlib": (base64.b64encode(struct.pack(">II", 0x1C849314, 4) + b"zlib").decode(), "broken"),
    "inner cookie": (wrap(inner(cookie=0x1C849311)), "inner cookie is 0x1c849311"),
    "no header": (wrap(GOOD[:39]), "shorter than its header"),
    "length too great": (wrap(inner(length=2)), "promises 2 bytes of counts and has 1"),
    "length too small": (wrap(inner(length=0)), "promises 0 bytes of counts and has 1"),
    "length negative": (wrap(inner(length=-1)), "promises -1 bytes"),
    "no figures": (wrap(inner(figures=0)), "figures"),
    "six figures": (wrap(inner(figures=6)), "figures"),
    "2^31 figures": (wrap(inner(figures=2**31 - 1)), "figures"),
    "negative figures": (wrap(inner(figures=-3)), "figures"),
    "lowest is zero": (wrap(inner(lowest=0)), "cannot track"),
    "lowest is negative": (wrap(inner(lowest=-1)), "cannot track"),
    "highest is negative": (wrap(inner(highest=-1)), "cannot track"),
    "highest is near lowest": (wrap(inner(lowest=60_000)), "cannot track"),
    "no room": (wrap(inner(lowest=2**55, highest=2**62)), "no room"),
    "cut count": (wrap(inner(b"\x02\x80")), "cut off"),
    "too many zeros": (wrap(inner(b"\xff" * 9)), "more than its 8192 counters"),
    "a zero too many": (wrap(inner(b"\xff\x7f\x01\x00")), "more than its 8192 counters"),
    "too many counts": (wrap(inner(b"\x02" * 8193)), "more than its 8192 counters"),
    "bomb": (wrap(inner(b"\0" * 30_000_000)), "inflates beyond"),
}


@pytest.mark.parametrize(("text", "reason"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_input_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode(text)


def test_the_last_counter_may_be_filled_and_the_rest_left_out() -> None:
    full = decode(wrap(inner(b"\xfd\x7f\x02")))
    assert full.counts == {8191: 1}


def test_bytes_behind_the_stream_are_refused() -> None:
    packed = zlib.compress(GOOD) + b"\0"
    text = base64.b64encode(struct.pack(">II", 0x1C849314, len(packed)) + packed).decode()
    with pytest.raises(ValueError, match="does not end where it says"):
        decode(text)


@pytest.mark.parametrize("text", [*[text for _, text in jhiccup()][:2], JS_42, GO_EMPTY])
def test_every_truncation_is_refused(text: str) -> None:
    for end in range(len(text)):
        with pytest.raises(ValueError, match="not an HDR histogram"):
            decode(text[:end])
    whole = base64.b64decode(text)
    for end in range(8, len(whole)):
        cut = struct.pack(">II", 0x1C849314, end - 8) + whole[8:end]
        with pytest.raises(ValueError, match="not an HDR histogram"):
            decode(base64.b64encode(cut).decode())
    raw = inflated(text)
    for end in range(len(raw)):
        with pytest.raises(ValueError, match="not an HDR histogram"):
            decode(wrap(raw[:end]))


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: base64.b64encode(raw).decode())
)
def test_random_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an HDR histogram"):
        decode(text)


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=60), figures=st.integers(0, 6), bits=st.integers(0, 63))
def test_random_counts_are_read_or_refused(body: bytes, figures: int, bits: int) -> None:
    decoded_or_refused(wrap(inner(body, figures=figures, highest=2**bits - 1)))


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 39), byte=st.integers(0, 255))
def test_a_damaged_header_is_read_or_refused(at: int, byte: int) -> None:
    damaged = bytearray(inflated(next(jhiccup())[1]))
    damaged[at] = byte
    decoded_or_refused(wrap(bytes(damaged)))


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0), byte=st.integers(0, 255))
def test_a_damaged_stream_is_read_or_refused(at: int, byte: int) -> None:
    damaged = bytearray(base64.b64decode(next(jhiccup())[1]))
    damaged[at % len(damaged)] = byte
    decoded_or_refused(base64.b64encode(damaged).decode())

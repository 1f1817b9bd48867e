"""The dates of certificates, and when their end is told."""

import ssl
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pki import Pki

from edge.mqtt.certificates import DAY_S, Certificate, certificates_in, from_der

BEGINS, ENDS = 1_000_000_000.0, 1_000_000_000.0 + 100 * DAY_S


@pytest.mark.parametrize(("from_day", "to_day"), [(-100, 100), (-1, 20_000), (-9_000, 5)])
def test_the_dates_are_those_that_openssl_reads(
    tmp_path: Path, from_day: float, to_day: float
) -> None:
    pem = Pki(tmp_path).issue("me", from_day=from_day, to_day=to_day).certificate
    oracle = ssl._ssl._test_decode_cert(str(pem))  # type: ignore[attr-defined]
    (found,) = certificates_in(pem.read_bytes(), "it")
    assert found.begins_at == ssl.cert_time_to_seconds(oracle["notBefore"])
    assert found.ends_at == ssl.cert_time_to_seconds(oracle["notAfter"])


def test_every_ca_that_the_system_trusts_can_be_read() -> None:
    context = ssl.create_default_context()
    known = context.get_ca_certs()
    ders = context.get_ca_certs(binary_form=True)
    for der, oracle in zip(ders, known, strict=True):
        assert from_der(der, "").ends_at == ssl.cert_time_to_seconds(str(oracle["notAfter"]))


@given(st.binary(max_size=200))
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  nobody reads its words
        from_der(data, "")


def test_what_is_broken_in_a_file_is_left_out(tmp_path: Path) -> None:
    pem = Pki(tmp_path).issue("me").certificate.read_bytes()
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert len(certificates_in(broken + pem + pem, "it")) == 2


@pytest.mark.parametrize(
    ("before_the_end_s", "told"),
    [
        (50 * DAY_S, None),
        (14 * DAY_S + 1, None),
        (14 * DAY_S - 1, "it expires on 2001-12-18, in 13 days: renew it"),
        (1.5 * DAY_S, "it expires on 2001-12-18, in 1 day: renew it"),
        (60, "it expires on 2001-12-18, in less than a day: renew it"),
        (-1, "it expired on 2001-12-18: renew it"),
        (101 * DAY_S, "it is not valid before 2001-09-09; is our clock set?"),
    ],
)
def test_the_end_is_told_two_weeks_ahead(before_the_end_s: float, told: str | None) -> None:
    assert Certificate("it", BEGINS, ENDS).warning(ENDS - before_the_end_s) == told


def test_a_short_life_is_told_in_its_last_third() -> None:
    for_a_day = Certificate("it", BEGINS, BEGINS + DAY_S)
    assert for_a_day.warning(BEGINS + DAY_S / 2) is None
    assert for_a_day.warning(BEGINS + DAY_S * 0.7) is not None
    assert for_a_day.warning(time.time()) == "it expired on 2001-09-10: renew it"

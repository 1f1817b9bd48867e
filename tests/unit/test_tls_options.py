"""What `mqtt.tls` takes, and what it says of files that are of no use."""

import argparse
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pki import Pki
from pydantic import ValidationError

from edge.cli.broker_options import access_from, add_broker_options
from edge.config.load import broker_access
from edge.config.mqtt import Mqtt, Tls, parse_broker
from edge.config.yaml_file import parse_yaml
from edge.errors import ConfigError
from edge.mqtt.access import Access

SECRET = "hunter2-hunter2"  # noqa: S105  a test's


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


def access(**tls: Any) -> Access:
    return broker_access(Mqtt(broker="mqtts://broker", tls=Tls(**tls)))


def refusal(**tls: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        access(**tls)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_tls_has_a_port_of_its_own() -> None:
    assert broker_access(Mqtt(broker="mqtts://broker")).address == "broker:8883"
    assert broker_access(Mqtt(broker="mqtts://broker:1")).address == "broker:1"
    assert broker_access(Mqtt(broker="mqtt://broker")).address == "broker:1883"
    assert broker_access(Mqtt(broker="mqtt://broker")).tls is None
    assert parse_broker("mqtts://[::1]:8884") == "mqtts://[::1]:8884"


@pytest.mark.parametrize("host", ["a..b", ".a", "a" * 64])
@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
def test_a_host_that_can_have_no_address_is_refused(scheme: str, host: str) -> None:
    with pytest.raises(ValueError, match="names no host"):
        parse_broker(f"{scheme}://{host}")


def test_nothing_turns_verification_off(pki: Pki) -> None:
    import ssl

    mine = pki.issue("me")
    for tls in ({}, {"ca_file": pki.ca_file()}, {"certificate_file": mine[0], "key_file": mine[1]}):
        context = access(**tls).tls
        assert context is not None
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert broker_access(Mqtt(broker="mqtts://broker")).tls is not None


def test_a_ca_made_by_the_usual_recipe_is_taken_by_every_python(tmp_path: Path) -> None:
    import ssl

    context = access(ca_file=_self_signed(tmp_path)[0]).tls
    assert context is not None
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.cert_store_stats()["x509"] == 1


def test_the_options_refuse_what_makes_no_sense(pki: Pki) -> None:
    def told(**options: Any) -> str:
        with pytest.raises(ValidationError) as caught:
            Mqtt(**options)
        return str(caught.value.errors()[0]["msg"]).removeprefix("Value error, ")

    mine, key = pki.issue("me")
    needs = "`tls` needs a `broker` that begins with `mqtts://`"
    assert told(broker="mqtt://b", tls={"ca_file": mine}) == needs
    assert told(broker="embedded", tls={}) == needs
    for tls, words in (
        ({"key_file": key}, "`key_file` needs the `certificate_file` that it belongs to"),
        ({"key_password": SECRET}, "the key's password needs a `certificate_file`"),
        ({"key_password_file": "x"}, "the key's password needs a `certificate_file`"),
        (
            {"certificate_file": mine, "key_password": SECRET, "key_password_file": "x"},
            "`key_password` and `key_password_file` exclude each other: keep one",
        ),
        ({"ca_file": f"-\n{SECRET}"}, "must be the path of a file, not what stands in it"),
    ):
        assert told(broker="mqtts://b", tls=tls) == words


@pytest.mark.parametrize("value", [SECRET, f"{SECRET}${{EMPTY}}", "${EMPTY}x"])
@pytest.mark.parametrize("place", ["mqtt: {password: '%s'}", "mqtt: {tls: {key_password: '%s'}}"])
def test_no_part_of_a_secret_stands_in_the_file(place: str, value: str) -> None:
    environ = {"EMPTY": ""}
    (problem,) = parse_yaml((place % value).encode(), name="pi.yaml", environ=environ).problems
    assert problem.text.startswith("must not stand in the file in clear: write ${NAME}")
    whole = parse_yaml((place % "${A}${B}").encode(), name="", environ={"A": "1", "B": "2"})
    assert not whole.problems


def test_files_that_are_of_no_use_are_named(pki: Pki, tmp_path: Path) -> None:
    mine, key = pki.issue("me")
    _, another = pki.issue("me")
    nothing, text = tmp_path / "nothing", tmp_path / "text"
    text.write_text("garbage")
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    no_key = tmp_path / "no.key"
    no_key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    der = tmp_path / "cert.der"
    subprocess.run(["openssl", "x509", "-in", mine, "-outform", "DER", "-out", der], check=True)
    none = "there is no certificate in PEM in it"
    assert refusal(ca_file=nothing) == f"mqtt.tls.ca_file: {nothing}: there is no such file"
    assert (
        refusal(ca_file=tmp_path) == f"mqtt.tls.ca_file: {tmp_path}: cannot be read: Is a directory"
    )
    assert refusal(ca_file=text) == f"mqtt.tls.ca_file: {text}: {none}"
    assert refusal(ca_file=broken) == f"mqtt.tls.ca_file: {broken}: a certificate is broken"
    assert refusal(ca_file=der) == (
        f"mqtt.tls.ca_file: {der}: is DER, not PEM: `openssl x509 -inform DER -in cert.der` "
        "turns it into PEM"
    )
    for tls, told in (
        ({"certificate_file": nothing}, f"certificate_file: {nothing}: there is no such file"),
        ({"certificate_file": text}, f"certificate_file: {text}: {none}"),
        (
            {"certificate_file": mine},
            f"certificate_file: {mine}: there is no private key in PEM in it",
        ),
        (
            {"certificate_file": mine, "key_file": nothing},
            f"key_file: {nothing}: there is no such file",
        ),
        (
            {"certificate_file": mine, "key_file": mine},
            f"key_file: {mine}: there is no private key in PEM in it",
        ),
        (
            {"certificate_file": mine, "key_file": another},
            f"key_file: {another}: is not the key of {mine}",
        ),
        (
            {"certificate_file": broken, "key_file": key},
            f"certificate_file: {broken}: it or its key is broken",
        ),
        (
            {"certificate_file": mine, "key_file": no_key},
            f"certificate_file: {mine}: it or its key is broken",
        ),
    ):
        assert refusal(**tls) == f"mqtt.tls.{told}"


def test_an_encrypted_key_opens_with_its_password_and_never_asks(pki: Pki, tmp_path: Path) -> None:
    mine, key = pki.issue("me")
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", key, "-out", locked, "-passout", f"pass:{SECRET}"],
        check=True,
    )
    password, wrong, long = tmp_path / "right", tmp_path / "wrong", tmp_path / "long"
    password.write_text(f"{SECRET}\n")
    wrong.write_text("no\n")
    long.write_text("x" * 2000)
    tls = {"certificate_file": mine, "key_file": locked}
    assert access(**tls, key_password=SECRET).tls is not None
    assert access(**tls, key_password_file=password).tls is not None
    assert refusal(**tls) == (
        f"mqtt.tls.key_file: {locked}: the key is encrypted: give its password as `key_password` "
        "or `key_password_file`"
    )
    opens_not = f"mqtt.tls.key_password: does not open the key in {locked}"
    for file in (wrong, long):
        assert refusal(**tls, key_password_file=file) == opens_not
    assert refusal(**tls, key_password_file=tmp_path / SECRET) == (
        "mqtt.tls.key_password_file: the file cannot be read: No such file or directory"
    )


def test_certificate_and_key_may_stand_in_one_file(pki: Pki) -> None:
    mine, key = pki.issue("me")
    key.write_text(key.read_text() + mine.read_text())
    assert access(certificate_file=key).tls is not None


def test_two_ways_are_equal_as_long_as_no_file_changed(pki: Pki, tmp_path: Path) -> None:
    mine, key = pki.issue("me")
    password = tmp_path / "password"
    password.write_text(SECRET)
    mqtt = Mqtt(
        broker="mqtts://b",
        username="u",
        password_file=password,
        tls=Tls(ca_file=pki.ca_file(), certificate_file=mine, key_file=key),
    )
    before = broker_access(mqtt)
    assert broker_access(mqtt) == before
    assert SECRET not in repr(before)
    password.write_text("other")
    assert broker_access(mqtt) != before
    password.write_text(SECRET)
    newer, newer_key = pki.issue("me")
    newer.replace(mine)
    newer_key.replace(key)
    assert broker_access(mqtt) != before


def test_what_lies_open_is_remarked(pki: Pki, tmp_path: Path) -> None:
    mine, key = pki.issue("me")
    password = tmp_path / "password"
    password.write_text(SECRET)
    password.chmod(0o600)
    closed = {"broker": "mqtts://b", "username": "u", "password_file": password}
    tls = Tls(certificate_file=mine, key_file=key)
    assert broker_access(Mqtt(**closed, tls=tls)).remarks == ()
    for file in (password, key):
        file.chmod(0o644)
    assert broker_access(Mqtt(**closed, tls=tls)).remarks == (
        "mqtt.password_file: every user of this machine can read it: `chmod 600`",
        "mqtt.tls.key_file: every user of this machine can read the key: `chmod 600`",
    )
    password.chmod(0o600)
    (in_clear,) = broker_access(Mqtt(**closed | {"broker": "mqtt://far"})).remarks
    assert in_clear == "the password goes to far in clear: `mqtts://` would encrypt it"
    for here in ("localhost", "127.0.0.1", "[::1]"):
        assert broker_access(Mqtt(**closed | {"broker": f"mqtt://{here}"})).remarks == ()


def test_a_command_speaks_of_its_own_options(pki: Pki, tmp_path: Path) -> None:
    mine, key = pki.issue("me")
    parser = argparse.ArgumentParser()
    add_broker_options(parser)

    def told(*arguments: object) -> str:
        with pytest.raises(ConfigError) as caught:
            access_from(parser.parse_args([str(each) for each in arguments]))
        return str(caught.value)

    encrypted = ("--broker", "mqtts://b")
    good = (*encrypted, "--ca-file", pki.ca_file(), "--certificate-file", mine, "--key-file", key)
    assert access_from(parser.parse_args([str(each) for each in good])).tls is not None
    assert told("--ca-file", mine) == "--ca-file needs a --broker that begins with mqtts://"
    assert (
        told(*encrypted, "--key-file", key)
        == "--key-file needs the --certificate-file that it belongs to"
    )
    assert (
        told(*encrypted, "--ca-file", tmp_path / "no")
        == f"--ca-file: {tmp_path}/no: there is no such file"
    )
    assert told("--password-file", "x") == "a password needs a --username beside it"
    wrong = told("--broker", f"mqtt://u:{SECRET}@b")
    assert wrong.startswith("--broker: must not hold a user or password")
    assert SECRET not in wrong


def _self_signed(folder: Path) -> tuple[Path, Path]:
    """A CA by the recipe of mosquitto-tls(7): no key usage is in it."""
    certificate, key = folder / "ca.crt", folder / "ca.key"
    subprocess.run(
        [
            "openssl",
            "req",
            "-new",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "10",
            "-extensions",
            "v3_ca",
            "-subj",
            "/CN=CA",
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key

from __future__ import annotations

import base64
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from edge.catalogue.keys import PublicKey, public_key
from edge.catalogue.secret_key import SecretKey, read_secret_key, write_key_pair
from edge.catalogue.signature import sign, verify
from edge.errors import ConfigError, SignatureError

if TYPE_CHECKING:
    from pathlib import Path

# Made by minisign 0.11: over the four bytes "card", prehashed and in the legacy form.
DATA = b"card"
PUBLIC = "RWSVsZGNna1kujEPLb76HlTZrlFhbYwFus7J2Z1NRGIcmWQl/W/kjAhZ"
PUBLIC_FILE = f"untrusted comment: minisign public key BA64AD9D8D91B195\n{PUBLIC}\n"
KEY_FILE = """\
untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAlbGRjZ2tZLoyRQ7md/sH1CVEE\
q/m3QS2yoJPeYsOeGpFXFnexDVbyzEPLb76HlTZrlFhbYwFus7J2Z1NRGIcmWQl/W/kjAhZAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
AAAAAAAAAAAAA=
"""
HASHED = """\
untrusted comment: signature from minisign secret key
RUSVsZGNna1kusiQiz3Qtp0LU6mCdfk8eKzsw8exuYchO7b9DBmVl0aX/y4iVOP0qE+SLVMlWFoAPwNeB6Rb3ircITTZgWl9DwU=
trusted comment: timestamp:1795622001	file:vec	hashed
cZlMoX5dAKgusC8dTAB7OklP+kYFC07siG31TCAav7pQZNL4bk/moRd25wz8r37AfVHPKT2G+DvOcF4H4y1aDg==
"""
LEGACY = """\
untrusted comment: signature from minisign secret key
RWSVsZGNna1kukHhmVvE+QEE3s346ZEOkOTnct1WfgbMzeYndQIoerDZN0ecvLdC6S612ozx+m6iksGfywaSKdAW+7UaX9Rl5wc=
trusted comment: timestamp:1795622001	file:vec
bFqGb0wTEMEQh8VDOj5ebSzCAiZH60UmlyKBUH8+zeilxulieTPM1Dw3HbxDBr9iANYF9M3tRaw9DirPMawxCQ==
"""
KEY = PublicKey.parse(PUBLIC)
OTHER = SecretKey.new()
SMALL = {"ops_limit": 1 << 17, "mem_limit": 1 << 20}


@pytest.fixture
def minisign() -> str:
    """Return the path of the tool whose format this is."""
    path = shutil.which("minisign")
    if path is None:
        pytest.skip("minisign is not installed: sudo apt install minisign")
    return path


def test_what_minisign_signed_is_believed_with_its_comment() -> None:
    assert verify(DATA, HASHED, [OTHER.public, KEY]) == (
        "BA64AD9D8D91B195",
        "timestamp:1795622001\tfile:vec\thashed",
    )
    assert verify(DATA, LEGACY.encode(), [KEY]).comment == "timestamp:1795622001\tfile:vec"
    assert verify(DATA, HASHED.replace("\n", "\r\n"), [KEY]).key_id == KEY.id


@pytest.mark.parametrize("signature", [HASHED, LEGACY])
def test_other_data_is_not(signature: str) -> None:
    with pytest.raises(SignatureError, match="BA64AD9D8D91B195 is not over this"):
        verify(b"cart", signature, [KEY])


def test_a_key_that_is_not_trusted_is_named_beside_those_that_are() -> None:
    with pytest.raises(SignatureError, match=f"BA64AD9D8D91B195.* \\(trusted: {OTHER.public.id}"):
        verify(DATA, HASHED, [OTHER.public])
    with pytest.raises(SignatureError, match="trusted: none"):
        verify(DATA, HASHED, [])


def test_another_key_with_the_same_number_is_not_enough_and_does_no_harm() -> None:
    twin = PublicKey(KEY.number, OTHER.public.key)
    with pytest.raises(SignatureError, match="another key has the same number"):
        verify(DATA, HASHED, [twin])
    assert verify(DATA, HASHED, [twin, KEY]).key_id == KEY.id
    with pytest.raises(SignatureError, match="is not over this"):
        verify(DATA, HASHED, [PublicKey(KEY.number, bytes(32))])


def test_a_trusted_comment_is_not_changed() -> None:
    with pytest.raises(SignatureError, match="the trusted comment was changed"):
        verify(DATA, HASHED.replace("1795622001", "1795622002"), [KEY])


def test_no_byte_of_a_signature_can_be_turned() -> None:
    lines = HASHED.splitlines()
    for at in (1, 3):
        raw = base64.b64decode(lines[at])
        for turned in range(len(raw)):
            changed = bytearray(raw)
            changed[turned] ^= 1
            text = "\n".join([*lines[:at], base64.b64encode(changed).decode(), *lines[at + 1 :]])
            with pytest.raises(SignatureError):
                verify(DATA, text, [KEY])


@pytest.mark.parametrize(
    "text",
    ["", "RW", HASHED + "more\n", HASHED.replace("untrusted ", ""), HASHED.replace("cZl", "!!!"),
     "\n".join(HASHED.splitlines()[:2]), HASHED.replace("hashed", "\x1b[31m"), PUBLIC_FILE,
     HASHED.replace("\nRUS", "\n"), "x\n" * 4],
)  # fmt: skip
def test_what_is_no_signature_is_said_so(text: str) -> None:
    with pytest.raises(SignatureError, match="this is no minisign signature"):
        verify(DATA, text, [KEY])


def test_bytes_that_are_no_text_are_no_signature() -> None:
    with pytest.raises(SignatureError, match="this is no minisign signature"):
        verify(DATA, b"\xff" * 100, [KEY])
    with pytest.raises(SignatureError, match="of a kind that is not known"):
        verify(DATA, HASHED.replace("\nRU", "\nRV"), [KEY])


def test_a_public_key_is_read_from_its_line_or_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.pub").write_text(PUBLIC_FILE)
    assert public_key(tmp_path / "a.pub") == public_key(PUBLIC) == KEY
    assert (KEY.text, KEY.file) == (PUBLIC, PUBLIC_FILE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PUBLIC[:-4], "is no minisign public key"),
        (PUBLIC.replace("RW", "RX"), "is no minisign public key"),
        (f"{PUBLIC}\n{PUBLIC}", "is no minisign public key"),
        ("", "is no minisign public key"),
        (KEY_FILE, "is a secret key: give the public one"),
        ("x" * 20_000, "is too large for a key"),
        (b"\xff", "is not text, and so no key"),
    ],
)
def test_what_is_no_public_key_is_said_so(tmp_path: Path, text: str | bytes, said: str) -> None:
    (tmp_path / "a.pub").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SignatureError, match=rf"a\.pub: {said}"):
        public_key(tmp_path / "a.pub")


def test_a_key_that_is_nowhere_is_named() -> None:
    with pytest.raises(SignatureError, match=r"no such\.pub: cannot be read: No such file"):
        public_key("no such.pub")


def never() -> str:
    raise AssertionError("a key in clear needs no password")


def test_a_secret_key_of_minisign_signs(tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text(KEY_FILE)
    key = read_secret_key(tmp_path / "a.key", never)
    assert key.public == KEY
    signature = sign(DATA, key, comment="timestamp:1\tfile:card.yaml\thashed")
    assert verify(DATA, signature, [KEY]).comment == "timestamp:1\tfile:card.yaml\thashed"


def test_key_files_are_for_their_owner_and_none_is_overwritten(tmp_path: Path) -> None:
    secret, public = tmp_path / "a.key", tmp_path / "a.pub"
    write_key_pair(OTHER, secret, public, "")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert read_secret_key(secret, never) == OTHER
    assert public_key(public) == OTHER.public
    with pytest.raises(ConfigError, match=r"a\.key: is there already, and no key is overwritten"):
        write_key_pair(SecretKey.new(), secret, public, "")
    assert read_secret_key(secret, never) == OTHER


def test_an_encrypted_key_opens_with_its_password_only(tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text(OTHER.file("hunter2", **SMALL))
    assert read_secret_key(tmp_path / "a.key", lambda: "hunter2") == OTHER
    with pytest.raises(SignatureError, match=r"a\.key: the password is wrong"):
        read_secret_key(tmp_path / "a.key", lambda: "hunter3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PUBLIC_FILE, "is no minisign secret key"),
        (KEY_FILE.replace("RWQAAEIy", "RWQAAEI5"), "is no minisign secret key"),
        (KEY_FILE.replace("RWQA", "RWQB"), "is no minisign secret key"),
        (KEY_FILE.replace("=", ""), "is no minisign secret key"),
        (KEY_FILE.replace("m3QS2", "m3QS3"), "is damaged: its two halves do not belong together"),
    ],
)
def test_what_is_no_secret_key_is_said_so(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.key").write_text(text)
    with pytest.raises(SignatureError, match=rf"a\.key: {said}"):
        read_secret_key(tmp_path / "a.key", never)


def test_a_key_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    comment, text, _ = OTHER.file("x", **SMALL).split("\n")
    raw = bytearray(base64.b64decode(text))
    raw[46:54] = (1 << 40).to_bytes(8, "little")
    (tmp_path / "a.key").write_text(f"{comment}\n{base64.b64encode(raw).decode()}\n")
    with pytest.raises(SignatureError, match="asks for 1024 GiB of memory"):
        read_secret_key(tmp_path / "a.key", never)


def run(tool: str, *arguments: str, folder: Path, told: str = "") -> str:
    done = subprocess.run(
        [tool, *arguments], cwd=folder, input=told, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    ("password", "limits"),
    [
        ("", SMALL),
        ("a word", SMALL),
        # Where libsodium picks its parameters by the operations and not by the memory.
        ("a word", {"ops_limit": 1 << 15, "mem_limit": 8 << 20}),
    ],
)
def test_the_tool_minisign_takes_our_keys_and_we_take_its_signatures(
    minisign: str, tmp_path: Path, password: str, limits: dict[str, int]
) -> None:
    (tmp_path / "a.key").write_text(OTHER.file(password, **limits))
    (tmp_path / "data").write_bytes(DATA)
    typed = f"{password}\n" if password else ""
    for form in ([], ["-l"]):
        run(minisign, "-S", *form, "-s", "a.key", "-m", "data", folder=tmp_path, told=typed)
        signature = (tmp_path / "data.minisig").read_bytes()
        assert verify(DATA, signature, [OTHER.public]).key_id == OTHER.public.id


def test_the_tool_minisign_takes_our_signatures_and_public_keys(
    minisign: str, tmp_path: Path
) -> None:
    (tmp_path / "a.pub").write_text(OTHER.public.file)
    (tmp_path / "data").write_bytes(DATA)
    (tmp_path / "data.minisig").write_text(sign(DATA, OTHER, comment="said by us"))
    said = run(minisign, "-V", "-p", "a.pub", "-m", "data", folder=tmp_path)
    assert said.splitlines() == [
        "Signature and comment signature verified",
        "Trusted comment: said by us",
    ]


def test_we_take_the_keys_of_the_tool_minisign(minisign: str, tmp_path: Path) -> None:
    run(minisign, "-G", "-W", "-p", "b.pub", "-s", "b.key", folder=tmp_path)
    key = read_secret_key(tmp_path / "b.key", never)
    assert key.public == public_key(tmp_path / "b.pub")

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from lying_server import LyingServer, breaking_off, falling_silent, honest, redirect
from model_folders import contents, model_folder, sign_folder

from edge.catalogue import place
from edge.catalogue.card import CARD, MAX_CARD_BYTES, SIGNATURE
from edge.catalogue.secret_key import SecretKey
from edge.catalogue.take import Taken, ask_for_card, take
from edge.catalogue.urls import Access, as_url
from edge.errors import BrokenOffError, CardError, FetchError, SignatureError
from edge.supervisor.process import python_command
from edge.supervisor.trial import ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY, OTHER = SecretKey.new(), SecretKey.new()
ACCESS = Access(tries=2, pause_s=0.001)


@pytest.fixture
def server() -> Iterator[LyingServer]:
    with LyingServer() as running:
        yield running


def serve(server: LyingServer, folder: Path) -> str:
    """Put a folder on the server; return the card's URL."""
    for name, content in contents(folder).items():
        server.at(f"/m/{name}", honest(content, etag=f'"{hash(content)}"'))
    return f"{server.url}/m/{CARD}"


def get(url: str, folder: Path, *, signed: bool = False, **others: Any) -> Taken:
    told = ask_for_card(url, keys=[KEY.public] if signed else [], access=ACCESS)
    return take(url, told, folder, access=ACCESS, **others)


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_model_appears_whole_with_its_card_and_its_signature(
    server: LyingServer, tmp_path: Path
) -> None:
    made = model_folder(tmp_path / "made", key=KEY)
    at: list[int] = []
    taken = get(serve(server, made), tmp_path / "m" / "tiny", signed=True, on_bytes=at.append)
    assert contents(taken.folder) == contents(made)
    assert taken.verified == (KEY.public.id, "by a test")
    assert taken.fetched_bytes == at[-1] == 7007
    assert at == sorted(at)
    assert hidden(tmp_path / "m") == []
    assert {path.stat().st_mode & 0o777 for path in taken.folder.iterdir()} == {0o644}


def test_a_folder_of_this_machine_is_taken_like_any_other(tmp_path: Path) -> None:
    made = model_folder(tmp_path / "made")
    taken = get(as_url(made / CARD), tmp_path / "tiny")
    assert contents(taken.folder) == contents(made)
    assert taken.verified is None


def test_the_same_model_is_not_fetched_twice_but_gets_its_signature(
    server: LyingServer, tmp_path: Path
) -> None:
    made = model_folder(tmp_path / "made")
    get(serve(server, made), tmp_path / "tiny")
    sign_folder(made, KEY)
    taken = get(serve(server, made), tmp_path / "tiny", signed=True)
    assert taken.fetched_bytes == 0
    assert contents(tmp_path / "tiny") == contents(made)
    assert len(server.asked_for("/m/tiny.tflite")) == 1


def test_a_damaged_model_is_made_whole(server: LyingServer, tmp_path: Path) -> None:
    made = model_folder(tmp_path / "made")
    get(serve(server, made), tmp_path / "tiny")
    (tmp_path / "tiny" / "tiny.tflite").write_bytes(b"rot")
    assert get(serve(server, made), tmp_path / "tiny").fetched_bytes == 7007
    assert contents(tmp_path / "tiny") == contents(made)


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_new_version_takes_the_place_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(place, "RENAME_EXCHANGE", 1 << 20)  # a flag that no kernel knows
    get(as_url(model_folder(tmp_path / "old", {"a.tflite": b"old"}) / CARD), tmp_path / "tiny")
    new = model_folder(tmp_path / "new", {"b.tflite": b"new"}, version="2.0")
    get(as_url(new / CARD), tmp_path / "tiny")
    assert contents(tmp_path / "tiny") == contents(new)
    assert hidden(tmp_path) == []


def test_until_the_new_one_is_whole_the_old_one_is_there(
    server: LyingServer, tmp_path: Path
) -> None:
    old = model_folder(tmp_path / "old", {"a.tflite": b"old"})
    get(as_url(old / CARD), tmp_path / "tiny")
    url = serve(server, model_folder(tmp_path / "new", version="2.0"))
    server.at("/m/labels.txt", breaking_off(b"yes\nno\n", 3))
    with pytest.raises(BrokenOffError, match=r"labels\.txt: broke off after 3 of 7 bytes"):
        get(url, tmp_path / "tiny")
    assert contents(tmp_path / "tiny") == contents(old)


def test_what_broke_off_is_gone_on_with_and_what_is_whole_not_fetched_again(
    server: LyingServer, tmp_path: Path
) -> None:
    made = model_folder(tmp_path / "made")
    url = serve(server, made)
    server.at("/m/labels.txt", breaking_off(b"yes\nno\n", 3))
    with pytest.raises(BrokenOffError):
        get(url, tmp_path / "tiny")
    serve(server, made)
    assert get(url, tmp_path / "tiny").fetched_bytes == 4
    assert len(server.asked_for("/m/tiny.tflite")) == 1
    assert contents(tmp_path / "tiny") == contents(made)
    assert hidden(tmp_path) == []


def test_what_another_version_left_half_fetched_is_no_hindrance(
    server: LyingServer, tmp_path: Path
) -> None:
    old = model_folder(tmp_path / "old", {"tiny.tflite": b"o" * 9000, "gone.npz": b"old"})
    url = serve(server, old)
    server.at("/m/tiny.tflite", honest(b"o" * 9000))
    server.at("/m/gone.npz", breaking_off(b"old", 1))
    with pytest.raises(BrokenOffError):
        get(url, tmp_path / "tiny")
    new = model_folder(tmp_path / "new")
    get(serve(server, new), tmp_path / "tiny")
    assert contents(tmp_path / "tiny") == contents(new)


def test_what_a_kill_left_at_any_other_moment_is_no_hindrance_either(
    server: LyingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = model_folder(tmp_path / "made")
    place_of_work = tmp_path / ".tiny.fetching"
    place_of_work.mkdir()
    # Between the renaming of a whole file and the removal of what was noted of it.
    (place_of_work / "labels.txt").write_bytes(b"yes\nno\n")
    (place_of_work / ".labels.txt.part.json").write_text("{}")
    (place_of_work / SIGNATURE).write_bytes(b"of another card")
    get(serve(server, made), tmp_path / "tiny")
    assert contents(tmp_path / "tiny") == contents(made)
    # Between two renamings, where the file system cannot exchange names.
    monkeypatch.setattr(place, "RENAME_EXCHANGE", 1 << 20)
    model_folder(tmp_path / ".tiny.fetching.old")
    get(serve(server, model_folder(made, version="2.0")), tmp_path / "tiny")
    assert contents(tmp_path / "tiny") == contents(made)
    assert hidden(tmp_path) == []


def test_a_signature_that_nobody_checked_replaces_none(server: LyingServer, tmp_path: Path) -> None:
    made = model_folder(tmp_path / "made", key=KEY)
    get(serve(server, made), tmp_path / "tiny", signed=True)
    (made / SIGNATURE).write_bytes(b"nonsense")
    get(serve(server, made), tmp_path / "tiny")
    assert get(as_url(tmp_path / "tiny" / CARD), tmp_path / "tiny", signed=True).verified


def test_with_a_key_nothing_unsigned_or_changed_is_taken(
    server: LyingServer, tmp_path: Path
) -> None:
    made = model_folder(tmp_path / "made")
    with pytest.raises(SignatureError, match=r"without a signature: .*answers 404"):
        get(serve(server, made), tmp_path / "tiny", signed=True)
    sign_folder(made, OTHER)
    with pytest.raises(SignatureError, match=f"signed with the key {OTHER.public.id}, which is"):
        get(serve(server, made), tmp_path / "tiny", signed=True)
    sign_folder(made, KEY)
    (made / CARD).write_bytes((made / CARD).read_bytes() + b"more: true\n")
    with pytest.raises(SignatureError, match="is not over this"):
        get(serve(server, made), tmp_path / "tiny", signed=True)
    assert not (tmp_path / "tiny").exists()
    assert server.asked_for("/m/tiny.tflite") == []


def test_a_file_that_the_signed_card_does_not_vouch_for_is_refused(
    server: LyingServer, tmp_path: Path
) -> None:
    url = serve(server, model_folder(tmp_path / "made", key=KEY))
    server.at("/m/tiny.tflite", honest(b"another" * 1000))
    with pytest.raises(FetchError, match=r"tiny\.tflite: has the sha256"):
        get(url, tmp_path / "tiny", signed=True)
    assert not (tmp_path / "tiny").exists()


def test_a_card_is_held_to_the_digest_that_a_catalogue_gives(tmp_path: Path) -> None:
    url = as_url(model_folder(tmp_path / "made") / CARD)
    digest = ask_for_card(url).sha256
    assert ask_for_card(url, sha256=digest).card.name == "tiny"
    with pytest.raises(FetchError, match=r"card\.yaml: has the sha256 .*, not 000000000000"):
        ask_for_card(url, sha256="0" * 64)


def test_a_card_that_is_none_or_too_large_is_refused(server: LyingServer) -> None:
    with pytest.raises(CardError, match="must be a mapping"):
        ask_for_card(server.at("/card.yaml", honest(b"<html>")), access=ACCESS)
    url = server.at("/card.yaml", honest(b"#" * (MAX_CARD_BYTES + 1)))
    with pytest.raises(FetchError, match="is larger than 262,144 bytes"):
        ask_for_card(url, access=ACCESS)


def test_a_model_larger_than_allowed_is_refused_before_it_comes(
    server: LyingServer, tmp_path: Path
) -> None:
    url = serve(server, model_folder(tmp_path / "made"))
    with pytest.raises(FetchError, match="has 7,007 bytes, and at most 7,000 are taken"):
        get(url, tmp_path / "tiny", max_bytes=7000)
    assert server.asked_for("/m/tiny.tflite") == []


def test_a_card_from_the_network_cannot_have_files_of_this_machine(
    server: LyingServer, tmp_path: Path
) -> None:
    url = serve(server, model_folder(tmp_path / "made"))
    server.at("/m/labels.txt", redirect(as_url(tmp_path / "made" / "labels.txt")))
    with pytest.raises(FetchError, match="from http to file none goes"):
        get(url, tmp_path / "tiny")


@pytest.mark.parametrize("what", ["file", "link", "other folder", "a note inside"])
def test_nothing_that_is_not_a_model_s_own_is_ever_replaced(tmp_path: Path, what: str) -> None:
    url = as_url(model_folder(tmp_path / "new", version="2.0") / CARD)
    target, elsewhere = tmp_path / "tiny", tmp_path / "elsewhere"
    if what == "file":
        target.write_text("mine")
    elif what == "link":
        model_folder(elsewhere)
        target.symlink_to(elsewhere)
    elif what == "other folder":
        target.mkdir()
        (target / "mine.txt").write_text("mine")
    else:
        model_folder(target)
        (target / "notes.txt").write_text("mine")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(CardError, match=r"is there already|holds notes\.txt"):
        get(url, target)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    made = model_folder(tmp_path / "made")
    (tmp_path / "tiny").mkdir()
    get(as_url(made / CARD), tmp_path / "tiny")
    assert contents(tmp_path / "tiny") == contents(made)


def test_two_at_a_time_fetch_it_once(server: LyingServer, tmp_path: Path) -> None:
    made = model_folder(tmp_path / "made")
    url = serve(server, made)
    half_way, waits = threading.Event(), threading.Event()

    def told(at: int) -> None:
        if at:
            half_way.set()
            assert waits.wait(20)

    first = threading.Thread(target=get, args=[url, tmp_path / "tiny"], kwargs={"on_bytes": told})
    first.start()
    assert half_way.wait(20)
    taken = get(url, tmp_path / "tiny", waiting=waits.set)
    first.join()
    assert taken.fetched_bytes == 0
    assert contents(tmp_path / "tiny") == contents(made)
    assert len(server.asked_for("/m/tiny.tflite")) == 1
    assert hidden(tmp_path) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    url = as_url(model_folder(tmp_path / "made") / CARD)
    (tmp_path / "file").touch()
    with pytest.raises(FetchError, match=r"file/\.tiny\.fetching: Not a directory"):
        get(url, tmp_path / "file" / "tiny")


def options(url: str, **more: Any) -> str:
    return json.dumps({"url": url, "keys": [KEY.public.text], "tries": 1, **more})


def test_the_process_says_in_one_object_what_it_took(server: LyingServer, tmp_path: Path) -> None:
    url = serve(server, model_folder(tmp_path / "made", key=KEY))
    found, lines = ask("edge.catalogue.take", tmp_path / "tiny", options(url))
    assert found == {
        "folder": str(tmp_path / "tiny"),
        "name": "tiny",
        "version": "1.0",
        "model": "tiny.tflite",
        "sha256": ask_for_card(url).sha256,
        "key_id": KEY.public.id,
        "comment": "by a test",
        "size_bytes": 7007,
        "fetched_bytes": 7007,
    }
    assert lines == []


def test_the_process_says_what_failed_by_the_kind_of_error(
    server: LyingServer, tmp_path: Path
) -> None:
    made = model_folder(tmp_path / "made", key=OTHER)
    with pytest.raises(SignatureError, match="which is not trusted"):
        ask("edge.catalogue.take", tmp_path / "tiny", options(serve(server, made)))
    sign_folder(made, KEY)
    url = serve(server, made)
    server.at("/m/tiny.tflite", breaking_off(b"a model" * 1000, 10))
    with pytest.raises(BrokenOffError, match="broke off after 10 of 7,000 bytes"):
        ask("edge.catalogue.take", tmp_path / "tiny", options(url))
    with pytest.raises(FetchError, match="plain http"):
        ask("edge.catalogue.take", tmp_path / "tiny", options("http://example.com/card.yaml"))
    with pytest.raises(SignatureError, match="is no minisign public key"):
        ask("edge.catalogue.take", tmp_path / "tiny", options(url, keys=["RWx"]))


def test_killed_at_any_moment_it_leaves_a_whole_model_or_none(
    server: LyingServer, tmp_path: Path
) -> None:
    made = model_folder(tmp_path / "made", key=KEY)
    url = serve(server, made)
    silent = falling_silent(b"a model" * 1000, 5000)
    server.at("/m/tiny.tflite", silent, honest(b"a model" * 1000))
    command = python_command("edge.catalogue.take", str(tmp_path / "tiny"), options(url))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        part = tmp_path / ".tiny.fetching" / ".tiny.tflite.part"
        while not part.exists() or part.stat().st_size < 5000:
            assert child.poll() is None
        child.kill()
    assert not (tmp_path / "tiny").exists()
    assert get(url, tmp_path / "tiny", signed=True).fetched_bytes == 2007
    assert contents(tmp_path / "tiny") == contents(made)
    assert SIGNATURE in contents(tmp_path / "tiny")
    assert hidden(tmp_path) == []


def test_the_process_without_keys_loads_no_cryptography() -> None:
    code = "import edge.catalogue.take, sys\nprint('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

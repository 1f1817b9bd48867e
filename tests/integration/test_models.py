"""`edge models`, as its users run it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from lying_server import LyingServer, breaking_off, honest
from model_folders import contents, model_folder
from pki import Pki
from pseudo_terminal import PseudoTerminal

from edge.catalogue.card import CARD, check_files, read_card
from edge.catalogue.listing import CATALOGUE, index
from edge.cli import main

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models" / "digits"


class Done(NamedTuple):
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run `edge models` in a folder of its own, without a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run(*arguments: object, status: int = 0) -> Done:
        try:
            ended = main(["models", *map(str, arguments)])
        except SystemExit as end:  # of argparse
            ended = int(end.code or 0)
        done = Done(*capsys.readouterr())
        assert ended == status, done
        return done

    return run


@pytest.fixture
def server() -> Iterator[LyingServer]:
    with LyingServer() as running:
        yield running


def serve(server: LyingServer, folder: Path) -> str:
    """Put a folder with its catalogue on the server; return the catalogue's URL."""
    for path in folder.rglob("*"):
        if path.is_file():
            server.at(f"/{path.relative_to(folder)}", honest(path.read_bytes()))
    return f"{server.url}/{CATALOGUE}"


def test_the_catalogue_of_this_project_s_models_is_true() -> None:
    written = (ROOT / "models" / CATALOGUE).read_text(encoding="utf-8")
    assert written == index(ROOT / "models"), "write it anew: `edge models index models`"


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in ROOT.glob(f"models/*/{CARD}")), ids=lambda p: p.name
)
def test_each_of_them_is_what_its_card_says_and_has_its_name(folder: Path) -> None:
    card = read_card(folder)
    check_files(card, folder)
    assert card.name == folder.name


def test_the_bundled_catalogue_is_listed_without_an_argument(edge: Run) -> None:
    said = edge("list").stdout
    assert "digits 1.0: 51,472 bytes, Apache-2.0 (model), CC BY 4.0 (data)\n" in said
    found = json.loads(edge("list", "--json").stdout)
    assert found["models"]["digits"]["here"] == "no"
    assert found["models"]["digits"]["card"].endswith("/models/digits/card.yaml")


def test_a_model_is_pulled_by_name_and_listed_as_here(edge: Run, tmp_path: Path) -> None:
    said = edge("pull", "digits").stdout
    assert "models/digits: 51,472 bytes fetched\n" in said
    pulled = tmp_path / "models" / "digits"
    assert contents(pulled) == {
        name: (DIGITS / name).read_bytes() for name in (CARD, *read_card(DIGITS).files)
    }
    assert "  is in models/digits/\n" in edge("list").stdout
    assert "models/digits: was there, whole\n" in edge("pull", "digits").stdout
    options = yaml.safe_load(said.partition("in a pipeline:\n")[2])
    device = {
        "device": "porch",
        "mqtt": {"broker": "mqtt://localhost"},
        "pipelines": {"digits": {"source": {"type": "synthetic"}, **options}},
    }
    (tmp_path / "device.yaml").write_text(yaml.safe_dump(device))
    assert main(["check", "device.yaml"]) == 0


def test_what_verify_checks_is_told_check_by_check(edge: Run, tmp_path: Path) -> None:
    edge("pull", "digits")
    lines = edge("verify").stdout.splitlines()
    assert lines[0] == "models/digits"
    assert [line.split(":")[0].split() for line in lines[1:]] == [
        ["ok", "card"], ["ok", "signature"], ["ok", "files"], ["ok", "model"], ["ok", "golden"],
    ]  # fmt: skip
    assert edge("verify", "digits").stdout == edge("verify", "models/digits").stdout
    model = tmp_path / "models" / "digits" / "digits.tflite"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    assert "problem  files: models/digits/digits.tflite: has the sha256" in (
        edge("verify", status=1).stdout
    )


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"m.tflite": b"no model"}, "problem  model: m/m.tflite: is "),
        ({"m.tflite": (DIGITS / "digits.tflite").read_bytes()[:9000]}, "problem  model: m/m.t"),
        (
            {
                "m.tflite": (DIGITS / "digits.tflite").read_bytes(),
                "labels.txt": b"one\ntwo\n",
            },
            "problem  model: m/m.tflite: ",
        ),
        (
            {
                "m.tflite": (DIGITS / "digits.tflite").read_bytes(),
                "g.npz": b"no golden file",
            },
            "problem  golden: m/g.npz: the golden file is no .npz file",
        ),
    ],
)
def test_a_model_that_does_not_work_is_a_problem_and_no_crash(
    edge: Run, tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    model_folder(tmp_path / "m", files, pipeline={"decode": {"type": "classification"}})
    assert said in edge("verify", "m", status=1).stdout


def test_a_card_s_pipeline_that_no_yaml_can_have_is_a_problem(edge: Run, tmp_path: Path) -> None:
    model_folder(tmp_path / "m", pipeline={"decode": {"type": "clairvoyance"}})
    assert "problem  model: m: its `pipeline`: decode" in edge("verify", "m", status=1).stdout


def test_a_signed_model_goes_from_key_to_device(
    edge: Run, tmp_path: Path, server: LyingServer
) -> None:
    key = edge("keygen", "porch", "--no-password").stdout.splitlines()[-1]
    model_folder(tmp_path / "shop" / "tiny", {"m.tflite": (DIGITS / "digits.tflite").read_bytes()})
    edge("index", "shop")
    edge("sign", "shop/tiny", "--key", "porch.key", "--comment", "for the porch")
    url = serve(server, tmp_path / "shop")
    said = edge("pull", "tiny", "--catalogue", url, "--key", key).stdout
    assert "models/tiny: signed by " in said
    said = edge("verify", "tiny", "--key", "porch.pub").stdout
    assert "with the comment 'for the porch'" in said
    other = edge("keygen", "other", "--no-password").stdout.splitlines()[-1]
    said = edge("pull", "tiny", "--catalogue", url, "--key", other, status=1).stderr
    assert "which is not trusted" in said
    assert "problem  signature: " in edge("verify", "tiny", "--key", other, status=1).stdout
    edge("verify", "tiny", "--key", other, "--key", "porch.pub")


def test_a_signed_catalogue_is_checked_and_a_forged_one_refused(
    edge: Run, tmp_path: Path, server: LyingServer
) -> None:
    edge("keygen", "porch", "--no-password")
    model_folder(tmp_path / "shop" / "tiny")
    edge("index", "shop")
    url = serve(server, tmp_path / "shop")
    assert "the catalogue is not signed itself" in edge("list", url, "--key", "porch.pub").stdout
    edge("sign", "shop/catalogue.yaml", "--key", "porch.key")
    url = serve(server, tmp_path / "shop")
    assert "the catalogue is signed by " in edge("list", url, "--key", "porch.pub").stdout
    forged = (tmp_path / "shop" / CATALOGUE).read_bytes() + b"# more\n"
    server.at(f"/{CATALOGUE}", honest(forged))
    assert "is not over this" in edge("list", url, "--key", "porch.pub", status=1).stderr
    edge("list", url)


def test_nothing_that_is_not_whole_is_signed(edge: Run, tmp_path: Path) -> None:
    edge("keygen", "porch", "--no-password")
    folder = model_folder(tmp_path / "tiny")
    (folder / "labels.txt").write_bytes(b"others\n")
    assert (
        "labels.txt: has the sha256" in edge("sign", folder, "--key", "porch.key", status=1).stderr
    )
    assert "there is no such file" in edge("sign", "nowhere", "--key", "porch.key", status=1).stderr
    assert not (folder / "card.yaml.minisig").exists()


def test_a_secret_key_has_a_password_which_is_never_guessed(edge: Run, tmp_path: Path) -> None:
    assert "give --password-file" in edge("keygen", "porch", status=2).stderr
    (tmp_path / "password").write_text("open sesame\n")
    edge("keygen", "porch", "--password-file", "password")
    assert "is there already" in edge("keygen", "porch", "--no-password", status=2).stderr
    model_folder(tmp_path / "tiny")
    assert "give --password-file" in edge("sign", "tiny", "--key", "porch.key", status=2).stderr
    edge("sign", "tiny", "--key", "porch.key", "--password-file", "password")
    (tmp_path / "password").write_text("open barley\n")
    refused = edge("sign", "tiny", "--key", "porch.key", "--password-file", "password", status=1)
    assert refused.stderr == "edge models: porch.key: the password is wrong\n"


def test_at_a_terminal_the_password_is_asked_for_twice_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with PseudoTerminal("models", "keygen", "porch") as terminal:
        for prompt in (b"secret key: ", b"once more: "):
            while not terminal.written.endswith(prompt):
                assert terminal.read(timeout_s=20)
            terminal.press("open sesame\n")
        assert terminal.wait() == 0
        assert b"sesame" not in terminal.written
    assert (tmp_path / "porch.key").stat().st_mode & 0o777 == 0o600


def test_over_tls_with_a_ca_of_one_s_own(edge: Run, tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    model_folder(tmp_path / "shop" / "tiny")
    edge("index", "shop")
    with LyingServer(pki.issue("localhost")) as server:
        url = serve(server, tmp_path / "shop")
        assert "its certificate is not trusted" in edge("list", url, status=1).stderr
        edge("pull", "tiny", "--catalogue", url, "--ca-file", pki.ca_file())
        assert contents(tmp_path / "models" / "tiny") == contents(tmp_path / "shop" / "tiny")


def test_what_broke_off_is_gone_on_with_by_the_next_pull(
    edge: Run, tmp_path: Path, server: LyingServer
) -> None:
    content = b"a model" * 50_000
    model_folder(tmp_path / "shop" / "tiny", {"tiny.tflite": content})
    edge("index", "shop")
    url = serve(server, tmp_path / "shop")
    server.at("/tiny/tiny.tflite", breaking_off(content, 0))
    said = edge("pull", f"{server.url}/tiny", "--tries", "1", status=1).stderr
    assert "broke off after 0 of 350,000" in said
    assert contents(tmp_path / "models") == {}
    server.at("/tiny/tiny.tflite", breaking_off(content, 200_000), honest(content))
    assert "350,000 bytes fetched" in edge("pull", "tiny", "--catalogue", url).stdout


def test_a_catalogue_cannot_pass_off_one_model_as_another(edge: Run, tmp_path: Path) -> None:
    model_folder(tmp_path / "shop" / "tiny")
    edge("index", "shop")
    listed = (tmp_path / "shop" / CATALOGUE).read_text()
    (tmp_path / "shop" / CATALOGUE).write_text(listed.replace("  tiny:", "  huge:"))
    said = edge("pull", "huge", "--catalogue", "shop/catalogue.yaml", status=1).stderr
    assert "is the card of tiny, which the catalogue calls huge" in said


def test_a_digest_that_the_user_gives_must_be_that_of_the_card(edge: Run, tmp_path: Path) -> None:
    model_folder(tmp_path / "tiny")
    said = edge("pull", "./tiny", "--sha256", "0" * 64, status=1).stderr
    assert "has the sha256" in said
    said = edge("pull", "./tiny").stdout
    assert "and nobody else; not signed" in said
    assert contents(tmp_path / "models" / "tiny") == contents(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        (("list", "nowhere.yaml"), "nowhere.yaml: there is no such file", 1),
        (("list", "http://example.com/catalogue.yaml"), "plain http", 1),
        (("show", "nothing"), "lists no model 'nothing'; it has: digit-finder, digits", 1),
        (("pull", "nothing"), "lists no model 'nothing'; it has: digit-finder, digits", 1),
        (("pull", "ftp://x/card.yaml"), "must begin with https://", 1),
        (("verify", "nothing"), "there is no such model in models/", 2),
        (("verify", "digits", "--key", "RWnothing"), "RWnothing: cannot be read", 1),
        (("index", "."), "no folder in it has a card.yaml", 1),
        (("pull", "digits", "--max-mb", "0.01"), "at most 10,000 are taken", 1),
        ((), "the following arguments are required: ACTION", 2),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    edge: Run, arguments: tuple[str, ...], said: str, status: int
) -> None:
    assert said in edge(*arguments, status=status).stderr


def test_show_prints_the_card(edge: Run, tmp_path: Path) -> None:
    head, _, text = edge("show", "digits").stdout.partition("\n")
    assert head.startswith("# file:///")
    card = yaml.safe_load(text)
    assert card == yaml.safe_load((DIGITS / CARD).read_text(encoding="utf-8"))
    assert json.loads(edge("show", DIGITS, "--json").stdout) == card
    model_folder(tmp_path / "shop" / "tiny")
    assert yaml.safe_load(edge("show", "shop/tiny").stdout)["name"] == "tiny"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tiny": None}, "models.tiny: input should be a valid dict"),
        ({"../tiny": {}}, r"models.../tiny"),
        ({"tiny": {"card": "x\x1b"}}, "card: must be one line of printable text"),
        ({"tiny": {"sha256": "x"}}, "sha256: string should match"),
    ],
)
def test_a_catalogue_that_is_none_is_refused_by_name_and_place(
    edge: Run, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    (tmp_path / CATALOGUE).write_text(json.dumps({"models": change}))
    assert said in edge("list", CATALOGUE, status=1).stderr


def test_an_index_is_written_only_where_it_is_out_of_date(edge: Run, tmp_path: Path) -> None:
    model_folder(tmp_path / "shop" / "tiny")
    assert edge("index", "shop").stdout == "shop/catalogue.yaml: was written anew\n"
    assert edge("index", "shop").stdout == "shop/catalogue.yaml: is up to date\n"
    (tmp_path / "shop" / f"{CATALOGUE}.minisig").touch()
    model_folder(tmp_path / "shop" / "tiny", version="2.0")
    assert "is over the old one: sign it again" in edge("index", "shop").stdout
    model_folder(tmp_path / "shop" / "twin")
    assert "is the second model called tiny" in edge("index", "shop", status=1).stderr

import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config.problems import Document, in_lines
from edge.config.yaml_file import MAX_BYTES, parse_yaml
from edge.errors import ConfigError


def parse(text: str, **environ: str) -> Document:
    return parse_yaml(text.encode(), name="device.yaml", environ=environ)


def data(text: str, **environ: str) -> dict[str, Any]:
    document = parse(text, **environ)
    assert not document.problems
    return document.data


def refusal(content: str | bytes, **environ: str) -> str:
    """Return what is said against a file, however it is said."""
    content = content.encode() if isinstance(content, str) else content
    try:
        document = parse_yaml(content, name="device.yaml", environ=environ)
    except ConfigError as error:
        return str(error)
    return in_lines(document.problems, "device.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "off",
        "no",
        "yes",
        "On",
        "y",
        "N",
        "2024-01-01",
        "12:30:45",
        "1_000",
        "0b11",
        "0x",
        "=",
        "1e",
    ],
)
def test_what_yaml_1_1_would_guess_at_stays_text(text: str) -> None:
    assert data(f"a: {text}") == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("017", 17),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("2.", 2.0),
        ("-.inf", float("-inf")),
        ("'true'", "true"),
        ('"7"', "7"),
        ("! 7", "7"),
        ("!!str 7", "7"),
        ("!!int 7", 7),
        ("!!float 7", 7.0),
        ("!!seq [1]", [1]),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    read = data(f"a: {text}")["a"]
    assert read == value
    assert type(read) is type(value)


def test_keys_and_list_items_have_lines() -> None:
    document = parse("# a comment\na:\n  b: [1,\n    2]\n  c:\n    - x\n    - y: |\n        text\n")
    assert document.lines == {
        (): 2,
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "b", 0): 3,
        ("a", "b", 1): 4,
        ("a", "c"): 5,
        ("a", "c", 0): 6,
        ("a", "c", 1): 7,
        ("a", "c", 1, "y"): 7,
    }


def test_aliases_and_merges_keep_the_lines_of_what_they_repeat() -> None:
    document = parse("a: &a {x: 1, y: 2}\nb:\n  y: 3\n  <<: [*a, {z: 4, x: 5}]\nc: *a\n")
    assert document.data == {
        "a": {"x": 1, "y": 2},
        "b": {"y": 3, "x": 1, "z": 4},
        "c": {"x": 1, "y": 2},
    }
    assert [document.lines["b", key] for key in "xyz"] == [1, 3, 4]
    assert document.lines["c", "x"] == 1


def test_an_anchor_may_be_used_anew() -> None:
    assert data("a: &x 1\nb: *x\nc: &x 2\nd: *x") == {"a": 1, "b": 1, "c": 2, "d": 2}


TAGS = "tags are not used here: put quotes around a text that begins with !"
PLAIN = "is not allowed: only plain data is read"
NO_MAPPING = "must be a mapping: lines of `key: value`"
NO_TEXT = "holds a character that is no text"
NO_UTF8 = "is not text in UTF-8: save the file as UTF-8"
KEY = "a key must be text: put quotes around it"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", " is empty"),
        ("# nothing yet\n", " is empty"),
        ("---\n...\n", " is empty"),
        (b" " * (MAX_BYTES + 1), " is larger than 1 MiB, too large for a configuration"),
        ("- a\n", f"1: {NO_MAPPING}"),
        ("\nwords\n", f"2: {NO_MAPPING}"),
        ("a: 1\n---\nb: 2\n", "2: a second document begins here; one file is one device"),
        (b"a: 1\nb: \xff\n", f"2: {NO_UTF8}"),
        ("a: 1".encode("utf-16"), f"1: {NO_UTF8}"),
        ("a: \x07", "1: the character 0x07 cannot stand in YAML"),
        ("1: x", f"1: 1: {KEY}"),
        ("a: {true: x}", f"1: a.true: {KEY}"),
        ("? [a]\n: x", f"1: ?: {KEY}"),
        ("a:\n b: 1\n c: 2\n b: 3", "4: a.b: stands here a second time, first on line 2: keep one"),
        ("a: !!python/object:x.y {}", f"1: a: the tag `!!python/object:x.y` {PLAIN}"),
        ("a: !!binary aaaa", f"1: a: the tag `!!binary` {PLAIN}"),
        ("a: [!secret x]", f"1: a[0]: {TAGS}"),
        ("!secret {a: 1}", f"1: {TAGS}"),
        ("a: !!int x", "1: a: is no int, as !! claims"),
        ('a: "\\0"', f"1: a: {NO_TEXT}"),
        ('a: "\\ud800"', f"1: a: {NO_TEXT}"),
        ("a:\n  <<: 5", "2: a.<<: takes a mapping, or a list of mappings, such as *name"),
    ],
)
def test_what_is_no_device_yaml_is_told_by_its_line(text: str | bytes, problem: str) -> None:
    assert refusal(text) == f"device.yaml:{problem}"


FIT = "does not fit the lines above: check the indentation and the quotes"
QUOTE = "a quote is opened here and not closed"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a:\n\tb: 1", "2: a tab cannot stand at the beginning: indent with spaces"),
        ("a: @x", "1: a text cannot begin with `@`: put quotes around it"),
        ("a: *.jpg", "1: put quotes around a text that begins with * or &"),
        ("a: *b", "1: an alias (*) refers to no anchor (&) above: quote a text that begins with *"),
        ("a: b: c", "1: `: ` cannot stand here: check this line and the one above, or quote"),
        ("a:\n  b: 1\n c: 2", f"3: {FIT}"),
        ("a: 1\n- b", f"2: {FIT}"),
        ("%x\na: 1", f"2: {FIT}"),
        ("a: - b", "1: a list item (`- `) cannot stand here: check the indentation"),
        ("a: 1\nb\n", "2: a `: ` is missing after the key"),
        ("a: [1, 2\nb: 3", "2: `,` or `]` is missing before this"),
        ("a: {b: ${X}}", '1: between { } or [ ] write "${NAME}" in quotes'),
        ("a: [}", "1: a value is missing here"),
        ("a: 'x\nb: 1\n", f"1: {QUOTE}"),
        ("a: 'x\n---\n'", f"1: {QUOTE}"),
        (r'a: "C:\path"', r"1: between double quotes \ begins an escape: write \\, or use '...'"),
        (r'a: "\UFFFFFFFF"', "1: a number here is larger than YAML allows"),
        ("a: !x!y z", f"1: {TAGS}"),
        ("a: |b\n  c", "1: after | or > a text begins on the next line"),
        ("a: ? b", "1: is no YAML: mapping keys are not allowed here"),
    ],
)
def test_a_syntax_error_is_told_in_plain_words(text: str, problem: str) -> None:
    assert refusal(text) == f"device.yaml:{problem}"


LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], k{n}: 1}}\n" for n in range(1, 30)
)
DEEPER = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} {'[' * 30}*a{n - 1}{']' * 30}\n" for n in range(1, 900)
)
MANY = "more than 50000 values stand here, with the aliases (*) written out"
DEEP = "is nested deeper than 50 levels"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LAUGHS, f"6: {MANY}"),
        (MERGED, f"6: {MANY}"),
        (DEEPER, f"3: {DEEP}"),
        ("a: " + "[" * 1_000_000, f"1: {DEEP}"),
        ("a: " + "{a: " * 250_000, f"1: {DEEP}"),
        ("a:\n " + "- " * 500_000, f"2: {DEEP}"),
        ("? " * 500_000, f"1: {DEEP}"),
        ("a: [" + "1," * 500_000, f"1: {MANY}"),
        ("a: &a [1, *a]", "1: an alias (*) stands inside of what it refers to"),
        ("a: 1\nb: &a {c: {<<: *a}}", "2: an alias (*) stands inside of what it refers to"),
        (
            "a: '" + "${X}" * 250_000 + "'",
            "1: a: is longer than 1 MiB with what the environment holds",
        ),
    ],
    ids=range(11),
)
def test_a_document_that_grows_without_bound_is_stopped_at_once(text: str, problem: str) -> None:
    began = time.monotonic()
    assert refusal(text, X="x" * 10_000) == f"device.yaml:{problem}"
    assert time.monotonic() - began < 20  # a second here; without bounds, until memory ends


def test_a_variable_takes_the_value_of_the_environment() -> None:
    document = parse("a: ${X}\nb: ['mqtt://${HOST}:${X}', plain]\n", X="10", HOST="pi")
    assert document.data == {"a": "10", "b": ["mqtt://pi:10", "plain"]}
    assert document.variables == {("a",): ("X",), ("b", 0): ("HOST", "X")}


def test_what_the_environment_holds_is_never_parsed() -> None:
    nasty = "{a: [*b, !!c '${X}']}\n- true"
    assert data("a: ${X}\nb: |\n  ${X}\n", X=nasty) == {"a": nasty, "b": nasty + "\n"}


def test_an_escaped_variable_stays_as_it_is_written() -> None:
    assert data("a: $${X}\nb: $X\nc: 'cost: 5$'\nd: $$${X}") == {
        "a": "${X}",
        "b": "$X",
        "c": "cost: 5$",
        "d": "$${X}",
    }


def test_keys_take_nothing_from_the_environment() -> None:
    assert data("'${X}': 1", X="x") == {"${X}": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a:\n  b: ${NOPE}", "2: a.b: the environment variable NOPE is not set"),
        ("a: ${}", "1: a: `${` must be followed by NAME}; `$${` stands for a literal `${`"),
        ("a: ${X:-1}", "1: a: `${` must be followed by NAME}; `$${` stands for a literal `${`"),
        ("a: ['${X']", "1: a[0]: `${` must be followed by NAME}; `$${` stands for a literal `${`"),
    ],
)
def test_a_variable_that_cannot_be_had_is_told(text: str, problem: str) -> None:
    assert refusal(text, X="x") == f"device.yaml:{problem}"


def test_an_environment_that_is_no_text_is_told() -> None:
    assert refusal("a: ${X}", X="\udcff") == "device.yaml:1: a: holds a character that is no text"


@pytest.mark.parametrize("password", ["hunter2", "'hunter2'", "12345", "$${X}", '""', "*p"])
def test_a_password_in_clear_is_refused(password: str) -> None:
    found = refusal(f"x: &p hunter2\nmqtt:\n  password: {password}")
    assert found == (
        "device.yaml:3: mqtt.password: must not stand in the file in clear: write ${NAME} and set "
        "it in the environment, or use `password_file`"
    )


def test_a_password_from_the_environment_is_taken() -> None:
    assert data("mqtt: {password: '${X}'}", X="hunter2") == {"mqtt": {"password": "hunter2"}}
    assert data("mqtt: {password: }") == {"mqtt": {"password": None}}


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text("ab: -#'\"é\n"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab1~"), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abc", min_size=1), plain, min_size=1), st.booleans())
@settings(deadline=None, database=None)
def test_what_another_writer_wrote_is_read_as_it_was_meant(value: Any, flow: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
    assert data(text) == value

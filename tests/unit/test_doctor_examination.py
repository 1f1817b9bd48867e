"""The examination: a check that crashes or hangs is told, and holds up none of the others."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from edge.doctor import aside
from edge.doctor.examination import all_checks, examine
from edge.doctor.finding import GROUPS, Check, Finding, ok
from edge.doctor.patient import Patient
from edge.doctor.report import document
from edge.supervisor.process import python_command

if TYPE_CHECKING:
    from collections.abc import Iterator


class Good(Check):
    name = "good"
    group = "machine"

    def look(self, patient: Patient) -> Iterator[Finding]:
        yield ok("good", f"looks at {patient.root}", root=str(patient.root))


class Crashing(Check):
    name = "crashing"
    group = "machine"

    def look(self, patient: Patient) -> Iterator[Finding]:
        yield ok("half", "found before it broke")
        raise RuntimeError(f"no\n{patient.root}")


class Hanging(Check):
    name = "hanging"
    group = "machine"
    limit_s = 0.1

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def look(self, patient: Patient) -> Iterator[Finding]:
        self.let_go.wait()
        yield ok("late", str(patient.root))


def found(*checks: Check) -> dict[str, tuple[Finding, ...]]:
    return {each.check.name: each.findings for each in examine(Patient(), checks)}


def test_a_check_that_raises_is_a_problem_of_that_check_and_what_it_had_found_is_kept() -> None:
    findings = found(Good(), Crashing())
    assert findings["good"] == (Finding("ok", "good", "looks at /", None, {"root": "/"}),)
    half, broken = findings["crashing"]
    assert half.level == "ok"
    assert (broken.level, broken.what) == ("problem", "crashing")
    assert broken.says == "this check failed itself: RuntimeError: no /"
    assert broken.cure


def test_a_check_that_hangs_is_told_after_its_limit_and_the_others_do_not_wait_for_it() -> None:
    hanging = Hanging()
    try:
        order = [each.check.name for each in examine(Patient(), [hanging, Good()])]
        assert order == ["good", "hanging"]
        (late,) = found(hanging)["hanging"]
    finally:
        hanging.let_go.set()
    assert (late.level, late.says) == ("problem", "this check did not end within 0.1 s")


def test_every_check_has_a_name_of_its_own_a_group_and_a_limit() -> None:
    checks = all_checks()
    names = [check.name for check in checks]
    assert len(names) > 15
    assert len(set(names)) == len(names)
    order = [GROUPS.index(check.group) for check in checks]
    assert order == sorted(order)
    assert all(0 < check.limit_s <= 120 for check in checks)


def test_the_document_counts_the_levels() -> None:
    told = document(examine(Patient(), [Good(), Crashing()]))
    assert (told["ok"], told["warnings"], told["problems"]) == (2, 0, 1)
    assert {"check", "group", "level", "what", "says", "cure", "facts"} == set(told["findings"][0])


def script(code: str) -> list[str]:
    return [python_command("json")[0], "-c", code]


def test_a_process_that_dies_is_told_with_its_last_words_and_what_it_had_said() -> None:
    said = aside.hear(
        script(
            "import os, signal, sys; print('{\"a\": 1}', flush=True); print('noise', flush=True)\n"
            "sys.stderr.write('out of luck\\n'); sys.stderr.flush()\n"
            "os.kill(os.getpid(), signal.SIGILL)"
        ),
        limit_s=30,
    )
    assert said.answers == [{"a": 1}]
    assert said.trouble == "killed by SIGILL: out of luck"
    assert said.words == ("out of luck",)


def test_a_process_that_hangs_is_killed_and_what_it_had_said_is_kept() -> None:
    began = time.monotonic()
    said = aside.hear(
        script("import time; print('{\"a\": 1}', flush=True); time.sleep(600)"), limit_s=2
    )
    assert time.monotonic() - began < 60
    assert said == ([{"a": 1}], "said nothing more for 2 s", ())


@pytest.mark.parametrize("command", ["no-such-program-here", "false"])
def test_a_program_that_is_missing_or_fails_says_nothing(command: str) -> None:
    assert aside.output_of(command) is None
    assert aside.output_of("echo", "a word") == "a word\n"

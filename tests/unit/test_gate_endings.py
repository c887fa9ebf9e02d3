"""How the end of a gate's command is read: the table in docs/gates.md, row by row."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from fleet.exits import Exit, Exited, Lost, Signalled, TimedOut
from fleet.limits import InForce
from fleet.verdict import Outcome
from gates.runs.endings import outcome_of, temporary, words_for_end
from gates.runs.surroundings import limit_hint

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "gates.md").read_text("utf-8")


def rows() -> list[tuple[str, Outcome]]:
    table = PAGE.split("### How an end is read", 1)[1].split("| state | what follows |", 1)[0]
    found = re.findall(r"^\| `([^`]+)`[^|]*\| ([a-z-]+) \|", table, re.MULTILINE)
    return [(end, Outcome(state)) for end, state in found]


def end(words: str) -> Exit:
    if words.isdigit():
        return Exited(int(words))
    if words == "timeout":
        return TimedOut(1)
    return Lost("no record") if words == "lost" else Signalled(words)


@pytest.mark.parametrize(("words", "state"), rows())
def test_the_table_says_what_the_code_does(words: str, state: Outcome) -> None:
    assert outcome_of(end(words)) is state


def test_the_table_has_every_status_that_does_not_simply_fail() -> None:
    special = {str(code) for code in range(256) if outcome_of(Exited(code)) is not Outcome.FAILED}
    assert special <= {words for words, _ in rows()}
    assert special == {"0", "75", "126", "127"}


def test_the_page_has_every_state() -> None:
    states = PAGE.split("| state | what follows |", 1)[1].split("\n\n", 1)[0]
    named = {word for row in states.splitlines() for word in row.split("|")[1:2] for word in word.split(", ")}
    assert {each.strip() for each in named} >= {str(each) for each in Outcome if each is not Outcome.REFUSED}


def test_signals_are_named_as_a_shell_says_them_too() -> None:
    assert words_for_end(Exited(137)) == "exit status 137: SIGKILL, as a shell says it"
    assert words_for_end(Exited(1)) == "exit status 1"
    assert words_for_end(Exited(255)) == "exit status 255"
    assert words_for_end(Signalled("SIGTERM")) == "killed by SIGTERM"
    assert "not found" in words_for_end(Exited(127))


def test_one_status_asks_for_the_same_machine_again() -> None:
    assert [code for code in range(256) if temporary(Exited(code))] == [75]
    assert not temporary(Signalled(signal.SIGKILL.name)) and not temporary(None)


@pytest.mark.parametrize(
    ("limits", "output", "words"),
    [
        (InForce(0, 0, 64_000_000), "dd: File size limit exceeded", "run_disk"),
        (InForce(0, 0, 64_000_000), "OSError: [Errno 27] File too large", "run_disk"),
        (InForce(0, 50, 0), "/bin/sh: 1: Cannot fork", "run_processes` lets a run have 50"),
        (InForce(0, 50, 0), "RuntimeError: can't start new thread", "run_processes"),
        (InForce(0, 50, 64_000_000), "1 failed", ""),
        (InForce(0, 0, 0), "Cannot fork, File too large", ""),
        (None, "Cannot fork", ""),
    ],
)
def test_a_limit_that_only_the_kernel_saw_is_named(limits: InForce | None, output: str, words: str) -> None:
    hint = limit_hint(limits, output)
    assert words in hint and bool(words) == bool(hint)

"""What a phone shows of a red gate: with a report, each failed test's name and reason, once."""

from __future__ import annotations

import pytest

from bot.telling.outcome_cards import failed_card
from bot.telling.progress import GateSeen, Progress
from fleet.events import VerdictGiven
from fleet.verdict import JUnitCounts
from gates.runs import junit
from tests.unit.test_moved_card import TASK

COMMIT = "1" * 40
_REASON = """<failure message="assert -500 == 0&#10; +  where -500 = discounted(1000, 150)">
def test_{0}():
&gt;       assert discounted(1000, 150) == 0
E       assert -500 == 0
E        +  where -500 = discounted(1000, 150)
tests/test_pricing.py:13: AssertionError</failure>"""


def _shown(
    names: list[str], output: str = "tests/test_pricing.py:13: AssertionError\n1 failed in 0.45s"
) -> list[str]:
    cases = "".join(f'<testcase classname="t" name="{name}">{_REASON.format(name)}</testcase>' for name in names)
    counts = f'tests="{len(names)}" failures="{len(names)}" errors="0" skipped="0"'
    read = junit.read(f'<testsuites><testsuite name="s" {counts}>{cases}</testsuite></testsuites>'.encode())
    assert read is not None
    given = VerdictGiven(
        COMMIT, COMMIT, COMMIT, "failed", (), (), "unsafe-same-user", 1, f"{read.failures}\n\n{output}"
    )
    body = failed_card(TASK, given, Progress(), "claude on evo-x2").body
    assert body is not None
    return str(body).splitlines()


def test_one_failure_is_told_once_although_report_and_output_say_it_three_times() -> None:
    assert _shown(["below_zero"]) == [
        "FAILED t.below_zero",
        "    assert -500 == 0",
        "     +  where -500 = discounted(1000, 150)",
        "    def test_below_zero():",
        "    > assert discounted(1000, 150) == 0",
        "    tests/test_pricing.py:13: AssertionError",
    ]


@pytest.mark.parametrize("count", [2, 3, 4, 5, 40])
def test_each_of_some_failures_has_its_name_and_reason_in_eight_lines(count: int) -> None:
    rows = _shown([f"case{n}" for n in range(count)])
    assert len(rows) <= 8
    for n in range(min(count, 3)):
        assert rows[rows.index(f"FAILED t.case{n}") + 1] == "    assert -500 == 0"
    assert (rows[-1] == "… and more failures") == (count > 4)


def test_tests_in_no_suite_count_and_their_reasons_are_shown() -> None:
    """As node writes tests that stand by themselves."""
    cases = '<testcase name="a"/><testcase name="b"><failure message="b is 3"/></testcase>'
    cases += '<testcase name="c"><skipped/></testcase>'
    suite = '<testsuite name="s" tests="2" failures="0" errors="0" skipped="0"><testcase name="d"/></testsuite>'
    read = junit.read(f"<testsuites>{cases}{suite}</testsuites>".encode())
    assert read is not None and (read.counts, read.ran) == (JUnitCounts(5, 1, 0, 1), 3)
    assert "FAILED b\n    b is 3" in read.failures


@pytest.mark.parametrize(
    ("ended", "reason", "title"),
    [
        ("exit status 1", "exit status 1 (2 of 3 tests failed, by its own report)", "exit status 1"),
        (
            "exit status 137",
            "exit status 137: SIGKILL, as a shell says it (1 of 3); memory limit 128 MB reached",
            "exit status 137: SIGKILL, as a shell says it",
        ),
        ("killed by SIGSEGV", "killed by SIGSEGV; this gate has no network", "killed by SIGSEGV"),
        ("", "layer 5 (canaries): forged", "layer 5 (canaries): forged"),
    ],
)
def test_the_title_says_what_a_status_means(ended: str, reason: str, title: str) -> None:
    progress = Progress()
    progress.gates["r1"] = GateSeen("tests", ("make",), "m1", COMMIT, outcome="failed", reason=reason, exit=ended)
    given = VerdictGiven(COMMIT, COMMIT, COMMIT, "failed", (reason,), ("r1",), "unsafe-same-user", 1, "")
    shown = "".join(map(str, failed_card(TASK, given, progress, "claude").title))
    assert shown.endswith(f"gate tests failed: {title}")


def test_a_limit_is_said_where_a_long_output_has_no_room_for_it() -> None:
    why = "its machine's `run_processes` lets a run have 50"
    progress, reason = Progress(), f"exit status 1; {why}"
    progress.gates["r1"] = GateSeen(
        "tests", ("make",), "m1", COMMIT, outcome="failed", reason=reason, exit="exit status 1"
    )
    for tail, said in ((f"{why}\nred", False), (f"{why}\n" + "sh: 1: Cannot fork\n" * 200, True)):
        given = VerdictGiven(COMMIT, COMMIT, COMMIT, "failed", (reason,), ("r1",), "unsafe-same-user", 1, tail)
        card = failed_card(TASK, given, progress, "claude")
        assert any(why in str(each) for each in card.lines) is said

"""What a phone shows of a red gate: with a report, each failed test's name and reason, once."""

from __future__ import annotations

import pytest

from bot.telling.outcome_cards import failed_card
from bot.telling.progress import Progress
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

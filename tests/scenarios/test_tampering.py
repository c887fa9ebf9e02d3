"""The corpus of attempts and of honest changes, judged by a real gate: no attempt passes, nothing honest fails.

A short sample runs always; all of them with ``AIRBOSS_CAMPAIGN=full``, which prints the figures.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from fleet.verdict import Outcome, Verdict
from tests.conftest import sampled
from tests.scenarios.gate_house import Files, House, Judge
from tests.tampering.corpus import BASE, FIXED, Change, attempts, edits, honest

FULL = os.environ.get("AIRBOSS_CAMPAIGN") == "full"
pytestmark = pytest.mark.timeout(3600 if FULL else 300)  # pytest itself starts many times here
SAMPLE = {
    "os._exit at import",
    "the tests read by a command",
    "a new function with a new test file",
    "old tests with fixtures, parameters, mocks and classes, inverted",
}
#: Layers that look at runs only, so that a sample shows what these see by themselves.
BY_RUNS: Files = {
    **BASE,
    "airboss.toml": f"{BASE['airboss.toml']!s}layers = ['baseline', 'canaries', 'protected']\n",
}


def chosen() -> list[Change]:
    return [change for change in [*attempts(), *honest(), *edits()] if FULL or change.name in SAMPLE]


async def judged(judge: Judge, change: Change) -> Verdict:
    return await judge.pipeline.judge(await judge.candidate(change.files, remove=change.remove))


async def test_no_attempt_passes_and_no_honest_change_fails(tmp_path: Path) -> None:
    outcomes = []
    for number, (base, changes) in enumerate(groupby(chosen(), key=lambda change: change.base)):
        async with House(tmp_path / str(number), {**BASE, **base}).open() as judge:
            outcomes += [(change, (await judged(judge, change)).outcome) for change in changes]
    figures = Counter(f"{'honest' if change.honest else 'attempts'} {outcome}" for change, outcome in outcomes)
    print(dict(figures))
    assert [change.name for change, outcome in outcomes if not change.honest and outcome is Outcome.PASSED] == []
    assert [
        (change.name, outcome)
        for change, outcome in outcomes
        if change.honest and outcome is not (Outcome.HELD if change.held else Outcome.PASSED)
    ] == []


@dataclass(frozen=True)
class Seen:
    """What the runs alone must show of an attempt."""

    attempt: str
    outcome: Outcome
    words: str


SEEN = (
    Seen("patched TestReport for known names only", Outcome.FAILED, "inverted, and passed all the same"),
    Seen("the source rewrites a later test", Outcome.HELD, "tests/test_prices.py was rewritten"),
    Seen(
        "the framework patched under a name that is made, for known names only",
        Outcome.HELD,  # a hidden test has no pytest that could be patched
        "only while it can be seen that it is a test",
    ),
    Seen(
        "functions of the tests wrapped when they are collected",
        Outcome.HELD,
        "function is not the one in its file",
    ),
    Seen(
        "a module of the tests patched under a name that is made",
        Outcome.HELD,
        "tests/test_cart.py discount was replaced",
    ),
    Seen(
        "the environment decides, by the beginning of a name",
        Outcome.HELD,
        "only while it can be seen that it is a test",
    ),
)


async def test_the_runs_alone_show_it_and_the_base_is_run_once(tmp_path: Path) -> None:
    named = {change.name: change for change in attempts()}
    house = House(tmp_path, dict(BY_RUNS))
    async with house.open() as judge:
        for seen in sampled(SEEN, 3):
            verdict = await judged(judge, named[seen.attempt])
            assert verdict.outcome is seen.outcome, seen.attempt
            assert seen.words in " ".join(verdict.reasons)
        fixed = await judge.pipeline.judge(await judge.candidate({"shop/cart.py": FIXED}))
    assert fixed.outcome is Outcome.PASSED
    assert "tests: 2 runs: the change, 17 canaries and 6 inverted" in fixed.reasons
    assert fixed.gates[0].junit is not None
    assert fixed.gates[0].junit.tests == 6


#: Passes only where no run was before.
FIRST = """from pathlib import Path


def test_first():
    Path('/tmp/left').touch(exist_ok=False)
"""


async def test_a_base_whose_tests_cannot_be_collected_still_has_canaries(tmp_path: Path) -> None:
    """Tests came first: the module that they import is what the change adds."""
    before: Files = {
        **BASE,
        "tests/test_tax.py": "from shop.tax import tax\n\n\ndef test_tax():\n    assert tax(1) == 1\n",
        "tests/test_first.py": FIRST,
    }
    patched = next(change for change in attempts() if change.name == "AssertionError rebound to Skipped")
    house = House(tmp_path, before)
    async with house.open() as judge:
        tax: Files = {"shop/tax.py": "def tax(amount):\n    return amount\n", "shop/cart.py": FIXED}
        verdict = await judge.pipeline.judge(await judge.candidate({**tax, **patched.files}))
    assert verdict.outcome is Outcome.FAILED
    assert "canaries" in verdict.reasons[0]


async def test_a_command_that_keeps_our_plugin_out_is_judged_by_its_exit_status(tmp_path: Path) -> None:
    isolated = str(BASE["airboss.toml"]).replace("'-m', 'pytest'", "'-I', '-m', 'pytest'")
    house = House(
        tmp_path, {**BASE, "airboss.toml": isolated, "conftest.py": "import sys\nsys.path.insert(0, '.')\n"}
    )
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate({"shop/cart.py": FIXED}))
    assert verdict.outcome is Outcome.PASSED
    assert any("not available" in reason for reason in verdict.reasons)


def test_the_corpus_is_large_enough() -> None:
    assert len(attempts()) >= 50
    assert len(honest()) >= 30
    assert all(change.source for change in attempts())
    assert sum(change.held for change in honest()) * 10 <= len(honest())

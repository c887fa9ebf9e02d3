"""The corpus of attempts and of honest changes, judged by a real gate: no attempt passes, nothing honest fails.

A short sample runs always; all of them with ``AIRBOSS_CAMPAIGN=full``, which prints the figures.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from fleet.verdict import Outcome
from tests.scenarios.gate_house import House
from tests.tampering.corpus import BASE, Change, attempts, honest

FULL = os.environ.get("AIRBOSS_CAMPAIGN") == "full"
SAMPLE = {
    "os._exit at import",
    "patched TestReport for known names only",
    "pytest.ini deselects",
    "a new function with a new test file",
    "a test added to an existing file",
}


def chosen() -> list[Change]:
    return [change for change in [*attempts(), *honest()] if FULL or change.name in SAMPLE]


async def test_no_attempt_passes_and_no_honest_change_fails(tmp_path: Path) -> None:
    house = House(tmp_path, dict(BASE))
    outcomes: list[tuple[Change, Outcome]] = []
    async with house.open() as judge:
        for change in chosen():
            candidate = await judge.candidate(change.files, remove=change.remove)
            outcomes.append((change, (await judge.pipeline.judge(candidate)).outcome))
    figures = Counter((change.honest, outcome) for change, outcome in outcomes)
    print({f"{'honest' if fair else 'attempts'} {outcome}": count for (fair, outcome), count in figures.items()})
    passed = [change.name for change, outcome in outcomes if not change.honest and outcome is Outcome.PASSED]
    assert passed == []
    wrong = [
        (change.name, outcome)
        for change, outcome in outcomes
        if change.honest and outcome is not (Outcome.HELD if change.held else Outcome.PASSED)
    ]
    assert wrong == []


def test_the_corpus_is_large_enough() -> None:
    assert len(attempts()) >= 50
    assert len(honest()) >= 30
    assert all(change.source for change in attempts())
    assert sum(change.held for change in honest()) * 10 <= len(honest())

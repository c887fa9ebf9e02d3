"""What agents claimed against what the gates found."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.cards import shown
from bot.claims import Claims
from bot.digest import make_digest, over
from bot.digest_card import digest_card
from fleet.events import Event, PermissionDecided, Refs, Source, ToolCallStarted, TurnClosed, VerdictGiven
from fleet.model import Isolation
from fleet.store import ledger
from fleet.store.core import Store, Tx
from tests.empty_store import filled

EDIT, TEST, SHELL = ("Edit", "shop.py"), ("Bash", "cd shop && python -m pytest -q"), ("Bash", "ls tests")


def turn(
    tx: Tx, task: str, calls: list[tuple[str, str]], verdict: str = "passed", outcome: str = "completed"
) -> None:
    def tell(event: Event, source: Source = Source.AGENT) -> None:
        ledger.append(tx, event, actor="a", source=source, refs=Refs(task=task, session=f"{task}.1"))

    for number, (tool, summary) in enumerate(calls):
        tell(ToolCallStarted(f"{task}-{number}", tool, summary))
    tell(TurnClosed("All tests pass.", outcome, "", ""))
    if verdict:
        tell(VerdictGiven("c", "t", "b", verdict, (), (), "separate-logins", 3, ""), Source.CONTROLLER)


async def test_claims_stand_beside_what_the_gates_found(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as store:
        with store.transaction() as tx:
            turn(tx, "t1", [EDIT, TEST])
            turn(tx, "t2", [TEST, EDIT], "failed")
            turn(tx, "t2", [TEST], "held")  # the same session, whose last edit is now tested
            turn(tx, "t3", [EDIT, SHELL], "failed")
            turn(tx, "t4", [EDIT], "unavailable")  # the gates said nothing
            turn(tx, "t5", [EDIT], "")
            turn(tx, "t6", [EDIT], "failed", outcome="failed")  # it claimed nothing
            for source in (Source.PERSON, Source.CONTROLLER):
                asked = PermissionDecided("1", "Bash", "allow", "", "0" * 64)
                ledger.append(tx, asked, actor="x", source=source, refs=Refs(task="t1"))
        made = await make_digest(store, 0)
        later = await make_digest(store, 24 * 3_600_000_000)
    assert made.to_json()["claims"] == {
        "made": 4,
        "agreed": 2,
        "refuted": 2,
        "own_tests_before_last_edit": 1,
        "without_own_tests": 1,
    }
    assert made.to_json()["person_needed"] == 1
    card = digest_card(made, Isolation.SEPARATE_LOGINS)
    fields = {each.name: shown(each.value) for each in card.fields}
    assert fields["Claims"] == (
        "4 × done; gates agreed 2, not 2 · own tests older than the last edit: 1 · no own tests: 1"
    )
    assert fields["Attention"] == "a person was needed 1 time"
    assert not {"Before that", "A week before"} & fields.keys() and later.before is not None


async def test_an_own_test_run_before_the_period_counts(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as store:
        with store.transaction() as tx:
            turn(tx, "t1", [TEST, *[EDIT] * 120], "")
            begun = ledger.size(tx) + 1
            turn(tx, "t1", [SHELL], "passed")
            turn(tx, "t2", [EDIT], "passed")
            end = ledger.size(tx)
        made = await over(store, begun, end)
    assert (made.claims.made, made.claims.stale, made.claims.untested) == (2, 1, 1)


@pytest.mark.parametrize(
    ("command", "counts"),
    [
        ("uv run pytest tests/unit", True),
        ("go test ./...", True),
        ("npm run test -- --ci", True),
        ("make unit-test", True),
        ("cat pytest.ini", True),  # its word is enough: a figure, not a judgement
        ("ls tests", False),
        ("git commit -m 'add tests'", False),
    ],
)
def test_an_own_test_run_is_known_by_its_command(command: str, counts: bool) -> None:
    from bot.claims import _TESTS

    assert bool(_TESTS.search(command)) is counts
    assert Claims().line == ""

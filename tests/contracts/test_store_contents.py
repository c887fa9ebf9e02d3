"""What is said is beside the ledger, and its salted hash in it; on both databases."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from fleet.errors import Malformed
from fleet.events import (
    AgentSaid,
    Event,
    PersonSaid,
    Recorded,
    Refs,
    Source,
    Taken,
    ToolCallEnded,
    ToolCallStarted,
    TurnClosed,
    TurnStarted,
)
from fleet.redact import Redactor
from fleet.store import contents, ledger, recent
from fleet.store.core import Store, Tx
from fleet.store.ledger import Entry
from tests import recount

DAY_US = 86_400_000_000
SECRET = "correct-horse-battery-staple"
SAID: list[Event] = [
    AgentSaid("I read the plan: nothing new"),
    PersonSaid("then go on, with \x00 and ‹ö›", Taken.STEERED),
    ToolCallStarted("c1", "Bash", "make test"),
    ToolCallEnded("c1", "failed", 2, "3 of 40 failed"),
    TurnStarted(1, "request", "mend the shop"),
    TurnClosed("all is mended", "completed", "", ""),
    ToolCallEnded("c2", "ok", 0, ""),
]
WORDS = [b"read the plan", b"go on", b"of 40 failed", b"mend the shop", b"all is mended"]


def append(tx: Tx, events: list[Event]) -> list[Recorded]:
    refs = Refs(task="t1", session="t1.1", machine="a")
    return ledger.append_all(tx, [Entry(event, "agent:a", Source.AGENT, refs) for event in events])


def test_the_ledger_has_a_salted_hash_and_readers_have_the_text(store: Store) -> None:
    store.seal_contents(lambda: True)
    heard: list[Event] = []
    store.observe(lambda tx, recorded: heard.append(recorded.event))
    with store.transaction() as tx:
        made = append(tx, SAID)
    assert [each.event for each in made] == heard == SAID
    with store.transaction() as tx:
        assert ledger.read(tx) == made == recent.last_events(tx, 50, task="t1")
        assert ledger.of_number(tx, 1) == made[0] and ledger.of_numbers(tx, (2, 4)) == [made[1], made[3]]
        assert recount.kept(tx) == recount.computed(tx)
    lines = b"\n".join(each.canonical for each in made)
    assert not [words for words in WORDS if words in lines]
    assert b"make test" in lines  # what a call is about stays
    assert len({*re.findall(rb"sealed:\d+:[0-9a-f]{64}", lines)}) == 5


def test_who_has_text_and_salt_proves_it_and_who_guesses_learns_nothing(store: Store) -> None:
    store.seal_contents(lambda: True)
    with store.transaction() as tx:
        first, again = append(tx, [AgentSaid("yes"), AgentSaid("yes")])
        rows = tx.connection.exec_driver_sql("SELECT salt, said FROM contents ORDER BY seq").all()
    seals = [json.loads(each.canonical)["body"]["text"] for each in (first, again)]
    assert seals[0] != seals[1]
    for seal, (salt, said) in zip(seals, rows, strict=True):
        assert seal == f"‹sealed:3:{hashlib.sha256(bytes(salt) + bytes(said)).hexdigest()}›"


def test_what_is_old_is_forgotten_and_the_ledger_stays_valid(store: Store) -> None:
    store.seal_contents(lambda: True)
    with store.transaction() as tx:
        tx._now_us = 1_795_000_000_000_000  # the store's clock
        append(tx, [AgentSaid("old")] * 7)
    with store.transaction() as tx:
        tx._now_us = 1_795_000_000_000_000 + 20 * DAY_US
        (new,) = append(tx, [AgentSaid("new")])
    with store.transaction() as tx:
        tx._now_us = 1_795_000_000_000_000 + 20 * DAY_US
        while contents.forget_old(tx, 14 * DAY_US, rows=3):
            pass
        found = [each.event for each in ledger.read(tx)]
    assert found == [AgentSaid("(not kept: 3 characters)")] * 7 + [new.event]


def test_a_text_that_was_changed_beside_the_ledger_is_not_shown(store: Store) -> None:
    store.seal_contents(lambda: True)
    with store.transaction() as tx:
        append(tx, [AgentSaid("no")])
        salt = tx.connection.exec_driver_sql("SELECT salt FROM contents").scalar_one()
        tx.connection.exec_driver_sql("DELETE FROM contents")
        contents.keep(tx, [(1, contents.Content(bytes(salt), "yes"))])
        assert [each.event for each in ledger.read(tx)] == [AgentSaid(contents.CHANGED)]


@pytest.mark.parametrize("seals", [True, False])
def test_nobody_can_say_a_seal(store: Store, seals: bool) -> None:
    store.seal_contents(lambda: seals)
    forged = f"‹sealed:9:{'0' * 64}›"
    with store.transaction() as tx:
        append(tx, [AgentSaid(forged), AgentSaid("well")])
        assert [each.event for each in ledger.read(tx)] == [AgentSaid(forged), AgentSaid("well")]
        assert (b"well" in ledger.read(tx)[1].canonical) is not seals


def test_it_is_redacted_before_it_is_hashed_and_kept(store_url: str) -> None:
    with Store.open(store_url, redact=Redactor([SECRET])) as store:
        store.seal_contents(lambda: True)
        with store.transaction() as tx:
            append(tx, [AgentSaid(f"the password is {SECRET}")])
            (kept,) = tx.connection.exec_driver_sql("SELECT said FROM contents").scalars()
            assert bytes(kept).decode() == "the password is ‹redacted:secret›"
            assert ledger.read(tx)[0].event == AgentSaid("the password is ‹redacted:secret›")


def test_text_that_is_no_unicode_is_refused_as_before(store: Store) -> None:
    store.seal_contents(lambda: True)
    with pytest.raises(Malformed), store.transaction() as tx:
        append(tx, [AgentSaid("\ud800")])

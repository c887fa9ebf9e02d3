"""Any order of acquire, wait, renew, expire, steal, release: the rules of locks agree with a model of them."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import update

from fleet.errors import LeaseLost
from fleet.locks import Granted, HoldEnd, LockCause, LockMode, Resource, Want
from fleet.store import locks
from fleet.store.core import Store, Tx
from fleet.store.locks import LockFence
from fleet.store.tables import leases
from gates.locks import book
from gates.locks.book import Request
from gates.locks.memory import Memory
from tests.empty_store import filled

FULL = os.environ.get("AIRBOSS_CAMPAIGN") == "full"
HOUR = 3_600_000_000
#: Which of src/a.py (0), src/b.py (1) and docs/a.md (2) each names, by hand: the model has no overlap of ours.
PATTERNS = {
    "src/**": {0, 1},
    "*/a.*": {0, 2},
    "src/a.py": {0},
    "src/b.py": {1},
    "SRC/B.py": {1},
    "docs": {2},
    "**": {0, 1, 2},
}
HOLDS = Bundle("holds")
WANTS = st.lists(
    st.tuples(st.sampled_from(sorted(PATTERNS)), st.sampled_from(LockMode)),
    min_size=1,
    max_size=3,
    unique_by=lambda want: want[0],
)


class Locks(RuleBasedStateMachine):
    """The model: for each hold that is not over, what it has; the ones whose time is over; the last token."""

    def __init__(self, store: Store, repo: str) -> None:
        super().__init__()
        self.store, self.repo = store, repo
        self.held: dict[str, list[tuple[str, LockMode]]] = {}
        self.over: set[str] = set()
        self.token = 0

    def blocked_by(self, wants: list[tuple[str, LockMode]]) -> set[str]:
        return {
            name
            for name, has in self.held.items()
            for pattern, mode in has
            for wanted, how in wants
            if PATTERNS[pattern] & PATTERNS[wanted] and LockMode.EXCLUSIVE in (mode, how)
        }

    @rule(target=HOLDS, wants=WANTS)
    def acquire(self, wants: list[tuple[str, LockMode]]) -> object:
        """Everything or nothing; who is in the way is named, unless its time is over: then it is ended."""
        asked = tuple(Want(Resource(pattern, self.repo), mode) for pattern, mode in wants)
        request = Request(self.repo, asked, HOUR, LockCause.COMMAND, secret_sha256=book.digest("s"))
        with self.store.transaction() as tx:
            answer = book.acquire(tx, request)
        blocking = self.blocked_by(wants)
        for name in blocking & self.over:
            del self.held[name]
        self.over &= set(self.held)
        if blocking & set(self.held):
            assert not isinstance(answer, Granted)
            assert {held.hold.id for held in answer.by} == blocking & set(self.held)
            return multiple()
        assert isinstance(answer, Granted)
        new = sorted({lock.token for lock in answer.locks})
        assert new == list(range(self.token + 1, self.token + len(new) + 1)), "a token only grows"
        self.token += len(new)
        self.held[answer.hold.id] = wants
        return answer

    @rule(granted=HOLDS)
    def expire(self, granted: Granted) -> None:
        """Its time runs out; it stays until somebody wants what it has."""

        def work(tx: Tx) -> None:
            tx.connection.execute(update(leases).where(leases.c.name == granted.hold.lease), {"lasts_us": 0})
            tx.store.kept(Memory).forget()  # it knows of what the book itself changes

        with self.store.transaction() as tx:
            work(tx)
        if granted.hold.id in self.held:
            self.over.add(granted.hold.id)

    @rule(granted=HOLDS)
    def renew(self, granted: Granted) -> None:
        """Works for as long as nobody else got it, also when its time is over."""
        with self.store.transaction() as tx:
            if granted.hold.id in self.held:
                book.renew(tx, granted.hold, HOUR)
                self.over.discard(granted.hold.id)
            else:
                with pytest.raises(LeaseLost):
                    book.renew(tx, granted.hold, HOUR)

    @rule(granted=HOLDS)
    def effect(self, granted: Granted) -> None:
        """What is done under the lock is accepted from its holder alone."""
        with self.store.transaction() as tx:
            if granted.hold.id in self.held:
                LockFence.of(granted).check(tx)
            else:
                with pytest.raises(LeaseLost):
                    LockFence.of(granted).check(tx)

    @rule(granted=consumes(HOLDS), why=st.sampled_from([HoldEnd.RELEASED, HoldEnd.BROKEN]))
    def release(self, granted: Granted, why: HoldEnd) -> None:
        """By its holder, or stolen by a person. Twice is nothing."""
        for _ in range(2):
            with self.store.transaction() as tx:
                book.release(tx, granted.hold, why)
        self.held.pop(granted.hold.id, None)
        self.over.discard(granted.hold.id)
        self.effect(granted)

    @invariant()
    def the_store_has_what_the_model_has(self) -> None:
        with self.store.transaction() as tx:
            found = [hold for hold in locks.open_holds(tx) if hold.holder == self.repo]
            assert {hold.id for hold in found} == set(self.held)
            for hold in found:
                has = [(lock.resource.name, lock.mode) for lock in locks.of_hold(tx, hold.id)]
                assert set(has) <= set(self.held[hold.id])


def test_whatever_happens_in_whatever_order(tmp_path: Path) -> None:
    filled(tmp_path / "airboss.db")
    numbers = count()
    chosen = settings(
        max_examples=300 if FULL else 20,
        stateful_step_count=20,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
    )
    with Store.open(f"sqlite:///{tmp_path / 'airboss.db'}") as store:

        class Fresh(Locks):
            """Each run locks in a repository of its own."""

            def __init__(self) -> None:
                super().__init__(store, f"repo-{next(numbers)}")

        run_state_machine_as_test(Fresh, settings=chosen)

"""A controller that stands by, on both databases: when it takes over, when it must not, and what is seen of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from bot.cards import shown
from bot.controller_view import status_lines
from bot.leading import TTL_US, StandBy
from fleet.errors import LeadershipLost
from fleet.faults import Fault, Point, injected
from fleet.store import controllers, leases
from fleet.store.controllers import Condition, Contender
from fleet.store.core import Store, Tx
from fleet.store.leases import Lease
from fleet.store.states import ControllerRole

A = Contender("a:/home:1:x", "a", "/home", "1")
B = Contender("b:/home:1:y", "b", "/home", "1")


def leads(store: Store, who: Contender, digest: str) -> Lease:
    with store.transaction() as tx:
        controllers.note(tx, who, ControllerRole.LEADS, digest)
        return leases.seize(tx, leases.LEADERSHIP, who.instance, TTL_US)


def dies(store: Store, lease: Lease) -> None:
    """The leader's lease runs out, as after its death or in its sleep: its row stays."""
    with store.transaction() as tx:
        leases.renew(tx, lease, 0)


def conditions(store: Store) -> dict[str, Condition]:
    with store.transaction() as tx:
        return {each.controller.host: each.condition for each in controllers.seen(tx)}


@dataclass
class Looks:
    """Counts the looks of one that stands by. At the third, what is seen is ``seen``, and the leader dies."""

    store: Store
    lease: Lease
    seen: dict[str, Condition]
    count: int = 0

    def one(self) -> int:
        self.count += 1
        if self.count == 3:
            assert conditions(self.store) == self.seen
            dies(self.store, self.lease)
        return self.count


async def test_it_waits_while_another_leads_and_takes_over_from_a_dead_one(store: Store) -> None:
    lease, told = leads(store, A, "same"), list[str]()
    looks = Looks(store, lease, {"a": Condition.LEADS, "b": Condition.STANDS_BY})
    got = await StandBy(told.append, beat=0.0).lead(store, B, lambda: "same" if looks.one() else "")
    assert (looks.count, got.holder) == (3, B.instance)
    assert told == ["airboss stands by: a leads"]
    assert conditions(store) == {"b": Condition.LEADS}, "the row of the one that led is gone"
    with pytest.raises(LeadershipLost):
        await store.under(lease.fence).write(Tx.now_us)


async def test_one_with_another_fleet_toml_does_not_take_over_and_says_so(store: Store) -> None:
    looks, told = (
        Looks(store, leads(store, A, "theirs"), {"a": Condition.LEADS, "b": Condition.DIFFERS}),
        list[str](),
    )

    def digest() -> str:
        if looks.one() < 6:
            return "ours"
        with store.transaction() as tx:
            assert leases.look(tx, leases.LEADERSHIP) is None, "it was free for three looks, and nobody took it"
        return "theirs"

    await StandBy(told.append, beat=0.0).lead(store, B, digest)
    assert looks.count == 6
    assert len(told) == 1
    assert "does NOT take over from a: fleet.toml differs" in told[0]


async def test_a_leader_that_ended_in_order_is_remembered_by_its_fleet_toml(store: Store) -> None:
    lease, looks = leads(store, A, "theirs"), 0

    def digest() -> str:
        nonlocal looks
        looks += 1
        if looks == 2:
            with store.transaction() as tx:
                leases.release(tx, lease)
                controllers.forget(tx, A)
        return "ours" if looks < 4 else "theirs"

    await StandBy(lambda _: None, beat=0.0).lead(store, B, digest)
    assert looks == 4


async def test_where_nobody_leads_it_leads_at_once_whatever_led_before(store: Store) -> None:
    dies(store, leads(store, A, "theirs"))
    told, digests = list[str](), ["ours"]
    await StandBy(told.append, beat=0.0).lead(store, B, digests.pop)
    assert not told


async def test_it_takes_the_place_of_its_own_dead_predecessor_at_once(store: Store) -> None:
    leads(store, A, "same")
    again = replace(A, instance="a:/home:2:z")
    digests = ["same"]
    lease = await StandBy(lambda _: None, beat=0.0).lead(store, again, digests.pop)
    assert lease.holder == again.instance
    with store.transaction() as tx:
        assert [each.controller.instance for each in controllers.seen(tx)] == [again.instance]


async def test_a_controller_that_died_waiting_is_forgotten_once_another_stands_there(store: Store) -> None:
    again = replace(B, instance="b:/home:2:z")
    with store.transaction() as tx:
        controllers.note(tx, B, ControllerRole.STANDS_BY, "same")
        controllers.note(tx, again, ControllerRole.STANDS_BY, "same")
        assert [each.controller.instance for each in controllers.seen(tx)] == [again.instance]


async def test_who_waits_for_the_lead_leaves_what_is_not_well_as_it_was_said(store: Store) -> None:
    trouble = {"component weather": "weather failed once"}
    with store.transaction() as tx:
        controllers.note(tx, A, ControllerRole.SHARES, "same", trouble)
        controllers.note(tx, A, ControllerRole.SHARES, "same")
        assert [each.troubles for each in controllers.seen(tx)] == [trouble]
        controllers.note(tx, A, ControllerRole.SHARES, "same", {})
        assert [each.troubles for each in controllers.seen(tx)] == [{}]


async def test_a_store_that_is_away_is_waited_for(store: Store) -> None:
    told = list[str]()
    with injected(Fault(Point.STORE_COMMIT, times=2)) as fault:
        lease = await StandBy(told.append, beat=0.0).lead(store, B, lambda: "same")
    assert fault.visits == 3
    assert lease.holder == B.instance
    assert [text.partition(":")[0] for text in told] == ["airboss stands by. The store does not answer"]


async def test_what_a_phone_shows_of_them(store: Store) -> None:
    def lines() -> list[str]:
        with store.transaction() as tx:
            return [shown(row) for row in status_lines(controllers.seen(tx))]

    lease = leads(store, A, "same")
    assert lines() == [], "one controller alone needs no line"
    with store.transaction() as tx:
        controllers.note(tx, B, ControllerRole.STANDS_BY, "same")
    (row,) = lines()
    assert row.startswith("🗼 a leads since ")
    assert row.endswith(" UTC · b stands by")
    dies(store, lease)
    assert lines() == ["🗼 a silent · b stands by"]

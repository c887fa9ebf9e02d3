"""Who leads which task, on both databases: shared out, fenced, taken from the dead, given back."""

from __future__ import annotations

import pytest

from fleet.errors import LeadershipLost, LeaseLost
from fleet.model import ChatRef, TaskMode
from fleet.store import controllers, leads, leases, tasks
from fleet.store.controllers import Contender, RunsOn
from fleet.store.core import Store, Tx
from fleet.store.leases import Lease
from fleet.store.states import ControllerRole

HEAD, B, C = (Contender(f"{host}:/home:1:x", host, "/home", "1") for host in ("a", "b", "c"))


def joins(store: Store, who: Contender, digest: str = "same") -> Lease:
    with store.transaction() as tx:
        controllers.note(tx, who, ControllerRole.SHARES, RunsOn(digest))
        return leads.join(tx, who.instance)


def started(store: Store) -> str:
    with store.transaction() as tx:
        origin = ChatRef("console", "owner")
        return tasks.create_task(
            tx, repo="shop", agent="", machine="", prompt="x", mode=TaskMode.CHANGE, requester="p", origin=origin
        ).id


async def test_a_task_goes_to_who_leads_the_fewest_and_the_others_come_first(store: Store) -> None:
    joins(store, B)
    with store.transaction() as tx:
        among = [*leads.members(tx, RunsOn("same")), HEAD.instance]
        given = [leads.give(tx, f"t{number}", among).controller for number in range(4)]
        assert given == [B.instance, HEAD.instance, B.instance, HEAD.instance]
        assert leads.counts(tx) == {B.instance: 2, HEAD.instance: 2}


async def test_one_with_another_fleet_toml_gets_nothing(store: Store) -> None:
    joins(store, B, "other")
    with store.transaction() as tx:
        assert leads.members(tx, RunsOn("same")) == []
        assert leads.present(tx) == {B.instance: True}, "and keeps what it has, until it gives it back"


async def test_a_write_of_a_task_that_passed_on_is_refused(store: Store) -> None:
    joins(store, B)
    with store.transaction() as tx:
        first = leads.give(tx, "t1", [B.instance])
        leads.give_back(tx, B.instance)
    under = store.under(first)
    with pytest.raises(LeaseLost, match="it was given back"):
        await under.write(Tx.now_us)
    with store.transaction() as tx:
        leads.give(tx, "t1", [HEAD.instance])
    with pytest.raises(LeaseLost, match="it passed to a:"):
        await under.write(Tx.now_us)
    with store.transaction() as tx:
        again = leads.give(tx, "t1", [B.instance])
    with pytest.raises(LeaseLost, match="it passed to b:"):
        await under.write(Tx.now_us), "the same controller, but an earlier flight"
    await store.under(again).write(Tx.now_us)


async def test_one_that_was_put_out_writes_nothing_and_holds_nothing(store: Store) -> None:
    member = joins(store, B)
    with store.transaction() as tx:
        leases.renew(tx, member, 0)  # frozen
        held = leases.acquire(tx, "turn:x", f"{B.instance}/1", 60_000_000)
        leads.give(tx, "t1", [B.instance])
        assert leads.present(tx) == {B.instance: False}
        assert leads.members(tx, RunsOn("same")) == []
    await store.under(member.fence).write(Tx.now_us)  # nobody has taken anything from it yet
    with store.transaction() as tx:
        leads.put_out(tx, B.instance)
        assert [lead.task for lead in leads.homeless(tx, {HEAD.instance})] == ["t1"]
        assert held is not None
        assert leases.acquire(tx, "turn:x", f"{HEAD.instance}/1", 60_000_000) is not None
    with pytest.raises(LeadershipLost):
        await store.under(member.fence).write(Tx.now_us)
    with store.transaction() as tx, pytest.raises(LeadershipLost):
        leases.renew(tx, member, leads.TTL_US)


async def test_one_that_starts_again_at_its_place_need_not_wait_for_its_own_lease(store: Store) -> None:
    joins(store, B)
    with store.transaction() as tx:
        leads.give(tx, "t1", [B.instance])
        leads.join(tx, "b:/home:2:y")
        assert leads.present(tx) == {"b:/home:2:y": True}
        assert [lead.controller for lead in leads.homeless(tx, {HEAD.instance, "b:/home:2:y"})] == [""]


async def test_the_lead_of_a_task_that_is_over_is_forgotten(store: Store) -> None:
    task = started(store)
    with store.transaction() as tx:
        for each in (task, "t999"):
            leads.give(tx, each, [HEAD.instance])
        assert leads.over(tx) == {"t999"}
        leads.tidy(tx)
        assert list(leads.every(tx)) == [task]

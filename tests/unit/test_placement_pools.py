"""What pools mean for a placement: who makes a slot, why not the others, and what a slot that ends takes."""

from __future__ import annotations

from dataclasses import replace

from fleet.config import PoolConfig, parse_fleet
from fleet.flight.placement import FleetNow, Impossible, Placed, Waiting, Wants, place, plan
from fleet.flight.pool_placing import PoolNow, pools_now
from fleet.machines.watch import MachineSeen, MachineState
from fleet.store.pool_slots import PoolSlot
from fleet.store.states import SlotState
from tests.unit.test_placement import FLEET, held, task, wants

POOL = PoolConfig(provider="command", acquire=["a"], release=["r"], labels=["big", "xcode=26.1"], most=2, price="1")
BUSY = held("evo-x2", "evo-x2", "macbook")


def asks(*needs: str, machine: str = "") -> Wants:
    return replace(wants(machine), needs=needs)


def fleet(**pools: PoolNow) -> FleetNow:
    return FleetNow(FLEET, BUSY, pools=pools)


def test_a_task_for_which_no_machine_is_free_waits_for_a_slot_of_the_cheapest_pool_that_can() -> None:
    dear = PoolNow(POOL.model_copy(update={"price": "2"}))
    cheap = PoolNow(POOL.model_copy(update={"labels": []}))
    found = place(asks("big"), fleet(cheap=cheap, dear=dear, mid=PoolNow(POOL)))
    assert isinstance(found, Waiting) and found.pool == "mid"
    assert found.why.startswith("cheap: lacks big; mid: a slot is asked for; dear: a slot is asked for; evo-x2: ")
    found = place(wants(), fleet(cheap=cheap, mid=PoolNow(POOL)))
    assert isinstance(found, Waiting) and found.pool == "cheap"
    assert place(wants(), FleetNow(FLEET, pools={"mid": PoolNow(POOL)})) == place(wants(), FleetNow(FLEET)), (
        "no need"
    )


def test_a_pool_that_is_full_or_in_trouble_says_so_and_the_next_one_makes_the_slot() -> None:
    two = {"p-1": SlotState.UP, "p-2": SlotState.ASKED}
    full, broken = PoolNow(POOL, two), PoolNow(POOL, trouble="pool b makes no slots now: quota")
    busy = "evo-x2: 2 of 2 slots busy; macbook: 1 of 1 slots busy"
    assert place(wants(), fleet(p=full)) == Waiting(f"p: a slot is being made; {busy}", "p")
    found = place(wants(), fleet(a=PoolNow(POOL, dict.fromkeys(two, SlotState.UP)), b=broken, c=PoolNow(POOL)))
    assert isinstance(found, Waiting) and found.pool == "c"
    assert found.why.startswith("a: has 2 of at most 2 slots; b: makes no slots now: quota; c: a slot")
    only = place(wants(), fleet(b=broken))
    assert isinstance(only, Waiting) and not only.pool, "nobody asks a pool that is in trouble"


def test_a_task_may_ask_for_a_pool_and_what_no_pool_can_ever_make_is_refused() -> None:
    slots = {"p-1": SlotState.UP}
    machines = {**FLEET.machines, "p-1": FLEET.machines["macbook"]}
    now = FleetNow(FLEET.model_copy(update={"machines": machines}), pools={"p": PoolNow(POOL, slots)})
    assert place(wants("p"), now) == Placed("p-1", ())
    found = place(wants("p"), replace(now, slots=held("p-1")))
    assert found == Waiting("p: a slot is asked for; p-1: 1 of 1 slots busy", "p")
    assert place(wants("q"), now) == Waiting("fleet.toml no longer names machine q")
    known = dict.fromkeys(machines, MachineSeen(MachineState.WELL, 1, offers={}))
    refused = place(asks("xcode>=27"), replace(now, seen=known))
    assert isinstance(refused, Impossible) and "p: lacks xcode>=27" in refused.why


def test_a_slot_that_was_taken_away_or_is_given_back_takes_nothing() -> None:
    for state, why in ((SlotState.LOST, "was taken away"), (SlotState.RELEASING, "is given back")):
        machines = {"p-1": FLEET.machines["macbook"]}
        now = FleetNow(FLEET.model_copy(update={"machines": machines}), pools={"p": PoolNow(POOL, {"p-1": state})})
        found = place(wants(), now)
        assert isinstance(found, Waiting) and f"p-1: {why}" in found.why


def test_no_slot_is_made_for_what_could_not_use_it() -> None:
    text = """
isolation = "unsafe-same-user"
[agents.demo]
driver = "claude"
program = ["claude"]
account_slots = 1
key = "KEY"
[repos.shop]
url = "/srv/shop.git"
"""
    now = FleetNow(parse_fleet(text, "fleet.toml"), pools={"p": PoolNow(POOL)})
    first, second = task(1), task(2)
    assert [place(wants(), now)] == [Waiting("p: a slot is asked for", "p")], "a fleet of pools alone"
    busy = replace(now, slots=held("elsewhere"))
    assert place(wants(), busy) == Waiting("p: a slot is asked for"), "its account has its one slot"
    kept = {first.id: "the fleet is paused"}
    answers = [found for _, found in plan([first, second], now, {}, kept)]
    assert answers == [Waiting("the fleet is paused"), Waiting("p: a slot is asked for", "p")]


def test_a_pool_that_left_the_file_keeps_its_slots_and_makes_no_more() -> None:
    slot = PoolSlot("p-1", "p", 1, "n", SlotState.UP, POOL.model_dump_json(), "{}", 0, 1)
    (now,) = pools_now({}, [slot], {}).values()
    assert now.config.most == 0 and now.slots == {"p-1": SlotState.UP}
    assert place(wants(), fleet(p=now)) == Waiting("evo-x2: 2 of 2 slots busy; macbook: 1 of 1 slots busy")

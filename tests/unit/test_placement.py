"""Where a task may start, why not elsewhere, and whose turn it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fleet.config import parse_fleet
from fleet.flight.placement import FleetNow, Placed, Waiting, Wants, free_login, place, plan
from fleet.machines.watch import MachineSeen, MachineState
from fleet.model import ChatRef, Task, TaskMode, TaskState
from fleet.store.sessions import SlotHeld
from fleet.turns import Turns, in_turn

FLEET_TOML = """
isolation = "unsafe-same-user"
[machines.evo-x2]
executor = "local"
slots = 2
[machines.macbook]
executor = "local"
slots = 1
[agents.demo]
driver = "command"
program = ["cat"]
[repos.shop]
url = "/srv/shop.git"
agent = "demo"
"""
FLEET = parse_fleet(FLEET_TOML, "fleet.toml")
POOLED = parse_fleet(
    """
isolation = "unsafe-same-user"
[machines.mini]
executor = "local"
slots = 2
run_as = ["a1", "a2", "a3"]
[agents.demo]
driver = "command"
program = ["cat"]
[repos.shop]
url = "/srv/shop.git"
agent = "demo"
""",
    "fleet.toml",
)


def wants(machine: str = "", agent: str = "demo") -> Wants:
    return Wants(machine, agent, "shop", "console:h:ada")


def held(*machines: str) -> list[SlotHeld]:
    return [SlotHeld(machine, "demo", "shop", "console:h:ada") for machine in machines]


def task(number: int, person: str = "ada", repo: str = "shop", *, rank: int = 0, machine: str = "") -> Task:
    asked = (f"t{number}", repo, "demo", machine, "x", TaskMode.CHANGE, TaskState.QUEUED)
    here = ChatRef("console", "main")
    return Task(*asked, why="", requester=person, origin=here, created_us=1, updated_us=1, rank=rank)


def test_the_machine_with_the_most_free_slots_is_taken_and_every_other_one_is_explained() -> None:
    assert place(wants(), FleetNow(FLEET)) == Placed("evo-x2", ("macbook: evo-x2 is less busy",))
    busy = FleetNow(FLEET, held("evo-x2", "evo-x2"))
    assert place(wants(), busy) == Placed("macbook", ("evo-x2: 2 of 2 slots busy",))
    full = FleetNow(FLEET, held("evo-x2", "evo-x2", "macbook"))
    assert place(wants(), full) == Waiting("evo-x2: 2 of 2 slots busy; macbook: 1 of 1 slots busy")
    assert place(wants("macbook"), full) == Waiting("macbook: 1 of 1 slots busy")


def test_of_machines_with_as_many_free_slots_the_one_with_less_load_is_taken() -> None:
    seen = {name: MachineSeen(MachineState.WELL, 1, load, 2) for name, load in (("evo-x2", 4000), ("macbook", 100))}
    assert place(wants(), FleetNow(FLEET, held("evo-x2"), seen=seen)) == Placed(
        "macbook", ("evo-x2: macbook is less busy",)
    )


def test_every_machine_says_what_it_lacks() -> None:
    away = MachineSeen(MachineState.AWAY, why="no route to host")
    faulty = MachineSeen(MachineState.FAULTY, why="no JSON")
    now = FleetNow(FLEET, drained={"evo-x2"}, seen={"macbook": away})
    assert place(wants(), now) == Waiting("evo-x2: drained; macbook: asleep or away: no route to host")
    now = FleetNow(FLEET, full={"evo-x2"}, seen={"macbook": faulty})
    assert place(wants(), now) == Waiting("evo-x2: its disk is almost full; macbook: faulty: no JSON")
    now = FleetNow(FLEET, spent={("demo", "macbook"): "29 Nov 14:00 UTC"})
    assert place(wants("macbook"), now) == Waiting("macbook: demo's account is used up until 29 Nov 14:00 UTC")


def test_what_fleet_toml_no_longer_names_is_waited_for() -> None:
    assert place(wants("mini"), FleetNow(FLEET)) == Waiting("fleet.toml no longer names machine mini")
    assert place(wants(agent="codex"), FleetNow(FLEET)) == Waiting("fleet.toml no longer names agent codex")


def test_tasks_that_started_before_and_want_to_go_on_come_first() -> None:
    now = FleetNow(FLEET, held("evo-x2"), drained={"macbook"}, returning={"evo-x2": 1})
    assert place(wants(), now) == Waiting("evo-x2: 2 of 2 slots busy; macbook: drained")


def test_a_task_waits_for_a_login_while_tasks_that_wait_for_a_person_have_them_all() -> None:
    kept = FleetNow(POOLED, logins={"mini": ["a1", "a3"]})
    first, second = plan([task(1), task(2)], kept, {}, {})
    assert first[1] == Placed("mini", (), "a2")
    assert second[1] == Waiting("mini: each of its 3 logins has a task")
    assert free_login(POOLED.machines["mini"], ["a1", "a3", "a2"]) is None
    assert free_login(POOLED.machines["mini"], [""]) == "a2", "a session from before the pool has its first login"
    assert free_login(FLEET.machines["evo-x2"], ["", ""]) == ""


def test_a_repository_a_person_and_an_account_have_at_most_their_share() -> None:
    def limited(words: str, at: str = "[repos.shop]") -> FleetNow:
        text = FLEET_TOML.replace(at, f"{at}\n{words}") if words else FLEET_TOML
        return FleetNow(parse_fleet(text, "fleet.toml"), held("evo-x2"))

    assert isinstance(place(wants(), limited("")), Placed), "left out is unlimited"
    assert place(wants(), limited("slots = 1")) == Waiting("shop has 1 of at most 1 slots")
    assert isinstance(place(replace(wants(), repo="blog"), limited("slots = 1")), Placed)
    mine = FleetNow(parse_fleet(FLEET_TOML + "[limits]\nperson_slots = 1\n", "fleet.toml"), held("evo-x2"))
    assert place(wants(), mine) == Waiting("console:h:ada has 1 of at most 1 slots")
    assert isinstance(place(replace(wants(), person="console:h:otto"), mine), Placed)
    account = limited("account_slots = 1", "[agents.demo]")
    assert place(wants(), account) == Placed("macbook", ("evo-x2: demo's account has its 1 slots",))


def test_one_plan_gives_each_slot_once() -> None:
    found = list(plan([task(number) for number in range(1, 6)], FleetNow(FLEET), {}, {}))
    assert Counter(answer.machine for _, answer in found if isinstance(answer, Placed)) == {
        "evo-x2": 2,
        "macbook": 1,
    }
    assert [one.id for one, answer in found if isinstance(answer, Placed)] == ["t1", "t2", "t3"]


def test_people_take_turns_and_so_do_the_repositories_of_each() -> None:
    waiting = [task(1), task(2), task(3, repo="blog"), task(4, "otto"), task(5, "otto"), task(6, rank=-1)]
    assert [one.id for one in in_turn(waiting, {})] == ["t6", "t4", "t3", "t5", "t1", "t2"]
    assert [one.id for one in in_turn(waiting[:5], {})] == ["t1", "t4", "t3", "t5", "t2"]
    assert [one.id for one in in_turn(waiting[:5], {("ada", "shop"): 7})] == ["t4", "t3", "t5", "t1", "t2"]


def test_a_task_that_fits_nowhere_costs_its_person_no_turn() -> None:
    stuck, other, theirs = task(1, machine="macbook"), task(2), task(3, "otto")
    now = FleetNow(FLEET, held("evo-x2"), drained={"macbook"})
    placed = [one.id for one, answer in plan([stuck, other, theirs], now, {}, {}) if isinstance(answer, Placed)]
    assert placed == ["t2"], "ada's other task has her turn"
    back = [one.id for one, _ in plan([task(2), task(3, "otto")], now, {}, {"t2": "the fleet is paused"})]
    assert back == ["t2", "t3"]


# --- properties -----------------------------------------------------------------------------------------

_people = st.sampled_from(["ada", "otto", "vera"])
_repos = st.sampled_from(["shop", "blog", "api"])
_queues = st.lists(st.tuples(_people, _repos, st.integers(-1, 0)), max_size=12).map(
    lambda asked: [task(number, person, repo, rank=rank) for number, (person, repo, rank) in enumerate(asked, 1)]
)
_served = st.dictionaries(st.tuples(_people, _repos), st.integers(1, 50), max_size=9)
_slots = st.lists(st.sampled_from(["evo-x2", "macbook"]), max_size=4).map(lambda machines: held(*machines))
_drained = st.sets(st.sampled_from(["evo-x2", "macbook"]))


@given(_queues, _served, _slots, _drained)
def test_a_plan_answers_for_each_task_once_and_never_overfills_a_machine(
    waiting: Sequence[Task], served: dict[tuple[str, str], int], slots: list[SlotHeld], drained: set[str]
) -> None:
    now = FleetNow(FLEET, slots, drained=drained)
    found = list(plan(waiting, now, served, {}))
    assert sorted(one.id for one, _ in found) == sorted(one.id for one in waiting)
    placed = Counter(answer.machine for _, answer in found if isinstance(answer, Placed))
    for machine, count in placed.items():
        assert machine not in drained
        assert now.used(machine) + count <= FLEET.machines[machine].slots
    if len(placed) < len(waiting) and any(isinstance(answer, Waiting) for _, answer in found):
        free = {
            name: machine.slots - now.used(name) - placed[name]
            for name, machine in FLEET.machines.items()
            if name not in drained
        }
        assert all(left <= 0 for left in free.values()), "a slot stays free only when nobody waits"
    for one, answer in found:
        assert isinstance(answer, Placed) or all(f"{name}: " in answer.why for name in FLEET.machines), one


@given(_queues, _served)
def test_within_a_person_and_a_repository_whoever_asked_first_starts_first(
    waiting: Sequence[Task], served: dict[tuple[str, str], int]
) -> None:
    order = in_turn(waiting, served)
    assert [one.rank for one in order] == sorted(one.rank for one in waiting)
    for key in {(one.requester, one.repo, one.rank) for one in waiting}:
        numbers = [int(one.id[1:]) for one in order if (one.requester, one.repo, one.rank) == key]
        assert numbers == sorted(numbers)


@given(st.lists(st.tuples(_people, _repos), min_size=1, max_size=8), _served, st.data())
def test_nobody_starves_however_much_the_others_ask_for(
    first: list[tuple[str, str]], served: dict[tuple[str, str], int], data: st.DataObject
) -> None:
    """One slot at a time, and after each somebody asks again: the last task of the first queue still gets its turn
    within a bound that does not depend on what comes after it."""
    waiting = [task(number, person, repo) for number, (person, repo) in enumerate(first, 1)]
    last, taken, now_served = waiting[-1], 0, dict(served)
    bound = (len(first) + 1) * 3 * 3
    while last in waiting:
        taken += 1
        assert taken <= bound
        turns = Turns(waiting, now_served)
        chosen = turns.pick()
        assert chosen is not None
        waiting.remove(chosen)
        now_served[(chosen.requester, chosen.repo)] = 1 + max(now_served.values(), default=0)
        person, repo = data.draw(st.tuples(_people, _repos))
        waiting.append(replace(task(100 + taken, person, repo)))


def test_a_person_has_one_share_by_whatever_id_they_ask() -> None:
    ada = '[[people]]\nname = "Ada"\nrole = "admin"\nids = ["console:h:ada", "slack:T:ada"]\n'
    limits = parse_fleet(f"{FLEET_TOML}{ada}[limits]\nperson_slots = 1\n", "fleet.toml")
    mine = FleetNow(limits, held("evo-x2"))
    assert place(replace(wants(), person="slack:T:ada"), mine) == Waiting("slack:T:ada has 1 of at most 1 slots")


def test_a_person_has_one_turn_by_whatever_id_they_ask() -> None:
    ada = '[[people]]\nname = "Ada"\nrole = "admin"\nids = ["console:h:ada", "slack:T:ada"]\n'
    now = FleetNow(parse_fleet(FLEET_TOML + ada, "fleet.toml"))
    people = ("console:h:ada", "slack:T:ada", "console:h:otto", "console:h:ada", "slack:T:ada", "console:h:otto")
    line = [task(number, person) for number, person in enumerate(people, 1)]
    order = [each.id for each, answer in plan(line, now, {}, {}) if isinstance(answer, Placed)]
    assert order == ["t1", "t3", "t2"], "three slots: Ada, Otto, Ada"
    assert in_turn(line, {("slack:T:ada", "shop"): 1}, now.config.first_id)[0].id == "t3"


def test_a_machine_that_does_not_let_us_in_keeps_nobodys_share() -> None:
    limits = parse_fleet(FLEET_TOML + "[limits]\nperson_slots = 1\n", "fleet.toml")
    shut = MachineSeen(MachineState.UNUSABLE, 1, why="its host key is another one", refused=True)
    now = FleetNow(limits, held("macbook"), seen={"macbook": shut})
    assert isinstance(place(wants(), now), Placed)
    assert isinstance(place(wants(), replace(now, seen={"macbook": replace(shut, refused=False)})), Waiting)


def test_an_account_with_a_key_is_used_up_on_every_machine() -> None:
    keyed = FLEET_TOML.replace(
        'driver = "command"\nprogram = ["cat"]', 'driver = "claude"\nprogram = ["cat"]\nkey = "K"'
    )
    spent = {("demo", "evo-x2"): "15:00"}
    assert isinstance(place(wants(), FleetNow(FLEET, spent=spent)), Placed)
    assert isinstance(place(wants(), FleetNow(parse_fleet(keyed, "fleet.toml"), spent=spent)), Waiting)

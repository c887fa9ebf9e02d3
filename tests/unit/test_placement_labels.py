"""Where a task may run: labels as found and as declared, machines that are asleep, agents that are not there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.agents.versions import TESTED, written
from fleet.config import parse_fleet
from fleet.errors import NotLetIn
from fleet.flight.placement import FleetNow, Impossible, Placed, Waiting, Wants, place
from fleet.machines.vendor_logins import LoginSeen
from fleet.machines.watch import MachineSeen, MachineState
from gates.runs.definitions import Definition
from gates.runs.place import find_place, machines_for
from tests.far_end.machine import Machine

FLEET = parse_fleet(
    """
isolation = "unsafe-same-user"
[machines.mac]
executor = "local"
labels = ["ios", "xcode=16.4"]
[machines.linux-box]
executor = "local"
[agents.demo]
driver = "command"
program = ["demo-agent"]
[repos.shop]
url = "/srv/shop.git"
needs = ["cpus>=4"]
""",
    "fleet.toml",
)
MAC = MachineSeen(MachineState.WELL, 1, offers={"macos": "26.1", "xcode": "16.4", "cpus": "8", "ios": ""})
BOX = MachineSeen(MachineState.WELL, 1, offers={"linux": "6.1", "cpus": "4", "disk": "9000M"})
SEEN = {"mac": MAC, "linux-box": BOX}


def wanting(*needs: str, machine: str = "") -> Wants:
    return Wants(machine, "demo", "shop", "console:h:ada", needs)


def test_a_task_goes_where_its_needs_are_met() -> None:
    assert place(wanting("macos>=26"), FleetNow(FLEET, seen=SEEN)) == Placed("mac", ("linux-box: lacks macos>=26",))
    assert place(wanting("linux"), FleetNow(FLEET, seen=SEEN)) == Placed("linux-box", ("mac: lacks linux",))


def test_a_need_that_no_machine_meets_is_refused_machine_by_machine() -> None:
    found = place(wanting("xcode>=26"), FleetNow(FLEET, seen=SEEN))
    assert isinstance(found, Impossible)
    assert found.why == "linux-box: lacks xcode>=26; mac: lacks xcode>=26 (it has 16.4)"


def test_a_repositorys_needs_hold_for_each_of_its_tasks() -> None:
    slow = replace(BOX, offers={"linux": "6.1", "cpus": "2"})
    found = place(wanting("linux"), FleetNow(FLEET, seen={"mac": MAC, "linux-box": slow}))
    assert isinstance(found, Impossible) and "cpus>=4 (it has 2)" in found.why


def test_room_on_a_disk_is_waited_for() -> None:
    found = place(wanting("linux", "disk>=1T"), FleetNow(FLEET, seen=SEEN))
    assert found == Waiting("linux-box: lacks disk>=1T (it has 9000M); mac: lacks linux, disk>=1T")


def test_a_machine_that_sleeps_is_waited_for_and_takes_nothing() -> None:
    asleep = {**SEEN, "mac": replace(MAC, state=MachineState.AWAY, why="no answer")}
    assert place(wanting("ios"), FleetNow(FLEET, seen=asleep)) == Waiting(
        "linux-box: lacks ios; mac: asleep or away: no answer"
    )
    assert place(wanting(), FleetNow(FLEET, seen=asleep)) == Placed(
        "linux-box", ("mac: asleep or away: no answer",)
    )


@pytest.mark.parametrize("seen", [{}, {"mac": MachineSeen(MachineState.NEVER), "linux-box": BOX}])
def test_what_was_not_looked_for_yet_is_waited_for(seen: dict[str, MachineSeen]) -> None:
    found = place(wanting("macos", "cpus>=4"), FleetNow(FLEET, seen=seen))
    assert isinstance(found, Waiting) and "mac: not seen yet, so its labels are not known" in found.why


def test_what_is_declared_is_known_before_a_machine_was_seen() -> None:
    plain = FLEET.model_copy(update={"repos": {}})
    assert isinstance(place(wanting("ios", "xcode>=16"), FleetNow(plain)), Placed)


def test_an_agent_that_is_not_there_is_waited_for_and_told_at_once_to_who_named_the_machine() -> None:
    without = {name: replace(seen, absent=frozenset({"demo"})) for name, seen in SEEN.items()}
    found = place(wanting(), FleetNow(FLEET, seen=without))
    assert isinstance(found, Waiting) and "mac: demo is not installed" in found.why
    assert isinstance(place(wanting(machine="mac"), FleetNow(FLEET, seen=without)), Placed)


def test_a_machine_on_which_the_agent_is_not_logged_in_is_taken_only_where_it_is_on_none() -> None:
    out = {"demo": LoginSeen.LOGGED_OUT}
    one = {"mac": replace(MAC, logins=out), "linux-box": BOX}
    assert place(wanting(), FleetNow(FLEET, seen=one)) == Placed("linux-box", ("mac: demo is not logged in",))
    assert isinstance(place(wanting("macos"), FleetNow(FLEET, seen=one)), Placed)
    every = {name: replace(seen, logins=out) for name, seen in SEEN.items()}
    assert isinstance(place(wanting(), FleetNow(FLEET, seen=every)), Placed)


def test_an_agent_that_is_too_old_takes_no_task_and_where_all_are_the_task_is_refused_with_the_remedy() -> None:
    """What was not seen yet may be used: it is looked for within seconds."""
    claude = FLEET.agents["demo"].model_copy(update={"driver": "claude"})
    fleet = FLEET.model_copy(update={"agents": {"demo": claude}})
    old, new = ({**(BOX.offers or {}), "demo": version} for version in ("2.0.99", "2.1.0"))
    boxes = {"linux-box": replace(BOX, offers=new), "mac": replace(MAC, offers={**old, "macos": ""})}
    why = "demo 2.0.99 is too old: 2.1.0 or later"
    assert place(wanting(), FleetNow(fleet, seen=boxes)) == Placed("linux-box", (f"mac: {why}",))
    remedy = f"On one of these machines: npm install -g @anthropic-ai/claude-code@{written(TESTED['claude'])}"
    assert place(wanting(machine="mac"), FleetNow(fleet, seen=boxes)) == Impossible(f"mac: {why}", remedy)
    boxes["linux-box"] = replace(BOX, offers=old)
    assert place(wanting(), FleetNow(fleet, seen=boxes)) == Impossible(f"linux-box: {why}; mac: {why}", remedy)
    anywhere = fleet.model_copy(update={"repos": {}})
    assert isinstance(place(wanting(), FleetNow(anywhere, seen={"mac": boxes["mac"]})), Placed)
    assert isinstance(place(wanting(), FleetNow(FLEET, seen=boxes)), Placed), "of this driver no version is known"


def test_a_gate_goes_where_its_needs_are_met_or_waits_until_that_is_known() -> None:
    gate = Definition("ui", ("true",), 1, ("xcode>=16.4", "macos"), (), 0, (), "sha")
    found = machines_for(gate, FLEET, SEEN)
    assert found == (["mac"], [], ["linux-box: lacks xcode>=16.4, macos"])
    assert machines_for(gate, FLEET, {}) == ([], ["mac", "linux-box"], [])
    assert machines_for(gate, FLEET).why_not == ["mac: lacks macos", "linux-box: lacks xcode>=16.4, macos"]


class OneRefuses:
    """The machine called mac does not let us in."""

    def gate(self, machine: str, login: str = "") -> Machine:
        there = Machine(machine)
        if machine == "mac":
            there.trouble = NotLetIn(attempted="connect", on=machine, cause="its host key is not the pinned one")
        return there


async def test_a_gate_goes_to_another_machine_than_the_one_that_does_not_let_us_in() -> None:
    gate = Definition("check", ("true",), 1, (), (), 0, (), "sha")
    place, why_not = await find_place(gate, FLEET, OneRefuses(), {}, None)
    assert place is not None and place.machine == "linux-box"
    assert "its host key is not the pinned one" in why_not[0]

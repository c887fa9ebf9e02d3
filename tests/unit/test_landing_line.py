"""What each change of a landing queue is merged with, for any history of the queue."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from fleet.landing.line import After, Tip, Wait, plan
from fleet.store.landing_line import LandingPlace
from fleet.store.states import PlaceState

MOST = 4


def _place(task: str, base: str, state: PlaceState = PlaceState.MERGED, *, alone: bool = False) -> LandingPlace:
    return LandingPlace(task, "shop", alone=alone, base=base, commit=f"{base}+{task}", state=state)


def test_each_is_merged_with_what_is_before_it() -> None:
    line = [_place("t1", "m"), _place("t2", "m+t1"), LandingPlace("t3", "shop")]
    assert plan(line, MOST) == {
        "t1": Tip(),
        "t2": After("m+t1", ("t1",)),
        "t3": After("m+t1+t2", ("t1", "t2")),
    }


def test_those_behind_one_that_did_not_pass_are_merged_without_it() -> None:
    for state in (PlaceState.NOT_PASSED, PlaceState.CONFLICT):
        line = [_place("t1", "m"), _place("t2", "m+t1", state), _place("t3", "m+t1+t2")]
        assert plan(line, MOST)["t3"] == After("m+t1", ("t1",))


def test_those_behind_a_first_one_that_did_not_pass_are_merged_with_the_branch() -> None:
    line = [_place("t1", "m", PlaceState.NOT_PASSED), _place("t2", "m"), LandingPlace("t3", "shop")]
    assert plan(line, MOST) == {"t1": Tip(), "t2": After("m", ()), "t3": After("m+t2", ("t2",))}


def test_those_behind_one_that_is_merged_anew_wait_for_that() -> None:
    line = [_place("t1", "other"), _place("t2", "m+t1"), _place("t3", "m+t1+t2")]
    assert plan(line, MOST) == {"t1": Tip(), "t2": After("other+t1", ("t1",)), "t3": Wait("t2")}


def test_nothing_is_judged_on_top_of_what_a_person_let_land() -> None:
    line = [_place("t1", "m"), LandingPlace("t2", "shop", alone=True), LandingPlace("t3", "shop")]
    assert plan(line, MOST) == {"t1": Tip(), "t2": Wait("t1"), "t3": Wait("t1")}
    assert plan([_place("t2", "m", alone=True), LandingPlace("t3", "shop")], MOST)["t3"] == Wait("t2")


def test_only_so_many_are_judged_at_once() -> None:
    line = [_place("t1", "m"), _place("t2", "m+t1"), LandingPlace("t3", "shop")]
    assert isinstance(plan(line, 2)["t3"], Wait)
    assert plan(line, 1) == {"t1": Tip(), "t2": Wait("t1"), "t3": Wait("t1")}


# --- any history ------------------------------------------------------------------------------------------


@dataclass
class _Repository:
    """A branch, its queue, and what each change does. Commits are named by what is in them."""

    tip: str
    line: list[LandingPlace]
    red: frozenset[str]
    landed: list[str]
    judged: dict[str, set[str]]

    def step(self, at: int) -> bool:
        """One change does what the plan says. Whether that did anything."""
        place = self.line[at]
        match plan(self.line, MOST)[place.task]:
            case Tip():
                merged = _place(place.task, self.tip, alone=place.alone)
                if place.base != self.tip or place.state not in (PlaceState.MERGED, PlaceState.PASSED):
                    self.line[at] = merged
                    return True
                if self._passes(merged):
                    assert merged.commit in self.judged[place.task], "what lands was judged"
                    self.tip = merged.commit
                    self.landed.append(place.task)
                del self.line[at]
                return True
            case After(commit):
                if place.base != commit:
                    self.line[at] = _place(place.task, commit)
                    return True
                if place.state is PlaceState.MERGED:
                    state = PlaceState.PASSED if self._passes(place) else PlaceState.NOT_PASSED
                    self.line[at] = replace(place, state=state)
                    return True
        return False

    def _passes(self, place: LandingPlace) -> bool:
        self.judged.setdefault(place.task, set()).add(place.commit)
        return place.task not in self.red


TASKS = [f"t{n}" for n in range(1, 8)]


@given(
    red=st.frozensets(st.sampled_from(TASKS)),
    alone=st.frozensets(st.sampled_from(TASKS), max_size=2),
    doing=st.lists(st.integers(0, 20), max_size=60),
)
def test_every_queue_ends_and_what_is_not_red_lands_in_order(
    red: frozenset[str], alone: frozenset[str], doing: list[int]
) -> None:
    there = _Repository("m", [LandingPlace(task, "shop", alone=task in alone) for task in TASKS], red, [], {})
    for number in doing:
        if number > 17:
            there.tip += f"+push{number}"
        elif number == 17 and len(there.line) > 1:
            gone = there.line.pop(len(there.line) // 2)
            red = red | {gone.task}
        elif there.line:
            there.step(number % len(there.line))
    while there.line:
        acted = [there.step(at) for at in reversed(range(len(there.line)))]
        assert any(acted), "somebody can always go on"
    assert there.landed == [task for task in TASKS if task not in red]

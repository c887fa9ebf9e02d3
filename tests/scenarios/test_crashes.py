"""The controller killed with SIGKILL at every named place, and links cut: nothing lost, nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.conftest import living_in, sampled
from tests.far_end.repositories import git
from tests.kill_points import NAMES, OF_HALTS
from tests.scenarios.house import House, house


@pytest.fixture
def built() -> Iterator[House]:
    with house() as made:
        yield made


def _whole(built: House, task: str, lines: int) -> None:
    """One landing, one receipt, every line of the agent's output once, dense sequence numbers."""
    events = built.ledger()
    assert [recorded.seq for recorded in events] == list(range(1, len(events) + 1))
    kinds = Counter(recorded.event.KIND for recorded in events)
    assert kinds["landing.done"] == 1
    assert kinds["receipt.issued"] == 1
    assert kinds["task.requested"] == 1
    said = "\n".join(body["text"] for body in built.bodies("agent.said"))
    numbers = [int(line.split()[1]) for line in said.splitlines() if line.startswith("line ")]
    assert numbers == list(range(lines)) * kinds["pipe.started"]
    assert len(built.commits()) == 2
    assert git(built.bare, "log", "-1", "--format=%(trailers:key=Airboss-Task,valueonly)", "main") == task
    moves = [(body["old"], body["new"]) for body in built.bodies("task.moved")]
    assert all(after[0] == before[1] for before, after in pairwise(moves)), moves
    assert moves[-1][1] == "landed"


@pytest.mark.parametrize("name", sampled(NAMES, 4))
def test_a_controller_killed_anywhere_goes_on_where_it_stood(built: House, name: str) -> None:
    built.start(failpoint=name)
    built.say("/run on=macbook chatter 20\nwrite BAD\nthen-write GOOD after the crash")
    assert built.died() == -9, f"{name} is on no task's way"
    built.start()
    answer = built.wait("t1")
    assert answer.status == 0, answer.shown
    assert built.main() == "GOOD after the crash"
    _whole(built, "t1", 20)


@pytest.mark.parametrize("name", OF_HALTS)
def test_a_turn_halted_for_its_budget_is_ended_by_the_next_controller_even_without_that_budget(
    built: House, name: str
) -> None:
    built.configure(budgets={"task": {"time": "4s"}})
    built.start(failpoint=name)
    built.say("/run on=macbook write GOOD half\nshell sleep 600")
    assert built.died() == -9
    assert built.bodies("turn.closed") == []
    built.configure()
    built.start()
    assert built.wait("t1").status == 4
    assert built.why("t1").startswith("halted: ") and built.why("t1").endswith("of 4 s for this task")
    assert [body["outcome"] for body in built.bodies("turn.closed")] == ["halted"]
    assert len(built.bodies("budget.reached")) == 1
    assert built.bodies("gate.opened") == [] and len(built.commits()) == 1
    assert living_in(built.workspace("t1")) == {}
    assert (built.workspace("t1") / "work.txt").read_text() == "GOOD half\n"


def test_a_controller_killed_twice_in_mid_output_repeats_no_line(built: House) -> None:
    go = built.directory / "go"
    built.start(failpoint="output-committed")
    built.say(f"/run on=macbook chatter 60\nshell while [ ! -e {go} ]; do sleep 0.02; done\nwrite GOOD at last")
    assert built.died() == -9
    go.touch()  # something is left to be read
    built.start(failpoint="output-read")
    assert built.died() == -9
    built.start()
    assert built.wait("t1").status == 0
    _whole(built, "t1", 60)


def test_an_ssh_connection_cut_in_mid_line_costs_nothing(built: House) -> None:
    built.start()
    result = built.in_background("/run on=macbook chatter 100\nwrite GOOD over a bad line")
    for seen in (10, 40, 70):
        _until_said(built, seen)
        built.until(built.sshd.cut, "there is a connection to cut")  # the one before may not be back yet
    answer = result()
    assert answer.status == 0, answer.shown
    _whole(built, "t1", 100)
    ups = [body["up"] for body in built.bodies("link.changed")]
    assert ups[:2] == [False, True]


def test_a_controller_that_was_away_while_the_agent_finished_finds_its_work(built: House) -> None:
    built.start()
    built.say("/run on=macbook chatter 30\nwrite GOOD alone")
    _until_said(built, 2)
    built.kill()
    done = built.directory / "macbook" / ".airboss" / "work"
    built.until(lambda: any("GOOD" in file.read_text() for file in done.glob("*/work.txt")), "the agent is done")
    built.start()
    assert built.wait("t1").status == 0
    _whole(built, "t1", 30)


def _until_said(built: House, number: int) -> None:
    line = f"line {number}\n"
    built.until(lambda: any(line in body["text"] + "\n" for body in built.bodies("agent.said")), f"{line} arrives")

"""Machines that exist only while work needs them: a task gets a slot, and the slot is given back."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest

from tests.contracts.nested import gitmodules, record
from tests.far_end.farm import Farm
from tests.far_end.repositories import git, make_bare
from tests.scenarios.house import House, house


def seen(made: House, command: str) -> str:
    """What a command shows, on one line."""
    return re.sub(r"[\s│]+", " ", made.say(command).shown)


@pytest.fixture
def made() -> Iterator[House]:
    with house() as world:
        yield world
        world.stop()


def test_a_slot_is_made_given_back_when_nobody_uses_it_and_lost_when_it_is_taken_away(made: House) -> None:
    farm = Farm.at(made.directory / "farm", made.sshd)
    pool = farm.pool(
        identity=str(made.sshd.identity),
        labels=["big"],
        most=2,
        idle="4s",  # longer than a busy machine takes to place the task that waits for it
        inventory_every="1s",
        price="0.50",
        session_walls=False,
    )
    made.configure(pools={"farm": pool})
    lib = git(make_bare(made.directory / "lib.git", {"lib.txt": "fine\n"}), "rev-parse", "main")
    record(made.bare, {".gitmodules": gitmodules(vendor__lib="../lib.git")}, vendor__lib=lib)
    made.start()
    farm.tell("wait", "until the queue has said why")
    task = made.say("/run needs=big write GOOD one\nshell cat vendor/lib/lib.txt > lib.txt").task
    made.until(lambda: "farm: a slot is being made" in seen(made, "/queue"), "the queue says what it waits for")
    assert "pool farm: 1 being made of at most 2 · $0.50 an hour each" in seen(made, "/machines")
    farm.tell("wait", "")
    assert made.wait(task).status == 0
    assert (made.main(), made.main("lib.txt")) == ("GOOD one", "fine"), "its submodules were there, too"
    (placed,) = made.of(task, "session.placed")
    assert placed.event.body()["machine"] == "farm-1"
    made.until(lambda: not farm.slots, "the slot is given back")
    made.until(lambda: "pool farm: no slots of at most 2" in seen(made, "/machines"), "it is shown so")
    states = [body["new"] for body in made.bodies("slot.moved")]
    assert states == ["asked", "up", "releasing", "gone"]
    (name,) = {body["name"] for body in made.bodies("slot.moved")}
    assert [f"acquire {name}", f"release {name}"] == [call for call in farm.calls if name in call]

    taken = made.say("/run needs=big write GOOD two\nshell sleep 600").task
    made.until(lambda: made.state(taken) == "running", "another one runs on a slot of its own")
    made.kill()
    made.start()
    made.until(lambda: "pool farm: 1 up" in seen(made, "/machines"), "a restart changes nothing about it")
    made.sshd.process.send_signal(signal.SIGSTOP)  # nobody connects again
    made.sshd.cut()
    made.sshd.process.kill()
    assert made.state(taken) == "running", "a link that is down says nothing"
    (slot,) = farm.slots
    (farm.directory / "slots" / slot).unlink()
    made.until(lambda: made.state(taken) == "lost", "it was taken away: lost, never passed")
    made.until(lambda: "pool farm: no slots" in seen(made, "/machines"), "what is left of it ends")
    last = [(body["slot"], body["new"]) for body in made.bodies("slot.moved")][4:]
    assert last == [("farm-2", state) for state in ("asked", "up", "lost", "releasing", "gone")]
    assert made.main() == "GOOD one"

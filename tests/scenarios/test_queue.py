"""The queue of a real controller: order, a pause across a restart, and a task that starts after another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.house import House, house


@pytest.fixture
def made() -> Iterator[House]:
    with house() as world:
        world.configure(machines={"evo-x2": {**world.machines["evo-x2"], "slots": 1}, "macbook": None})
        world.start()
        yield world
        world.stop()


def placed(made: House) -> list[str]:
    return [recorded.refs.task for recorded in made.ledger("session.placed")]


def _said(made: House) -> set[str]:
    """Which of the words that count ``/queue`` shows."""
    shown = " ".join(made.say("/queue").shown.split())
    return {words for words in ("paused by", "the same") if words in shown}


def test_one_slot_goes_to_whoever_is_first_and_a_pause_holds_across_a_restart(made: House) -> None:
    first = made.say("/run shell while [ ! -e go ]; do sleep 0.05; done\nwrite GOOD one").task
    made.until(lambda: made.state(first) == "running", "the first one runs")
    second, third = made.say("/run write GOOD two").task, made.say("/run write GOOD three").task
    fourth = made.say(f"/run after={third} write GOOD four").task
    made.until(lambda: "busy" in made.say("/queue").shown, "the queue says why")
    nowhere = made.say("/run needs=linux,xcode>=99 write GOOD five").task
    made.until(lambda: made.state(nowhere) == "refused", "no machine has what it needs")
    assert "evo-x2: lacks xcode>=99" in made.say(f"/session {nowhere}").shown
    assert made.say(f"/bump {third}").status == 0
    assert made.say("/pause").status == 0
    made.stop()
    log = (made.home / "airboss.log").read_text()
    assert log.rstrip().endswith("stopped") and "Traceback" not in log, "a stop beside an agent at work is no error"
    made.start()
    assert "paused" in made.say("/status").shown
    assert made.say(f"/stop {first}").status == 0
    made.until(lambda: made.state(first) == "stopped", "the first one has stopped")
    made.until(lambda: {"paused by", "the same"} <= _said(made), "both say that the fleet is paused")
    assert placed(made) == [first]
    assert made.say("/resume").status == 0
    for task in (third, second, fourth):
        assert made.wait(task).status == 0
    order = placed(made)
    assert order[1] == third and order.index(fourth) > order.index(third)

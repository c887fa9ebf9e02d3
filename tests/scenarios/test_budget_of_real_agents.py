"""A used-up budget ends the turn of the real Claude Code and the real Codex, and a person's answer continues it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.conftest import living_in
from tests.far_end.scripted_model import Answer as Said
from tests.far_end.scripted_model import Asking, ScriptedModel, say
from tests.scenarios.house import House
from tests.scenarios.pilot import Pilot, agents_and_models


@pytest.fixture(scope="module")
def stand() -> Iterator[tuple[House, dict[str, ScriptedModel]]]:
    with agents_and_models() as made:
        yield made


@pytest.fixture(params=("claude", "codex"))
def pilot(request: pytest.FixtureRequest, stand: tuple[House, dict[str, ScriptedModel]]) -> Pilot:
    built, models = stand
    return Pilot(request.param, built, models[request.param])


def test_a_used_up_budget_ends_the_turn_keeps_the_work_and_more_continues_the_conversation(pilot: Pilot) -> None:
    word, better = "quebec", threading.Event()

    def script(asked: Asking) -> Said:
        if asked.step == 0:
            return pilot.shell(f"echo GOOD {word} {pilot.name} > work.txt")
        return say("done") if better.is_set() else pilot.shell(f"sleep 0.2; echo {asked.step}")

    pilot.model.script(script, when=word)
    begun = f"/run on=macbook agent={pilot.name} budget=1call please see to {word}"
    answer = pilot.house.say(begun, wait=True)
    assert answer.status == 4, answer.shown
    assert "budget used up" in answer.shown and "of 1 call for this task" in answer.shown
    for label in ("More", "Land what passes", "Stop"):
        assert label in answer.shown
    assert pilot.outcomes(answer.task) == ["halted"]
    (ended,) = pilot.house.of(answer.task, "pipe.ended")
    assert ended.event.body()["exit"]["how"] == "exited", "it was asked to end, not killed"
    assert living_in(pilot.house.workspace(answer.task)) == {}
    better.set()
    assert pilot.house.say(f"/go {answer.task}").status == 2
    assert pilot.house.say(f"/go {answer.task} more").status == 0
    assert pilot.house.wait(answer.task).status == 0
    assert pilot.house.main() == f"GOOD {word} {pilot.name}"
    assert pilot.outcomes(answer.task) == ["halted", "completed"]

"""A used-up budget, or a person who works by hand, ends the turn of the real Claude Code and the real Codex; they
continue after. An agent that speaks the Agent Client Protocol shares their house."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import sys
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from fleet.figures import ToolCalls
from tests.conftest import FULL, living_in, sampled
from tests.far_end import agents
from tests.far_end.anthropic_model import AnthropicModel
from tests.far_end.scripted_model import Answer as Said
from tests.far_end.scripted_model import Asking, ScriptedModel, call, say
from tests.far_end.terminal import PersonsTerminal
from tests.scenarios.house import House, house
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


@pytest.mark.parametrize("pilot", sampled(("claude", "codex"), 1), indirect=True)
def test_a_person_works_by_hand_over_a_killed_controller_and_the_agent_continues(pilot: Pilot) -> None:
    word, name = "zebra", pilot.name
    working, steps = threading.Event(), itertools.count()

    def script(asked: Asking) -> Said:
        if "A person has taken over" in asked.heard:
            done = any("continued" in result for result in asked.results)
            return say("done") if done else pilot.shell(f"echo GOOD {word} {name} | tee work.txt; echo continued")
        if "also this" in asked.heard:
            return say("That too.")
        if "words by hand" in asked.heard:
            return say("I heard you well.")
        working.set()
        return pilot.shell(f"sleep 0.5; echo {next(steps)}")  # the same call again and again would be halted

    pilot.model.script(script, when=word)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            working.clear()
            task = pilot.begin(word, wait=False).task
            assert working.wait(60)
            argv = [sys.executable, "-m", "bot.cli", "--home", str(pilot.house.home), "attach", task]
            person = stack.enter_context(PersonsTerminal(argv, {**os.environ, "TERM": "xterm-256color"}))
            if _opened(person, name):
                break
            pilot.house.say(f"/stop {task}")
        person.until("words by hand", pressing="words by hand")
        person.until("I heard you well.", pressing="\r")
        pilot.house.kill()
        assert person.end() != 0
        pilot.house.start()
    with PersonsTerminal(argv, {**os.environ, "TERM": "xterm-256color"}) as person:
        person.until("I heard you well.")  # what was shown before is shown again
        person.until("also this", pressing="also this")
        person.until("That too.", pressing="\r")
        answer = pilot.house.say(f"/go {task}")
        assert answer.status == 2 and answer.shown
        assert "works on it by hand" in pilot.house.say(f"/attach {task}").shown
        person.type("/exit")
        person.until("/exit")
        person.until("Handed back: the agent continues", pressing="\r")
        assert person.end() == 0
    assert pilot.house.wait(task).status == 0
    assert pilot.house.main() == f"GOOD {word} {name}"
    taken, back = pilot.house.of(task, "session.taken", "session.returned")
    assert (taken.actor, back.actor) == (pilot.house.of(task, "task.requested")[0].actor,) * 2
    assert back.event.body()["gone"]
    causes = [recorded.event.body()["cause"] for recorded in pilot.house.of(task, "turn.started")]
    assert causes == ["request", "by-hand", "go-on"]
    assert len(pilot.house.of(task, "session.taken")) == 1
    for said in ("words by hand", "also this"):
        assert said in pilot.heard(word)[-1].heard, "the agent knows what was said by hand"


def _opened(person: PersonsTerminal, name: str) -> bool:
    """Answers the questions with which the agent's own interface begins. False where it gave up by itself: Codex
    has one second, by the clock on the wall, to read away what was typed before it asks about the folder. A machine
    that gives it no time for so long is too slow for that, with us between it and its terminal or without."""
    person.until("steps aside")
    if name == "claude":
        person.until("I trust this folder")
        person.until("? for shortcuts", "Try", "high", "effort", pressing="\r")
        return True
    person.until("Open restricted")
    gave_up = "timed out discarding buffered terminal input"
    return person.until("Ask Codex to do anything", gave_up, pressing="\r") != gave_up


def test_an_agent_of_the_agent_client_protocol_is_reworked_in_the_same_conversation(
    stand: tuple[House, dict[str, ScriptedModel]],
) -> None:
    built, models = stand
    pilot = Pilot("acp", built, models["claude"])
    red, mended = (
        call("Bash", command=f"echo {word} > work.txt", description="run it") for word in ("BAD", "GOOD by acp")
    )
    answer = pilot.run("alpine", red, say("Done."), mended, say("Mended."))
    assert answer.status == 0, answer.shown
    assert pilot.house.main() == "GOOD by acp"
    last = pilot.heard("alpine")[-1]
    assert last.step == 3 and "E   work.txt lacks the word: BAD" in last.heard
    assert pilot.tools(answer.task) == ToolCalls(ok=2)
    events = pilot.house.of(answer.task, "pipe.ended")
    assert all(recorded.event.body()["gone"] for recorded in events)


def _asked(built: House, task: str, times: int) -> bool:
    return len(built.of(task, "permission.asked")) == times


def opencode_is_reworked_in_its_conversation_and_asks_by_the_same_rules() -> None:
    """Another vendor's program on the same protocol. 180 MB, so only ``make torture`` installs it."""
    with AnthropicModel() as model, house() as built:
        put, home = agents.opencode_home(model.url), built.directory / "home-opencode"
        put.put(home)
        program = [agents.binary("opencode"), "acp"]
        settings = {**put.env, "HOME": str(home)}
        built.agents["opencode"] = {"driver": "acp", "program": program, "settings": settings, "ask": ["shell"]}
        built.configure()
        built.start()
        words = ("BAD", "GOOD by opencode")
        red, mended = (call("bash", command=f"echo {each} > work.txt", description="run it") for each in words)
        model.script([red, say("Done."), mended, say("Mended.")], when="india")
        task = built.say("/run on=macbook agent=opencode please see to india").task
        for asked in (1, 2):
            built.until(partial(_asked, built, task, asked), "it asks")
            assert built.say(f"/approve {task}").status == 0
        ended = built.wait(task)
        assert ended.status == 0, ended.shown
        assert built.main() == "GOOD by opencode"
        assert model.asked[-1].step == 3, "the same conversation"
        commands = [recorded.event.body()["command"] for recorded in built.of(task, "permission.asked")]
        assert commands == [f"echo {each} > work.txt" for each in words]


if FULL and (sys.platform, platform.machine()) == ("linux", "x86_64"):
    test_opencode = opencode_is_reworked_in_its_conversation_and_asks_by_the_same_rules

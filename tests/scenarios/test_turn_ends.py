"""Turns of real agents that end too early: with a command in the background, or by the vendor."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conftest import living_in, sampled
from tests.far_end import agents
from tests.far_end.anthropic_model import AnthropicModel
from tests.far_end.responses_model import ResponsesModel
from tests.far_end.scripted_model import Answer as Said
from tests.far_end.scripted_model import Asking, Refusal, Reply, ScriptedModel, call, say
from tests.scenarios.house import House, house

Stand = tuple[House, AnthropicModel, ResponsesModel]


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with AnthropicModel() as model, ResponsesModel() as other, house() as made:
        for name, put in (("claude", agents.claude_home(model.url)), ("codex", agents.codex_home(other.url))):
            home = made.directory / f"home-{name}"
            put.put(home)
            settings = {**put.env, "HOME": str(home)}
            made.agents[name] = {"driver": name, "program": [agents.binary(name)], "settings": settings}
        broken = "import sys; sys.exit('warning: old\\nerror: unknown option --verbose')"
        made.agents["broken"] = {"driver": "claude", "program": [sys.executable, "-c", broken]}
        made.configure()
        with (made.home / "fleet.toml").open("a") as fleet:
            fleet.write("\n[limits]\nbackground_seconds = 1\noverloaded_retries = 1\nresume_after_limit = true\n")
        made.start()
        yield made, model, other


@pytest.fixture(params=["claude", "codex"])
def each(request: pytest.FixtureRequest, stand: Stand) -> Each:
    made, claude, codex = stand
    return Each(made, claude if request.param == "claude" else codex, request.param)


@dataclass(frozen=True)
class Each:
    """One of the two agents, and its own words for a command."""

    made: House
    model: ScriptedModel
    name: str

    def in_background(self, command: str) -> Reply:
        if self.name == "codex":
            return call("exec_command", cmd=command, yield_time_ms=250)
        return call("Bash", command=command, description="in the background", run_in_background=True)

    def waits(self) -> Reply:
        if self.name == "codex":
            return call("exec_command", cmd="sleep 1")
        return call("Bash", command="sleep 1", description="wait for it")


def test_an_agent_that_ends_at_once_says_why(stand: Stand) -> None:
    answer = stand[0].say("/run on=macbook agent=broken please", wait=True)
    assert "exit status 1: warning: old · error: unknown option --verbose" in stand[0].why(answer.task)


@pytest.mark.parametrize("each", sampled(("claude", "codex"), 1), indirect=True)
def test_what_ends_in_time_is_waited_for_and_the_work_with_it_is_judged(each: Each) -> None:
    made = each.made
    word = f"quebec {each.name}"
    release = made.directory / f"release-{each.name}"

    def script(asking: Asking) -> Reply:
        if asking.step == 0:
            command = f"while [ ! -e {release} ]; do sleep 0.05; done; echo GOOD late {each.name} > work.txt"
            return each.in_background(command)
        if "still run" in asking.heard and not release.exists():
            release.touch()
            return each.waits()
        return say("done")

    each.model.script(script, when=word)
    answer = made.say(f"/run on=macbook agent={each.name} please see to {word}", wait=True)
    assert answer.status == 0, answer.shown
    assert made.main() == f"GOOD late {each.name}"
    assert len(made.of(answer.task, "turn.closed")) == 1


@pytest.mark.parametrize("each", sampled(("claude", "codex"), 1), indirect=True)
def test_a_server_that_nobody_stops_ends_before_the_work_is_judged(each: Each) -> None:
    made, word = each.made, f"romeo {each.name}"
    command = f"echo GOOD served {each.name} > work.txt; sleep 300"

    def script(asking: Asking) -> Reply:
        return each.in_background(command) if asking.step == 0 else say("it serves")

    each.model.script(script, when=word)
    answer = made.say(f"/run on=macbook agent={each.name} please see to {word}", wait=True)
    assert answer.status == 0, answer.shown
    assert made.main() == f"GOOD served {each.name}"
    assert any("still run" in asking.heard for asking in each.model.asked), "it was asked to end it first"
    assert living_in(made.workspace(answer.task)) == {}


PASSING = {
    "sierra": (Refusal(529, "Overloaded"), "overloaded"),
    "tango": (Refusal(429, "You've hit your session limit, try again in 3s"), "limited"),
}


@pytest.mark.parametrize("word", sampled(PASSING, 1))
def test_what_passes_is_tried_again_in_the_same_conversation_without_a_person(stand: Stand, word: str) -> None:
    made, model, _ = stand
    refusal, outcome = PASSING[word]

    def script(asking: Asking) -> Said:
        if asking.step == 0:
            return call("Bash", command=f"echo GOOD {word} > work.txt", description="half of it")
        return say("done") if "stopped before it was done" in asking.heard else refusal

    model.script(script, when=word)
    task = made.say(f"/run on=macbook agent=claude please see to {word}").task
    made.until(lambda: made.state(task) == "landed", "it lands")
    assert made.main() == f"GOOD {word}"
    assert [item.event.body()["outcome"] for item in made.of(task, "turn.closed")] == [outcome, "completed"]
    assert [item.event.body()["cause"] for item in made.of(task, "turn.started")] == ["request", "retry"]
    if outcome == "limited":
        moves = [(item.event.body()["new"], item.event.body()["why"]) for item in made.of(task, "task.moved")]
        assert any(new == "parked" and why.startswith("parked until ") for new, why in moves)
        assert made.of(task, "stall.decided") == []


def test_after_its_tries_a_person_is_asked(stand: Stand) -> None:
    made, model, _ = stand
    model.script([Refusal(529, "Overloaded")] * 40, when="uniform")
    answer = made.say("/run on=macbook agent=claude please see to uniform", wait=True)
    assert answer.status == 4, answer.shown
    assert made.state(answer.task) == "stalled"
    assert len(made.of(answer.task, "turn.started")) == 2

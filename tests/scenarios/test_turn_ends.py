"""Turns of the real Claude Code that end too early: with a command in the background, or by the vendor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import living_in
from tests.far_end import agents
from tests.far_end.anthropic_model import AnthropicModel
from tests.far_end.scripted_model import Answer as Said
from tests.far_end.scripted_model import Asking, Refusal, Reply, call, say
from tests.scenarios.house import House, house


@pytest.fixture(scope="module")
def stand() -> Iterator[tuple[House, AnthropicModel]]:
    with AnthropicModel() as model, house() as made:
        put = agents.claude_home(model.url)
        home = made.directory / "home-claude"
        put.put(home)
        settings = {**put.env, "HOME": str(home)}
        made.agents["claude"] = {"driver": "claude", "program": [agents.binary("claude")], "settings": settings}
        made.configure()
        with (made.home / "fleet.toml").open("a") as fleet:
            fleet.write("\n[limits]\nbackground_seconds = 1\noverloaded_retries = 1\nresume_after_limit = true\n")
        made.start()
        yield made, model


def in_background(command: str) -> Reply:
    return call("Bash", command=command, description="in the background", run_in_background=True)


def test_what_ends_in_time_is_waited_for_and_the_work_with_it_is_judged(
    stand: tuple[House, AnthropicModel],
) -> None:
    made, model = stand
    release = made.directory / "release"

    def script(asking: Asking) -> Reply:
        if asking.step == 0:
            return in_background(f"while [ ! -e {release} ]; do sleep 0.05; done; echo GOOD late > work.txt")
        if "still run" in asking.heard and not release.exists():
            release.touch()
            return call("Bash", command="sleep 1", description="wait for it")
        return say("done")

    model.script(script, when="quebec")
    answer = made.say("/run on=macbook agent=claude please see to quebec", wait=True)
    assert answer.status == 0, answer.shown
    assert made.main() == "GOOD late"
    assert len(made.of(answer.task, "turn.closed")) == 1


def test_a_server_that_nobody_stops_ends_before_the_work_is_judged(stand: tuple[House, AnthropicModel]) -> None:
    made, model = stand

    def script(asking: Asking) -> Reply:
        return in_background("echo GOOD served > work.txt; sleep 300") if asking.step == 0 else say("it serves")

    model.script(script, when="romeo")
    answer = made.say("/run on=macbook agent=claude please see to romeo", wait=True)
    assert answer.status == 0, answer.shown
    assert made.main() == "GOOD served"
    assert any("still run" in asking.heard for asking in model.asked), "it was asked to end it first"
    assert living_in(made.workspace(answer.task)) == {}


PASSING = {
    "sierra": (Refusal(529, "Overloaded"), "overloaded"),
    "tango": (Refusal(429, "You've hit your session limit, try again in 3s"), "limited"),
}


@pytest.mark.parametrize("word", PASSING)
def test_what_passes_is_tried_again_in_the_same_conversation_without_a_person(
    stand: tuple[House, AnthropicModel], word: str
) -> None:
    made, model = stand
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


def test_after_its_tries_a_person_is_asked(stand: tuple[House, AnthropicModel]) -> None:
    made, model = stand
    model.script([Refusal(529, "Overloaded")] * 40, when="uniform")
    answer = made.say("/run on=macbook agent=claude please see to uniform", wait=True)
    assert answer.status == 4, answer.shown
    assert made.state(answer.task) == "stalled"
    assert len(made.of(answer.task, "turn.started")) == 2

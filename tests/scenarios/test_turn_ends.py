"""The real Claude Code says that it is done while a command of its own still runs in the background."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import living_in
from tests.far_end import agents
from tests.far_end.anthropic_model import AnthropicModel
from tests.far_end.scripted_model import Asking, Reply, call, say
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
            fleet.write("\n[limits]\nbackground_seconds = 1\n")
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

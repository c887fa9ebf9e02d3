"""Work that goes on when a real agent says that it is done: the turn ends after it, or with the agent."""

from __future__ import annotations

import pytest

from fleet.agent_events import Said, ToolEnded, TurnOutcome
from fleet.exits import Exited
from tests.contracts.agent_stand import Stand
from tests.far_end.scripted_model import Answer, Asking, Call, Reply, call, say

codex_only = pytest.mark.parametrize("stand", ["codex"], indirect=True)


async def test_a_turn_ends_after_the_command_that_it_left_behind(stand: Stand) -> None:
    waits = "while [ ! -e release ]; do sleep 0.05; done; echo late > made"
    stand.model.script([stand.in_background(waits), say("started"), say("done")])
    async with stand.session("do it") as session:
        (work,) = await session.left_open()
        assert work
        stand.workspace.joinpath("release").touch()
        ended = await session.turn()
        assert (ended.outcome, ended.claim) == (
            TurnOutcome.COMPLETED,
            "done" if stand.name == "claude" else "started",
        )
        assert stand.workspace.joinpath("made").read_text() == "late\n"


async def test_a_server_ends_with_the_agent_and_the_turn_is_complete(stand: Stand) -> None:
    stand.model.script([stand.in_background("echo $$ > pid; exec sleep 300"), say("it serves")])
    async with stand.session("do it") as session:
        await session.left_open()
        assert await session.end() == Exited(0)
        ended = await session.turn()
    assert (ended.outcome, ended.claim) == (TurnOutcome.COMPLETED, "it serves")


async def test_told_to_end_its_server_the_agent_has_the_turn_again(stand: Stand) -> None:
    def script(asking: Asking) -> Answer:
        if asking.step == 0:
            return stand.in_background("echo $$ > pid; exec sleep 300")
        if "stop the server" in asking.heard and "killed it" not in "".join(asking.results):
            return stand.shell("kill $(cat pid); echo killed it")
        return say("stopped" if "killed it" in "".join(asking.results) else "it serves")

    stand.model.script(script)
    async with stand.session("do it") as session:
        await session.left_open()
        session.say("stop the server")
        ended = await session.turn()
        assert (ended.outcome, ended.claim) == (TurnOutcome.COMPLETED, "stopped")


@codex_only
async def test_a_turn_ends_after_the_subagents_that_it_left_behind(stand: Stand) -> None:
    """Both the subagent's turn and the command that it runs count."""
    waits = "while [ ! -e release ]; do sleep 0.05; done; echo late > made"

    def script(asking: Asking) -> Answer:
        if asking.words[-1] == "inner work":
            return call("exec_command", cmd=waits) if asking.step == 0 else say("inner words")
        spawn = Call("spawn_agent", {"message": "inner work"}, "multi_agent_v1")
        return Reply((spawn,)) if asking.step == 0 else say("all is given out")

    stand.model.script(script)
    async with stand.session("do it") as session:
        assert any("inner work" in work for work in await session.left_open())
        stand.workspace.joinpath("release").touch()
        assert (await session.turn()).claim == "all is given out"
        assert stand.workspace.joinpath("made").read_text() == "late\n"
    assert "inner words" not in [said.text for said in session.of(Said)]
    assert len(session.of(ToolEnded)) == 2

"""A person chooses a model, and only one that the operator allows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bot.cards import shown
from fleet.agents.versions import OLDEST, TESTED, Fit, fit
from fleet.config import parse_fleet
from fleet.errors import Misconfigured, Misused
from fleet.events import TaskModelChosen
from fleet.flight.agent_process import AgentProcess
from fleet.model import TurnCause
from fleet.store import ledger, sessions, tasks
from fleet.store.core import Tx
from tests.chat_flight import Flight, everything
from tests.chat_house import House, house
from tests.flying import world


def allow(there: House, *models: str, default: str = "opus") -> None:
    """The agent's models in fleet.toml."""
    name, agent = next(iter(there.config.agents.items()))
    changed = agent.model_copy(update={"model": default, "models": list(models)})
    there.configured(there.config.model_copy(update={"agents": {**there.config.agents, name: changed}}))


async def model_of(there: House, task: str) -> str:
    return (await there.store.read(lambda tx: tasks.task(tx, task))).model


async def test_a_chat_keeps_its_model_and_a_task_may_have_another(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        (name,) = there.config.agents
        allow(there, "sonnet", "haiku")
        _, (card,) = await there.say("/model")
        assert shown(card.lines[0]) == f"{name} · opus · also sonnet, haiku"
        assert [action.label for action in card.actions] == [f"{name} sonnet", f"{name} haiku"]
        result, (card,) = await there.press(card, f"{name} sonnet")
        assert shown(card.lines[0]) == f"{name} · sonnet · in this chat · also opus, haiku"
        assert result.status == 0
        await there.say("/run one")
        await there.say("/run model=haiku two")
        await there.say(f"/model {name} off")
        await there.say("/run three")
        assert [await model_of(there, task) for task in ("t1", "t2", "t3")] == ["sonnet", "haiku", ""]
        chosen = await there.store.read(lambda tx: ledger.read(tx, kinds=(TaskModelChosen.KIND,)))
        assert [recorded.event for recorded in chosen] == [TaskModelChosen("sonnet"), TaskModelChosen("haiku")]


async def test_only_what_the_operator_allows_is_taken(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        allow(there, "sonnet")
        for text in ("/model fable", "/run model=fable mend it"):
            result, (card,) = await there.say(text)
            assert result.status == 2 and "opus" in everything(card) and "sonnet" in everything(card)
        assert await there.store.read(tasks.open_tasks) == []
        await there.say("/model sonnet")
        allow(there)
        await there.say("/run one")
        assert await model_of(there, "t1") == "", "it is not allowed any more"


async def test_a_fork_keeps_its_tasks_model_while_that_is_allowed(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        allow(there, "sonnet")
        await there.say("/run model=sonnet one")
        session = (await Flight.of(there)).session

        def work(tx: Tx) -> None:
            turn = sessions.create_turn(tx, session, TurnCause.REQUEST, "one")
            sessions.update_turn(tx, turn.id, snapshot="c" * 40, tree="d" * 40, ended_us=1)

        await there.store.write(work)
        await there.say("/fork t1 two")
        allow(there)
        await there.say("/fork t1 three")
        assert [await model_of(there, task) for task in ("t1", "t2", "t3")] == ["sonnet", "sonnet", ""]


@pytest.mark.parametrize("model", ["", "-p", "a b", "x" * 201])
def test_a_model_is_a_name_and_no_option(model: str) -> None:
    with pytest.raises(Misused, match="models"):
        parse_fleet(f'[agents.a]\ndriver = "claude"\nprogram = ["claude"]\nmodels = ["{model}"]\n', "fleet.toml")


async def test_the_agent_is_asked_for_it_unless_it_is_no_longer_allowed(tmp_path: Path) -> None:
    there = world(tmp_path)
    agent = there.config.agents["helper"].model_copy(update={"model": "opus", "models": ["sonnet"]})
    there.config = there.config.model_copy(update={"agents": {"helper": agent}})
    with there.store:
        task = await there.running()
        session = await there.session(task)
        for wanted, asked in (("", "opus"), ("sonnet", "sonnet")):
            process = AgentProcess(there.services, replace(task, model=wanted))
            assert process.brief(session, "p").model == asked
        with pytest.raises(Misconfigured, match="no longer allows model haiku"):
            AgentProcess(there.services, replace(task, model="haiku")).brief(session, "p")


def test_versions_are_compared_as_numbers() -> None:
    assert fit("claude", "2.1.197 (Claude Code)") is Fit.TESTED
    assert fit("claude", "2.1.1000 (Claude Code)") is Fit.NEWER
    assert fit("claude", "2.1.20 (Claude Code)") is Fit.UNTESTED
    assert fit("codex", "codex-cli 0.99.0") is Fit.TOO_OLD
    assert fit("codex", "who knows") is Fit.UNKNOWN and fit("command", "1.0") is Fit.UNKNOWN
    assert all(OLDEST[driver] <= TESTED[driver] for driver in TESTED)

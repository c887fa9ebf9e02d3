"""``/agents``: where each agent is installed, which version, whether it is logged in; on one screen of a phone."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bot.cards import MAX_LINES, shown
from fleet.clock import SystemClock
from fleet.config import AgentConfig, FleetConfig, MachineConfig
from fleet.machines.executors import Executors
from fleet.machines.vendor_logins import LoginSeen, look
from fleet.machines.watch import MachineSeen, MachineState, MachineWatch
from fleet.model import Isolation
from fleet.ports import LoginFacts
from tests.chat_flight import everything
from tests.chat_house import FLEET, house
from tests.far_end.machine import AGENT_FACTS

AGENTS = """
[agents.claude]
driver = "claude"
program = ["claude"]
model = "opus"
[agents.codex]
driver = "codex"
program = ["codex"]
"""


def well(claude: str, login: LoginSeen) -> MachineSeen:
    """A machine that has Claude Code in that version, and no Codex."""
    return MachineSeen(
        MachineState.WELL,
        1,
        offers={"claude": claude, "demo": ""},
        absent=frozenset({"codex"}),
        logins={"claude": login},
    )


async def test_agents_are_shown_where_they_are_with_what_is_wrong_first(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=FLEET + AGENTS) as there:
        there.fleet.seen["evo-x2"] = well("2.1.197", LoginSeen.LOGGED_IN)
        there.fleet.seen["macbook"] = well("2.9.0", LoginSeen.LOGGED_OUT)
        result, (card,) = await there.say("/agents")
        assert [shown(each) for each in card.lines] == [
            "claude · opus · anthropic",
            "⚠ macbook: 2.9.0 · newer than tested · not logged in",
            "● evo-x2: 2.1.197 · logged in",
            "codex · its own model · openai",
            "⚠ evo-x2, macbook: not installed",
            "demo · its own model · family not known",
            "● evo-x2, macbook: installed",
        ]
        assert result.data is not None
        agents = result.data["agents"]
        assert isinstance(agents, list) and [each["name"] for each in agents] == ["claude", "codex", "demo"]
        assert agents[0]["machines"][1] == {
            "machine": "macbook",
            "installed": True,
            "version": "2.9.0",
            "fit": "newer",
            "login": "logged_out",
        }
        _, (card,) = await there.say("/agents claude")
        assert "2.1.0 or later · tested with 2.1.197" in everything(card)
        assert "to log in: claude" in everything(card)
        result, (card,) = await there.say("/agents cursor")
        assert result.status == 2 and "claude, codex, demo" in everything(card)


async def test_many_agents_on_many_machines_fit_a_phone(tmp_path: Path) -> None:
    more = "".join(f'[machines.m{n}]\nexecutor = "local"\n' for n in range(30))
    more += "".join(f'[agents.a{n}]\ndriver = "claude"\nprogram = ["claude"]\n' for n in range(9))
    async with house(tmp_path, fleet_toml=FLEET + more) as there:
        for n in range(30):
            names = [f"a{each}" for each in range(9)]
            seen = well("", LoginSeen.UNKNOWN)
            there.fleet.seen[f"m{n}"] = replace(seen, offers=dict.fromkeys(names, f"2.0.{n}"))
        for said in ("/agents", "/agents 2", "/agents 9", "/agents a1"):
            _, (card,) = await there.say(said)
            assert len(card.lines) <= MAX_LINES
        assert "too old" in everything(card)


@pytest.mark.parametrize(
    ("agent", "system", "seen"),
    [
        (AgentConfig(driver="claude", program=["claude"]), "linux", LoginSeen.LOGGED_OUT),
        (AgentConfig(driver="codex", program=["codex"]), "linux", LoginSeen.LOGGED_IN),
        (AgentConfig(driver="codex", program=["codex"]), "darwin", LoginSeen.UNKNOWN),
        (AgentConfig(driver="codex", program=["codex"], env=["OPENAI_API_KEY"]), "linux", LoginSeen.KEYED),
        (AgentConfig(driver="claude", program=["claude"], key="ANTHROPIC_API_KEY"), "linux", LoginSeen.KEYED),
        (AgentConfig(driver="command", program=["cat"]), "linux", LoginSeen.UNKNOWN),
    ],
)
async def test_a_login_is_the_file_that_the_agent_keeps(
    tmp_path: Path, agent: AgentConfig, system: str, seen: LoginSeen
) -> None:
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex/auth.json").write_text("{}")
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude/.credentials.json").write_text("")  # of somebody who logged out
    facts = LoginFacts(**{**AGENT_FACTS, "home": str(tmp_path), "system": system})
    config = FleetConfig(
        isolation=Isolation.UNSAFE_SAME_USER, machines={"box": MachineConfig(executor="local", home=str(tmp_path))}
    )
    executors = Executors(config, tmp_path)
    try:
        assert await look(executors.agent("box"), facts, {"it": agent}) == {"it": seen}
    finally:
        await executors.close()


async def test_a_probe_sees_logins_and_looks_again_soon_when_one_is_missing(tmp_path: Path) -> None:
    settings = {"CLAUDE_CONFIG_DIR": str(tmp_path / "none")}
    config = FleetConfig(
        isolation=Isolation.UNSAFE_SAME_USER,
        machines={"box": MachineConfig(executor="local", home=str(tmp_path))},
        agents={"claude": AgentConfig(driver="claude", program=[sys.executable], settings=settings)},
    )
    clock, executors = Later(), Executors(config, tmp_path)
    watch = MachineWatch(lambda: config, executors, clock)
    try:
        await watch.probes.look()
        await watch.look()
        assert watch.seen["box"].logins == {"claude": LoginSeen.LOGGED_OUT}
        (tmp_path / "none").mkdir()
        (tmp_path / "none/.credentials.json").write_text("{}")
        clock.us += 61_000_000
        await watch.probes.look()
        await watch.look()
        assert watch.seen["box"].logins == {"claude": LoginSeen.LOGGED_IN}
    finally:
        await executors.close()


class Later(SystemClock):
    us = 1

    def now_us(self) -> int:
        return self.us

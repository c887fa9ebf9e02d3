"""What machines say of themselves: the labels that this makes; a malformed answer touches that machine only."""

from __future__ import annotations

import sys
from pathlib import Path

from bot.cards import shown
from bot.machine_view import machine_card
from fleet.clock import SystemClock
from fleet.config import AgentConfig, FleetConfig, MachineConfig
from fleet.machines.executors import Executors
from fleet.machines.probing import offers_of
from fleet.machines.watch import MachineSeen, MachineState, MachineWatch
from fleet.model import Isolation
from fleet.ports import LoginFacts, LoginOffers
from fleet.store.queue import Pause
from tests.contracts.test_executor_bad_far_end import python3
from tests.far_end.machine import AGENT_FACTS

MAC = LoginFacts(
    **{**AGENT_FACTS, "system": "darwin", "cpus": 10, "disk_free": 80 << 30},
    arch="arm64",
    release="26.1",
    memory=32 << 30,
    memory_free=12 << 30,
)
SIMULATORS = [("iPhone 17 Pro", "com.apple.CoreSimulator.SimRuntime.iOS-26-1"), ("trusted\n", "?")]
SAYS = LoginOffers({"claude": "2.1.197 (Claude Code)", "demo": ""}, "Xcode 26.1\nBuild version 17B55", SIMULATORS)


def test_a_machine_has_labels_with_versions_and_what_is_declared_counts_first() -> None:
    found = offers_of(MachineConfig(executor="local", labels=["ios", "claude=2.0"]), MAC, SAYS)
    assert found == {
        "macos": "26.1",
        "arm64": "",
        "cpus": "10",
        "disk": "81920M",
        "memory": "32768M",
        "xcode": "26.1",
        "demo": "",
        "simulator-iphone-17-pro": "26.1",
        "simulator-trusted": "",
        "ios": "",
        "claude": "2.0",
    }


def test_a_machine_cannot_give_itself_a_label_of_another_name() -> None:
    odd = LoginFacts(**{**AGENT_FACTS, "system": "trusted"}, arch="fast", release="x\ny")
    found = offers_of(MachineConfig(executor="local"), odd, LoginOffers({}, "", ()))
    assert found.keys() == {"cpus", "disk"}


async def test_a_malformed_probe_makes_that_machine_faulty_and_no_other(tmp_path: Path) -> None:
    machines = {
        "well": MachineConfig(executor="local", home=str(tmp_path / "well")),
        "bad": MachineConfig(executor="local", home=str(tmp_path / "bad"), python=python3(tmp_path, "bad-offers")),
    }
    agents = {
        "here": AgentConfig(driver="command", program=[sys.executable]),
        "gone": AgentConfig(driver="command", program=["no-such-program"]),
        "own": AgentConfig(driver="command", program=["./agent"]),
    }
    config = FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines=machines, agents=agents)
    executors = Executors(config, tmp_path)
    watch = MachineWatch(lambda: config, executors, SystemClock())
    try:
        await watch.look()
        assert watch.seen["well"].offers is None  # nobody looked yet
        await watch.probes.look()
        await watch.look()
    finally:
        await executors.close()
    well, bad = watch.seen["well"], watch.seen["bad"]
    assert (well.state, bad.state) == (MachineState.WELL, MachineState.FAULTY)
    assert well.offers is not None and well.offers["here"] == "" and "gone" not in well.offers
    assert well.absent == {"gone"}
    assert "malformed" in bad.why and bad.offers is None


async def test_a_probe_is_repeated_only_when_it_is_old_or_the_agents_changed(tmp_path: Path) -> None:
    machines = {"box": MachineConfig(executor="local", home=str(tmp_path))}
    configs = [FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines=machines)]
    clock, executors = SetClock(), Executors(configs[0], tmp_path)
    watch = MachineWatch(lambda: configs[0], executors, clock)
    tried = []
    try:
        for later_us in (1, 1, 599_000_000, 1_000_000):
            clock.us += later_us
            await watch.probes.look()
            tried.append(watch.probes.found["box"].tried_us)
        configs[0] = configs[0].model_copy(
            update={"agents": {"demo": AgentConfig(driver="command", program=["cat"])}}
        )
        clock.us += 1
        await watch.probes.look()
        configs[0] = configs[0].model_copy(update={"machines": {}})
        tried.append(watch.probes.found["box"].tried_us)
        await watch.probes.look()
    finally:
        await executors.close()
    assert tried == [1, 1, 1, 600_000_002, 600_000_003]
    assert watch.probes.found == {}


class SetClock(SystemClock):
    us = 0

    def now_us(self) -> int:
        return self.us


def test_one_machine_fits_a_phone() -> None:
    machine = MachineConfig(executor="local", labels=["ios"])
    agents = {
        "claude": AgentConfig(driver="claude", program=["claude"]),
        "codex": AgentConfig(driver="codex", program=["codex"]),
    }
    config = FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines={"mac": machine}, agents=agents)
    seen = MachineSeen(
        MachineState.AWAY,
        5_000_000,
        why="no answer",
        facts=MAC,
        offers=offers_of(machine, MAC, SAYS),
        absent=frozenset({"codex"}),
    )
    pause = Pause("mac", "console:h:ada", 5_000_000)
    card = machine_card(config, "mac", seen, at_work=[], waiting=[], pause=pause, now_us=65_000_000)
    assert [shown(row, 200) for row in card.lines] == [
        "asleep or away · last seen 1 min ago · no answer",
        "⏸ mac drained · console:h:ada · 1 min",
        "macos 26.1 · arm64 · 32.0 GB memory, 12.0 GB free · load 0.0 on 10 cpus",
        "agents: claude 2.1.197",
        "not installed: codex",
        "xcode 26.1 · 2 simulators",
        "labels: ios",
    ]

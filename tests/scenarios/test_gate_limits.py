"""A gate that reaches a limit: what people, the agent and the ledger are told."""

from __future__ import annotations

from pathlib import Path

from fleet.events import GateClosedV3
from fleet.verdict import Outcome
from tests.scenarios.gate_house import House, airboss_toml


async def test_a_gate_that_reaches_its_memory_limit_says_so_to_people_and_agent(tmp_path: Path) -> None:
    hog = "held = []\nwhile True: held.append(b'x' * 1000000)"
    house = House(tmp_path, {"airboss.toml": airboss_toml("/usr/bin/python3", "-c", hog, more='memory = "50M"')})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
        (closed,) = [item.event for item in await judge.events("gate.closed")]
    said = "memory limit 50 MB reached; process python3 ended"
    assert verdict.outcome is Outcome.FAILED and said in verdict.reasons[0]
    assert verdict.gates[0].tail.startswith(said)
    assert isinstance(closed, GateClosedV3) and closed.limits is not None
    assert (closed.limits.memory, closed.reached) == (50 << 20, said)

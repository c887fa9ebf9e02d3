"""A machine that cannot build walls: its gates take turns in their login, and verdict and ledger say so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fleet.config import MachineConfig
from fleet.events import GateClosedV2
from fleet.isolation import UNWALLED
from fleet.verdict import Outcome
from tests.scenarios.gate_house import House, airboss_toml

#: Root without the right to make namespaces, as in many containers.
PYTHON = '#!/bin/sh\nexec setpriv --bounding-set -sys_admin --inh-caps -sys_admin /usr/bin/python3 "$@"\n'


@pytest.mark.needs_root
async def test_gates_without_walls_take_turns_and_say_so(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(PYTHON)
    python.chmod(0o755)
    checkouts = "test $(ls ../.. | wc -l) = 1"  # nor is another's put in place meanwhile
    alone = f"mkdir {tmp_path}/busy && sleep 1 && {checkouts} && rmdir {tmp_path}/busy"
    machine = MachineConfig(executor="local", python=str(python), home=str(tmp_path / "machine"))
    house = House(tmp_path, {"airboss.toml": airboss_toml("/bin/sh", "-c", alone)}, machines={"here": machine})
    async with house.open() as judge:
        candidates = [await judge.candidate({"change.txt": f"{number}\n"}) for number in range(2)]
        verdicts = await asyncio.gather(*(judge.pipeline.judge(candidate) for candidate in candidates))
        closed = [item.event for item in await judge.events("gate.closed")]
    for verdict in verdicts:
        assert verdict.outcome is Outcome.PASSED, verdict.reasons
        assert any(reason.startswith("gates-share-a-login: here") for reason in verdict.reasons)
        (result,) = verdict.gates
        assert result.evidence is not None and result.evidence.isolation == UNWALLED
    for event in closed:
        assert isinstance(event, GateClosedV2)
        assert (event.processes, event.files, event.network) == ("shared", "shared", "shared")

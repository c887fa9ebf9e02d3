"""Definitions that are wrong: in the change they are its agent's to mend, elsewhere they are no verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.config import GateTightening, RepoConfig
from fleet.errors import RepositoryUnusable
from fleet.flight.prompts import rework
from fleet.verdict import Outcome
from tests.scenarios.gate_house import Files, House, airboss_toml

BROKEN = [
    ({"airboss.toml": "[gates.tests\n"}, ()),
    ({"airboss.toml": airboss_toml("true") + 'memory = "1 lump"\n'}, ()),
    ({}, ("airboss.toml",)),
]


@pytest.mark.parametrize(("files", "remove"), BROKEN, ids=["no TOML", "a wrong value", "removed"])
async def test_a_change_that_breaks_the_definitions_goes_back_to_its_agent(
    tmp_path: Path, files: Files, remove: tuple[str, ...]
) -> None:
    house = House(tmp_path, {"airboss.toml": airboss_toml("true")})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate(files, remove=remove))
        assert (verdict.outcome, verdict.rework_turns) == (Outcome.FAILED, 3)
        assert not await judge.events("gate.opened")
    text = rework(verdict)
    assert "Your change cannot be judged as it is." in text and "airboss.toml of demo" in text


async def test_an_operators_gate_that_conflicts_is_nobody_elses_fault(tmp_path: Path) -> None:
    repo = RepoConfig(url="/none", gates={"tests": GateTightening(run=["false"])})
    house = House(tmp_path, {"airboss.toml": airboss_toml("true")}, repo=repo)
    async with house.open() as judge:
        with pytest.raises(RepositoryUnusable, match="a different `run`"):
            await judge.pipeline.judge(await judge.candidate({"airboss.toml": "[gates.tests\n"}))

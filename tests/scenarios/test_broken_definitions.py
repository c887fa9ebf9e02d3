"""Definitions that are wrong: in the change they are its agent's to mend, elsewhere they are no verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.config import GateTightening, RepoConfig
from fleet.errors import OriginAway, RepositoryUnusable
from fleet.flight.prompts import rework
from fleet.ports import Candidate
from fleet.verdict import Outcome
from tests.far_end.repositories import advance, commit, git, make_bare
from tests.scenarios.gate_house import Files, House, Judge, airboss_toml

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


async def with_submodule(judge: Judge, at: str, url: str, files: Files) -> Candidate:
    """A change that records a commit at ``extra``, and says that it comes from ``url``."""
    house = judge.house
    base = await house.repository.fetch()
    git(house.work, "checkout", "--quiet", "--detach", base)
    (house.work / "extra").mkdir(exist_ok=True)
    git(house.work, "update-index", "--add", "--cacheinfo", f"160000,{at},extra")
    named = f'[submodule "extra"]\n\tpath = extra\n\turl = {url}\n'
    return await judge.of_commit(base, commit(house.work, {".gitmodules": named, **files}))


async def test_a_change_of_the_definitions_has_no_address_asked_that_it_names(tmp_path: Path) -> None:
    """It could name any repository that the controller can read. One that no git may be asked for goes back."""
    house = House(tmp_path, {"airboss.toml": airboss_toml("true")})
    private = make_bare(tmp_path / "private.git", {"secret": "1\n"})
    at, other = git(private, "rev-parse", "main"), airboss_toml("true", timeout="20s")
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(
            await with_submodule(judge, at, "../private.git", {"airboss.toml": other})
        )
        assert verdict.outcome is Outcome.HELD
        assert not (house.repository.mirror / "submodules").exists()
        verdict = await judge.pipeline.judge(await with_submodule(judge, at, "ext::sh -c id", {}))
        assert verdict.outcome is Outcome.FAILED and "'extra' at" in verdict.reasons[0]


async def test_a_moved_submodule_whose_repository_is_away_is_no_verdict(tmp_path: Path) -> None:
    """Another controller may have taken the snapshot: this one lacks the commit."""
    house = House(tmp_path, {"airboss.toml": airboss_toml("true")})
    lib = make_bare(tmp_path / "lib.git", {"lib.c": "1\n"})
    async with house.open() as judge:
        first = await with_submodule(judge, git(lib, "rev-parse", "main"), "../lib.git", {})
        git(house.work, "push", "--quiet", "origin", f"{first.commit}:main")
        moved = await with_submodule(judge, advance(lib, {"lib.c": "2\n"}), "../lib.git", {"a": "1"})
        await judge.pipeline.preflight("demo", moved.base)
        away = lib.rename(tmp_path / "away.git")
        with pytest.raises(OriginAway, match="'extra'"):
            await judge.pipeline.judge(moved)
        away.rename(lib)
        assert (await judge.pipeline.judge(moved)).outcome is Outcome.HELD

"""Gate runs in kept checkouts: none finds what another left, and a checkout that anybody changed never passes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from fleet.verdict import GateResult, Outcome, Verdict
from tests.contracts.nested import gitmodules, record
from tests.far_end.repositories import advance, git, make_bare
from tests.scenarios.gate_house import House, airboss_toml

#: Shows its tree, and leaves all of it changed.
LEAVES = "cat file change.txt; ls; echo bad > file; rm change.txt; mkdir new; chmod 0 dir; test -e .git"


def one(verdict: Verdict) -> GateResult:
    (result,) = verdict.gates
    return result


def kept_in(room: Path) -> list[Path]:
    return sorted((room / "machine" / ".airboss" / "trees" / "demo").glob("*/tree"))


def house_of(room: Path, gate: str, attempts: int = 1) -> House:
    files: dict[str, str | bytes] = {
        "airboss.toml": airboss_toml("/bin/sh", "-c", gate),
        "file": "good\n",
        "dir/inner": "inner\n",
        "script": "#!/bin/sh\n",
    }
    return House(room, files, attempts=attempts)


async def test_a_run_finds_nothing_of_the_one_before(tmp_path: Path) -> None:
    house = house_of(tmp_path, f"{LEAVES} || exit 0")
    async with house.open() as judge:
        for number in range(3):
            candidate = await judge.candidate({"change.txt": f"{number}\n", f"only-{number}": ""})
            result = one(await judge.pipeline.judge(candidate))
            assert result.outcome is Outcome.PASSED, result.reason
            log = (house.home / "gates" / f"{result.run}.log").read_text().split()
            listed = ["airboss.toml", "change.txt", "dir", "file", f"only-{number}", "script"]
            assert log == ["good", f"{number}", *listed]
            (tree,) = kept_in(tmp_path)
            assert (tree / "file").read_text() == "good\n"
            assert (tree / "change.txt").read_text() == f"{number}\n"
            assert sorted(os.listdir(tree.parent)) == ["holds", "tree"]


async def test_submodules_are_in_a_kept_checkout_and_move_with_it(tmp_path: Path) -> None:
    """Each run finds them as its tree records them, whatever the one before wrote into them."""
    house = house_of(tmp_path, "cat vendor/lib/lib.txt; echo bad > vendor/lib/lib.txt; touch vendor/lib/new")
    lib = make_bare(tmp_path / "lib.git", {"lib.txt": "one\n"})
    first = git(lib, "rev-parse", "main")
    record(house.bare, {".gitmodules": gitmodules(vendor__lib="../lib.git")}, vendor__lib=first)
    said = []
    async with house.open() as judge:
        for number in range(2):
            result = one(await judge.pipeline.judge(await judge.candidate({"change.txt": f"{number}\n"})))
            assert result.outcome is Outcome.PASSED, result.reason
            said.append((house.home / "gates" / f"{result.run}.log").read_text())
        record(house.bare, {}, vendor__lib=advance(lib, {"lib.txt": "two\n"}))
        result = one(await judge.pipeline.judge(await judge.candidate({"change.txt": "2\n"})))
        said.append((house.home / "gates" / f"{result.run}.log").read_text())
        (tree,) = kept_in(tmp_path)
        assert sorted(os.listdir(tree / "vendor/lib")) == ["lib.txt"]
        (tree / "vendor/lib/lib.txt").write_text("bad\n")
        result = one(await judge.pipeline.judge(await judge.candidate({"change.txt": "3\n"})))
    assert said == ["one\n", "one\n", "two\n"]
    assert result.outcome is Outcome.LOST and "something changed the kept checkout" in result.reason


async def test_a_kept_checkout_that_anybody_changed_is_found_before_the_run(tmp_path: Path) -> None:
    """The run is lost, and made again in a checkout that is filled anew."""
    house = house_of(tmp_path, "cat file; grep -q bad file", attempts=2)
    async with house.open() as judge:
        assert one(await judge.pipeline.judge(await judge.candidate({"a": ""}))).outcome is Outcome.FAILED
        (tree,) = kept_in(tmp_path)
        (tree / "file").write_text("bad\n")
        result = one(await judge.pipeline.judge(await judge.candidate({"b": ""})))
        assert result.outcome is Outcome.FAILED, result.reason
        (earlier,) = result.earlier
        assert earlier.outcome is Outcome.LOST
        assert "something changed the kept checkout" in earlier.reason
        log = (house.home / "gates" / f"{result.run}.log").read_text()
        assert log == "good\n"
        assert not kept_in(tmp_path), "what was changed is not kept"


async def test_runs_at_the_same_time_never_share_one(tmp_path: Path) -> None:
    """Each waits until all have begun; then each finds its own change, and nothing that another wrote."""
    meet = "echo x > file; cat change.txt; sleep 1; cat file; ls | grep own-"
    house = house_of(tmp_path, f"{meet}; touch own-$(cat change.txt)")
    async with house.open() as judge:
        for _ in range(2):
            candidates = [await judge.candidate({"change.txt": f"{number}\n"}) for number in range(3)]
            verdicts = await asyncio.gather(*map(judge.pipeline.judge, candidates))
            for number, verdict in enumerate(verdicts):
                result = one(verdict)
                assert result.outcome is Outcome.PASSED, result.reason
                assert (house.home / "gates" / f"{result.run}.log").read_text() == f"{number}\nx\n"
    assert all((tree / "file").read_text() == "good\n" for tree in kept_in(tmp_path))

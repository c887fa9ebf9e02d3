"""``[setup.NAME]`` for gates: built once, seen at one path, written by nothing that is judged."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from fleet.config import MachineConfig
from fleet.errors import Refused
from fleet.events import HoldReleased, Refs, SetupBroke, SetupBuilt, Source
from fleet.ports import Candidate
from fleet.store import ledger
from fleet.verdict import Outcome
from tests.far_end.python_project import SETUP, module, project
from tests.scenarios.gate_house import Files, House, Judge, airboss_toml

SH = "/bin/sh"
ONE_FILE = """
[setup.python]
run = [{run}]
inputs = ["requirements.txt"]
provides = [".venv"]
"""
COPIES = '["mkdir", ".venv"], ["cp", "requirements.txt", ".venv/made"]'


def small(script: str, run: str = COPIES, **more: str) -> Files:
    """A repository whose setup copies its input."""
    toml = ONE_FILE.format(run=run) + airboss_toml(SH, "-c", script)
    return {"requirements.txt": "left-pad==1.0\n", "airboss.toml": toml, **more}


def kept(house: House) -> list[Path]:
    """The environments that are kept on the machine."""
    return sorted((house.room / "machine").glob(".airboss*/setup/*/*"))


async def release(judge: Judge, candidate: Candidate) -> None:
    refs = Refs(task=candidate.task.id, session=candidate.session.id)
    event = HoldReleased(candidate.commit, True, "known")
    await judge.store.write(
        lambda tx: ledger.append(tx, event, actor="slack:T1:U1", source=Source.PERSON, refs=refs)
    )


async def test_gates_see_the_changed_source_through_what_was_built_once_from_the_base(tmp_path: Path) -> None:
    script = "shop; python3 -c 'import shop, sys; print(shop.WORD, shop.__file__, sys.prefix)'; exit 1"
    house = House(tmp_path, {**project(), "airboss.toml": SETUP + airboss_toml(SH, "-c", script)})
    words = ("new", "newer")
    async with house.open() as judge:
        candidates = [await judge.candidate({"src/shop/__init__.py": module(word)}) for word in words]
        verdicts = await asyncio.gather(*(judge.pipeline.judge(each) for each in candidates))
        (built,) = await judge.events("setup.built")
    for verdict, word in zip(verdicts, words, strict=True):
        (result,) = verdict.gates
        where = "/airboss/tree/src/shop/__init__.py /airboss/tree/.venv"
        assert result.tail == f"{word}\n{word} {where}", result
        assert result.evidence is not None and result.evidence.isolation.walled
        assert result.evidence.tree == verdict.tree, "what was built is no part of the judged tree"
    assert isinstance(built.event, SetupBuilt)
    assert (built.event.setup, built.event.commit) == ("python", candidates[0].base)
    assert len(built.event.content_sha256) == 64
    assert len(kept(house)) == 1
    assert not list((tmp_path / "machine").glob(".airboss*/gates/*")), "what it was built in is discarded"


async def test_npm_workspaces_find_each_other(tmp_path: Path) -> None:
    setup = '[setup.node]\nrun = ["npm", "install", "--offline", "--no-audit", "--no-fund"]\n'
    setup += 'inputs = ["package.json"]\nprovides = ["node_modules"]\n'
    program = "const a = require('a'); console.log(a.word, require.resolve('a')); process.exit(1)"
    toml = setup + airboss_toml("node", "-e", program)
    root = '{"name": "root", "version": "1.0.0", "workspaces": ["packages/*"]}'
    member = {
        "packages/a/package.json": '{"name": "a", "version": "1.0.0"}',
        "packages/a/index.js": "exports.word=1",
    }
    house = House(tmp_path, {"airboss.toml": toml, "package.json": root, **member})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate({"packages/a/index.js": "exports.word = 'new'"}))
    assert verdict.gates[0].tail == "new /airboss/tree/packages/a/index.js", verdict


async def test_the_first_gate_of_the_readme_works_without_pytest_on_the_machine(tmp_path: Path) -> None:
    """Both trees are run at one path: the base's run sees the base's source, through the same environment."""
    site = next(Path(sys.prefix).glob("lib/python3*/site-packages"))
    steps = (
        '["python3", "-m", "venv", "--without-pip", ".venv"], ["/bin/sh", "-c", '
        f"'for d in .venv/lib/*/site-packages; do printf \"%s\\n\" {site} /airboss/tree/src > $d/here.pth; done']"
    )
    test = "import shop\n\n\ndef test_word():\n    assert shop.WORD == 'old'\n"
    source = {"src/shop.py": "WORD = 'old'\n", "tests/test_word.py": test, "requirements.txt": "pytest\n"}
    house = House(
        tmp_path,
        {**source, "airboss.toml": ONE_FILE.format(run=steps) + airboss_toml("python3", "-m", "pytest", "-q")},
        machines={
            "here": MachineConfig(executor="local", home=str(tmp_path / "machine"), gate_read=[str(site)]),
        },
    )
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate({"src/shop.py": "WORD = 'new'\n"}))
    assert verdict.outcome is Outcome.FAILED and "assert 'new' == 'old'" in verdict.gates[0].tail, verdict
    (baseline,) = (house.home / "gates" / "baselines").iterdir()
    assert '"tests/test_word.py::test_word":["passed"' in baseline.read_text()


async def test_a_gate_can_write_nothing_that_others_use(tmp_path: Path) -> None:
    script = (
        "echo x > .venv/made || echo one; chmod -R u+w .venv || echo two; rm -r .venv || echo three;"
        " ls -a /airboss | grep -c setup; mount -o remount,rw .venv || echo four; exit 1"
    )
    house = House(tmp_path, small(script))
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    told = [line for line in verdict.gates[0].tail.splitlines() if line in {"one", "two", "three", "four", "0"}]
    assert told == ["one", "two", "three", "0", "four"], verdict.gates[0].tail
    (place,) = kept(house)
    assert (place / "0" / "made").read_text() == "left-pad==1.0\n"


async def test_changed_inputs_are_built_apart_and_held_until_a_person_knows_them(tmp_path: Path) -> None:
    house = House(tmp_path, small("cat .venv/made; echo end"))
    new: Files = {"requirements.txt": "left-pad==1.0\nright-pad==2.5\n"}
    async with house.open() as judge:
        candidate = await judge.candidate(new)
        held = await judge.pipeline.judge(candidate)
        assert held.outcome is Outcome.HELD
        assert held.reasons[0] == "requirements.txt:2 new dependency: right-pad 2.5"
        log = house.home / "gates" / f"{held.gates[0].run}.log"
        assert log.read_text() == "left-pad==1.0\nright-pad==2.5\nend\n"
        assert not await judge.events("setup.built"), "nothing of it is kept"
        assert not kept(house)
        await release(judge, candidate)
        again = await judge.pipeline.judge(await judge.candidate({**new, "more.txt": "more\n"}))
        assert again.outcome is Outcome.PASSED, again.reasons
        assert again.gates[0].notes[0].startswith("setup: built for this run in ")
        other = await judge.pipeline.judge(await judge.candidate({"requirements.txt": "left-pad==1.1\n"}))
        assert other.reasons[0] == "requirements.txt:1 dependency: left-pad 1.1 (was 1.0)"
        assert not list((tmp_path / "machine").glob(".airboss*/gates/*"))


async def test_a_setup_that_fails_says_so_and_whose_fault_it_is(tmp_path: Path) -> None:
    told = "echo E no such package; echo Could not resolve host: x"
    run = f'["mkdir", ".venv"], ["/bin/sh", "-c", "{told}; grep -q left-pad requirements.txt"]'
    house = House(tmp_path, small("true", run.replace("grep", "exit 7; grep")))
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
        (event,) = await judge.events("setup.failed")
    assert verdict.outcome is Outcome.UNAVAILABLE
    assert verdict.reasons[0].startswith("tests: setup failed: python on "), verdict.reasons
    assert "@here: exit status 7; it has no network; `network = true`" in verdict.reasons[0]
    assert isinstance(event.event, SetupBroke)
    assert verdict.gates[0].tail == event.event.tail
    assert "+ mkdir .venv\n" in event.event.tail and "E no such package" in event.event.tail
    assert not kept(house)

    (tmp_path / "changed").mkdir()
    house = House(tmp_path / "changed", small("true", run))
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate({"requirements.txt": "typo\n"}))
    assert verdict.outcome is Outcome.FAILED, "the agent gets its lines"
    assert "no such package" in verdict.gates[0].tail


async def test_what_an_agent_without_walls_could_write_is_not_kept(tmp_path: Path) -> None:
    machine = MachineConfig(executor="local", home=str(tmp_path / "machine"), session_walls=False)
    house = House(tmp_path, small("grep -q left .venv/made"), machines={"here": machine})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    assert verdict.outcome is Outcome.PASSED, verdict
    assert verdict.gates[0].notes[0].startswith("setup: built for this run in ")
    assert not kept(house)
    assert not list((tmp_path / "machine").glob(".airboss*/gates/*"))


async def test_a_setup_that_makes_no_directory_has_failed(tmp_path: Path) -> None:
    house = House(tmp_path, small("true", '["mkdir", "elsewhere"], ["ln", "-s", "elsewhere", ".venv"]'))
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    assert verdict.gates[0].outcome is Outcome.UNAVAILABLE
    assert "setup failed: python" in verdict.reasons[0]
    assert ".venv is not a directory that it made" in verdict.reasons[0]


async def test_a_tree_with_files_of_its_own_there_is_refused(tmp_path: Path) -> None:
    house = House(tmp_path, small("true"))
    async with house.open() as judge:
        candidate = await judge.candidate({".venv/kept": "x"})
        words = "provides .venv, but the repository tracks .venv/kept"
        assert words in (await judge.pipeline.judge(candidate)).reasons[0]
        with pytest.raises(Refused, match=words):
            await judge.pipeline.preflight("demo", candidate.commit)
        with pytest.raises(Refused, match="its inputs match no file"):
            gone = await judge.candidate({"x": "x"}, remove=("requirements.txt",))
            await judge.pipeline.preflight("demo", gone.commit)


def _touched(path: Path) -> Path:
    path.touch()
    return path


async def test_what_died_half_is_never_used(tmp_path: Path) -> None:
    house = House(tmp_path, small("cat .venv/made; exit 1"))
    async with house.open() as judge:
        await judge.pipeline.judge(await judge.candidate())
        (place,) = kept(house)
        place.rename(place.with_suffix(".new"))  # as after a kill just before the last step
        (place.with_suffix(".new") / "0").chmod(0o700)
        (place.with_suffix(".new") / "0" / "made").unlink()
        instance = place.parent.name.removesuffix("-gates")
        stale = place.parents[2] / "gates" / f"{instance}-setup-gates-{place.name[:16]}-dead0000"
        stale.mkdir()
        old = place.with_name("0" * 32)
        (old / "0").mkdir(parents=True)
        os.utime(_touched(old / "used"), (0, 0))  # nothing used it for longer than two weeks
        verdict = await judge.pipeline.judge(await judge.candidate())
        assert verdict.gates[0].tail == "left-pad==1.0"
        assert kept(house) == [place], "what is old is removed, too"
        assert not stale.exists()


async def test_a_stopped_task_ends_the_setup_that_it_waits_for(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    house = House(tmp_path, small("true", f'["/bin/sh", "-c", "echo > {mark}; sleep 600"]'), machines={})
    async with house.open() as judge:
        candidate = await judge.candidate()
        judging = asyncio.ensure_future(judge.pipeline.judge(candidate))
        while not list((tmp_path / "machine").glob(".airboss*/pipes/*setup*/status")):
            await asyncio.sleep(0.02)
        await judge.pipeline.abandon(candidate.task.id)
        verdict = await judging
        assert verdict.outcome is Outcome.ABORTED and "stopped" in verdict.reasons[0]
        assert not kept(house)
        assert not await judge.events("setup.failed")


#: Root without the right to make namespaces, as in many containers.
UNWALLED = '#!/bin/sh\nexec setpriv --bounding-set -sys_admin --inh-caps -sys_admin /usr/bin/python3 "$@"\n'


@pytest.mark.needs_root
async def test_without_walls_it_is_built_in_each_checkout(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(UNWALLED)
    python.chmod(0o755)
    machine = MachineConfig(executor="local", python=str(python), home=str(tmp_path / "machine"))
    run = '["mkdir", ".venv"], ["/bin/sh", "-c", "pwd > .venv/made"]'
    house = House(tmp_path, small("test $(cat .venv/made) = $PWD", run), machines={"here": machine})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
        assert verdict.outcome is Outcome.PASSED, (verdict.reasons, verdict.gates[0].tail)
        assert verdict.gates[0].notes[0].startswith("setup: built for this run in ")
        changed = await judge.pipeline.judge(await judge.candidate({"requirements.txt": "a==1\n"}))
        assert changed.outcome is Outcome.HELD, (changed.reasons, changed.gates[0].tail)
        assert not list((tmp_path / "machine").glob(".airboss*/gates/*"))

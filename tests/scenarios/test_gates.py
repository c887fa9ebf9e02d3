"""Gates over real commits, by the real runner: what passes, what does not, what a crash or a cut link leaves."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fleet.agent_events import Allow, Asked, Deny
from fleet.config import AgentConfig, MachineConfig, RepoConfig
from fleet.config.gates import GateTightening
from fleet.errors import Refused, RepositoryUnusable
from fleet.events import GateClosed, GateOpened, HoldReleased, Refs, Source
from fleet.exits import Exited, Signalled
from fleet.git.lfs import Pointer
from fleet.model import Isolation, PipeEnd
from fleet.ports import Candidate
from fleet.store import gates as gate_runs
from fleet.store import ledger, sessions
from fleet.store.core import Tx
from fleet.verdict import JUnitCounts, Outcome
from gates.runs.definitions import load as load_definitions
from tests.scenarios.gate_house import WAITING, House, airboss_toml, begun

SH = "/bin/sh"


async def test_a_passing_gate_and_the_order_of_its_evidence(tmp_path: Path) -> None:
    house = House(tmp_path, {"airboss.toml": airboss_toml(SH, "-c", "cat change.txt; pwd")})
    async with house.open() as judge:
        candidate = await judge.candidate()
        verdict = await judge.pipeline.judge(candidate)
        assert verdict.outcome is Outcome.PASSED
        (result,) = verdict.gates
        assert result.evidence is not None
        assert (result.evidence.exit, result.evidence.raw_wait_status) == (Exited(0), 0)
        assert result.evidence.tree == candidate.tree == verdict.tree
        assert result.evidence.contained is (await judge.executors.gate("here").facts()).contained
        assert verdict.isolation is Isolation.UNSAFE_SAME_USER
        kinds = [item.event.KIND for item in await judge.events("gate.opened", "gate.closed", "verdict.given")]
        assert kinds == ["gate.opened", "gate.closed", "verdict.given"]
        log = (house.home / "gates" / f"{result.run}.log").read_bytes()
        assert log.startswith(b"changed\n")
        assert hashlib.sha256(log).hexdigest() == result.evidence.output_sha256
        assert len(log) == result.evidence.output_bytes
        assert not list((tmp_path / "machine").glob(".airboss*/gates/*")), "the checkout is discarded"


async def test_a_gate_sees_large_files_and_the_judged_tree_has_their_pointers(tmp_path: Path) -> None:
    """The change's tree, and the base's beside it for the layers. An object that is gone is named."""
    data, gone = b"\0old picture" * 9, b"nobody has it"
    pointer, lost = (Pointer(hashlib.sha256(each).hexdigest(), len(each)) for each in (data, gone))
    script = "import pathlib; assert pathlib.Path('a.png').read_bytes() == b'\\0old picture' * 9; print('seen')"
    files: dict[str, str | bytes] = {
        "airboss.toml": airboss_toml(sys.executable, "-c", script),
        ".gitattributes": "*.png filter=lfs -text\n",
        "a.png": pointer.text,
        "lost.png": lost.text,
    }
    house = House(tmp_path, files)
    kept = house.bare / "lfs" / "objects" / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid
    kept.parent.mkdir(parents=True)
    kept.write_bytes(data)
    async with house.open() as judge:
        candidate = await judge.candidate({"change.txt": "changed\n", "same.png": pointer.text})
        verdict = await judge.pipeline.judge(candidate)
    assert verdict.outcome is Outcome.PASSED, verdict.reasons
    (result,) = verdict.gates
    assert result.evidence is not None
    assert result.evidence.tree == candidate.tree
    assert any("'lost.png': only the pointer was there" in note for note in result.notes)


@pytest.mark.parametrize(
    ("script", "exit_", "raw"),
    [("echo boom >&2; exit 7", Exited(7), 7 << 8), ("kill -SEGV $$", Signalled("SIGSEGV"), None)],
)
async def test_a_failing_gate_says_the_real_exit(tmp_path: Path, script: str, exit_: Any, raw: int | None) -> None:
    house = House(tmp_path, {"airboss.toml": airboss_toml(SH, "-c", script, more="rework_turns = 2")})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    assert verdict.outcome is Outcome.FAILED
    (result,) = verdict.gates
    assert result.evidence is not None
    assert result.evidence.exit == exit_
    assert raw is None or result.evidence.raw_wait_status == raw
    assert str(exit_) in verdict.reasons[0]
    assert verdict.rework_turns == 2
    assert raw is None or result.tail == "boom"


async def test_a_missing_command_is_unavailable_not_failed(tmp_path: Path) -> None:
    house = House(tmp_path, {"airboss.toml": airboss_toml("no-such-program")}, attempts=3)
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
        assert verdict.outcome is Outcome.UNAVAILABLE
        assert "no-such-program" in verdict.reasons[0]
        assert len(await judge.events("gate.opened")) == 1, "the only machine is not asked again"


async def test_a_repository_without_gates_is_refused(tmp_path: Path) -> None:
    house = House(tmp_path, {"README": "nothing here"})
    async with house.open() as judge:
        candidate = await judge.candidate()
        with pytest.raises(RepositoryUnusable, match=r"airboss\.toml"):
            await judge.pipeline.preflight("demo", candidate.base)
        with pytest.raises(RepositoryUnusable, match=r"airboss\.toml"):
            await judge.pipeline.judge(candidate)
        assert not await judge.events("gate.opened")
        assert not await judge.events("verdict.given"), "it is not about the change"


async def test_the_operator_alone_can_define_a_gate(tmp_path: Path) -> None:
    repo = RepoConfig(url="/none", gates={"mine": GateTightening(run=[SH, "-c", "exit 5"])})
    house = House(tmp_path, {"README": "nothing here"}, repo=repo)
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    assert (verdict.outcome, [gate.gate for gate in verdict.gates]) == (Outcome.FAILED, ["mine"])


async def test_no_machine_with_the_labels_is_unavailable_and_every_machine_says_why(tmp_path: Path) -> None:
    machines = {
        "plain": MachineConfig(executor="local", home=str(tmp_path / "m1")),
        "resting": MachineConfig(executor="local", gates=False, labels=["gpu"], home=str(tmp_path / "m2")),
    }
    toml = airboss_toml("true", more='needs = ["gpu"]')
    house = House(tmp_path, {"airboss.toml": toml}, machines=machines)
    async with house.open() as judge:
        candidate = await judge.candidate()
        verdict = await judge.pipeline.judge(candidate)
        assert verdict.outcome is Outcome.UNAVAILABLE
        assert "plain: lacks gpu" in verdict.reasons[0]
        assert "resting: gates = false" in verdict.reasons[0]
        assert len(await judge.events("gate.opened", "gate.closed")) == 2
        with pytest.raises(Refused, match="gpu"):
            await judge.pipeline.preflight("demo", candidate.base)


async def test_what_one_machine_cannot_do_goes_to_the_next(tmp_path: Path) -> None:
    broken = MachineConfig(executor="local", python="/no/such/python3", home=str(tmp_path / "m1"))
    machines = {"broken": broken, "sound": MachineConfig(executor="local", home=str(tmp_path / "m2"))}
    house = House(tmp_path, {"airboss.toml": airboss_toml("true")}, machines=machines)
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    assert verdict.outcome is Outcome.PASSED
    assert verdict.gates[0].evidence is not None
    assert verdict.gates[0].evidence.machine == "sound"


@pytest.mark.parametrize("network", [False, True])
async def test_a_gate_that_misses_the_network_is_told_how_to_get_it(tmp_path: Path, network: bool) -> None:
    script = "echo 'curl: (6) Could not resolve host: example.com'; exit 6"
    more = "network = true" if network else ""
    house = House(tmp_path, {"airboss.toml": airboss_toml(SH, "-c", script, more=more)})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    (result,) = verdict.gates
    assert result.evidence is not None
    assert str(result.evidence.isolation.network) == ("shared" if network else "none")
    for text in (result.reason, result.tail):
        assert ("this gate has no network; `network = true`" in text) is not network


async def test_a_gates_environment_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELEGRAM_TOKEN", "secret")
    script = 'test -d "$HOME" && test -w "$TMPDIR" && env | cut -d= -f1 | sort | tr "\\n" " "; echo; ls -A'
    house = House(tmp_path, {"airboss.toml": airboss_toml(SH, "-c", script, more='env = { EXTRA = "1" }')})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    names, *files = verdict.gates[0].tail.split("\n")
    wanted = {"AIRBOSS_GATE", "AIRBOSS_PIPE", "EXTRA", "HOME", "LANG", "PATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR"}
    assert set(names.split()) - {"PWD", "OLDPWD", "SHLVL", "_"} == wanted
    assert files == ["airboss.toml", "change.txt"], "neither a .git nor our own directories are in the checkout"


JUNIT = '<testsuites><testsuite name="a" tests="5" failures="1" errors="1" skipped="2"/></testsuites>'


@pytest.mark.parametrize(
    ("report", "counts"),
    [
        (JUNIT, JUnitCounts(5, 1, 1, 2)),
        ("<!DOCTYPE x [<!ENTITY a 'a'>]>" + JUNIT, None),
        ('<testsuite tests="-3" failures="0" errors="0" skipped="0"/>', None),
        ("no report", None),
    ],
)
async def test_a_report_is_shown_and_never_decides(tmp_path: Path, report: str, counts: JUnitCounts | None) -> None:
    script = 'printf "%s" "$1" > "{junit}"'
    house = House(tmp_path, {"airboss.toml": airboss_toml(SH, "-c", script, "sh", report)})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    assert verdict.outcome is Outcome.PASSED
    assert verdict.gates[0].junit == counts


# --- held changes -----------------------------------------------------------------------------------

PROTECTED = 'protected = ["tests/**", "**/conftest.py"]'


@pytest.mark.parametrize("how", ["edit", "add", "delete", "rename", "mode"])
async def test_a_change_to_protected_files_is_held_and_a_release_binds_to_the_commit(
    tmp_path: Path, how: str
) -> None:
    base = {"airboss.toml": airboss_toml("true", more=PROTECTED), "tests/a.py": "one\n" * 30}
    house = House(tmp_path, dict(base))
    async with house.open() as judge:
        if how == "mode":
            await judge.house.repository.fetch()
            (house.work / "tests" / "a.py").chmod(0o755)
        moved = {"kept/a.py": base["tests/a.py"]}
        files: dict[str, dict[str, str | bytes]] = {
            "edit": {"tests/a.py": "two\n"},
            "add": {"src/conftest.py": ""},
            "delete": {"x": "1"},
            "rename": dict(moved),
            "mode": {"x": "1"},
        }
        candidate = await judge.candidate(files[how], remove=("tests",) if how in ("delete", "rename") else ())
        verdict = await judge.pipeline.judge(candidate)
        assert verdict.outcome is Outcome.HELD
        assert ("src/conftest.py" if how == "add" else "tests/a.py") in verdict.reasons[0]

        async def release(commit: str) -> Outcome:
            refs = Refs(task=candidate.task.id)
            event = HoldReleased(commit, True, "")
            await judge.store.write(
                lambda tx: ledger.append(tx, event, actor="slack:T1:U2", source=Source.PERSON, refs=refs)
            )
            return (await judge.pipeline.judge(candidate)).outcome

        assert await release("0" * 40) is Outcome.HELD
        assert await release(candidate.commit) is Outcome.APPROVED
        assert len(await judge.events("gate.opened")) == 1, "a release runs nothing again"


# --- crashes and cut links --------------------------------------------------------------------------


async def test_a_restarted_controller_takes_up_the_run_and_runs_nothing_twice(tmp_path: Path) -> None:
    house = House(tmp_path, {"airboss.toml": airboss_toml(SH, "-c", WAITING)}, attempts=2)
    async with house.open() as judge:
        candidate = await judge.candidate()
        judging = asyncio.create_task(judge.pipeline.judge(candidate))
        home = await begun(tmp_path)
        judging.cancel()
        await asyncio.wait([judging])
    async with house.open() as judge:
        judging = asyncio.create_task(judge.pipeline.judge(candidate))
        assert (home / "count").read_text() == "began\n"
        (home / "go").touch()
        verdict = await judging
        assert verdict.outcome is Outcome.PASSED
        assert len(await judge.events("gate.opened")) == 1
        assert verdict.gates[0].evidence is not None
        assert verdict.gates[0].evidence.output_sha256 == hashlib.sha256(b"first\nsecond\n").hexdigest()
        assert await judge.pipeline.judge(candidate) == verdict
        assert len(await judge.events("verdict.given")) == 1


async def test_a_cut_link_costs_nothing(tmp_path: Path) -> None:
    house = House(tmp_path, {"airboss.toml": airboss_toml(SH, "-c", WAITING)})
    async with house.open() as judge:
        candidate = await judge.candidate()
        judging = asyncio.create_task(judge.pipeline.judge(candidate))
        home = await begun(tmp_path)
        assert _kill_links() == 1
        assert (home / "count").read_text() == "began\n"
        (home / "go").touch()
        verdict = await judging
    assert verdict.outcome is Outcome.PASSED
    assert verdict.gates[0].evidence is not None
    assert verdict.gates[0].evidence.output_sha256 == hashlib.sha256(b"first\nsecond\n").hexdigest()


def _kill_links() -> int:
    """Kills the processes at the near end of our links: this process's direct children that serve."""
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == os.getpid() and {b"runner", b"serve"} <= set(words.split(b"\0")):
            os.kill(int(entry.name), signal.SIGKILL)
            killed += 1
    return killed


async def test_a_run_that_was_opened_and_never_started_is_lost_and_done_again(tmp_path: Path) -> None:
    """One on another merge of the change, which a killed controller left open, is closed as aborted."""
    house = House(tmp_path, {"airboss.toml": airboss_toml("true")}, attempts=2)
    async with house.open() as judge:
        candidate = await judge.candidate()
        (definition,) = await load_definitions(house.repository, candidate.base, house.config.repos["demo"])

        def opened(tx: Tx, on: Candidate) -> None:
            gate_runs.open_run(
                tx, on, gate="tests", argv=definition.argv, definition_sha256=definition.sha256, machine="here",
                nonce="n" * 32, pipe=f"never-started-{on.round}",
            )  # fmt: skip

        for on in (candidate, replace(candidate, commit=candidate.base, round=2)):
            await judge.store.write(partial(opened, on=on))
        verdict = await judge.pipeline.judge(candidate)
        assert verdict.outcome is Outcome.PASSED
        closed = [item.event for item in await judge.events("gate.closed")]
        outcomes = [event.outcome for event in closed if isinstance(event, GateClosed)]
        assert outcomes == ["aborted", "lost", "passed"]


async def test_two_gates_are_both_run_and_one_red_is_enough(tmp_path: Path) -> None:
    toml = airboss_toml("false", name="a", more="rework_turns = 1") + airboss_toml("true", name="b")
    house = House(tmp_path, {"airboss.toml": toml})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    assert verdict.outcome is Outcome.FAILED
    assert [gate.outcome for gate in verdict.gates] == [Outcome.FAILED, Outcome.PASSED]
    assert verdict.rework_turns == 1


async def test_on_a_shared_login_nothing_is_judged_while_the_agent_may_live(tmp_path: Path) -> None:
    house = House(tmp_path, {"airboss.toml": airboss_toml("true")})
    async with house.open() as judge:
        candidate = await judge.candidate()
        for end in (PipeEnd.NONE, PipeEnd.ENDED, PipeEnd.LOST):
            await judge.store.write(partial(sessions.update, session_id=candidate.session.id, pipe_end=end))
            verdict = await judge.pipeline.judge(candidate)
            assert verdict.outcome is Outcome.LOST
            assert "may still run" in verdict.reasons[0]
        assert not await judge.events("gate.opened")


async def test_the_opening_names_the_definition_of_the_base(tmp_path: Path) -> None:
    house = House(tmp_path, {"airboss.toml": airboss_toml("true")})
    async with house.open() as judge:
        first = await judge.candidate({"airboss.toml": airboss_toml("true", timeout="20s")})
        await judge.pipeline.judge(first)
        second = await judge.candidate()
        await judge.pipeline.judge(second)
        opened = [item.event for item in await judge.events("gate.opened")]
    shas = {event.definition_sha256 for event in opened if isinstance(event, GateOpened)}
    assert len(opened) == 2
    assert len(shas) == 1


async def test_rulings_need_a_known_agent_and_repository(tmp_path: Path) -> None:
    repo = RepoConfig(url="/none", deny_edits=["secret/**"])
    house = House(tmp_path, {"airboss.toml": airboss_toml("true")}, repo=repo)
    async with house.open() as judge:
        candidate = await judge.candidate()
        asked = Asked("1", "Write", "{}", "", ("src/a.py",))
        assert isinstance(judge.pipeline.rule(candidate.session, candidate.task, asked), Deny)
        agents = {"claude": AgentConfig(driver="claude", program=["claude"], deny_edits=["*.lock"])}
        house.config = house.config.model_copy(update={"agents": agents})
        assert judge.pipeline.rule(candidate.session, candidate.task, asked) == Allow()
        for path in ("secret/a", "uv.lock"):
            asked = Asked("1", "Write", "{}", "", (path,))
            assert isinstance(judge.pipeline.rule(candidate.session, candidate.task, asked), Deny)


async def test_real_pytest_says_what_failed(tmp_path: Path) -> None:
    argv = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml={junit}")
    files: dict[str, str | bytes] = {
        "airboss.toml": airboss_toml(*argv),
        "calc.py": "def add(a, b):\n    return a - b\n",
        "test_calc.py": "from calc import add\n\n\ndef test_add():\n    assert add(2, 2) == 4\n",
    }
    house = House(tmp_path, files)
    async with house.open() as judge:
        red = await judge.pipeline.judge(await judge.candidate())
        assert red.outcome is Outcome.FAILED
        assert red.gates[0].junit == JUnitCounts(1, 1, 0, 0)
        assert "assert 0 == 4" in red.gates[0].tail
        green = await judge.pipeline.judge(await judge.candidate({"calc.py": "def add(a, b):\n    return a + b\n"}))
        assert green.outcome is Outcome.PASSED

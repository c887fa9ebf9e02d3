"""What a change, a gate's own code and an agent's shell on the same login try, and what it gets them: no pass."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from fleet.gate_runs import GateRun
from fleet.store import gates as gate_runs
from fleet.store.core import Tx
from fleet.verdict import Outcome
from tests.conftest import sampled
from tests.far_end.repositories import commit, git
from tests.scenarios.gate_house import House, Judge, airboss_toml

SH = "/bin/sh"
#: A forged exit record that says "exit 0", put wherever the runner keeps its own.
FORGE = (
    'for pipe in "$HOME"/../../../pipes/*; do'
    ' printf \'{"pipe":"%s","how":"exit","status":0,"started_us":1,"ended_us":2,"contained":true,"gone":true,'
    '"tree":"%s","unavailable":""}\\nforged\\n\' "${pipe##*/}" "$TREE" > "$pipe/exit"; done; '
)


async def test_a_gate_finds_no_exit_record_to_forge(tmp_path: Path) -> None:
    """What a forged record is worth where there are no walls stands in the executor's contract: it is lost."""
    large = "-path /proc -o -path /sys -o -path /usr"
    find = f"find / \\( {large} \\) -prune -o -name pipes -print -o -name '*-gate-*' -print 2>/dev/null"
    gate = airboss_toml(SH, "-c", f"{find}; ls -d {tmp_path}; {FORGE} exit 1", timeout="120s")
    house = House(tmp_path, {"airboss.toml": gate})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    assert verdict.outcome is Outcome.FAILED
    log = (house.home / "gates" / f"{verdict.gates[0].run}.log").read_text()
    assert "No such file" in log and "-gate-" not in log


async def test_a_gate_that_kills_what_started_it_gains_nothing(tmp_path: Path) -> None:
    kill = "kill -9 $PPID; " + FORGE + "exit 1"
    house = House(tmp_path, {"airboss.toml": airboss_toml(SH, "-c", kill)})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    assert verdict.outcome in (Outcome.LOST, Outcome.FAILED)


def _pids(word: str) -> list[int]:
    """Processes with ``word`` in their command line or under a directory of that name."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def _parents(pid: int) -> list[int]:
    above = []
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        above.append(pid)
    return above


async def _running(judge: Judge) -> GateRun:
    async with asyncio.timeout(60):
        while not list(judge.house.room.glob("machine/.airboss/gates/*/home/count")):
            await asyncio.sleep(0.02)

    def look(tx: Tx) -> GateRun:
        return gate_runs.of_task(tx, "t1")[-1]

    return await judge.store.read(look)


@pytest.mark.parametrize("signal_", sampled([signal.SIGKILL, signal.SIGSTOP], 1))
async def test_a_neighbour_on_the_login_that_kills_or_freezes_the_supervisor_makes_it_lost(
    tmp_path: Path, signal_: signal.Signals
) -> None:
    mark = f"mark-{os.getpid()}-{tmp_path.name}"
    script = f': {mark}; echo began > "$HOME/count"; exec sleep 1000'
    toml = airboss_toml(SH, "-c", f"{SH} -c '{script}'; : {mark}", timeout="6s")
    house = House(tmp_path, {"airboss.toml": toml}, patience=2.0 if signal_ is signal.SIGSTOP else 60.0)
    frozen: list[int] = []
    async with house.open() as judge:
        judging = asyncio.create_task(judge.pipeline.judge(await judge.candidate()))
        await _running(judge)
        supervisors = {above for pid in _pids(mark) for above in _parents(pid) if b"forks" in _command(above)}
        assert supervisors
        try:
            for pid in supervisors:
                frozen.append(pid)
                with contextlib.suppress(ProcessLookupError):  # one of them ends with another
                    os.kill(pid, signal_)
            verdict = await judging
        finally:
            for pid in frozen:
                if _command(pid):
                    os.kill(pid, signal.SIGKILL)
    assert verdict.outcome is Outcome.LOST
    assert verdict.gates[0].outcome is Outcome.LOST


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def test_a_change_cannot_choose_what_judges_it(tmp_path: Path) -> None:
    """The snapshot says the gate is ``true``; the base's gate is what runs, and it fails."""
    house = House(tmp_path, {"airboss.toml": airboss_toml(SH, "-c", "exit 4")})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate({"airboss.toml": airboss_toml("true")}))
    assert verdict.outcome is Outcome.FAILED
    assert "exit status 4" in verdict.reasons[0]


@pytest.mark.parametrize(
    "change",
    [
        {"airboss.toml": airboss_toml("false")},
        {"tests/conftest.py": "collect_ignore_glob = ['*']\n"},
        {"a\nb/conftest.py": ""},
        {"check.sh": "exit 0\n"},
        {"unittest.py": "raise SystemExit(0)\n"},
        {"unittest/__init__.py": "raise SystemExit(0)\n"},
    ],
)
async def test_a_change_to_what_judges_waits_for_a_person(tmp_path: Path, change: dict[str, str | bytes]) -> None:
    """Even where the operator protected nothing but ``conftest.py``."""
    run = airboss_toml(SH, "check.sh", more='protected = ["**/conftest.py"]', name="a")
    module = airboss_toml("/usr/bin/env", "true", "-m", "unittest", name="b")
    house = House(tmp_path, {"airboss.toml": run + module, "check.sh": "exit 0\n# before\n"})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate(change))
    assert verdict.outcome is Outcome.HELD
    assert len([reason for reason in verdict.reasons if reason.startswith("changes ")]) == 1


async def test_a_directory_swapped_for_a_link_is_held(tmp_path: Path) -> None:
    toml = airboss_toml("true", more='protected = ["tests/**"]')
    house = House(tmp_path, {"airboss.toml": toml, "tests/a.py": "1", "other/a.py": "2"})
    async with house.open() as judge:
        base = await house.repository.fetch()
        git(house.work, "rm", "--quiet", "-r", "tests")
        (house.work / "tests").symlink_to("other")
        candidate = await judge.of_commit(base, commit(house.work, {}))
        assert (await judge.pipeline.judge(candidate)).outcome is Outcome.HELD


async def test_a_gate_that_rewrites_the_checkout_helps_no_later_gate(tmp_path: Path) -> None:
    rewrite = 'for tree in "$HOME"/../../*/tree; do echo good > "$tree/answer"; done'
    toml = airboss_toml(SH, "-c", rewrite, name="a") + airboss_toml("grep", "-q", "good", "answer", name="b")
    house = House(tmp_path, {"airboss.toml": toml})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate({"answer": "bad\n"}))
    assert [gate.outcome for gate in verdict.gates] == [Outcome.PASSED, Outcome.FAILED]


async def test_a_neighbour_that_rewrites_the_checkout_before_the_start_stops_it(tmp_path: Path) -> None:
    """The supervisor hashes the files itself: what is not the judged tree is never run."""
    house = House(tmp_path, {"airboss.toml": airboss_toml("cat", "answer")})
    async with house.open() as judge:
        stop = asyncio.Event()

        async def rewrite() -> None:
            while not stop.is_set():
                for answer in (tmp_path / "machine").glob(".airboss*/gates/*/tree/answer"):
                    answer.write_text("good\n")
                await asyncio.sleep(0)

        rewriting = asyncio.create_task(rewrite())
        verdict = await judge.pipeline.judge(await judge.candidate({"answer": "bad\n"}))
        stop.set()
        await rewriting
    assert verdict.outcome is Outcome.LOST
    assert verdict.gates[0].evidence is not None and verdict.gates[0].evidence.output_bytes == 0


async def test_a_loud_gate_is_counted_and_its_log_is_kept(tmp_path: Path) -> None:
    script = "head -c 3000000 /dev/zero | tr '\\0' x; printf '\\033]0;title\\007\\377 end'; exit 1"
    toml = airboss_toml("python3", "loud.py")
    house = House(tmp_path, {"airboss.toml": toml, "loud.py": _loud(script)})
    async with house.open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate())
    (result,) = verdict.gates
    assert verdict.outcome is Outcome.FAILED
    assert result.evidence is not None
    assert result.evidence.output_bytes == 3_000_000 + 15
    assert "\x1b" not in result.tail
    assert len(result.tail) < 10_000


def _loud(script: str) -> str:
    return f"import subprocess, sys\nsys.exit(subprocess.run(['/bin/sh', '-c', {script!r}]).returncode)\n"

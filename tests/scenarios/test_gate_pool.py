"""A pool of gates' logins where no walls can be built: each run has one to itself, and evidence says so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.config import MachineConfig, RepoConfig
from fleet.events import GateClosedV4, HoldReleasedV2, Refs, Source
from fleet.isolation import Sharing
from fleet.model import Isolation
from fleet.store import gates as gate_runs
from fleet.store import ledger
from fleet.verdict import Outcome
from tests.contracts.executor_logins import private_directory
from tests.contracts.nested import gitmodules, record
from tests.far_end.logins import throwaway_login
from tests.far_end.repositories import git, make_bare
from tests.far_end.sshd import Sshd, running_sshd
from tests.far_end.sudo import python_with_sudo
from tests.scenarios.gate_house import House, airboss_toml

pytestmark = pytest.mark.needs_root


@dataclass(frozen=True)
class Pool:
    """Two logins for runs, one that may become them, and a directory in which all of them can write."""

    sshd: Sshd
    logins: tuple[str, str]
    boss: str
    python: Path
    shared: Path

    def house(self, room: Path, script: str, *, supervised: bool) -> House:
        """A repository whose gate is that script."""
        machine = MachineConfig(
            executor="ssh",
            host="127.0.0.1",
            port=self.sshd.port,
            user=[self.sshd.user],
            host_key=self.sshd.host_key,
            identity=str(self.sshd.identity),
            python=str(self.python),
            gate_as=list(self.logins),
            supervise_as=self.boss if supervised else "",
        )
        setup = '["mkdir", ".tool"], ["/bin/sh", "-c", "pwd > .tool/made"]'
        gate = airboss_toml("/bin/sh", "-c", f'test "$(cat .tool/made)" = "$PWD" || exit 9\n{script}')
        toml = f'[setup.tool]\nrun = [{setup}]\ninputs = ["lock.txt"]\nprovides = [".tool"]\n{gate}'
        return House(room, {"airboss.toml": toml, "lock.txt": "1\n"}, machines={"far": machine})


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(throwaway_login("gates")).pw_name for _ in range(2))
        boss = stack.enter_context(throwaway_login("boss"))
        private = stack.enter_context(private_directory(boss))
        private.chmod(0o711)
        sshd = stack.enter_context(running_sshd(private / "sshd", namespaces=False))
        (private / "sshd").chmod(0o711)
        shared = private / "shared"
        shared.mkdir()
        shared.chmod(0o1777)
        yield Pool(
            sshd, (one, two), boss.pw_name, python_with_sudo(private / "bin", boss.pw_name, [one, two]), shared
        )


@pytest.mark.parametrize("supervised", [True, False])
async def test_as_many_gates_run_at_once_as_there_are_logins(pool: Pool, tmp_path: Path, supervised: bool) -> None:
    busy = f"{pool.shared}/$(id -un)"
    script = f"id -un; mkdir {busy} || exit 1; sleep 0.3; echo x > /tmp/{tmp_path.name}-$(id -un); rmdir {busy}"
    script = f"grep -q fine vendor/lib/lib.txt || exit 8\n{script}; echo x > vendor/lib/left"
    house = pool.house(tmp_path, script, supervised=supervised)
    lib = git(make_bare(tmp_path / "lib.git", {"lib.txt": "fine\n"}), "rev-parse", "main")
    record(house.bare, {".gitmodules": gitmodules(vendor__lib="../lib.git")}, vendor__lib=lib)
    async with house.open() as judge:
        candidates = [await judge.candidate({"change.txt": f"{number}\n"}) for number in range(4)]
        verdicts = await asyncio.gather(*(judge.pipeline.judge(candidate) for candidate in candidates))
        closed = [item.event for item in await judge.events("gate.closed")]
        runs = await judge.store.read(lambda tx: gate_runs.of_task(tx, candidates[0].task.id))
        assert [run.supervisor for run in runs] == [pool.boss if supervised else ""]
    used = set()
    for verdict in verdicts:
        assert verdict.outcome is Outcome.PASSED, verdict.gates
        (result,) = verdict.gates
        assert result.evidence is not None
        assert result.tail.strip() == result.evidence.login
        assert result.evidence.isolation.account is Sharing.OWN and not result.evidence.isolation.walled
        words = [reason.partition(":")[0] for reason in verdict.reasons]
        assert "gates-share-a-login" not in words
        assert ("supervisor-shares-login" in words) is not supervised
        assert any(f"removed /tmp/{tmp_path.name}" in line for line in result.evidence.left)
        used.add(result.evidence.login)
    assert used == set(pool.logins)
    for event in closed:
        assert isinstance(event, GateClosedV4)
        assert (event.login_sharing, event.supervisor) == ("own", "own" if supervised else "shared")
    for login in pool.logins:
        left = Path(pwd.getpwnam(login).pw_dir) / ".airboss" / "gates"
        assert os.listdir(left) == []


async def test_a_run_is_taken_up_in_its_login_by_the_next_controller(pool: Pool, tmp_path: Path) -> None:
    go, begun = pool.shared / f"{tmp_path.name}.go", pool.shared / f"{tmp_path.name}.begun"
    script = f"echo begun >> {begun}; while [ ! -e {go} ]; do sleep 0.05; done"
    house = pool.house(tmp_path, script, supervised=True)
    async with house.open() as judge:
        candidate = await judge.candidate()

        async def cut() -> None:
            while not begun.exists():  # the far side tells nobody that it begins
                await asyncio.sleep(0.02)
            raise ConnectionAbortedError

        with contextlib.suppress(ConnectionAbortedError):
            await asyncio.gather(judge.pipeline.judge(candidate), cut())
    async with house.open() as judge:
        go.touch()
        verdict = await judge.pipeline.judge(candidate)
        opened = await judge.events("gate.opened")
    assert verdict.outcome is Outcome.PASSED, verdict.gates
    assert len(opened) == 1 and begun.read_text() == "begun\n"


async def test_a_change_that_would_land_without_walls_is_looked_at_first(pool: Pool, tmp_path: Path) -> None:
    """Unless the operator wrote otherwise. The verdict names each part that was missing, either way."""
    house = pool.house(tmp_path, "true", supervised=False)
    house.isolation = Isolation.SEPARATE_LOGINS
    missing = ["supervisor-shares-login: on far a run", "network-shared: on far a run"]

    def written(**words: object) -> None:
        repo = RepoConfig.model_validate({"url": str(house.bare), **words})
        house.config = house.config.model_copy(update={"repos": {"demo": repo}, "isolation": house.isolation})

    written()
    async with house.open() as judge:
        seen = []
        asked = await judge.candidate()
        for words in ({}, {"mode": "branch"}, {"without_walls": "land"}):
            written(**words)
            verdict = await judge.pipeline.judge(asked)
            assert [sum(map(line.startswith, missing)) for line in verdict.reasons].count(1) == 2, verdict.reasons
            seen.append((verdict.outcome, verdict.gates[0].outcome))
        written()
        word = HoldReleasedV2(asked.commit, True, "", False)
        refs = Refs(task=asked.task.id)
        await judge.store.write(lambda tx: ledger.append(tx, word, actor="ann", source=Source.PERSON, refs=refs))
        verdict = await judge.pipeline.judge(asked)
        seen.append((verdict.outcome, verdict.gates[0].outcome))
    assert seen == [(state, state) for state in (Outcome.HELD, Outcome.PASSED, Outcome.PASSED, Outcome.APPROVED)]

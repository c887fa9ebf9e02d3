"""A run's walls, on every kind of login: no run reaches another, and what is in force is seen from inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from fleet.errors import Refused
from fleet.exits import Exited
from fleet.isolation import UNWALLED, RunIsolation, Sharing, Walls
from fleet.machines.login import LoginExecutor
from fleet.ports import PipeSpec
from tests.contracts.between_runs import ATTACKS, Attack, program
from tests.contracts.executor_logins import Life, Login, pipe_spec, run_pipe
from tests.contracts.victim import victim

OWN = RunIsolation(Sharing.OWN, Sharing.OWN, Sharing.NONE, Sharing.NONE, supervisor=Sharing.OWN)


@dataclass
class Ground:
    """A login with another run at work on it."""

    executor: LoginExecutor
    values: dict[str, object]
    room: str

    def spec(self, attack: Attack, *, walls: bool) -> PipeSpec:
        """A run that tries the attack, with walls around it or nothing."""
        script = program(attack, self.values)
        if not walls:
            return pipe_spec(
                "/usr/bin/python3", "-c", script, bare_env=True, merge=True, env={"TMPDIR": f"{self.room}/scratch"}
            )
        return walled(self.room, "/usr/bin/python3", "-c", script)


def walled(room: str, *argv: str, network: bool = False) -> PipeSpec:
    """A walled run in that directory."""
    return pipe_spec(
        *argv, bare_env=True, merge=True, contain=True, env={"TMPDIR": "/tmp", "PATH": "/usr/bin:/bin"},
        walls=Walls(room, network=network),
    )  # fmt: skip


async def room_of(executor: LoginExecutor, name: str) -> str:
    """A run's directory, as gates have it."""
    await executor.facts()
    room = f"{executor.root}/gates/{name}"
    await executor.write_file(f"{room}/scratch/.keep", b"")
    return room


@pytest.fixture
async def ground(login: Login) -> AsyncIterator[Ground]:
    executor = login.executor()
    assert (await executor.facts()).walled
    async with victim(executor, "gates/victim") as values:
        yield Ground(executor, values, await room_of(executor, "attacker"))


async def test_no_run_reaches_another(ground: Ground) -> None:
    ended = await asyncio.gather(
        *(run_pipe(ground.executor, ground.spec(attack, walls=True)) for attack in ATTACKS)
    )
    crossed = {attack.name: life.output for attack, life in zip(ATTACKS, ended, strict=True) if not stayed(life)}
    assert not crossed
    for attack in ATTACKS:
        life = await run_pipe(ground.executor, ground.spec(attack, walls=False))
        assert life.ended.exit == Exited(0), (attack.name, life.output)
        assert life.ended.isolation == UNWALLED


SERVES_ITSELF = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as there:
    here, _ = server.accept()
    here.sendall(b"heard")
    print(there.recv(5).decode())
"""


async def test_a_run_without_network_talks_to_itself(login: Login) -> None:
    """Tests start servers."""
    executor = login.executor()
    life = await run_pipe(executor, walled(await room_of(executor, "own"), "/usr/bin/python3", "-c", SERVES_ITSELF))
    assert (life.output, life.ended.exit) == (b"heard\n", Exited(0))
    assert life.ended.isolation.network is Sharing.NONE


async def test_what_a_setup_made_is_seen_at_its_place_and_never_behind_a_link(login: Login) -> None:
    executor = login.executor()
    room = await room_of(executor, "run")
    made, tree = f"{executor.root}/setup/0", f"{room}/tree"
    script = f"mkdir -p {made} {tree}/web && echo one > {made}/file && ln -s ../scratch {tree}/linked"
    assert (await executor.run(["sh", "-c", script])).exit == Exited(0)
    spec = walled(
        room, "/bin/sh", "-c", "cat /airboss/tree/web/made/file; ! echo two > /airboss/tree/web/made/file"
    )
    walls = spec.walls
    assert walls is not None
    good = replace(spec, walls=replace(walls, given=((made, "/airboss/tree/web/made"),)))
    life = await run_pipe(executor, good)
    assert (life.ended.exit, life.output[:4], life.ended.isolation) == (Exited(0), b"one\n", OWN)
    led = replace(walled(room, "true"), walls=replace(walls, given=((made, "/airboss/tree/linked/made"),)))
    assert "behind a link" in (await run_pipe(executor, led)).ended.unavailable


def stayed(life: Life) -> bool:
    return life.ended.exit == Exited(1) and life.ended.isolation == OWN


READS_AND_WRITES = "cat tree/file && echo two > tree/file && cat tree/file && ls tree ."


async def kept_checkout(executor: LoginExecutor, name: str) -> str:
    """A kept checkout that a run has taken."""
    await executor.facts()
    store, place = f"{executor.root}/trees/p", f"{executor.root}/gates/{name}.tree"
    await executor.write_file(f"{place}/tree/file", b"one\n")
    await executor.put_back_tree(store, place, "a" * 40)
    assert await executor.take_tree(store, place, "b" * 40) == "a" * 40
    return place


async def test_a_run_changes_its_own_layer_over_a_kept_checkout(login: Login) -> None:
    executor = login.executor()
    room, place = await room_of(executor, "run"), await kept_checkout(executor, "run")
    spec = replace(walled(room, "/bin/sh", "-c", READS_AND_WRITES), cwd="/airboss")
    assert spec.walls is not None
    life = await run_pipe(executor, replace(spec, walls=replace(spec.walls, kept=place)))
    assert (life.output, life.ended.exit) == (b"one\ntwo\n.:\nscratch\ntree\n\ntree:\nfile\n", Exited(0))
    assert life.ended.isolation == OWN
    assert await executor.read_file(f"{place}/tree/file", 10) == b"one\n"
    await executor.put_back_tree(f"{executor.root}/trees/p", place, "a" * 40)
    assert await executor.take_tree(f"{executor.root}/trees/p", place, "a" * 40) == "a" * 40


async def test_where_the_kernel_refuses_a_layer_the_checkout_is_used_up(login: Login) -> None:
    """The options of a mount fit one page: of three paths of this length they do not."""
    executor = login.executor()
    room, deep = await room_of(executor, "run"), "/".join(["x" * 200] * 8)
    place = await kept_checkout(executor, "run")
    at = f"{executor.root}/gates/{deep}/run.tree"
    assert (await executor.run(["sh", "-c", f"mkdir -p {at[:-9]} && mv {place} {at}"])).exit == Exited(0)
    spec = replace(walled(room, "/bin/sh", "-c", READS_AND_WRITES), cwd="/airboss")
    assert spec.walls is not None
    life = await run_pipe(executor, replace(spec, walls=replace(spec.walls, kept=at)))
    assert (life.output[:8], life.ended.exit) == (b"one\ntwo\n", Exited(0)), life.ended.unavailable
    await executor.put_back_tree(f"{executor.root}/trees/p", at, "a" * 40)
    assert await executor.take_tree(f"{executor.root}/trees/p", place, "a" * 40) == ""


async def test_kept_checkouts_are_below_our_directory(login: Login) -> None:
    executor = login.executor()
    await executor.facts()
    inside = f"{executor.root}/gates/run.tree"
    assert (await executor.run(["ln", "-s", "/", f"{executor.root}/out"])).exit == Exited(0)
    for path in ("/etc/x", f"{executor.root}/../x/y", executor.root, f"{executor.root}/out/etc"):
        with pytest.raises(Refused):
            await executor.put_back_tree(f"{executor.root}/trees/p", path, "")
        with pytest.raises(Refused):
            await executor.take_tree(path, inside, "a" * 40)

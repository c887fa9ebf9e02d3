"""Hooks on another machine: a socket that a real sshd makes there, by a key that may do nothing else."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.gatekeeping import gatekeeper_of
from bot.local.hook_forwards import _AGAIN_S, HookForwards
from bot.local.hooked import HookDoor
from fleet.clock import SystemClock
from fleet.config import Secrets, parse_fleet
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.machines.executors import Executors
from fleet.machines.runner import hook
from fleet.ports import Clock
from fleet.store import hooked, locks
from fleet.store.core import Store
from fleet.supervise import alongside
from gates.hooked import HookedSessions
from gates.hooked_work import HookedWork
from gates.locks.service import LockService
from tests.empty_store import filled
from tests.far_end.repositories import make_bare
from tests.far_end.sshd import Sshd, running_sshd

FLEET = """
isolation = "unsafe-same-user"
[machines.macbook]
executor = "ssh"
host = "127.0.0.1"
port = {port}
user = "{user}"
host_key = "{host_key}"
identity = "{identity}"
[machines.macbook.hooks.{user}]
person = "Ada"
socket = "{at}"
[repos.shop]
url = "https://example.com/shop.git"
[repos.local]
url = "/nowhere/local.git"
[[people]]
name = "Ada"
role = "operator"
ids = ["telegram::7"]
"""


class Broken(SystemClock):
    """A clock that fails when a lost connection is waited for."""

    async def sleep(self, seconds: float) -> None:
        if seconds == _AGAIN_S[0]:
            raise ZeroDivisionError
        await asyncio.sleep(0.01)


@asynccontextmanager
async def forwards(directory: Path, clock: Clock, **words: object) -> AsyncIterator[HookForwards]:
    """A controller's side. ``words``: what ``FLEET`` lacks."""
    config = parse_fleet(FLEET.format(**words), "fleet.toml")
    bare = make_bare(directory / "shop.git", {"a.txt": "a"})
    repository = Repository("shop", str(bare), "main", directory / "mirror.git")
    executors = Executors(config, directory)
    with Store.open(f"sqlite:///{filled(directory / 'airboss.db')}") as store:
        repositories, env = (lambda _: repository), Secrets({})
        gatekeeper = gatekeeper_of(store, lambda: config, executors, repositories, home=directory, env=env)
        sessions = HookedSessions(store, LockService(store, SystemClock()), repositories, lambda: config)
        work = HookedWork(store, lambda: config, repositories, Workspaces(lambda: config.limits), gatekeeper)
        try:
            yield HookForwards(
                lambda: config, directory, HookDoor(sessions, work, lambda: config, directory), clock
            )
        finally:
            await executors.close()


@asynccontextmanager
async def listening(directory: Path, sshd: Sshd, at: Path) -> AsyncIterator[HookForwards]:
    """One that listens there."""
    key = (sshd.directory / "client_key.pub").read_text()
    (sshd.directory / "authorized_keys").write_text(f'restrict,port-forwarding,command="/bin/false" {key}')
    words = {"port": sshd.port, "user": sshd.user, "host_key": sshd.host_key, "identity": sshd.identity, "at": at}
    async with (
        forwards(directory, SystemClock(), **words) as made,
        alongside(made.run(), "hooks on machines"),
    ):
        yield made


async def test_a_bug_that_ends_one_socket_ends_the_component_which_is_seen(tmp_path: Path) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPFbbd0Eal0aQEw1Zr1oiVOJPyQ9qsqYaN0a1yhc0vB"
    words = {"port": 1, "user": "ada", "host_key": key, "identity": "/nowhere", "at": "/nowhere/controller"}
    async with forwards(tmp_path, Broken(), **words) as made, asyncio.timeout(60):
        with pytest.raises(ZeroDivisionError):
            await made.run()


def ask(at: Path, do: str = "hook", **request: Any) -> dict[str, Any]:
    """One request over there, and its answer."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(30)
        channel.connect(str(at))
        channel.sendall(json.dumps({"v": 1, "do": do, "agent": "claude", **request}).encode() + b"\n")
        with channel.makefile("rb") as lines:
            answer: dict[str, Any] = json.loads(lines.readline())
    return answer


async def answered(at: Path) -> dict[str, Any]:
    """What it knows, once somebody answers."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await asyncio.to_thread(ask, at, op="know", given={})
            except (OSError, ValueError):
                await asyncio.sleep(0.05)


async def test_a_login_there_speaks_for_its_person_and_for_nothing_but_hooks(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ab-") as at, running_sshd(tmp_path / "sshd") as sshd:
        await whole(tmp_path, sshd, Path(at) / "controller")


async def whole(directory: Path, sshd: Sshd, at: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(at))  # as a machine that lost its power leaves it
    async with listening(directory, sshd, at) as made:
        beside = at.with_name("controller.1")
        known = await answered(beside)
        assert known["data"] == {"known": [["shop", "example.com/shop"]], "next": []}, "a path here means nothing"
        assert stat.S_IMODE(beside.stat().st_mode) == 0o600

        given: dict[str, Any] = {"session_id": "s", "repo": "shop", "top": "/w"}
        begun = await asyncio.to_thread(ask, beside, op="begin", given=given)
        given |= {"secret": begun["data"]["secret"], "paths": ["a.txt"], "tool_name": "Write"}
        assert (await asyncio.to_thread(ask, beside, op="edit", given=given))["data"] == {"done": True}
        store = made.door.work.store
        (session,) = await store.read(hooked.open_ones)
        assert (session.person, session.machine) == ("telegram::7", "macbook")
        assert await store.read(lambda tx: len(locks.open_holds(tx))) == 1

        said = await asyncio.to_thread(ask, beside, "say", text="/pause")
        assert said["end"] == 2 and "only hooks" in said["error"]

        client = directory / "client" / "airboss_hook"
        client.mkdir(parents=True)
        for name in ("hook.py", "hook_parts.py"):
            source = (Path(str(hook.__file__)).parent / name).read_text()
            (client / ("__init__.py" if name == "hook.py" else name)).write_text(source)
        code = (
            f"import sys; sys.path.insert(0, {str(client.parent)!r}); from airboss_hook import hook_parts as p; "
            f"print(p.exchange([{str(at)!r}], p.encode({{'v': 1, 'do': 'hook', 'op': 'know', 'agent': 'claude', "
            "'given': {}}) + b'\\n', 2.0))"
        )
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
        )
        assert "example.com/shop" in done.stdout, done.stderr

        sshd.cut()
        again = await answered_somewhere(at)
        assert again["data"]["known"], "a lost connection is made again"
        assert made.trouble() == ""


async def answered_somewhere(at: Path) -> dict[str, Any]:
    """The answer of whichever socket is alive, once one is."""
    names = [at, *(at.with_name(f"{at.name}.{number}") for number in range(1, 10))]
    async with asyncio.timeout(60):
        while True:
            for each in names:
                try:
                    return await asyncio.to_thread(ask, each, op="know", given={})
                except (OSError, ValueError):
                    await asyncio.sleep(0.02)

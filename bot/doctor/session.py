"""Crosses from inside a session, as an agent would: to another session's worktree, to another agent's login."""

from __future__ import annotations

import json
import secrets
from typing import Final

from bot.doctor.findings import Crossing, Finding, Severity
from bot.doctor.login import Login
from fleet.agents.logins import KEEPINGS
from fleet.errors import AirbossError, Unavailable
from fleet.exits import Exited
from fleet.isolation import SessionWalls, Walls
from fleet.ports import Ended, PipeSpec

_REMEDY: Final = "allow user namespaces there, or give run_as a list of logins (docs/agents.md)"
_TIMEOUT_US: Final = 60_000_000
#: Tries to append to each of the first files and to read each of the others; one bit of its status a file read.
_TRY: Final = """
import json, sys
writes, reads = json.loads(sys.argv[1])
for path in writes:
    try:
        open(path, "a").write("crossed")
    except OSError:
        pass
status = 0
for at, path in enumerate(reads):
    try:
        status |= bool(open(path, "rb").read(1)) << at
    except OSError:
        pass
sys.exit(status)
"""


async def from_session(login: Login, other: Login) -> list[Finding]:
    """What a session of ``login`` reaches; ``other`` is the login of another session, the same without a pool.

    Raises ``Unavailable`` when it cannot be tried.
    """
    token = f"airboss-doctor-{secrets.token_hex(8)}"
    own, clone = f"{login.executor.root}/work/{token}", f"{login.executor.root}/repos/{token}.git"
    room, victim = f"{login.executor.root}/sessions/{token}", f"{other.executor.root}/work/{token}-other"
    made = [(own, login.executor), (clone, login.executor), (room, login.executor), (victim, other.executor)]
    try:
        for directory, executor in made:
            await executor.write_file(f"{directory}/.keep", b"")
        await login.executor.write_file(f"{room}/scratch/.keep", b"")
        files = [path for path in await _logins(other) if login is not other or not path.startswith(_mine(login))]
        status = await _in_a_session(login, token, ([f"{victim}/.keep"], files))
        changed = await other.executor.read_file(f"{victim}/.keep", 100) != b""
    finally:
        for directory, executor in made:
            await executor.remove_tree(directory)
    found = [_finding(login, "change", "another session's worktree", victim, crossed=changed)]
    for at, path in enumerate(files):
        found.append(_finding(login, "read", "another agent's login", path, crossed=bool(status >> at & 1)))
    return found


def _mine(login: Login) -> str:
    """The settings of the agent that is tried: Claude Code."""
    return f"{login.facts.home}/{KEEPINGS['claude'].folder}/"


async def _logins(login: Login) -> list[str]:
    """The vendors' login files that exist there."""
    found = []
    for keeping in KEEPINGS.values():
        path = f"{keeping.directory({}, login.facts.home)}/{keeping.file}"
        try:
            if await login.executor.read_file(path, 1 << 20):
                found.append(path)
        except AirbossError:
            continue
    return found


def _finding(login: Login, deed: str, target: str, path: str, *, crossed: bool) -> Finding:
    crossing = Crossing(
        login.machine, "agents", login.facts.user, deed, f"{target}, from inside a session", path, crossed,
        "it did" if crossed else "refused",
    )  # fmt: skip
    if not crossed:
        return Finding(Severity.OK, login.subject, f"a session cannot {deed} {target}", crossing=crossing)
    level = (
        Severity.BAD if login.walls_sessions or login.config.has_agent_pool else Severity.WARN
    )  # without, cards say so
    what = f"a session of {login.facts.user} can {deed} {target} ({path})"
    return Finding(level, login.subject, what, _REMEDY, crossing=crossing)


async def _in_a_session(login: Login, token: str, tries: tuple[list[str], list[str]]) -> int:
    """The status of a process that tries them, with the walls that a session has there."""
    root, home = login.executor.root, login.facts.home
    others = [keeping for name, keeping in KEEPINGS.items() if name != "claude"]
    walls = Walls(
        room=f"{root}/sessions/{token}",
        read=(*(word for word in [login.config.python] if word.startswith("/")), *login.config.agent_read),
        network=True,
        session=SessionWalls(
            root=root,
            workspace=f"{root}/work/{token}",
            clone=f"{root}/repos/{token}.git",
            layered=(home,),
            logins=(f"{_mine(login)}{KEEPINGS['claude'].file}",),
            others=tuple(f"{keeping.directory({}, home)}/{keeping.file}" for keeping in others),
        ),
    )
    spec = PipeSpec(
        id=token,
        nonce=secrets.token_hex(16),
        argv=(login.config.python, "-I", "-c", _TRY, json.dumps(tries)),
        cwd=f"{root}/work/{token}",
        env={},
        merge=True,
        contain=login.walls_sessions,
        walls=walls if login.walls_sessions else None,
        timeout_us=_TIMEOUT_US,
    )
    await login.executor.start(spec)
    async for event in login.executor.attach(spec.id, spec.nonce, 0):
        if isinstance(event, Ended) and isinstance(event.exit, Exited) and not event.unavailable:
            return event.exit.code
        if isinstance(event, Ended):
            break
    raise Unavailable(attempted="try the walls from inside a session", on=login.subject, cause="it did not run")

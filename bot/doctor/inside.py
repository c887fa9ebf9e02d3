"""Crosses from inside a gate run, as code under test would: to another run, to the runner, to the login's start-up
files; and connects again, to see whether anything that was planted runs."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.doctor import planting
from bot.doctor.findings import Crossing, Finding, Severity
from bot.doctor.login import Login
from fleet.errors import Unavailable
from fleet.exits import Exited, succeeded
from fleet.isolation import Walls
from fleet.ports import Ended, PipeSpec

_SCRIPT: Final = Path(planting.__file__).read_text("utf-8")
_STARTUP: Final = (
    ".bashrc",
    ".bash_profile",
    ".profile",
    ".zshenv",
    ".zprofile",
    ".ssh/rc",
    ".ssh/authorized_keys",
)
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_TIMEOUT_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class _Target:
    name: str
    paths: tuple[str, ...]
    remedy: str


async def from_inside(login: Login, other: Login) -> list[Finding]:
    """What a run of ``login`` reaches; ``other`` is the login of another run, the same one where there is no pool.

    Raises ``Unavailable`` when it cannot be tried.
    """
    token = f"airboss-doctor-{secrets.token_hex(8)}"
    room, victim = f"{login.executor.root}/gates/{token}", f"{other.executor.root}/gates/{token}-other"
    marks = f"{login.executor.root}/{token}"
    try:
        for directory, executor in ((f"{room}/scratch", login.executor), (victim, other.executor)):
            await executor.write_file(f"{directory}/.keep", b"")
        await login.executor.write_file(f"{marks}/.keep", b"")
        return await _try(login, other, _Tried(token, room, victim, marks))
    finally:
        for directory, executor in ((room, login.executor), (victim, other.executor), (marks, login.executor)):
            await executor.remove_tree(directory)


@dataclass(frozen=True, slots=True)
class _Tried:
    token: str
    room: str
    victim: str
    marks: str


async def _try(login: Login, other: Login, tried: _Tried) -> list[Finding]:
    set_up = f"run `airboss machines setup {login.machine}` and its script"
    apart = "allow user namespaces there, or give gate_as a list of logins (docs/gates.md)"
    targets = (
        _Target("another gate's run", (f"{tried.victim}/.keep",), apart),
        _Target("the runner's directory of its login", (f"{login.executor.root}/pipes/{tried.token}",), apart),
        _Target(
            "the start-up files of its login", tuple(f"{login.facts.home}/{name}" for name in _STARTUP), set_up
        ),
    )
    paths = [path for target in targets for path in target.paths]
    order = {"paths": paths, "token": tried.token, "marks": tried.marks}
    try:
        await _as_a_gate(login, tried, order)
        await login.executor.close()  # and our next connection
        seen = {"login": await _ask(login, "look", order), "other": await _ask(other, "look", order)}
    finally:
        for each in (login, other):
            await _ask(each, "restore", order)
    findings, at = [], 0
    for target in targets:
        here = slice(at, at + len(target.paths))
        at += len(target.paths)
        changed = [path for path, seen_here, seen_there in zip(
            target.paths, seen["login"]["changed"][here], seen["other"]["changed"][here], strict=True
        ) if seen_here or seen_there]  # fmt: skip
        findings.append(_reached(login, target, changed))
    ran = [path for path, did in zip(paths, seen["login"]["ran"], strict=True) if did]
    findings.append(_ran(login, ran, set_up))
    return findings


def _reached(login: Login, target: _Target, changed: Sequence[str]) -> Finding:
    how = "it did" if changed else "nothing changed"
    crossing = Crossing(
        login.machine, "gates", login.facts.user, "change", f"{target.name}, from inside a gate run",
        (changed or target.paths)[0], bool(changed), how,
    )  # fmt: skip
    if not changed:
        return Finding(Severity.OK, login.subject, f"a gate run cannot change {target.name}", crossing=crossing)
    what = f"a gate run of {login.facts.user} can change {target.name} ({changed[0]})"
    level = Severity.BAD if login.facts.walled else Severity.WARN  # without walls every verdict says so too
    return Finding(level, login.subject, what, target.remedy, crossing=crossing)


def _ran(login: Login, ran: Sequence[str], remedy: str) -> Finding:
    if not ran:
        return Finding(Severity.OK, login.subject, "nothing that a gate run plants runs when we connect")
    what = f"{ran[0]}, which a gate run planted, ran when we connected as {login.facts.user}"
    return Finding(Severity.BAD, login.subject, what, remedy)


async def _as_a_gate(login: Login, tried: _Tried, order: dict[str, Any]) -> None:
    walled = login.facts.walled
    python = login.config.python if login.config.python.startswith(("/usr/", "/opt/")) else "python3"
    spec = PipeSpec(
        id=tried.token,
        nonce=secrets.token_hex(16),
        argv=(python, "-I", "-c", _SCRIPT, "plant", json.dumps(order)),
        cwd="/",
        env={"PATH": ":".join([*login.config.gate_path, _PATH])},
        bare_env=True,
        merge=True,
        contain=True,
        walls=Walls(tried.room, (*login.config.gate_path, *login.config.gate_read)) if walled else None,
        timeout_us=_TIMEOUT_US,
    )
    await login.executor.start(spec)
    ended: Ended | None = None
    async for event in login.executor.attach(spec.id, spec.nonce, 0):
        if isinstance(event, Ended):
            ended = event
    if ended is None or ended.exit != Exited(0):
        raise Unavailable(
            attempted="try the walls from inside a gate run",
            on=login.subject,
            cause=(ended.unavailable or str(ended.exit)) if ended else "it did not end",
            hint=f"gates there must find {python}: list its directory in gate_path",
        )


async def _ask(login: Login, work: str, order: dict[str, Any]) -> dict[str, Any]:
    ran = await login.executor.run([login.config.python, "-I", "-c", _SCRIPT, work, json.dumps(order)])
    try:
        answer = json.loads(ran.out)
    except ValueError:
        answer = None
    wanted = {"changed", "ran"} if work == "look" else set()
    if not succeeded(ran.exit) or not isinstance(answer, dict) or not wanted <= set(answer):
        raise Unavailable(attempted="look at the login", on=login.subject, cause=str(ran.exit))
    sizes = {len(answer[name]) for name in wanted if isinstance(answer[name], list)}
    if wanted and sizes != {len(order["paths"])}:
        raise Unavailable(attempted="look at the login", on=login.subject, cause="a malformed answer")
    return answer

"""Examines every login on every machine at once, and combines the results with those of the controller's
machine."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from bot.doctor import probe
from bot.doctor.bypass import check_pushes
from bot.doctor.controller import check_controller, clock, disk, unenforced
from bot.doctor.findings import Finding, Severity
from bot.doctor.inside import from_inside
from bot.doctor.login import Login, failed
from bot.doctor.reach import check_reach
from bot.doctor.session import from_session
from bot.doctor.walls import Wall, judged, walls_of_controller, walls_of_login
from bot.logins import typed
from fleet.agents.versions import OLDEST, TESTED, Fit, fit, install, version_in, written
from fleet.config import FleetConfig, MachineConfig
from fleet.errors import AirbossError, Unavailable
from fleet.exits import succeeded
from fleet.flight.services import MachineLogins
from fleet.machines.runner.facts import boot
from fleet.machines.vendor_logins import kept_in
from fleet.model import Isolation
from fleet.supervise import side_by_side
from fleet.untrusted import clean

_NAMESPACES = (
    "allow user namespaces (Debian: sysctl kernel.unprivileged_userns_clone=1; Ubuntu 24.04: sysctl "
    "kernel.apparmor_restrict_unprivileged_userns=0); macOS has none"
)
_PROBE = Path(probe.__file__).read_text("utf-8")


async def examine(
    config: FleetConfig, home: Path, logins: MachineLogins, *, controller_pid: int = 0
) -> list[Finding]:
    """The whole examination. ``controller_pid`` is the process of a running ``serve``; 0: this process instead.

    What cannot be examined is a finding too; nothing is raised for a machine that does not respond.
    """
    findings = list(await asyncio.to_thread(lambda: list(check_controller(config, home))))
    asked = []
    for name, machine in config.machines.items():
        asked += [(name, machine, "agents", login) for login in machine.agent_logins]
        if machine.runs_gates(config.isolation):
            asked += [(name, machine, "gates", login) for login in machine.gate_as or [""]]
    connected = await side_by_side([_connect(*each, logins) for each in asked], "connect to a login")
    present = [login for login in connected if isinstance(login, Login)]
    findings += [finding for finding in connected if isinstance(finding, Finding)]
    findings += _overlaps(present, config)
    walls = await asyncio.to_thread(walls_of_controller, config, home, pid=controller_pid or os.getpid())
    here = boot()
    of_logins = [_examine_login(login, config, _walls_for(login, present, walls, here)) for login in present]
    of_machines = [_from_inside(name, present) for name in config.machines]
    for works, what in ((of_logins, "examine a login"), (of_machines, "examine a machine from inside")):
        findings += [finding for found in await side_by_side(works, what) for finding in found]
    who = [(login.machine, login.role, login.facts.user, login.executor) for login in present]
    findings += await check_pushes(config, who)
    agents = [(login.machine, login.executor, login.facts) for login in present if login.role == "agents"]
    findings += await check_reach(config, agents, here)
    return findings + _on_no_machine(config, findings, present)


async def _from_inside(name: str, present: list[Login]) -> list[Finding]:
    """What a session and a gate run reach, in each login of a machine."""
    findings = []
    for role, cross in (("agents", from_session), ("gates", from_inside)):
        logins = [login for login in present if (login.machine, login.role) == (name, role)]
        for at, login in enumerate(logins):
            try:
                findings += await cross(login, logins[at - 1])
            except AirbossError as error:
                findings.append(failed(login.subject, error))
    return findings


async def _connect(
    name: str, machine: MachineConfig, role: str, login: str, logins: MachineLogins
) -> Login | Finding:
    try:
        executor = logins.agent(name, login) if role == "agents" else logins.gate(name, login)
        return Login(name, machine, role, executor, await executor.facts())
    except AirbossError as error:
        return failed(f"{role} on {name}", error)


def _overlaps(present: list[Login], config: FleetConfig) -> list[Finding]:
    """What ``fleet.toml`` cannot show: two names for one uid, two entries for one host."""
    if config.isolation is Isolation.UNSAFE_SAME_USER:
        return []
    findings = []
    here = boot()
    for login in present:
        if login.facts.boot == here and login.facts.uid == os.geteuid():
            what = f"run as the controller's own login ({login.facts.user})"
            findings.append(Finding(Severity.BAD, login.subject, what, "name another login in fleet.toml"))
        for other in present:
            same = (login.facts.boot, login.facts.uid) == (other.facts.boot, other.facts.uid)
            if same and login.role == "agents" and other.role == "gates":
                what = f"share the login {other.facts.user} with gates on {other.machine}"
                findings.append(Finding(Severity.BAD, login.subject, what, "name another gate_as in fleet.toml"))
    return findings


def _walls_for(login: Login, present: list[Login], controller: list[Wall], here: str) -> list[Wall]:
    walls = list(controller) if login.facts.boot == here else []
    for other in present:
        if other.facts.boot == login.facts.boot and other.role != login.role:
            walls += walls_of_login(other.role, other.executor.root, other.facts.user)
    return list(dict.fromkeys(walls))


async def _examine_login(login: Login, config: FleetConfig, walls: list[Wall]) -> list[Finding]:
    agents = list(config.agents.items()) if login.role == "agents" else []
    kept = [kept_in(agent, login.facts) for _, agent in agents]
    programs: list[tuple[str, list[str]]] = [("git", ["--version"])]
    for _, agent in agents:
        programs.append((agent.program[0], ["--version"] if agent.driver in TESTED else []))
    try:
        answer, before_us, after_us = await _ask(login, walls, programs, [path for path in kept if path])
    except AirbossError as error:
        return [failed(login.subject, error)]
    findings = [*_facts(login), clock(login.subject, answer["clock_us"], before_us, after_us)]
    findings.append(_git(login, answer["programs"][0]["says"]))
    if not login.walls_sessions:
        findings += unenforced(login.subject, dict(agents))
    readable = iter(answer["attempts"][len(walls) :])
    for (name, agent), path, seen in zip(agents, kept, answer["programs"][1:], strict=True):
        findings.append(_agent(login, name, agent.driver, agent.program[0], seen))
        if path and not next(readable)[0] and seen["path"]:
            what = f"{name} is not logged in: {login.facts.user} has no {path}"
            remedy = f"log in: {typed(login.config, login.facts.user, agent)}"
            findings.append(Finding(Severity.WARN, login.subject, what, remedy))
    return findings + judged(
        walls,
        [(bool(crossed), clean(str(how), 80)) for crossed, how in answer["attempts"][: len(walls)]],
        machine=login.machine,
        role=login.role,
        login=login.facts.user,
        isolation=config.isolation,
    )


async def _ask(
    login: Login, walls: list[Wall], programs: list[tuple[str, list[str]]], reads: list[str]
) -> tuple[dict[str, Any], int, int]:
    question = {
        "attempts": [*([wall.attempt, wall.path] for wall in walls), *(["read", path] for path in reads)],
        "programs": programs,
        "path": login.config.path if login.role == "agents" else [],
    }
    before_us = time.time_ns() // 1000
    ran = await login.executor.run(
        [login.config.python, "-I", "-c", _PROBE],
        stdin=json.dumps(question).encode(),
        timeout=120.0,
    )
    after_us = time.time_ns() // 1000
    try:
        answer = json.loads(ran.out)
    except ValueError:
        answer = None
    if (
        not succeeded(ran.exit)
        or not isinstance(answer, dict)
        or len(answer.get("attempts", ())) != len(walls) + len(reads)
    ):
        raise Unavailable(
            attempted="examine the login",
            on=login.subject,
            cause=f"{ran.exit}: {clean(ran.err.decode('utf-8', 'replace'), 300)}",
            hint=f"check that `{login.config.python}` on that machine is Python 3.9 or later (apt install python3)",
        )
    return answer, before_us, after_us


def _facts(login: Login) -> list[Finding]:
    facts, findings = login.facts, []
    python = version_in(facts.python)
    if python[:2] < (3, 9):
        what = f"Python {facts.python} is too old for the runner"
        findings.append(
            Finding(Severity.BAD, login.subject, what, "install Python 3.9 or later (apt install python3)")
        )
    else:
        findings.append(Finding(Severity.OK, login.subject, f"answers as {facts.user}, Python {facts.python}"))
    if login.config.executor == "ssh":
        findings.append(Finding(Severity.OK, login.subject, "host key matches the pinned key"))
    findings.append(disk(login.subject, facts.disk_free, facts.home))
    if login.role == "agents":
        findings.append(_sessions(login))
    elif facts.walled:
        findings.append(Finding(Severity.OK, login.subject, "isolates each gate run"))
    else:
        what = "cannot build walls around a gate run"
        if not login.config.has_gate_pool:
            what += ": gates share this login and its files, and run one at a time"
        remedy = (
            "give gate_as a list of logins, or allow user namespaces (Debian: sysctl "
            "kernel.unprivileged_userns_clone=1; Ubuntu 24.04: sysctl "
            "kernel.apparmor_restrict_unprivileged_userns=0); a Mac has none"
        )
        findings.append(Finding(Severity.WARN, login.subject, what, remedy))
    return findings


def _sessions(login: Login) -> Finding:
    if not login.config.session_walls:
        what = "do not isolate sessions: session_walls = false, so sessions share this login and its files"
        return Finding(Severity.WARN, login.subject, what, "remove `session_walls = false` from fleet.toml")
    if login.facts.layered:
        return Finding(Severity.OK, login.subject, "isolate each session")
    what = "cannot isolate sessions: they share this login and its files"
    remedy = f"{_NAMESPACES}; sessions also need overlayfs in them (Linux 5.11, not on a container's overlay)"
    return Finding(Severity.WARN, login.subject, what, remedy)


def _git(login: Login, says: str) -> Finding:
    if not says:
        return Finding(Severity.BAD, login.subject, "git is not installed", "apt install git")
    return Finding(Severity.OK, login.subject, clean(says, 80))


def _agent(login: Login, name: str, driver: str, program: str, seen: dict[str, str]) -> Finding:
    if not seen["path"]:
        remedy = install(driver) or f"install {program} there"
        what = f"has no {program}, so the agent {name} cannot work here"
        return Finding(Severity.WARN, login.subject, what, f"{remedy}, or add its directory to `path`")
    fits = fit(driver, seen["says"])
    if driver not in TESTED or fits is Fit.TESTED:
        return Finding(Severity.OK, login.subject, f"has {name}: {clean(seen['says'] or seen['path'], 120)}")
    installed = written(version_in(seen["says"])) or clean(seen["says"], 60) or "an unknown version"
    wanted, oldest = written(TESTED[driver]), written(OLDEST[driver])
    remedy = install(driver)
    if fits is Fit.TOO_OLD:
        what = f"has {name} {installed}, which is too old: {oldest} or later is supported"
        return Finding(Severity.BAD, login.subject, what, remedy)
    return Finding(Severity.WARN, login.subject, f"has {name} {installed}; the tested version is {wanted}", remedy)


def _on_no_machine(config: FleetConfig, findings: list[Finding], present: list[Login]) -> list[Finding]:
    """Agents that are on no machine at all, which is worse than missing on some."""
    answered = {login.subject for login in present if login.role == "agents"}
    missing = []
    for name in config.agents:
        ending = f"so the agent {name} cannot work here"
        without = {finding.subject for finding in findings if finding.what.endswith(ending)}
        if answered and answered <= without:
            missing.append(
                Finding(
                    Severity.BAD,
                    f"agent {name}",
                    "is not installed on any machine",
                    "install it, or remove it from fleet.toml",
                )
            )
    return missing

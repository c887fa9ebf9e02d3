"""What doctor checks on the controller's own machine."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bot import words
from bot.controller_view import condition_of, troubles_elsewhere
from bot.doctor.findings import Finding, Severity
from bot.home_held import at_work
from fleet.agents.acts import ASKED, TOOLS, meaning
from fleet.agents.versions import version_in
from fleet.config import AgentConfig, FleetConfig, Secrets
from fleet.config.home import FLEET_FILE, SECRETS_FILE
from fleet.config.paying import TELLS_NO_COST
from fleet.errors import Misused, StoreUnavailable
from fleet.logins import login_name
from fleet.model import Isolation
from fleet.store import controllers
from fleet.store.controllers import Condition, Contender
from fleet.store.core import Store
from gates.people import console_person, owner_is_admin

DISK_FLOOR = 1 << 30  # bytes
GIT_NEEDED = (2, 38)  # the first version with `merge-tree --write-tree`
SKEW_US = 2_000_000
_SUBJECT = "controller"


def check_controller(config: FleetConfig, home: Path) -> Iterator[Finding]:
    """Findings about ``home``, git, the secrets and the configuration as a whole."""
    yield from _modes(config, home)
    yield from _git()
    yield disk(_SUBJECT, shutil.disk_usage(home).free, str(home))
    yield from _secrets(config, home)
    yield from _fleet(config)


def running(served: Mapping[str, Any], own: str, home: Path) -> Iterator[Finding]:
    """Whether a controller runs, as its socket says (``served``; empty: none), and what it says is wrong.

    ``own`` is the version of this command.
    """
    if not served and (there := at_work(str(home))):
        yield Finding(Severity.WARN, _SUBJECT, there, "")
        return
    if not served:
        start = "start it: systemctl start airboss, or airboss serve"
        yield Finding(Severity.WARN, _SUBJECT, "no controller is running on this home", start)
        return
    if served.get("frozen"):
        mend = "see airboss.log; if it stays so, end it with kill -9 and start it again: nothing is lost"
        yield Finding(
            Severity.BAD, _SUBJECT, "it runs, and does not answer: it is frozen, or has too much to do", mend
        )
        return
    if "version" not in served:
        mend = "end it, and start it as the login that owns the home: systemctl start airboss, or airboss serve"
        yield Finding(Severity.BAD, _SUBJECT, "a controller of another login serves this home", mend)
        return
    what = f"version {served['version']} has been running since {words.day(served['since_us'])}"
    if served["version"] != own:
        old = f"{what}; this command is version {own}"
        yield Finding(Severity.WARN, _SUBJECT, old, "restart it: systemctl restart airboss")
    else:
        yield Finding(Severity.OK, _SUBJECT, what)
    if "secrets" in served:  # a controller of an earlier version does not say
        yield from _read_secrets(frozenset(served["secrets"]), frozenset(Secrets.load(home)))
    for trouble in served.get("troubles", ()):
        yield Finding(Severity.BAD, _SUBJECT, trouble, f"see {home}/airboss.log")


async def other_controllers(
    served: Mapping[str, Any], own: str, home: Path, me: Contender, open_store: Callable[[], Store]
) -> list[Finding]:
    """What :func:`running` says. Where no controller is served here, the store says what there is: one that takes
    part or stands by on this home has no socket, and those elsewhere say themselves what is not well with them."""
    if served:
        return list(running(served, own, home))
    try:
        with open_store() as store:
            seen = await store.read(controllers.seen) if store.can_be_shared else []
    except (Misused, StoreUnavailable):
        seen = []  # other findings say so
    found = [
        Finding(Severity.BAD, _SUBJECT, said, f"see airboss.log in its home: {each.controller.home}")
        for each in seen
        for said in troubles_elsewhere([each], me).values()
    ]
    here = [each for each in seen if (each.controller.host, each.controller.home) == (me.host, me.home)]
    if any(each.condition is not Condition.SILENT for each in here):
        return [Finding(Severity.OK, _SUBJECT, condition_of(each)) for each in here] + found
    return [*running(served, own, home), *found]


def _read_secrets(has: frozenset[str], written: frozenset[str]) -> Iterator[Finding]:
    """Which names the running controller has from ``.env``, and whether those are the file's."""
    yield Finding(Severity.OK, _SUBJECT, f"has from .env: {', '.join(sorted(has)) or 'nothing'}")
    if has != written:
        names = ", ".join(sorted(has ^ written))
        what = f"has not read the last edit of .env ({names})"
        yield Finding(
            Severity.WARN, _SUBJECT, what, "an edit counts within seconds: see airboss.log, or restart it"
        )


def unenforced(subject: str, agents: Mapping[str, AgentConfig]) -> Iterator[Finding]:
    """Agents whose ``egress`` is only a request where sessions have no walls."""
    for name, agent in agents.items():
        if agent.egress is not None:
            what = f"cannot keep the agent {name} to its `egress`: sessions here have no network of their own"
            yield Finding(Severity.WARN, subject, what, "use a machine that isolates sessions")


def disk(subject: str, free: int, where: str) -> Finding:
    """The finding for ``free`` bytes left."""
    what = f"{free / (1 << 30):.1f} GiB free ({where})"
    if free < DISK_FLOOR:
        return Finding(Severity.WARN, subject, f"only {what}", "free some disk space: work stops soon below 1 GiB")
    return Finding(Severity.OK, subject, what)


def clock(subject: str, clock_us: int, before_us: int, after_us: int) -> Finding:
    """The finding for a clock that was read between two readings of ours: a time outside them is a difference."""
    skew = max(before_us - clock_us, clock_us - after_us, 0)
    if skew > SKEW_US:
        what = f"the clock differs from the controller's by {skew / 1_000_000:.1f} s"
        return Finding(Severity.WARN, subject, what, "synchronize it (apt install systemd-timesyncd)")
    return Finding(Severity.OK, subject, "the clock agrees with the controller's")


def _modes(config: FleetConfig, home: Path) -> Iterator[Finding]:
    private = [home, home / SECRETS_FILE, home / "keys", home / "keys" / "receipt_ed25519", *home.glob("*.db*")]
    private += [home / Path(m.identity).expanduser() for m in config.machines.values() if m.identity]
    for path in dict.fromkeys(private):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        wanted = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
        mode = stat.S_IMODE(found.st_mode)
        if path == home and config.console.group:
            mode &= ~0o010  # the console's group passes through, and reads nothing
        if found.st_uid != os.geteuid():
            yield Finding(
                Severity.BAD, _SUBJECT, f"{path} belongs to another login", f"chown {os.geteuid()} {path}"
            )
        elif mode & 0o077:
            what = f"{path} is open to other logins (mode {mode:04o})"
            yield Finding(Severity.BAD, _SUBJECT, what, f"chmod {wanted:o} {path}")
        else:
            yield Finding(Severity.OK, _SUBJECT, f"{path} is private (mode {mode:04o})")
    writable = (home / FLEET_FILE).stat().st_mode & 0o022 if (home / FLEET_FILE).exists() else 0
    if writable:
        yield Finding(
            Severity.BAD,
            _SUBJECT,
            f"{home / FLEET_FILE} can be changed by others",
            f"chmod 600 {home / FLEET_FILE}",
        )


def _git() -> Iterator[Finding]:
    needed = ".".join(map(str, GIT_NEEDED))
    try:
        said = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        yield Finding(Severity.BAD, _SUBJECT, "git is not installed", "apt install git")
        return
    found = version_in(said)
    if found[:2] < GIT_NEEDED:
        what = f"git {'.'.join(map(str, found))} is too old to merge without a worktree"
        yield Finding(Severity.BAD, _SUBJECT, what, f"install git {needed} or later (apt install git)")
    else:
        yield Finding(Severity.OK, _SUBJECT, said.strip())


def _secrets(config: FleetConfig, home: Path) -> Iterator[Finding]:
    try:
        secrets = Secrets.load(home)
    except Misused as error:
        yield Finding(Severity.BAD, _SUBJECT, f"{error.on}: {error.cause}", error.hint)
        return
    for name, agent in config.agents.items():
        for variable in (*agent.env, *filter(None, [agent.key])):
            if not secrets.get(variable):
                what = f"the agent {name} needs {variable}, which .env does not set"
                yield Finding(
                    Severity.WARN,
                    _SUBJECT,
                    what,
                    f"add {variable}=… to {home / SECRETS_FILE}, or remove it there",
                )


def _fleet(config: FleetConfig) -> Iterator[Finding]:
    if config.isolation is Isolation.UNSAFE_SAME_USER:
        yield Finding(
            Severity.WARN,
            "isolation",
            "unsafe-same-user: agents can reach all the controller can; every card, verdict and receipt says so",
            "give the controller, agents and gates separate logins (docs/configuration.md)",
        )
    if owner_is_admin(config):
        me = login_name()
        what = f"no person of this machine's console is listed, so the login {me} is an admin there"
        remedy = f"airboss people add NAME --role admin --id {console_person('LOGIN')}"
        level = Severity.OK if config.isolation is Isolation.UNSAFE_SAME_USER else Severity.WARN
        yield Finding(level, "console", what, remedy)
    if not any(machine.runs_gates(config.isolation) for machine in config.machines.values()):
        yield Finding(
            Severity.BAD,
            "fleet",
            "no machine may run gates, so nothing can land",
            "set gate_as for a machine in fleet.toml",
        )
    yield from _rules(config)
    yield from _late_money(config)
    for part, entries in (("people", config.people), ("repos", config.repos), ("agents", config.agents)):
        if not entries:
            yield Finding(Severity.WARN, "fleet", f"fleet.toml has no {part}", "see docs/configuration.md")


def _late_money(config: FleetConfig) -> Iterator[Finding]:
    """Limits of money that end no turn while it runs."""
    shared = (config.budgets.task, config.budgets.person, config.budgets.repo, config.budgets.day)
    own = (*(repo.budget for repo in config.repos.values()), *(person.budget for person in config.people))
    if not any(limit is not None and limit.money for limit in (*shared, *own)):
        return
    for name, agent in config.agents.items():
        if agent.price is None:
            when = "never" if agent.driver in TELLS_NO_COST else "only at its end, when it reports its cost"
            remedy = f"give [agents.{name}] a price (docs/agents.md#spending): it counts while a turn runs"
            yield Finding(Severity.WARN, "fleet", f"a limit of money ends a turn of {name} {when}", remedy)


def _rules(config: FleetConfig) -> Iterator[Finding]:
    for name, agent in config.agents.items():
        meant = [meaning(word, TOOLS) for word in agent.ask]
        unasked = [word for word, act in zip(agent.ask, meant, strict=True) if act not in ASKED[agent.driver]]
        if unasked:
            what = f"the agent {name} never asks about {', '.join(unasked)}: {agent.driver} has no such question"
            remedy = f"remove it from ask of [agents.{name}], or use another agent"
            yield Finding(Severity.WARN, "fleet", what, remedy)

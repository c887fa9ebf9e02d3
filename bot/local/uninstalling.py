"""``airboss uninstall``: removes what Airboss put on machines and into this login, and says what it kept.

The record stays: the ledger, receipts, and the public key that checks them. Nothing is removed while anything runs,
nor where work is that the home does not have. A machine that does not answer is named, and the key that leads to it
stays until it was asked again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from bot.base import tending_alone
from bot.local import client, hooks_cli, service
from bot.local.options import print_json
from bot.local.stores import has_store, store_of_home
from fleet.config import FleetConfig, MachineConfig, load_fleet
from fleet.config.home import CONTROL_SOCKET, FLEET_FILE, SECRETS_FILE
from fleet.errors import AirbossError, Misused, Refused
from fleet.git import origin
from fleet.git.machine_git import checked
from fleet.landing import fence_hook
from fleet.machines.executors import Executors
from fleet.ports import Executor
from fleet.store import pool_slots, sessions, trees
from fleet.store.core import Tx
from fleet.untrusted import clean

_SYSTEM_UNITS: Final = (
    Path("/etc/systemd/system/airboss.service"),
    Path("/Library/LaunchDaemons/com.airboss.plist"),
)
_FORGET_KEY: Final = r"""
file=$HOME/.ssh/authorized_keys
[ -f "$file" ] && [ -w "$file" ] && grep -q -F -e "$1" "$file" || exit 0
umask 077
true > "$file.airboss" || exit 1
grep -v -F -e "$1" "$file" > "$file.airboss"
[ $? -lt 2 ] || { rm -f "$file.airboss"; exit 1; }
cat "$file.airboss" > "$file" && rm -f "$file.airboss" && echo gone
"""
"""A copy that was cut short must not become the file: nobody could log in."""
_FOLDERS: Final = ("gates", "inbox", "lfs", "login", "pipes", "repos", "sessions", "setup", "tmp", "trees", "work")
"""What is ours in a login's root."""
_REMOVE_EMPTY: Final = 'rmdir -- "$1" 2> /dev/null || :'
_NAMED: Final = 'cd -- "$1" 2> /dev/null || exit 0; ls -d inbox/* pipes/* sessions/* work/* 2> /dev/null || :'
"""Lists what has a store's name in a login's root."""


@dataclass(slots=True)
class Removal:
    """What became of everything."""

    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def uninstall(options: argparse.Namespace, home: Path) -> int:
    """0: all is gone but what is named as kept; 3: something did not answer, and is to be tried again."""
    if not (home / FLEET_FILE).exists():
        raise Misused(attempted="uninstall", on=str(home), cause="there is no fleet.toml", hint="Give --home DIR.")
    if not options.yes and not _agreed(home):
        sys.stdout.write("Nothing was removed.\n")
        return 1
    config, report = load_fleet(home / FLEET_FILE), Removal()
    _nothing_runs(home)  # said before the service is stopped
    _stop_service(home)
    with contextlib.suppress(client.NotServed):
        client.connect(str(home)).close()
        raise Refused(attempted="uninstall", on=str(home), cause="its controller runs", hint="Stop it first.")
    asyncio.run(_machines(config, home, report))
    _remove_service(home, report)
    _repositories(config, report)
    _home(home, report)
    _hooks(options, home, report)  # no key is needed to try this again
    if options.json:
        print_json({"v": 1, "removed": report.removed, "kept": report.kept, "failed": report.failed})
    else:
        for title, rows in (("Removed", report.removed), ("Kept", report.kept), ("NOT removed", report.failed)):
            sys.stdout.write("".join([f"{title}:\n", *(f"  {row}\n" for row in rows)]) if rows else "")
    return 3 if report.failed else 0


def _agreed(home: Path) -> bool:
    if not sys.stdin.isatty():
        raise Misused(attempted="uninstall", on=str(home), cause="nobody agreed", hint="Say --yes.")
    sys.stdout.write(f"Remove Airboss's worktrees, keys and hooks of {home}, here and on its machines? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _stop_service(home: Path) -> None:
    """The login's own, if it is this home's."""
    mac = service.on_mac()
    path = service.place(mac=mac)
    if service.serves(path) == home:
        stop = ["launchctl", "unload", str(path)] if mac else ["systemctl", "--user", "disable", "--now", path.name]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(stop, check=False, capture_output=True, timeout=60)


def _remove_service(home: Path, report: Removal) -> None:
    """The login's own, if it is this home's; another home's and another login's are named."""
    path = service.place(mac=service.on_mac())
    if service.serves(path) == home:
        path.unlink()
        report.removed.append(str(path))
    elif path.exists():
        report.kept.append(f"{path}: it runs the controller of {service.serves(path) or 'something else'}")
    report.kept += [
        f"{unit}: it is root's; systemctl disable --now airboss" for unit in _SYSTEM_UNITS if unit.exists()
    ]


def _nothing_runs(home: Path) -> None:
    """Raises ``Refused`` as :func:`demand_over`."""
    if not has_store(home):
        return
    with store_of_home(home) as store:
        asyncio.run(store.read(demand_over))


def demand_over(tx: Tx) -> None:
    """Raises ``Refused`` while a task has a session, one too that waits for a person, or a pool has a slot."""
    if busy := sessions.busy(tx):
        where = ", ".join(f"{count} on {name}" for name, count in sorted(busy.items()))
        raise Refused(attempted="uninstall", cause=f"tasks are at work: {where}", hint="/stop them first.")
    if waiting := sessions.active(tx):
        names = ", ".join(dict.fromkeys(session.task for session in waiting))
        raise Refused(attempted="uninstall", cause=f"tasks wait for a person: {names}", hint="/stop them first.")
    if slots := pool_slots.open_slots(tx):
        names = ", ".join(slot.slot for slot in slots)
        raise Refused(
            attempted="uninstall",
            cause=f"slots of pools may still cost money: {names}",
            hint="Leave the controller running: it gives back each that nobody uses. For one that is gone, let its "
            "pool's `release` end with 0.",
        )


async def _machines(config: FleetConfig, home: Path, report: Removal) -> None:
    """The runner's folders of each login, and our key where a login has it in its own file."""
    async with tending_alone(home) as (store, executors, keeper):
        await store.read(demand_over)
        await keeper.end_left()
        logins = _Logins(executors, store.instance, home, report)
        for name, machine in config.machines.items():
            if gone := _missing_key(home, machine.identity):
                report.kept.append(f"{name}: it was not asked, since the key that leads to it is gone: {gone}")
                continue
            await keeper.reclaim_all(name)
            if left := await store.read(partial(_only_there, machine=name)):
                report.failed.append(
                    f"{name}: the work of {', '.join(left)} is only there: "
                    "start the controller, and decide in /unlanded"
                )
                continue
            await logins.clear(name, machine)
    if any(machine.executor == "ssh" or machine.run_as or machine.gate_as for machine in config.machines.values()):
        report.kept.append(
            "logins, sshd and sudo settings that airboss machines setup made as root: "
            "userdel LOGIN; rm /etc/ssh/sshd_config.d/00-airboss-*.conf /etc/sudoers.d/*airboss*; rm -r "
            "/etc/ssh/airboss_keys"
        )


def _only_there(tx: Tx, machine: str) -> list[str]:
    """The ended tasks whose work is in a worktree there and not safe, or could not be looked at."""
    return list(dict.fromkeys(tree.task.id for tree in trees.closed_worktrees(tx, tx.now_us(), machine)))


@dataclass(frozen=True, slots=True)
class _Logins:
    """Clears the logins of machines. ``instance``: the store's."""

    executors: Executors
    instance: str
    home: Path
    report: Removal

    async def clear(self, name: str, machine: MachineConfig) -> None:
        """Each login of a machine; one that fails is named."""
        public = _public(self.home, machine.identity)
        for login in machine.agent_logins:
            await self._clear(self.executors.agent(name, login), public, f"{login or 'this login'} on {name}")
        for login in machine.gate_logins if machine.gate_as else ():
            if login not in machine.agent_logins:
                await self._clear(self.executors.gate(name, login), public, f"{login} on {name}")

    async def _clear(self, executor: Executor, public: str, where: str) -> None:
        what = f"{executor.root}: worktrees and processes' files of {where}"
        try:
            await executor.facts()
            named = [] if executor.root == str(self.home) else await self._named(executor, where)
            others = sorted({name.partition("/")[2] for name in named if f"/{self.instance}-" not in name})
            if executor.root == str(self.home):
                self.report.kept.append(f"{what}: they are in the home")
            elif others:
                for name in named:
                    if f"/{self.instance}-" in name:
                        await executor.remove_tree(f"{executor.root}/{name}")
                self.report.removed.append(what)
                names = clean(", ".join(others), 200)
                self.report.kept.append(f"{executor.root}: those of another fleet are there: {names}")
            else:
                for folder in _FOLDERS:
                    await executor.remove_tree(f"{executor.root}/{folder}")
                await executor.run(["sh", "-c", _REMOVE_EMPTY, "empty", executor.root], timeout=30.0)
                self.report.removed.append(what)
            if public:
                ran = await executor.run(["sh", "-c", _FORGET_KEY, "forget", public], timeout=30.0)
                if b"gone" in checked(ran, "forget our key", where).encode():
                    self.report.removed.append(f"our key in ~/.ssh/authorized_keys of {where}")
        except AirbossError as error:
            self.report.failed.append(f"{where}: {error}")

    async def _named(self, executor: Executor, where: str) -> list[str]:
        """What is there by the name of a store, ours or another fleet's."""
        ran = await executor.run(["sh", "-c", _NAMED, "named", executor.root], timeout=30.0)
        return checked(ran, "list the worktrees", where).split()


def _missing_key(home: Path, identity: str) -> str:
    """The private key that a machine needs and that is not there; empty when it is, or none is named."""
    path = home / Path(identity).expanduser()
    return str(path) if identity and not path.exists() else ""


def _public(home: Path, identity: str) -> str:
    """The public half of a private key in the home: ``TYPE BASE64``; empty for one that is not Airboss's."""
    if not identity:
        return ""
    path = home / Path(identity).expanduser()
    if not path.resolve().is_relative_to(home.resolve()):
        return ""
    with contextlib.suppress(OSError, IndexError):
        words = path.with_name(f"{path.name}.pub").read_text().split()
        return f"{words[0]} {words[1]}"
    return ""


def _repositories(config: FleetConfig, report: Removal) -> None:
    """The hook that checks fencing tokens. What landed stays."""
    for name, repo in config.repos.items():
        bare = origin.local_path(repo.url)
        if bare is not None and fence_hook.installed(bare):
            fence_hook.remove(bare)
            report.removed.append(f"the hook of {name}: {bare}")
    report.kept.append("everything that landed on base branches")


def _hooks(options: argparse.Namespace, home: Path, report: Removal) -> None:
    if not (Path.home() / hooks_cli.DIRECTORY).is_dir():
        return
    if (asked := hooks_cli.socket_of()) and asked != str(home / CONTROL_SOCKET):
        report.kept.append(f"the hooks of this login's agents: they ask {asked}")
    else:
        options.scope = "user"
        try:
            with contextlib.redirect_stdout(sys.stderr):
                hooks_cli.uninstall(options, home)
        except AirbossError as error:
            report.failed.append(f"the hooks of this login's agents: {error}")
        else:
            report.removed.append("the hooks of this login's agents")


def _home(home: Path, report: Removal) -> None:
    """Secrets go, unless a machine still has to be asked with them. The record stays."""
    secret = [home / SECRETS_FILE, *_private_keys(home)]
    if report.failed:
        report.kept += [f"{path}: needed to try again" for path in secret if path.exists()]
    else:
        for path in secret:
            if path.exists():
                path.unlink()
                report.removed.append(str(path))
        for folder in ("run", "locks"):
            if (home / folder).is_dir():
                shutil.rmtree(home / folder, ignore_errors=True)
                report.removed.append(f"{home / folder}")
    left = sorted(path.name for path in home.iterdir())
    report.kept.append(
        f"{home}: {', '.join(left)}. This is the record: the ledger, receipts, "
        "public keys, and mirrors with work that did not land"
    )


def _private_keys(home: Path) -> list[Path]:
    """Every private key in the home, and the key of the fingerprints: with it, short secrets can be guessed."""
    found = [path for folder in ("keys", ".ssh") for path in sorted((home / folder).glob("*")) if path.is_file()]
    return [path for path in found if path.suffix == ".key" or b"PRIVATE KEY-----" in path.read_bytes()[:200]]

"""What no other login may reach on the controller's machine, and what it means when one can."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bot.doctor.findings import Crossing, Finding, Severity
from fleet.config import FleetConfig
from fleet.config.home import CONTROL_SOCKET, FLEET_FILE, SECRETS_FILE
from fleet.config.reading import controller_login
from fleet.model import Isolation

_OTHER_FILES = 300  # how many other files of AIRBOSS_HOME are tried
_DOCKER = Path("/var/run/docker.sock")
_SAY = {"create": "change", "connect": "connect to", "list": "read"}


@dataclass(frozen=True, slots=True)
class Wall:
    """A deed that must fail for every login but the controller's. ``attempt`` is its name in the probe."""

    attempt: str
    target: str
    path: str
    remedy: str


def walls_of_controller(config: FleetConfig, home: Path, *, pid: int) -> list[Wall]:
    """Everything of the controller that exists here and that agents and gates must not reach."""
    own = f"chmod -R go= {home}"
    named: list[Wall] = [
        *_file("the receipt signing key", home / "keys" / "receipt_ed25519", own, read=True),
        *_file("the secrets (.env)", home / SECRETS_FILE, f"chmod 600 {home / SECRETS_FILE}", read=True),
        *_file("the configuration (fleet.toml)", home / FLEET_FILE, f"chmod 600 {home / FLEET_FILE}"),
        Wall("create", "AIRBOSS_HOME", str(home), f"chmod 700 {home}"),
        Wall("signal", "the controller's process", str(pid), "give agents and gates separate logins"),
    ]
    for store in sorted(home.glob("*.db*")):
        named += _file("the store", store, f"chmod 600 {store}", read=True)
    if (home / CONTROL_SOCKET).exists():
        named.append(Wall("connect", "the control socket", str(home / CONTROL_SOCKET), own))
    environment = Path(f"/proc/{pid}/environ")
    if environment.exists():
        named.append(Wall("read", "the controller's environment", str(environment), "give agents a separate login"))
    for machine in config.machines.values():
        if machine.identity:
            path = home / Path(machine.identity).expanduser()
            named += _file("the controller's ssh key", path, f"chmod 600 {path}", read=True)
    if _DOCKER.exists():
        named.append(
            Wall(
                "connect",
                "the Docker daemon (equivalent to root)",
                str(_DOCKER),
                "remove the login from the docker group",
            )
        )
    named.append(Wall("become", "root", "root", "remove the login from sudoers"))
    if controller_login() != "root":
        named.append(Wall("become", "the controller", controller_login(), "remove the login from sudoers"))
    named += _around("AIRBOSS_HOME", home)
    known = {wall.path for wall in named}
    for path in _others(home):
        if str(path) not in known:
            named += _file("other files in AIRBOSS_HOME", path, own, read=True)
    return [*named, *_bases(config)]


def walls_of_login(role: str, root: str, login: str) -> list[Wall]:
    """The runner's directory of one login, and the login itself, for the other login of the same host."""
    target, remedy = f"the directory of {role}", f"chmod -R go= {root}"
    return [
        Wall("list", target, root, remedy),
        Wall("create", target, root, remedy),
        Wall("become", f"the login of {role}", login, "remove the login from sudoers"),
    ]


def judged(
    walls: Iterable[Wall],
    answers: Iterable[tuple[bool, str]],
    *,
    machine: str,
    role: str,
    login: str,
    isolation: Isolation,
) -> list[Finding]:
    """One finding for each deed and target: closed is ok, open is bad (a warning under ``unsafe-same-user``)."""
    tried: dict[tuple[str, str], list[tuple[Wall, bool, str]]] = {}
    for wall, (crossed, how) in zip(walls, answers, strict=True):
        tried.setdefault((_SAY.get(wall.attempt, wall.attempt), wall.target), []).append((wall, crossed, how))
    findings = []
    for (deed, target), attempts in tried.items():
        opened = [(wall, how) for wall, crossed, how in attempts if crossed]
        wall, how = opened[0] if opened else (attempts[0][0], attempts[0][2])
        crossing = Crossing(machine, role, login, deed, target, wall.path, bool(opened), how)
        subject = f"{role} on {machine}"
        if not opened:
            findings.append(Finding(Severity.OK, subject, f"cannot {deed} {target} ({how})", crossing=crossing))
            continue
        more = f" and {len(opened) - 1} more" if len(opened) > 1 else ""
        if isolation is Isolation.UNSAFE_SAME_USER:
            what = f"the login {login} can {deed} {target}, as unsafe-same-user says on every card"
            remedy = "to prevent this, use separate logins (docs/configuration.md)"
            findings.append(Finding(Severity.WARN, subject, what, remedy, crossing=crossing))
        else:
            what = f"the login {login} can {deed} {target} ({wall.path}{more})"
            findings.append(Finding(Severity.BAD, subject, what, wall.remedy, crossing=crossing))
    return findings


def git_directory(url: str) -> Path | None:
    """The git directory of a repository given by path; None for a repository elsewhere."""
    text = url.removeprefix("file://")
    if "://" in text or (":" in text and not text.startswith(("/", "~", "."))):
        return None
    path = Path(text).expanduser()
    inner = path / ".git"
    if inner.is_file():
        pointer = inner.read_text("utf-8", "replace").removeprefix("gitdir:").strip()
        inner = path / pointer
        common = inner / "commondir"
        inner = inner / common.read_text("utf-8").strip() if common.is_file() else inner
    found = inner if inner.is_dir() else path
    return found if (found / "refs").is_dir() else None


def _bases(config: FleetConfig) -> list[Wall]:
    walls = []
    for name, repo in config.repos.items():
        found = git_directory(repo.url)
        if found is None:
            continue
        remedy = f"make {found} writable by the controller only: chmod -R go-w {found}"
        target = f"the base branch of {name}"
        folders = (found, found / "refs", found / "refs" / "heads", found / "objects", found / "hooks")
        walls += [Wall("create", target, str(folder), remedy) for folder in folders if folder.is_dir()]
        walls += _around(f"the repository {name}", found.resolve())
        head = found / "refs" / "heads" / repo.base
        for path in (head, found / "packed-refs", found / "config", found / "HEAD"):
            walls += _file(target, path, remedy)
    return walls


def _around(target: str, path: Path) -> list[Wall]:
    """The directories above: whoever may write there can replace it, unless they are sticky."""
    return [
        Wall("create", f"a directory around {target}", str(parent), f"chmod go-w {parent}")
        for parent in path.parents
        if not parent.stat().st_mode & stat.S_ISVTX
    ]


def _file(target: str, path: Path, remedy: str, *, read: bool = False) -> list[Wall]:
    if not path.is_file():
        return []
    deeds = ("read", "change") if read else ("change",)
    return [Wall(deed, target, str(path), remedy) for deed in deeds]


def _others(home: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, files in os.walk(home):
        folders.sort()
        found += [Path(folder) / name for name in sorted(files)]
        if len(found) > _OTHER_FILES:
            break
    return found[:_OTHER_FILES]

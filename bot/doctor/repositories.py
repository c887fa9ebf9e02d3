"""What doctor checks of each repository: whether it answers, whether a change can land there, and who else can."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bot.doctor.findings import Finding, Severity
from bot.repositories import RepoSeen, look_at
from fleet import files
from fleet.config import FleetConfig
from fleet.errors import AirbossError, Unavailable
from fleet.git import submodules
from fleet.git.repository import Repository
from fleet.landing.base_branch import BaseBranch
from fleet.machines.watch import MachineSeen, labels_of
from fleet.model import LandingMode
from fleet.offers import lacking
from fleet.supervise import side_by_side

_PATIENCE_S: Final = 20.0


async def check_repositories(
    config: FleetConfig,
    repositories: Callable[[str], Repository],
    machines: Mapping[str, MachineSeen] | None = None,
) -> list[Finding]:
    """The findings about all repositories of ``fleet.toml``. ``machines``: as last seen, with their labels."""
    works = [_check(config, name, repositories(name), machines) for name in config.repos]
    return [finding for findings in await side_by_side(works, "check a repository") for finding in findings]


def apart(config: FleetConfig, home: Path, name: str, scratch: Path) -> Repository:
    """A repository with a mirror of its own under ``scratch``: a running controller fetches into that of the home,
    and two processes must not. What the home's mirror has is not fetched again."""
    found, mirror, known = config.repos[name], scratch / f"{name}.git", home / "repos" / f"{name}.git" / "objects"
    if known.is_dir():
        with files.writing("prepare a mirror", mirror):
            (mirror / "objects" / "info").mkdir(parents=True)
            files.replace(mirror / "objects" / "info" / "alternates", f"{known.absolute()}\n".encode())
    return Repository(name, found.url, found.base, mirror)


async def _check(
    config: FleetConfig, name: str, repository: Repository, machines: Mapping[str, MachineSeen] | None
) -> list[Finding]:
    subject, seen = f"repository {name}", await look_at(repository, config.repos[name])
    if seen.trouble:
        return [Finding(Severity.BAD, subject, seen.trouble, seen.remedy, unavailable=not seen.commit)]
    findings = [Finding(Severity.OK, subject, f"answers; {seen.config.base} is at {seen.commit[:10]}")]
    findings += _labels(config, subject, seen, machines)
    findings += await _submodules(subject, repository, seen)
    findings.append(await _landable(subject, repository, seen))
    if repository.path is not None:
        findings += await asyncio.to_thread(lambda: list(_access(subject, repository.path)))
    return findings


def _labels(
    config: FleetConfig, subject: str, seen: RepoSeen, machines_seen: Mapping[str, MachineSeen] | None
) -> list[Finding]:
    """Gates for which no machine has all labels: a change would wait for one forever."""
    runs = {name: each for name, each in config.machines.items() if each.runs_gates(config.isolation)}
    machines = [labels_of(name, machine, machines_seen) for name, machine in runs.items()]
    return [
        Finding(
            Severity.BAD,
            subject,
            f"the gate {gate.name} needs {', '.join(gate.needs)}, and no machine that runs gates has that",
            "add the label to a machine in fleet.toml, or remove it from needs in airboss.toml",
        )
        for gate in seen.gates
        if not any(not lacking(gate.needs, labels) or not all_known for labels, all_known in machines)
        and gate.needs
    ]


async def _submodules(subject: str, repository: Repository, seen: RepoSeen) -> list[Finding]:
    """Whether the submodules of the base branch can be fetched. Nothing is fetched for that."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            count = await submodules.answering(repository, seen.commit)
    except TimeoutError:
        what = f"its submodules: no answer within {_PATIENCE_S:.0f} s"
        return [Finding(Severity.BAD, subject, what, unavailable=True)]
    except AirbossError as error:
        away = isinstance(error, Unavailable)
        return [Finding(Severity.BAD, subject, error.cause or error.attempted, error.hint, unavailable=away)]
    what = f"it has {count} {'submodule' if count == 1 else 'submodules'}, and each one's repository answers"
    return [Finding(Severity.OK, subject, what)] if count else []


async def _landable(subject: str, repository: Repository, seen: RepoSeen) -> Finding:
    """Whether the base branch can be moved: not while a person has it checked out, and not without the right."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            branch = BaseBranch(repository)
            if seen.config.mode is LandingMode.MERGE:
                await branch.check_landable()
            await branch.check_rights(seen.commit)
    except TimeoutError:
        what = f"no answer within {_PATIENCE_S:.0f} s when asked for the right to push"
        return Finding(Severity.BAD, subject, what, unavailable=True)
    except AirbossError as error:
        return Finding(Severity.BAD, subject, error.cause or error.attempted, error.hint)
    pushed = seen.config.mode is LandingMode.BRANCH
    return Finding(Severity.OK, subject, f"changes can {'be pushed as branches' if pushed else 'land'} there")


def _access(subject: str, path: Path | None) -> list[Finding]:
    """Who else on this machine can read or change a repository: whoever can change it lands without a gate."""
    if path is None:
        return []
    git_dir = path / ".git" if (path / ".git").is_dir() else path
    try:
        open_to = _open_to(git_dir)
        moved_by = [
            place for place in (git_dir, git_dir / "refs" / "heads", git_dir / "config") if _others_write(place)
        ]
    except OSError as error:
        return [Finding(Severity.BAD, subject, f"{git_dir}: {error.strerror}", unavailable=True)]
    if moved_by and open_to:
        what = f"other logins can change {moved_by[0]}, and so land what no gate has judged"
        return [Finding(Severity.BAD, subject, what, f"chmod -R go-w {git_dir}")]
    if open_to is _EVERYONE:
        what = f"every login on this machine can read {git_dir}"
        return [Finding(Severity.WARN, subject, what, f"if that is not meant: chmod o-rx {git_dir}")]
    who = "its owner and group" if open_to else "its owner only"
    return [Finding(Severity.OK, subject, f"{git_dir} can be read by {who}")]


_EVERYONE: Final = "everyone"
_GROUP: Final = "group"


def _open_to(git_dir: Path) -> str:
    """Who besides its owner reaches a directory, by its mode and those of the directories above it."""
    modes = [place.stat().st_mode for place in (git_dir, *git_dir.parents)]
    if modes[0] & stat.S_IROTH and all(mode & stat.S_IXOTH for mode in modes):
        return _EVERYONE
    return _GROUP if modes[0] & (stat.S_IRGRP | stat.S_IXGRP) else ""


def _others_write(place: Path) -> bool:
    found = place.stat()
    group = found.st_mode & stat.S_IWGRP and found.st_gid not in (os.getegid(),)
    return bool(found.st_mode & stat.S_IWOTH or group)

"""Whether a login of agents or of gates may move a base branch: a repository where one may is *bypassable*.

For a repository at a URL, each login tries a push that sends nothing. One by path is tried as every other wall is.
What was found last is kept in ``AIRBOSS_HOME/bypassable.json``, for ``/status`` and the digest. A login that could
not be examined keeps what was found of it before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bot.doctor.findings import Crossing, Finding, Severity
from fleet import files
from fleet.config import FleetConfig
from fleet.errors import AirbossError
from fleet.exits import Exited, succeeded
from fleet.git.command import without_credentials
from fleet.git.origin import local_path
from fleet.ports import Executor
from fleet.supervise import side_by_side
from fleet.untrusted import clean

BYPASSABLE: Final = "bypassable"
_KEPT: Final = "bypassable.json"
_BASE: Final = "the base branch of "
_REPOSITORY: Final = "the repository "
_SECONDS: Final = 60.0
_MOST_SAID: Final = 200
#: An empty commit is enough to ask; ``--dry-run`` sends nothing, and the server's hooks do not run.
_PUSH: Final = r"""
set -eu
room=$(mktemp -d)
trap 'rm -rf -- "$room"' EXIT
export GIT_DIR="$room/try.git" GIT_TERMINAL_PROMPT=0
export GIT_SSH_COMMAND="${GIT_SSH_COMMAND:-ssh} -o BatchMode=yes -o ConnectTimeout=15"
git init --quiet --bare --template= -- "$GIT_DIR"
tree=$(git hash-object -w -t tree --stdin < /dev/null)
commit=$(git -c user.name=doctor -c user.email=doctor@localhost commit-tree "$tree" < /dev/null)
git push --quiet --dry-run --force --no-verify -- "$1" "$commit:$2" 2>&1 || exit 9
"""
_REFUSED: Final = Exited(9)
"""Any other end but success says nothing: the push was not even tried, or took too long."""


async def check_pushes(config: FleetConfig, logins: Iterable[tuple[str, str, str, Executor]]) -> list[Finding]:
    """What each login (machine, role, name) may push to each repository that is at a URL."""
    tried = [
        _try(*login, name, repo.url, repo.base)
        for login in logins
        for name, repo in config.repos.items()
        if local_path(repo.url) is None
    ]
    return await side_by_side(tried, "try a push")


async def _try(  # noqa: PLR0917 - a login, and a branch
    machine: str, role: str, login: str, executor: Executor, repo: str, url: str, base: str
) -> Finding:
    subject = f"{role} on {machine}"
    try:
        ran = await executor.run(["sh", "-c", _PUSH, "try", url, f"refs/heads/{base}"], timeout=_SECONDS)
    except AirbossError as error:
        return Finding(Severity.BAD, subject, clean(str(error), _MOST_SAID), unavailable=True)
    may = succeeded(ran.exit)
    said = "" if may else clean(without_credentials(ran.out.decode("utf-8", "replace")), _MOST_SAID)
    how = "it may push" if may else " ".join(said.split()) or str(ran.exit)
    if not may and ran.exit != _REFUSED:
        what = f"a push of {login} to {base} of {repo} could not be tried: {ran.exit}"
        return Finding(Severity.BAD, subject, what, unavailable=True)
    crossing = Crossing(machine, role, login, "push to", f"{_BASE}{repo}", without_credentials(url), may, how)
    if not may:
        return Finding(Severity.OK, subject, f"{login} may not push to {base} of {repo}", crossing=crossing)
    what = f"{repo} is {BYPASSABLE}: {login} may push to {base}, as far as a push that sends nothing shows"
    remedy = f"take the right to push from that login's key, or let a rule of the server protect {base}"
    return Finding(Severity.BAD, subject, what, remedy, crossing=crossing)


def bypassed(findings: Iterable[Finding], repos: Iterable[str]) -> dict[str, list[str]]:
    """For each repository whose base branch somebody besides the controller can move: who."""
    found: dict[str, list[str]] = {}
    for repo, who, may in _tried(findings, repos):
        if may and who not in found.setdefault(repo, []):
            found[repo].append(who)
    return {repo: who for repo, who in found.items() if who}


def keep(home: Path, findings: Sequence[Finding], repos: Iterable[str]) -> None:
    """Keeps what was found. Raises ``DiskFull``."""
    path, names = home / _KEPT, list(repos)
    found = bypassed(findings, names)
    tried = {(repo, who) for repo, who, _ in _tried(findings, names)}
    unseen = {finding.subject for finding in findings if finding.unavailable}
    for repo, before in _kept(home).items():
        if still := [who for who in before if who in unseen and (repo, who) not in tried]:
            found[repo] = [*found.get(repo, []), *still]
    with files.writing("keep what doctor found", path):
        files.replace(path, json.dumps(found, sort_keys=True).encode())


def _tried(findings: Iterable[Finding], repos: Iterable[str]) -> Iterator[tuple[str, str, bool]]:
    """Each attempt to change a repository or its base branch: which one, who, and whether it succeeded."""
    names = list(repos)
    for crossing in (each.crossing for each in findings if each.crossing is not None):
        for repo in names:
            if crossing.deed != "read" and crossing.target.endswith((f"{_BASE}{repo}", f"{_REPOSITORY}{repo}")):
                yield repo, f"{crossing.role} on {crossing.machine}", crossing.open


def _kept(home: Path) -> dict[str, list[str]]:
    try:
        kept = json.loads((home / _KEPT).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(kept, dict):
        return {}
    return {repo: [*map(str, who)] for repo, who in kept.items() if isinstance(who, list)}


def said(home: Path, config: FleetConfig) -> str:
    """One line about the repositories that were bypassable when doctor last looked; empty: none was."""
    named = {repo: who for repo, who in _kept(home).items() if repo in config.repos and who}
    each = [f"{repo} ({', '.join(who[:2])})" for repo, who in sorted(named.items())]
    return f"{BYPASSABLE}: {', '.join(each)} can land what no gate has judged: airboss doctor" if each else ""

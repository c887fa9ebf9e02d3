"""Pushes: what is written may be read by whoever reads the repository; what git says of them, for people."""

from __future__ import annotations

import re
from typing import Final

from fleet.git.command import access_hint
from fleet.git.repository import Repository
from fleet.untrusted import shortened

_LIMIT: Final = 400
_REASON: Final = re.compile(r"\[remote rejected\] \((.+)\)")
_SAYS_WHY: Final = re.compile(
    r"\b(?:error|fatal|denied|reject\w*|refuse\w*|declined|violat\w*|must|not allowed|missing|failed)\b",
    re.IGNORECASE,
)
_BY_HOOK: Final = "ref updates aborted by hook"
_LOCKED: Final = re.compile(r"Unable to create '([^'\n]+\.lock)': File exists")
#: What a login may not do to files, and not what a server of SSH says of keys.
_CLOSED: Final = re.compile(
    r"Permission denied(?! \()|Operation not permitted|Read-only file system|insufficient permission|No space left"
)

_CHECKED_OUT: Final = "branch is currently checked out"
_IN_ITS_PLACE: Final = re.compile(r"'refs/heads/([^'\n]+)' exists; cannot create")
#: Git said so before it sent anything.
_NOT_LET_IN: Final = re.compile(
    r"unable to access '|could not read (?:Username|Password)|Authentication failed|Could not read from remote"
)
RULES: Final = "Its owner can change its rules; then /judge the task."
_ACCESS: Final = "Check the network and the controller's own right to push there."


async def umask_into(repository: Repository) -> int:
    """The umask of a push into a repository; -1 where that is another machine's affair."""
    return -1 if repository.path is None else (await repository.opened()).umask


def is_rejection(words: str) -> bool:
    """Whether the repository's own rules did not let a push in."""
    return "remote rejected" in words or _BY_HOOK in words


def unusable(words: str) -> tuple[str, str] | None:
    """Why a repository cannot be written to as it is now, whatever is pushed, and what its owner can do."""
    if locked := _LOCKED.search(words):
        cause = f"{locked[1]} is there: a git works in the repository, or died there"
        return cause, "If none runs there, remove that file."
    if _CHECKED_OUT in words:
        return _CHECKED_OUT, "Finish the rebase or bisect that is under way there, or check out another branch."
    if other := _IN_ITS_PLACE.search(words):
        return f"{other[1]} is in the way: it cannot be a branch and a directory of branches", "Rename it there."
    if closed := _CLOSED.search(words):
        at = words.rfind("\n", 0, closed.start()) + 1
        line = words[at:].partition("\n")[0].removeprefix("remote:").strip()
        return failure(line), "Make room there, or let the login that pushes write: its owner can."
    if "HTTP 413" in words:
        return (
            "its server takes no push of this size (HTTP 413)",
            "Its owner can raise that limit, or name an ssh url.",
        )
    return (failure(words), access_hint(words, _ACCESS)) if _NOT_LET_IN.search(words) else None


def rejection(words: str) -> str:
    """Why a repository did not take a push: its own reason, and what its hooks said."""
    told = [line.removeprefix("remote:").strip() for line in words.splitlines() if line.startswith("remote:")]
    if not told and _BY_HOOK in words:  # its end was cut, with the marks of what its hook said
        told = [line.strip() for line in words.partition(f"fatal: {_BY_HOOK}")[0].splitlines()] + [_BY_HOOK]
    told.sort(key=lambda row: _SAYS_WHY.search(row) is None)  # of a long text only its begin and end are shown
    parts = dict.fromkeys(part for part in (*_REASON.findall(words)[:1], *told) if part)
    return failure("; ".join(parts) or words)


def failure(words: str) -> str:
    """Git's words, where it is not known what they mean."""
    return shortened(words.strip(), _LIMIT)

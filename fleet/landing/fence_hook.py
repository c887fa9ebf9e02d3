"""The pre-receive hook of an operator's bare repository: it refuses a landing whose fencing token is stale.

A landing's push names its token and the line of tokens that it belongs to: one for each store and repository, since
tokens only grow within it. The hook keeps the largest token that it has seen. So the repository itself refuses
a controller that was frozen and wakes up after another took over, whatever that controller believes. A push without
a token is a person's; the hook lets it pass.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet import files
from fleet.git.origin import OpenedRepository

MARK: Final = "# airboss pre-receive hook, version 1"
OPTION: Final = "airboss-fence"
_SEEN: Final = "airboss-fence"
_HOOK: Final = "hooks/pre-receive"
#: What git runs at a push into a repository (githooks(5)).
_OF_PUSHES: Final = (
    "pre-receive", "update", "proc-receive", "reference-transaction", "post-receive", "post-update",
)  # fmt: skip

SCRIPT: Final = f"""\
#!/bin/sh
{MARK}
# Refuses a landing whose fencing token is smaller than one that was seen here.
set -eu
at=0
fence=
while [ "$at" -lt "${{GIT_PUSH_OPTION_COUNT:-0}}" ]; do
    eval "option=\\${{GIT_PUSH_OPTION_$at}}"
    case "$option" in {OPTION}=*) fence=${{option#{OPTION}=}} ;; esac
    at=$((at + 1))
done
[ -n "$fence" ] || exit 0
line=${{fence%%:*}}
token=${{fence#*:}}
case "$line" in '' | *[!0-9a-f]*) echo "airboss: malformed fence" >&2; exit 1 ;; esac
case "$token" in '' | 0* | *[!0-9]*) echo "airboss: malformed fence" >&2; exit 1 ;; esac
seen="${{GIT_DIR:-.}}/{_SEEN}/$line"
mkdir -p "$seen"
: > "$seen/$token"
newest=$(ls "$seen" | sort -n | tail -n 1)
if [ "$token" != "$newest" ]; then
    rm -f "$seen/$token"
    echo "airboss: token $token is stale, $newest was seen" >&2
    exit 1
fi
for older in $(ls "$seen"); do
    if [ "$older" -lt "$token" ]; then rm -f "$seen/$older"; fi
done
echo "airboss: token $token accepted" >&2
"""


@dataclass(frozen=True, slots=True)
class FenceToken:
    """The token of one landing, and its line: ``store`` is the id of the store that counts it."""

    store: str
    repo: str
    token: int

    @property
    def option(self) -> str:
        """The push option that tells the hook."""
        line = hashlib.sha256(f"{self.store}/{self.repo}".encode()).hexdigest()[:16]
        return f"{OPTION}={line}:{self.token}"

    def accepted(self, words: str) -> bool:
        """Whether the hook said in a push's output that it checked this token."""
        return f"airboss: token {self.token} accepted" in words


def installed(bare: Path) -> bool:
    """Whether a bare repository on this machine has the hook."""
    return _is_ours(bare / _HOOK)


def runs_hooks(found: OpenedRepository) -> bool:
    """Whether a push into a repository on this machine runs a hook, ours or its owner's."""
    place = found.git_dir / Path(found.settings.get("core.hookspath", "hooks")).expanduser()
    return any(os.access(place / name, os.X_OK) for name in _OF_PUSHES)


def occupied(bare: Path) -> bool:
    """Whether another hook is in its place."""
    return (bare / _HOOK).exists() and not installed(bare)


def write(bare: Path) -> None:
    """Writes the hook, or this version of it."""
    place = bare / _HOOK
    place.parent.mkdir(exist_ok=True)
    files.replace(place, SCRIPT.encode(), mode=0o755)


def remove(bare: Path) -> None:
    """Takes the hook away, and what it remembers."""
    (bare / _HOOK).unlink(missing_ok=True)
    forget(bare)


def forget(bare: Path) -> None:
    """Forgets every token that was seen: a restored store counts from an earlier one."""
    for seen in (bare / _SEEN).glob("*/*"):
        seen.unlink(missing_ok=True)


def _is_ours(place: Path) -> bool:
    try:
        return MARK in place.read_text(encoding="utf-8", errors="replace")[:200]
    except OSError:
        return False

"""What the hook client does when the agent says that it is done: it hands over the working copy's tree; where a
person wants the session in the fleet, its conversation too.

Nothing in the working copy changes, not even its index. The tree is made as ``git add --all`` would, beside the
repository's own objects, and sent as a pack. The controller says from which of its commits it begins.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

from .hook_parts import apart, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    Json = dict[str, Any]

_MOST, _PATIENCE = 200, 900.0
_CONVERSATION = 16 << 20
_SECONDS = 120


class Handed:
    """A tree as a pack, thin against ``base``."""

    def __init__(self, tree: str, pack: bytes) -> None:
        self.tree, self.pack = tree, pack


def tips(top: str) -> list[str]:
    """Commits of which the controller may know one, the newest first: those from here on down."""
    said = _git(top, ["rev-list", "--max-count=%d" % _MOST, "HEAD"], {})
    return said.decode("ascii", "replace").split()


def handed(top: str, base: str) -> Optional[Handed]:
    """The working copy's tree; ``None``: it is that of ``base``."""
    own = tempfile.mkdtemp(prefix="airboss-hook-")
    try:
        objects = _git(top, ["rev-parse", "--git-path", "objects"], {}).decode().strip()
        env = {
            "GIT_INDEX_FILE": own + "/index",
            "GIT_OBJECT_DIRECTORY": own,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.path.join(top, objects),
        }
        _git(top, ["read-tree", "HEAD"], env)
        _git(top, ["add", "--all"], env)
        tree = _git(top, ["write-tree"], env).decode().strip()
        if tree == _git(top, ["rev-parse", base + "^{tree}"], {}).decode().strip():
            return None
        listed = ("%s\n^%s\n" % (tree, base)).encode()
        return Handed(tree, _git(top, ["pack-objects", "--quiet", "--revs", "--thin", "--stdout"], env, listed))
    finally:
        shutil.rmtree(own, ignore_errors=True)


def adopted(ask: Callable[..., Json], event: Json, where: Json, *, ends: bool) -> Json:
    """A person wants this session in the fleet: what the agent is told. A session that ``ends`` hands over without
    its agent, which does not wait, and has no other sign of life: if it cannot, that person is told."""
    if ends:
        apart(_PATIENCE)
    try:
        return _hand_over(ask, event, where)
    except Exception as error:
        if not ends:
            raise
        why = (str(error) or type(error).__name__)[:1000]
        return ask("end", {**event, "reason": why}, {**where, "left": True})


def _hand_over(ask: Callable[..., Json], event: Json, where: Json) -> Json:
    base = ask("adopt", event, {**where, "tips": tips(where["top"])}).get("base")
    work = handed(where["top"], base) if base else None
    said = read(str(event.get("transcript_path") or ""))[-_CONVERSATION:]
    pack, given = (work.pack, {"tree": work.tree, "base": base}) if work else (b"", {})
    answer = ask("adopted", event, {**where, **given, "pack": len(pack), "said": len(said)}, pack + said)
    told: Json = answer["say"]
    return told


def _git(top: str, words: list[str], env: dict[str, str], given: bytes = b"") -> bytes:
    """Raises ``ValueError`` with git's own words."""
    done = subprocess.run(
        ["git", "-C", top, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *words],
        env={**os.environ, **env},
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise ValueError("git %s: %s" % (words[0], done.stderr.decode("utf-8", "replace").strip()[-300:]))
    return done.stdout

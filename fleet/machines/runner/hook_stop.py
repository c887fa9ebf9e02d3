"""What the hook client does when the agent says that it is done: it hands over the working copy's tree.

Nothing in the working copy changes, not even its index. The tree is made as ``git add --all`` would, beside the
repository's own objects, and sent as a pack. The controller says from which of its commits it begins.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

_MOST = 200
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

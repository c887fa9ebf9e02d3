"""Moves an agent's worktree onto a newer base, with its change merged in. In place: its conversation goes on.

Only the paths that the merge changes are written. What git ignores stays, and so do the operator's own files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fleet.exits import succeeded
from fleet.files import scratch
from fleet.git import merging
from fleet.git.machine_git import MACHINE_ENV, TRANSFER_SECONDS, checked
from fleet.git.repository import Repository
from fleet.ports import Executor

YOURS: Final = "airboss/yours"
"""How an agent names its own side in its worktree, as in ``git show airboss/yours:PATH``."""

_MOVE: Final = r"""
set -eu
repo=$1 work=$2 root=$3 yours=$4 merged=$5 head=$6
shift 6
GIT_DIR="$repo" git index-pack --stdin --fix-thin > /dev/null
GIT_DIR="$repo" git update-ref "refs/airboss/base/$head" "$head"
GIT_DIR="$repo" git update-ref "refs/airboss/moved/$merged" "$merged"
GIT_DIR="$repo" git update-ref "refs/airboss/moved/$yours" "$yours"
mkdir -p "$root/tmp"
own=$(mktemp -d "$root/tmp/move.XXXXXX")
trap 'rm -rf -- "$own"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$own/objects/info" "$own/refs" "$own/info"
echo 'ref: refs/heads/none' > "$own/HEAD"
printf '[core]\n\trepositoryformatversion = 0\n\tbare = false\n' > "$own/config"
printf '%s\n' "$repo/objects" > "$own/objects/info/alternates"
printf '%s\n' "$AIRBOSS_ATTRIBUTES" > "$own/info/attributes"
if [ ! -d "$work" ] || [ -L "$work" ]; then printf '%s\n' "$AIRBOSS_GONE" >&2; exit 1; fi
cd -- "$work"
export GIT_DIR="$own" GIT_WORK_TREE="$work" GIT_INDEX_FILE="$own/index"
for path in "$@"; do
    shift
    set -- "$@" ":(exclude,top,literal)$path"
done
differ() {
    GIT_LITERAL_PATHSPECS=0 git diff-tree -r -z --no-renames --name-only "$@"
}
differ --diff-filter=D "$yours" "$merged" -- . "$@" > "$own/gone"
differ --diff-filter=d "$yours" "$merged" -- . "$@" > "$own/new"
[ ! -s "$own/gone" ] || xargs -0 rm -rf -- < "$own/gone"
git read-tree "$merged"
git -c core.symlinks=true -c core.fileMode=true checkout-index --force -z --stdin < "$own/new" >&2
if [ -d "$work/.git" ]; then
    # For the agent's own commands only: a repository that it broke is left as it is.
    {
        unset GIT_INDEX_FILE GIT_WORK_TREE
        export GIT_DIR="$work/.git"
        rm -rf -- "$GIT_DIR/index.lock" "$GIT_DIR/HEAD.lock" "$GIT_DIR/MERGE_HEAD" "$GIT_DIR/CHERRY_PICK_HEAD" \
            "$GIT_DIR/REVERT_HEAD" "$GIT_DIR/rebase-merge" "$GIT_DIR/rebase-apply" &&
        git update-ref --no-deref HEAD "$head" &&
        git update-ref refs/airboss/yours "$yours" &&
        git read-tree "$merged"
    } > /dev/null 2>&1 || :
fi
"""


@dataclass(frozen=True, slots=True)
class Move:
    """From the snapshot ``yours`` to ``merged``: a commit on ``base`` that has the merge of both.

    ``keep`` are paths that are not touched.
    """

    yours: str
    merged: str
    base: str
    keep: Sequence[str] = ()


async def move(executor: Executor, repository: Repository, root: str, workspace: str, move: Move) -> None:
    """Moves the worktree. Safe to repeat until its agent works again.

    Raises ``Unavailable`` when the machine cannot do it.
    """
    carrier = await repository.commit_tree(
        await repository.tree_of(move.merged), (move.merged, move.yours), "moved\n", 0
    )
    where = (f"{root}/repos/{repository.name}.git", workspace, root, move.yours, move.merged, move.base)
    known = await merging.parent(repository, move.yours)
    argv = ["sh", "-c", _MOVE, "move", *where, *move.keep]
    for have in ([known], []):
        with scratch(repository.mirror, "transfer-") as pack:
            await repository.pack(pack, carrier, have)
            ran = await executor.run(argv, env=MACHINE_ENV, stdin=pack, timeout=TRANSFER_SECONDS)
        if succeeded(ran.exit):
            return
    checked(ran, "move a worktree onto the current base", f"{workspace} on {executor.machine}")

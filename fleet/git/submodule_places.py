"""Puts submodules in their places in an agent's worktree, each as a repository of its own without a history.

What is done in one is the agent's own: it is neither sent nor landed, and moved aside before another commit takes
its place. A gate's checkout needs none of this: it is filled from one tree that has the files already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fleet.files import scratch
from fleet.git import submodule_mirrors, submodules
from fleet.git.machine_git import MACHINE_ENV, TRANSFER_SECONDS, checked
from fleet.git.repository import Repository
from fleet.git.submodules import Submodule
from fleet.ports import Executor

#: Parameters reach this script only as positional arguments, never as part of its text: after the first four, a
#: path, a commit and its tree for each submodule, those inside one after it.
_PUT: Final = r"""
set -eu
repo=$1 work=$2 receive=$3 replace=$4
shift 4
[ "$receive" = no ] || GIT_DIR="$repo" git index-pack --stdin > /dev/null
top=$(cd -P -- "$work" && pwd -P)
fill() {
    # Only ever in an empty directory: no git runs by settings that an agent wrote.
    mkdir -p "$work/$path/.git/info"
    : > "$work/$path/.git/airboss-filling"
    export GIT_DIR="$work/$path/.git"
    git init --quiet --template= --object-format=sha1
    printf '%s\n' "$repo/objects" > "$GIT_DIR/objects/info/alternates"
    printf '%s\n' "$AIRBOSS_AGENTS_CONFIG" >> "$GIT_DIR/config"
    printf '%s\n' "$AIRBOSS_ATTRIBUTES" > "$GIT_DIR/info/attributes"
    printf '%s\n' "$AIRBOSS_LITTER" > "$GIT_DIR/info/exclude"
    printf '%s\n' "$commit" > "$GIT_DIR/shallow"
    git --work-tree="$work/$path" checkout --quiet --force --detach "$commit" -- &&
        mv -- "$GIT_DIR/airboss-filling" "$GIT_DIR/airboss-filled"
}
while [ $# -gt 0 ]; do
    path=$1 commit=$2 tree=$3 place=$work/$1
    shift 3
    ref=refs/airboss/submodules/$commit
    if [ "$(GIT_DIR="$repo" git rev-parse --verify --quiet "$ref" || :)" != "$tree" ]; then
        if [ "$receive" = no ]; then printf '%s\n' "$commit"; continue; fi
        GIT_DIR="$repo" git update-ref "$ref" "$tree"
    fi
    # Nothing is put behind a link, nor where the agent removed the directory or has something else.
    [ -d "$place" ] && [ "$(cd -P -- "$place" && pwd -P)" = "$top/$path" ] || continue
    if [ "$replace" = yes ]; then
        if [ -e "$place/.git/airboss-filled" ] && [ "$(cat "$place/.git/HEAD")" = "$commit" ]; then continue; fi
        if [ -n "$(ls -A "$place")" ]; then
            aside=$work/.git/airboss-replaced/$path
            rm -rf -- "$aside"
            mkdir -p "${aside%/*}"
            mv -- "$place" "$aside"
        fi
    elif [ -e "$place/.git/airboss-filling" ]; then
        rm -rf -- "$place"
    elif [ -n "$(ls -A "$place")" ]; then
        continue
    fi
    mkdir -p "$place"
    if said=$( (fill) 2>&1 < /dev/null); then :; else printf '%s\n' "$said" >&2; exit 1; fi
done
"""


async def put(
    executor: Executor, repository: Repository, root: str, work: str, commit: str, *, before: str = ""
) -> None:
    """Puts the submodules of a commit in their places, as far as the mirror has them. May be repeated.

    One that is in its place stays as it is. ``before``: the worktree had this commit; where that recorded another
    one, the directory is replaced. Raises ``Unavailable`` when the machine cannot do it.
    """
    had = await submodules.listed(repository, before) if before else ()
    every = await submodules.listed(repository, commit)
    anew = [each.path for each in every if each not in had]  # with what is inside it
    wanted = [each for each in every if each.tree and any(f"{each.path}/".startswith(f"{path}/") for path in anew)]
    if not wanted:
        return
    store = f"{root}/repos/{repository.name}.git"
    attempted, on = "put submodules in their places", f"{work} on {executor.machine}"
    said = [store, work, "no", "yes" if before else "no"]
    ran = await executor.run(
        ["sh", "-c", _PUT, "put", *said, *_words(wanted)], env=MACHINE_ENV, timeout=TRANSFER_SECONDS
    )
    lacking = set(checked(ran, attempted, on).split())
    if not lacking:
        return
    said[2] = "yes"
    with scratch(repository.mirror, "transfer-") as pack:
        known = [each.commit for each in wanted if each.commit in lacking]
        await submodule_mirrors.write_objects(repository, known, pack)
        ran = await executor.run(
            ["sh", "-c", _PUT, "put", *said, *_words(wanted)],
            env=MACHINE_ENV,
            stdin=pack,
            timeout=TRANSFER_SECONDS,
        )
    checked(ran, attempted, on)


def _words(wanted: Sequence[Submodule]) -> list[str]:
    return [word for each in wanted for word in (each.path, each.commit, each.tree)]

"""How a machine makes a directory out of a pack: an agent's worktree, and a checkout for a gate."""

from __future__ import annotations

from typing import Final

WORKTREE: Final = r"""
set -eu
repo=$1 work=$2 base=$3 ready=$4 head=$5
if [ -e "$ready" ] && [ -d "$work" ] && [ ! -L "$work" ]; then echo ready; exit 0; fi
if [ ! -e "$repo/info/attributes" ]; then
    mkdir -p "${repo%/*}" "${work%/*}" "${ready%/*}"
    git init --quiet --bare --template= --object-format=sha1 -- "$repo"
    mkdir -p "$repo/info"
    printf '[gc]\n\tauto = 0\n[user]\n\tname = Agent\n\temail = agent@localhost\n' >> "$repo/config"
    printf '%s\n' "$AIRBOSS_ATTRIBUTES" > "$repo/info/attributes"
fi
export GIT_DIR="$repo"
missing() {
    echo missing
    git for-each-ref --count=64 --sort=-committerdate --format='%(objectname)' refs/airboss/base 2> /dev/null || :
}
if [ $# -gt 6 ] && [ ! -e "$repo/refs/airboss/base/$7" ]; then
    missing
    exit 0
elif [ $# -gt 5 ]; then
    git index-pack --stdin --fix-thin > /dev/null
    git update-ref "refs/airboss/base/$base" "$base"
elif [ ! -e "$repo/refs/airboss/base/$base" ]; then
    missing
    exit 0
fi
if [ -e "$ready" ] || [ -e "$work" ]; then rm -rf -- "$ready" "$work"; fi
own() {
    # The workspace's own repository: it borrows objects from the clone, and shares nothing that can be written.
    export GIT_DIR="$work/.git"
    mkdir -p "$GIT_DIR/info"
    git init --quiet --template= --object-format=sha1
    printf '%s\n' "$repo/objects" > "$GIT_DIR/objects/info/alternates"
    printf '%s\n' "$AIRBOSS_AGENTS_CONFIG" >> "$GIT_DIR/config"
    printf '%s\n' "$AIRBOSS_ATTRIBUTES" > "$GIT_DIR/info/attributes"
    printf '%s\n' "$AIRBOSS_LITTER" > "$GIT_DIR/info/exclude"
    git --work-tree="$work" checkout --quiet --force --detach "$base" --
    [ "$head" = "$base" ] || git update-ref --no-deref HEAD "$head"
}
if said=$(own 2>&1 < /dev/null); then
    ls -di -- "$work" > "$ready"
    echo ready
elif [ $# -eq 6 ] || { [ $# -eq 5 ] && git cat-file -e "$base^{commit}" 2> /dev/null; }; then
    printf '%s\n' "$said" >&2
    exit 1
else
    missing
fi
"""

CHECKOUT: Final = r"""
set -eu
umask 022
place=$1 tree=$2
if [ -e "$place" ] || [ -L "$place" ]; then rm -rf -- "$place"; fi
export GIT_DIR="$place/objects.git" GIT_INDEX_FILE="$place/objects.git/index"
mkdir -p "$place/tree" "$GIT_DIR/objects" "$GIT_DIR/refs" "$GIT_DIR/info"
echo 'ref: refs/heads/none' > "$GIT_DIR/HEAD"
printf '[core]\n\trepositoryformatversion = 0\n\tbare = false\n' > "$GIT_DIR/config"
printf '%s\n' "$AIRBOSS_ATTRIBUTES" > "$GIT_DIR/info/attributes"
git index-pack --stdin > /dev/null
git -c core.symlinks=true -c core.fileMode=true --work-tree="$place/tree" read-tree --reset -u "$tree"
rm -rf -- "$GIT_DIR"
"""

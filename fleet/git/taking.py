"""How a worktree becomes a tree on its machine: what is taken, and what is left out."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final, Protocol

from fleet.git.listed import SAME
from fleet.untrusted import shortened

#: What tools leave behind and nobody means to keep, as gitignore patterns. It is taken only where the base has it,
#: or where the agent added it with ``git add --force``.
LITTER: Final = (
    "__pycache__/",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    ".tox/",
    ".nox/",
    "*.egg-info/",
    ".ipynb_checkpoints/",
    ".coverage",
    ".phpunit.result.cache",
    "node_modules",
    ".gradle/",
    ".dart_tool/",
    ".DS_Store",
    "Thumbs.db",
)
#: What git says of a file that it cannot add.
_UNREADABLE = re.compile(
    rb"'[^\n]*' does not have a commit checked out"
    rb"|(?:open|readlink)[ (][^\n]*: Permission denied"
    # What is in such a directory would be left out. Of a path too long for the system git says only the start.
    rb"|could not open directory '(?:[^\n]*': (?!No such file)[^\n]*|[^\n']{2000})"
    rb"|[^\n]*: can only add regular files[^\n]*|unable to stat '[^\n]*': (?!No such file)[^\n]*"
    rb"|unable to index file [^\n]*|[^\n]*: (?:short read|File too large)[^\n]*|invalid path '[^\n]*'"
)
_HEADER: Final = re.compile(rb"airboss-tree ([0-9a-f]{40}) ([0-9]{8})\n")
_WORDS: Final = 500
#: Rules of this size are still read for each file in seconds.
RULES_BYTES: Final = 1 << 20
_PLACES: Final = 5
#: What the machine says where there is nothing to take.
GONE: Final = "its worktree is gone, or a link is in its place"
#: What a card says was left out where another directory is in the worktree's place.
REPLACED: Final = "its first directory: another one is in its place"
#: How the reason ends where the agent's own merge is not finished.
CONFLICT: Final = "its merge conflict is not resolved"
HEADER_BYTES: Final = 63
LIST_LIMIT: Final = 1 << 16

#: Applies what git itself changes in a file: ends of lines, and keywords of ``ident``. A program, and an encoding
#: that a worktree of ours does not have, are unset.
EOL_ATTRIBUTES: Final = "* !filter !working-tree-encoding !export-ignore !export-subst !merge !diff"

# Parameters reach this script only as positional arguments, never as part of its text. Its standard input lists the
# large files and the submodules of the base.
SNAPSHOT: Final = (
    r"""
set -eu
umask 077
"""
    + SAME
    + r"""
repo=$1 work=$2 base=$3 root=$4 most=$5 made=$6
shift 6
if [ ! -d "$work" ] || [ -L "$work" ]; then printf '%s\n' "$AIRBOSS_GONE" >&2; exit 1; fi
own=$(mktemp -d "$root/tmp/snapshot.XXXXXX" 2> /dev/null) || {
    mkdir -p "$root/tmp"
    own=$(mktemp -d "$root/tmp/snapshot.XXXXXX")
}
trap 'rm -rf -- "$own"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$own/objects/info" "$own/refs" "$own/info"
echo 'ref: refs/heads/none' > "$own/HEAD"
printf '[core]\n\trepositoryformatversion = 0\n\tbare = false\n' > "$own/config"
printf '%s\n' "$repo/objects" > "$own/objects/info/alternates"
printf '%s\n' "$AIRBOSS_ATTRIBUTES" > "$own/info/attributes"
printf '%s\n' "$AIRBOSS_LITTER" > "$own/info/exclude"
cd -- "$work"
export GIT_DIR="$own" GIT_WORK_TREE="$work" GIT_INDEX_FILE="$own/index"
git read-tree "$base^{tree}"
# A large file whose object is in its place is as the base has it: it is neither read by git nor sent.
: > "$own/same"
: > "$own/submodules"
: > "$own/told"
while IFS= read -r listed; do
    line
    if [ "$mode" = 160000 ]; then printf '%s %s %s\n' "$oid" "$size" "$path" >> "$own/submodules"; continue; fi
    if [ ! -f "./$path" ] || [ -L "./$path" ]; then continue; fi
    if [ -x "./$path" ]; then is=100755; else is=100644; fi
    if [ "$is" = "$mode" ] && same "./$path"; then printf './%s\n' "$path" >> "$own/same"; fi
done
[ ! -s "$own/same" ] || sed 's,^\./,,' "$own/same" | tr '\n' '\0' | git update-index --assume-unchanged -z --stdin
in_submodule() {
    while IFS=' ' read -r _ _ at; do
        case $1 in "./$at/"*) return 0 ;; esac
    done < "$own/submodules"
    return 1
}
# What git would wait for, or read for minutes, is named before git looks at it.
if [ "$most" -gt 0 ]; then large=$most; else large=9000000000000000000; fi
find . -path ./.git/objects -prune \
    -o -type p \( -path './.git/*' -o -name .gitignore -o -name .gitattributes -o -name .gitmodules \) -print \
    -o ! -path './.git/*' -type f \( -size "+${large}c" \
    -o \( -name .gitignore -o -name .gitattributes \) -size "+${AIRBOSS_RULES}c" \) -print \
    > "$own/large" 2> /dev/null || :
while IFS= read -r path; do
    [ ! -p "$path" ] || { printf 'unable to index file %s: it is a named pipe\n' "'$path'" >&2; exit 1; }
    case $path in
        */.gitignore | */.gitattributes)
            is=$(git cat-file -s "$base:${path#./}" 2> /dev/null || echo 0)
            [ "$is" -le "$AIRBOSS_RULES" ] || continue
            printf 'unable to index file %s: more than %d bytes of rules\n' "'$path'" "$AIRBOSS_RULES" >&2
            exit 1
            ;;
    esac
done < "$own/large"
# A file that is too large is named before git reads it all.
[ "$most" -eq 0 ] || while IFS= read -r path; do
    case $path in */.gitignore | */.gitattributes) continue ;; esac
    grep -q -x -F -e "$path" "$own/same" && continue
    in_submodule "$path" && continue
    left=$made
    for place in "$@"; do
        [ "$left" -gt 0 ] || break
        case $path in "./$place"/*) continue 2 ;; esac
        left=$((left - 1))
    done
    GIT_LITERAL_PATHSPECS=0 git check-ignore -q --no-index -- "$path" 2> /dev/null && continue
    printf 'unable to index file %s: it is too large\n' "'$path'" >&2
    exit 1
done < "$own/large"
printf '.\0' > "$own/add"
: > "$own/made"
while [ "$made" -gt 0 ]; do
    printf ':(exclude,top,literal)%s\0' "$1" >> "$own/add"
    printf '%s\0' "$1" >> "$own/made"
    shift
    made=$((made - 1))
done
GIT_LITERAL_PATHSPECS=0 git -c advice.addEmbeddedRepo=false -c core.bigFileThreshold=64m \
    add --all --pathspec-from-file="$own/add" --pathspec-file-nul >&2
if [ -f "$work/.git/index" ]; then
    # What the agent added although it is ignored counts too: its own index names those files.
    GIT_DIR="$work/.git" GIT_INDEX_FILE="$work/.git/index" git ls-files -z --cached --ignored --exclude-standard \
        > "$own/forced" 2> /dev/null || :
    [ ! -s "$own/forced" ] || git update-index --add --remove -z --stdin < "$own/forced" >&2
    # What the agent's own sparse checkout does not show is not deleted: it stays as the base has it. Names become
    # lines, so the two separators change places.
    { GIT_DIR="$work/.git" GIT_INDEX_FILE="$work/.git/index" git ls-files -z -t 2> /dev/null || :; } |
        tr '\0\n' '\n\0' | sed -n '/^[MS] /p' > "$own/tagged"
    [ ! -s "$own/tagged" ] || sed -n 's/^S //p' "$own/tagged" |
        while IFS= read -r path; do [ -e "./$path" ] || [ -L "./$path" ] || printf '%s\n' "$path"; done \
            > "$own/hidden"
    # A conflict of the agent's own merge that it has neither edited nor added.
    [ ! -s "$own/tagged" ] || sed -n 's/^M //p' "$own/tagged" | sort -u | while IFS= read -r path; do
        if [ ! -f "./$path" ] || [ -L "./$path" ]; then continue; fi
        grep -q '^<<<<<<< ' "./$path" && grep -q '^>>>>>>> ' "./$path" || continue
        printf 'unable to index file %s: %s\n' "'$path'" "$AIRBOSS_CONFLICT" >&2
    done
    [ ! -s "$own/hidden" ] ||
        git ls-tree -r -z --full-tree "$base" | tr '\0\n' '\n\0' |
        awk 'NR == FNR { hidden[$0]; next } substr($0, index($0, "\t") + 1) in hidden' "$own/hidden" - |
        tr '\0\n' '\n\0' | git update-index -z --index-info >&2
fi
[ ! -s "$own/made" ] ||
    git rm -r -q --cached --ignore-unmatch --pathspec-from-file="$own/made" --pathspec-file-nul >&2
if [ -n "$(GIT_LITERAL_PATHSPECS=0 git ls-files -- ':(top,glob)**/.gitattributes')" ]; then
    # What differs is added again by the end-of-line rules of .gitattributes. All else stays as the base has it.
    git diff-index --cached --name-only --no-renames -z "$base" > "$own/changed"
    printf '%s\n' "$AIRBOSS_EOL" > "$own/info/attributes"
    export GIT_INDEX_FILE="$own/clean"
    git read-tree "$base^{tree}"
    git -c core.safecrlf=false update-index --add --replace --remove -z --stdin < "$own/changed" >&2
fi
for path in "$@"; do
    git update-index --force-remove -- "$path" >&2
    git ls-tree -z "$base" -- "$path" | git update-index -z --index-info >&2
done
tree=$(git write-tree)
git ls-files -z --others --ignored --exclude-standard --directory > "$own/ignored"
if [ -s "$own/made" ]; then
    # What a setup made, its caches too, is nothing that the agent left. Names become lines, as above.
    tr '\0' '\n' < "$own/made" > "$own/places"
    tr '\0\n' '\n\0' < "$own/ignored" |
        awk 'NR == FNR { made[$0 "/"]; next }
            { for (at in made) if (index($0, at) == 1) next; print }' "$own/places" - |
        tr '\0\n' '\n\0' > "$own/theirs"
    mv "$own/theirs" "$own/ignored"
fi
# What was changed inside a submodule that is still the recorded one. No repository of the agent's is asked.
top=$(pwd -P)
while IFS=' ' read -r recorded inside path; do
    is=$(git rev-parse --verify --quiet "$tree:$path" || :)
    if [ -n "$is" ] && [ "$is" != "$recorded" ]; then continue; fi
    # Not what is behind a link: it is nothing of the submodule's.
    [ -d "./$path" ] && [ "$(cd -P -- "./$path" && pwd -P)" = "$top/$path" ] || continue
    [ -n "$(ls -A "./$path")" ] || continue
    git cat-file -e "$inside" 2> /dev/null || continue
    (
        printf '%s\n' "$AIRBOSS_ATTRIBUTES" > "$own/info/attributes"
        cd -- "./$path"
        export GIT_WORK_TREE="$work/$path" GIT_INDEX_FILE="$own/inside"
        rm -f -- "$own/inside"
        git read-tree "$inside"
        git -c advice.addEmbeddedRepo=false add --all --ignore-errors . || :
        count=$(git diff-index --cached --name-only "$inside" | wc -l)
        [ "$count" -eq 0 ] || printf 'submodule\0%d\0\0%s\0' "$count" "$path" >> "$own/told"
    ) > /dev/null 2>&1
done < "$own/submodules"
# It is this directory that was filled, and no other one in its place.
ready=${work%/*}/.ready/${work##*/}
if [ -s "$ready" ] && IFS= read -r filled < "$ready" && [ "$(ls -di -- "$work")" != "$filled" ]; then
    printf 'replaced\0\0\0\0' >> "$own/told"
fi
# Nothing is changed here: commits that only the agent's own repository has may be the work.
if [ "$tree" = "${AIRBOSS_BASE_TREE:-}" ] && [ -d "$work/.git" ]; then
    {
        GIT_DIR="$work/.git" git for-each-ref --count=99 --format='%(objectname) %(refname)' || :
        GIT_DIR="$work/.git" git rev-list --walk-reflogs --max-count=99 HEAD -- | sed 's/$/ HEAD/' || :
    } 2> /dev/null > "$own/commits"
    cut -d ' ' -f 1 "$own/commits" | git cat-file --batch-check='%(objectname)' | sed -n 's/ missing$//p' \
        > "$own/theirs"
    while IFS=' ' read -r commit name; do
        grep -q -x -F -e "$commit" "$own/theirs" || continue
        if [ "$name" = HEAD ] && [ -s "$own/elsewhere" ]; then break; fi
        is=$(GIT_DIR="$work/.git" git rev-parse --verify --quiet "$commit^{tree}" 2> /dev/null || :)
        if [ -z "$is" ] || [ "$is" = "$tree" ]; then continue; fi
        printf 'elsewhere\0%s\0\0%s\0' "$commit" "$name" >> "$own/elsewhere"
    done < "$own/commits"
    [ ! -s "$own/elsewhere" ] || cat "$own/elsewhere" >> "$own/told"
fi
if [ -s "$own/ignored" ]; then
    GIT_LITERAL_PATHSPECS=0 git check-ignore -v -z --stdin < "$own/ignored" >> "$own/told" 2> /dev/null || :
fi
left=0
if [ -s "$own/told" ]; then
    head -c 65536 "$own/told" > "$own/left"
    left=$(($(wc -c < "$own/left")))
fi
printf 'airboss-tree %s %08d\n' "$tree" "$left"
[ "$left" -eq 0 ] || cat "$own/left"
[ "$most" -gt 0 ] || exit 0
printf -- '-%s\n' "$base" > "$own/wanted"
git rev-list --objects "$tree" "^$base" >> "$own/wanted"
git pack-objects --quiet --stdout --delta-base-offset < "$own/wanted" | head -c "$most"
"""
)


class SnapshotLimits(Protocol):
    """How much an agent's login may send; ``fleet.config.Limits`` has these."""

    @property
    def snapshot_bytes(self) -> int:
        """Bytes of the pack, and of all changed files together."""

    @property
    def snapshot_objects(self) -> int:
        """Objects in the pack."""

    @property
    def snapshot_paths(self) -> int:
        """Changed paths."""

    @property
    def unpack_seconds(self) -> int:
        """Seconds to unpack it, of CPU and of wall-clock time."""


@dataclass(frozen=True, slots=True)
class Exceptions:
    """What the operator wants otherwise in a repository's snapshots.

    ``kept_out`` are paths that are never taken from a worktree: they stay as the base has them. ``raw_filters`` are
    filters of ``.gitattributes`` whose files are taken as they are. ``made`` are directories that setups made: they
    are never taken either, and the base has none of them.
    """

    kept_out: tuple[str, ...] = ()
    raw_filters: tuple[str, ...] = ()
    made: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """What the script is told of them: how many ``made`` there are, then both kinds of paths."""
        return (str(len(self.made)), *self.made, *self.kept_out)


#: Nothing otherwise.
NO_EXCEPTIONS: Final = Exceptions()


@dataclass(frozen=True, slots=True)
class TakenTree:
    """What a machine says that it took: the tree's id, where its pack begins, the litter that it left out (and the
    directory, where another one replaced it), and words about each submodule in which something was changed.

    ``elsewhere``: where commits are that only the agent's own repository has, if it took the base's tree.
    """

    tree: str
    offset: int
    litter: tuple[str, ...]
    inside: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()

    @property
    def left_out(self) -> tuple[str, ...]:
        """All that was not taken."""
        return self.litter + self.inside


def read_header(data: bytes) -> TakenTree | None:
    """Reads the first ``HEADER_BYTES`` + ``LIST_LIMIT`` bytes that the script prints; ``None``: something else."""
    found = _HEADER.match(data)
    if found is None or int(found[2]) > LIST_LIMIT:
        return None
    offset = HEADER_BYTES + int(found[2])
    listed = data[HEADER_BYTES:offset]
    left_out = (*_litter(listed), *((REPLACED,) if b"replaced" in listed.split(b"\0")[0::4] else ()))
    return TakenTree(found[1].decode(), offset, left_out, _inside(listed), _elsewhere(listed))


def _litter(listed: bytes) -> tuple[str, ...]:
    """The kinds of litter in the output of ``git check-ignore``, in our own words, each with its number."""
    fields = listed.split(b"\0")
    records = zip(fields[0::4], fields[2::4], strict=False)
    found = Counter(
        pattern.decode()
        for source, pattern in records
        if source.endswith(b"/info/exclude") and pattern.decode("utf-8", "replace") in LITTER
    )
    return tuple(f"{name.rstrip('/')}" + (f" ({count})" if count > 1 else "") for name, count in found.items())


def _inside(listed: bytes) -> tuple[str, ...]:
    """In words, in which submodules something was changed."""
    fields = listed.split(b"\0")
    records = zip(fields[0::4], fields[1::4], fields[3::4], strict=False)
    found = [
        (path.decode("utf-8", "backslashreplace"), number.decode("ascii", "replace"))
        for source, number, path in records
        if source == b"submodule"
    ]
    return tuple(f"what was changed inside the submodule {path!r} (files: {count})" for path, count in found)


def _elsewhere(listed: bytes) -> tuple[str, ...]:
    """In words, where the agent's own repository has commits that differ from the base."""
    fields = listed.split(b"\0")
    records = zip(fields[0::4], fields[1::4], fields[3::4], strict=False)
    return tuple(
        _place(commit.decode("ascii", "replace"), name.decode("utf-8", "backslashreplace"))
        for source, commit, name in records
        if source == b"elsewhere"
    )[:_PLACES]


def _place(commit: str, name: str) -> str:
    if name == "refs/stash":
        return "the stash"
    if name == "HEAD":
        return f"commit {commit[:12]}"
    return f"branch {shortened(name.removeprefix('refs/heads/'), _WORDS)!r}"


def unreadable(said: bytes) -> str:
    """What git says of a file that it could not add; empty when it added all. A directory is only a warning."""
    found = _UNREADABLE.search(said)
    words = shortened(found[0].decode("utf-8", "backslashreplace"), _WORDS) if found else ""
    return words.replace("does not have a commit checked out", "is a git repository inside the workspace")

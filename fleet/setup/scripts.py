"""What is done about environments outside of all walls: a few lines of ``sh`` under the login whose they are."""

from __future__ import annotations

from typing import Final

from fleet.errors import Unavailable
from fleet.exits import Exited, succeeded
from fleet.setup.definitions import SetupDefinition
from fleet.setup.site import SetupFailed, SetupSite
from fleet.untrusted import clean

_SCRIPT_SECONDS: Final = 900.0
_NOT_MADE: Final = 3

# Parameters reach these scripts only as positional arguments, never as part of their text.

KIND: Final = r"""
uname -sm
[ ! -r /etc/os-release ] || grep -E '^(ID|VERSION_ID)=' /etc/os-release || :
for program; do
    found=$(command -v -- "$program" 2> /dev/null) || found=
    printf '%s %s\n' "$program" "$(readlink -f -- "$found" 2> /dev/null || printf '%s' "$found")"
done
"""
"""What an environment depends on beside its inputs: the system, and which programs made it."""

FIND: Final = r"""
if [ -d "$1" ]; then touch -- "$1/used"; echo found; fi
"""

STALE: Final = r"""
cd -- "$1" 2> /dev/null || exit 0
for place in "$2"*; do
    if [ -d "$place" ]; then printf '%s\n' "$place"; fi
done
"""

CHECK: Final = r"""
set -eu
umask 022
real=$(cd -- "${1%/*}" && pwd -P)/${1##*/}
shift
for path; do
    if [ "$(cd -- "$real/$path" 2> /dev/null && pwd -P)" != "$real/$path" ]; then
        printf '%s is not a directory that it made\n' "$path"
        exit 3
    fi
done
"""

REMOVE: Final = r"""
set -eu
real=$(cd -- "${1%/*}" && pwd -P)/${1##*/}
shift
for path; do
    # What is behind a link, the tree itself included, was not made here.
    above=$real/$path above=${above%/*}
    [ "$(cd -- "$above" 2> /dev/null && pwd -P)" != "$above" ] || rm -rf -- "$real/$path"
done
"""

PUT: Final = r"""
set -eu
umask 022
mkdir -p -- "${2%/*}"
mv -- "$1" "$2"
"""

KEEP: Final = (
    r"""
place=$1 days=$2 mode=$3
shift 3
"""
    + CHECK
    + r"""
rm -rf -- "$place.new"
mkdir -p -- "$place.new"
number=0
for path; do
    mv -- "$real/$path" "$place.new/$number"
    number=$((number + 1))
done
chmod -R "$mode" -- "$place.new"/*
digest=$(cd -- "$place.new" && find . -type f -exec sha256sum -- {} + | LC_ALL=C sort | sha256sum)
: > "$place.new/used"
mv -- "$place.new" "$place"
cd -- "${place%/*}"
for other in */used; do
    [ -n "$(find "$other" -mtime "+$days")" ] || continue
    chmod -R u+w -- "${other%/used}"
    rm -rf -- "${other%/used}"
done
printf '%s\n' "${digest%% *}"
"""
)


async def run(site: SetupSite, script: str, *words: str, of: SetupDefinition | None = None) -> str:
    """Runs one of these scripts, and returns what it says. Raises ``SetupFailed`` where ``of`` did not make what it
    provides, and ``Unavailable`` for anything else."""
    env = {"PATH": site.path} if site.path else {}
    command = ["sh", "-c", script, "setup", *words]
    ran = await site.executor.run(command, cwd="/", env=env, timeout=_SCRIPT_SECONDS)
    said = ran.out.decode("utf-8", "replace").strip()
    if of is not None and ran.exit == Exited(_NOT_MADE):
        raise SetupFailed(of.name, site.where, clean(said, 300), "")
    if not succeeded(ran.exit):
        cause = ran.err.decode("utf-8", "replace").strip()[-400:] or str(ran.exit)
        raise Unavailable(attempted="keep what a setup made", on=site.where, cause=cause)
    return said

"""What an agent reads when its worktree was moved onto a newer base: whose side is which, and what each changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fleet.git import merging
from fleet.git.merging import MergeResult
from fleet.git.moving import YOURS
from fleet.git.repository import Repository

_PATHS: Final = 20
_SIDE_BYTES: Final = 12_000
_COMMITS: Final = 10
_NOTES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Sides:
    """A change (``snapshot`` on ``base``), the newer ``current``, and what ``merged`` of both came to."""

    repository: Repository
    base: str
    current: str
    snapshot: str
    merged: MergeResult


async def both(sides: Sides) -> str:
    """Where the worktree is now, and what both sides changed."""
    repository, branch = sides.repository, sides.repository.base
    commits = await merging.subjects(repository, sides.base, sides.current, _COMMITS)
    listed = "".join(f"\n- {subject}" for subject in commits)
    parts = [
        f"This worktree has been moved to the current {branch}: HEAD is {sides.current[:12]}, the files are those "
        f"of {branch} with your change merged in, and `git diff HEAD` shows your change. Commits that are new on "
        f"{branch}:{listed or ' only merges'}"
    ]
    if paths := sides.merged.conflicts[:_PATHS]:
        theirs, yours = await merging.sides(
            repository, sides.base, sides.current, sides.snapshot, paths, _SIDE_BYTES
        )
        parts += [
            f"These files are in conflict: {_named(sides.merged.conflicts)}. Where git could not choose, a file "
            f"has both sides: from <<<<<<< to ======= it is {branch}'s, from ======= to >>>>>>> it is yours. "
            f"`git show HEAD:PATH` shows {branch}'s file, `git show {YOURS}:PATH` yours. Git said:\n"
            f"{sides.merged.notes[:_NOTES]}",
            f"What {branch} changed in these files:\n\n{_patch(theirs)}",
            f"What you changed in them:\n\n{_patch(yours)}",
            "Resolve each conflict so that both changes keep their purpose: do not undo the other one. Remove all "
            "markers.",
        ]
    parts.append("Work in this worktree as before. The gates run again when you end your turn.")
    return "\n\n".join(parts)


def conflict(paths: tuple[str, ...], branch: str) -> str:
    """A change that passed its gates conflicts with the base branch."""
    return f"Your change passed, but {branch} moved while you worked, and both conflict in {_named(paths)}."


def seen_by_others(why: str, branch: str) -> str:
    """Another task changed the same file, and is over."""
    return f"Your change was not taken: {why}. So {branch} may have moved where you worked."


def markers_left(markers: Iterable[str]) -> str:
    """The conflict is still in the files."""
    listed = ", ".join(f"`{marker}`" for marker in sorted(markers))
    return (
        f"Your files still have the markers of a conflict: {listed} (`git grep` finds them). Resolve each so that "
        "both sides keep their purpose, remove the markers, and end your turn."
    )


def _named(paths: tuple[str, ...]) -> str:
    return ", ".join(paths[:_PATHS]) + (f" and {len(paths) - _PATHS} more" if len(paths) > _PATHS else "")


def _patch(data: bytes) -> str:
    cut = "\n… (cut)" if len(data) >= _SIDE_BYTES else ""
    return data.decode("utf-8", "replace").rstrip("\n") + cut

"""A tree that a machine hands over: unpacked by a helper process with limits, and moved into the mirror."""

from __future__ import annotations

import asyncio
import json
import marshal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fleet import files, processes
from fleet.errors import Refused
from fleet.git import unpack
from fleet.git.repository import Repository
from fleet.git.taking import SnapshotLimits, TakenTree

#: Limits git's memory while it reads what an agent's login packed.
_SMALL_GIT = ("core.packedGitWindowSize=32m", "core.packedGitLimit=256m", "core.deltaBaseCacheLimit=96m")


class TreeRefused(Refused):
    """A worktree cannot be taken as it is. Its agent can change that; ``cause`` says what is in the way."""


class WorktreeGone(Refused):
    """There is no worktree to take: its agent removed it, or put a link in its place, which nobody follows."""


def refused(on: str, cause: str) -> TreeRefused:
    """The error for a tree that cannot be taken."""
    return TreeRefused(
        attempted="take a snapshot",
        on=on,
        cause=cause,
        hint="Ask the agent to change that. Where it is a limit, it can be raised in [limits].",
    )


async def take_in(  # noqa: PLR0917 - what is taken in, and where
    limits: SnapshotLimits, repository: Repository, handed: Path, taken: TakenTree, base_tree: str, on: str
) -> None:
    """Lets the helper check ``handed`` and move the tree's objects into the mirror. Raises ``TreeRefused``."""
    with files.writing("take a snapshot", repository.mirror):
        room = tempfile.TemporaryDirectory(dir=repository.mirror, prefix="quarantine-", ignore_cleanup_errors=True)
    with room as quarantine:
        await _unpack_in(quarantine, limits, repository, handed, taken, base_tree, on)


async def _unpack_in(  # noqa: PLR0917 - what is unpacked, and where
    quarantine: str,
    limits: SnapshotLimits,
    repository: Repository,
    handed: Path,
    taken: TakenTree,
    base_tree: str,
    on: str,
) -> None:
    asked = {
        "git": [*repository.git.command, *(word for setting in _SMALL_GIT for word in ("-c", setting))],
        "env": dict(repository.git.env),
        "mirror": str(repository.mirror),
        "quarantine": quarantine,
        "pack": str(handed),
        "offset": taken.offset,
        "tree": taken.tree,
        "base_tree": base_tree,
        "limits": {
            "bytes": limits.snapshot_bytes,
            "objects": limits.snapshot_objects,
            "paths": limits.snapshot_paths,
            "seconds": limits.unpack_seconds,
        },
    }
    process = await processes.start(
        sys.executable,
        "-I",
        "-S",
        "-E",
        unpack.__file__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(limits.unpack_seconds):
            out, err = await process.communicate(marshal.dumps(asked))
    except TimeoutError as error:
        raise refused(on, f"unpacking took more than {limits.unpack_seconds} s") from error
    finally:
        await asyncio.shield(processes.end(process))
    try:
        answer: Mapping[str, object] = json.loads(out)
    except ValueError as error:
        words = err.decode("utf-8", "replace").strip()[-400:]
        raise refused(on, f"unpacking ended at a limit: {words or process.returncode}") from error
    if "refused" in answer:
        raise refused(on, str(answer["refused"]))

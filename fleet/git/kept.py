"""Refs of ours in a mirror: each keeps one snapshot, whatever becomes of the machine that it came from."""

from __future__ import annotations

from fleet.git import lfs
from fleet.git.repository import Repository


async def keep(repository: Repository, name: str, commit: str, owner: str) -> None:
    """Gives ``commit`` a ref, and shares it for its ``owner``, a task. ``name`` is unique to the work that it
    holds. Repeating is harmless."""
    await lfs.share(repository, commit, owner)
    await repository.share(commit, owner)
    await repository.git.run(
        "update-ref", _ref(name), commit, attempted="keep a snapshot", on=name, git_dir=repository.mirror
    )


async def kept(repository: Repository, name: str) -> str:
    """The commit that has this ref; empty when none has, or there is no mirror."""
    if not repository.mirror.exists():
        return ""
    found = await repository.objects.find(_ref(name))
    return found.id if found is not None else ""


async def release(repository: Repository, name: str) -> None:
    """Removes such a ref; a missing one is fine, and a missing mirror."""
    if not repository.mirror.exists():
        return
    await repository.git.run(
        "update-ref", "-d", _ref(name), attempted="remove a snapshot's ref", on=name, git_dir=repository.mirror
    )


def _ref(name: str) -> str:
    return f"refs/airboss/kept/{name}"

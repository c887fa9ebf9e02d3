"""Refs of ours in a mirror: each keeps one snapshot, whatever becomes of the machine that it came from."""

from __future__ import annotations

from fleet.git.repository import Repository


async def keep(repository: Repository, name: str, commit: str) -> None:
    """Gives ``commit`` a ref. ``name`` is unique to the work that it holds. Repeating is harmless."""
    await repository.git.run(
        "update-ref", _ref(name), commit, attempted="keep a snapshot", on=name, git_dir=repository.mirror
    )


async def kept(repository: Repository, name: str) -> str:
    """The commit that has this ref; empty when none has, or there is no mirror."""
    if not repository.mirror.exists():
        return ""
    ended = await repository.git.run(
        "rev-parse", "--verify", "--quiet", "--end-of-options", _ref(name),
        attempted="look for a snapshot", on=name, git_dir=repository.mirror, expect=(0, 1),
    )  # fmt: skip
    return ended.line


async def release(repository: Repository, name: str) -> None:
    """Removes such a ref; a missing one is fine, and a missing mirror."""
    if not repository.mirror.exists():
        return
    await repository.git.run(
        "update-ref", "-d", _ref(name), attempted="remove a snapshot's ref", on=name, git_dir=repository.mirror
    )


def _ref(name: str) -> str:
    return f"refs/airboss/kept/{name}"

"""Large files of Git LFS in a run's checkouts: their objects are in place; the judged tree keeps its pointers."""

from __future__ import annotations

from dataclasses import replace

from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from gates.runs.place import Run, retry_unreachable


async def put(workspaces: Workspaces, repository: Repository, run: Run, commit: str, tree: str = "tree") -> Run:
    """The run with the objects of one of its checkouts, which has a commit's files. The base's rules decide which
    files are large: by a rule of its own, a change could run what no layer reads."""
    executor, directory = run.place.executor, run.tree if tree == "tree" else f"{run.room}/{tree}"
    placed = await retry_unreachable(
        lambda: workspaces.put_large(executor, repository, directory, commit, run.candidate.base)
    )
    paths = (f"{directory}/{path}" for path in placed.paths)
    missing = run.pointers if tree != "tree" else placed.missing
    return replace(run, large=(*run.large, *paths), pointers=missing)

"""What stands in a run's checkouts in place of what their trees only name: objects of Git LFS, and the files of
submodules. The judged tree stays the raw one; the supervisor hashes what is in place as what the tree has there."""

from __future__ import annotations

from dataclasses import replace

from fleet.git import submodules
from fleet.git.attributes import large_files
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from gates.runs.place import Run, retry_unreachable


async def put(workspaces: Workspaces, repository: Repository, run: Run, commit: str, tree: str = "tree") -> Run:
    """The run with what is in place in one of its checkouts, which has the files of a commit and its submodules.

    The base's rules decide which files are large: by a rule of its own, a change could run what no layer reads.
    """
    executor, directory = run.place.executor, run.tree if tree == "tree" else f"{run.room}/{tree}"
    placed = await retry_unreachable(
        lambda: workspaces.put_large(executor, repository, directory, commit, run.candidate.base)
    )
    paths = (f"{directory}/{path}" for path in placed.paths)
    found = await submodules.listed(repository, commit)
    links = ((f"{directory}/{each.path}", each.commit, each.tree) for each in found)
    lacking = tuple(each.path for each in found if not each.tree)
    inside = [
        f"{each.path}/{path}" for each in found if each.tree for path in await large_files(repository, each.tree)
    ]
    missing, empty = (*placed.missing, *inside), lacking
    if tree != "tree":
        missing, empty = run.pointers, run.empty
    run = replace(run, large=(*run.large, *paths), submodules=(*run.submodules, *links))
    return replace(run, pointers=missing, empty=empty)

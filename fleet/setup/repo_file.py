"""``airboss.toml`` at a commit of the base branch: the one place that reads it."""

from __future__ import annotations

from typing import Final, Protocol

from fleet.config import RepoFile, parse_repo_file
from fleet.errors import Misused, Refused, RepositoryUnusable
from fleet.git.objects import ObjectReader
from fleet.git.tree_walk import instead_of_file

REPO_FILE: Final = "airboss.toml"


class ShowsFiles(Protocol):
    """The part of a repository that this module needs."""

    @property
    def name(self) -> str:
        """Its name in ``fleet.toml``."""

    async def show(self, commit: str, path: str) -> bytes | None:
        """A file's bytes at a commit; ``None`` when there is no regular file."""

    @property
    def objects(self) -> ObjectReader:
        """What reads its objects."""


def place(repository: ShowsFiles, commit: str) -> str:
    """How it is called in errors."""
    return f"{REPO_FILE} of {repository.name} at {commit[:12]}"


async def read(repository: ShowsFiles, commit: str) -> RepoFile | None:
    """What it says; ``None`` where there is none. Raises ``RepositoryUnusable`` for what cannot be read."""
    where = place(repository, commit)
    try:
        found = await repository.show(commit, REPO_FILE)
        if found is not None:
            return parse_repo_file(found, where)
    except (Refused, Misused) as error:
        raise RepositoryUnusable.of(error) from error
    if what := await instead_of_file(repository.objects, commit, REPO_FILE):
        raise RepositoryUnusable(
            attempted="find the gates",
            on=where,
            cause=f"it is {what}, not a regular file",
            hint="Commit the file itself there: what something else points to can change unseen",
        )
    return None

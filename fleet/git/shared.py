"""A repository whose mirror others do not see: what this controller commits is put where they get it, and what it
lacks itself is brought before git is asked about it.

What others committed comes from where they put it, everything else from the repository. A pack holds a commit and
what its boundary does not reach; it is taken in only after the boundary, so that a commit that is in the mirror is
there with all that it reaches.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from fleet.errors import Unavailable
from fleet.files import scratch
from fleet.git.command import Git, is_object_id
from fleet.git.mirror_lock import one_process
from fleet.git.objects import ObjectFound, ObjectReader
from fleet.git.repository import Repository

_ID: Final = re.compile(r"\b[0-9a-f]{40}\b")
_REMEMBERED: Final = 10_000

#: Whether what runs here changes the mirror itself: it must not wait for another that does.
_changing: ContextVar[bool] = ContextVar("changing", default=False)


class CommitPacks(Protocol):
    """Where controllers put packs of commits for each other, by repository and commit."""

    async def has(self, repo: str, commit: str, owner: str) -> bool:
        """Whether this owner has it there."""

    async def put(self, repo: str, commit: str, owner: str, pack: Path, boundary: Sequence[str]) -> None:
        """Puts a pack there, durably."""

    async def boundary(self, repo: str, commit: str) -> tuple[str, ...] | None:
        """The commits without which the pack is of no use; ``None``: there is no such pack."""

    async def get(self, repo: str, commit: str, pack: Path) -> None:
        """Gets a pack that is there. Raises ``Unavailable`` when it is damaged."""

    async def put_large(self, repo: str, oid: str, owner: str, path: Path) -> None:
        """Puts an object of Git LFS there, durably."""

    async def get_large(self, repo: str, oid: str, path: Path) -> None:
        """Gets such an object, if it is there. Raises ``Unavailable`` when it is damaged."""


class BringingReader(ObjectReader):
    """Reads objects of a shared repository's mirror."""

    def __init__(self, git_dir: Path) -> None:
        super().__init__(Git(), git_dir)
        self.repository: SharedRepository | None = None

    async def read(self, ids: Iterable[str], limit: int) -> dict[str, ObjectFound]:
        wanted = list(ids)
        found = await super().read(wanted, limit)
        if len(found) < len(set(wanted)) and self.repository is not None:
            await self.repository.bring([each for each in wanted if each not in found])
            found = await super().read(wanted, limit)
        return found

    async def _ask(self, verb: str, names: Sequence[str]) -> list[ObjectFound | None]:
        if self.repository is not None and not (self.repository.mirror / "HEAD").exists():
            await self.repository.fetch()
        return await super()._ask(verb, names)


@dataclass(frozen=True, slots=True)
class SharedRepository(Repository):
    """One repository that several controllers use, each with a mirror of its own or all with the same. Made by
    :func:`shared_repository`."""

    packs: CommitPacks = field(kw_only=True, repr=False)
    reader: BringingReader = field(kw_only=True, repr=False)
    _sure: set[str] = field(default_factory=set, compare=False, repr=False)

    @property
    def objects(self) -> ObjectReader:
        return self.reader

    async def has(self, name: str, kind: str = "commit") -> bool:
        if kind == "commit" and is_object_id(name):
            await self.bring([name])
        return await Repository.has(self, name, kind)

    async def tree_of(self, commit: str) -> str:
        await self.bring([commit])
        return await Repository.tree_of(self, commit)

    async def share(self, commit: str, owner: str) -> None:
        if await self.packs.has(self.name, commit, owner):
            return
        base = await self.last_fetched()
        listed = await self._run(
            "rev-list", "--boundary", commit, *([f"^{base}"] if base else []), "--", what="list commits", on=commit,
            limit=1 << 30,
        )  # fmt: skip
        lines = listed.out.decode("ascii", "replace").split()
        boundary = [line[1:] for line in lines if line.startswith("-")]
        if len(lines) == len(boundary):
            return  # the repository has it
        with scratch(self.mirror, "shared-") as pack:
            await self.pack_without(pack, commit, boundary)
            await self.packs.put(self.name, commit, owner, pack, boundary)

    async def pack_without(self, pack: Path, commit: str, boundary: Sequence[str]) -> None:
        """Writes a pack of all that a commit reaches and its boundary does not. No object in it is based on one
        outside."""
        revisions = "".join([f"{commit}\n", *(f"^{each}\n" for each in boundary)])
        await self._run(
            "pack-objects", "--revs", "--stdout", "-q", "--delta-base-offset",
            what="pack objects", on=commit, stdin=revisions.encode(), stdout=pack, timeout=900.0,
        )  # fmt: skip

    async def bring(self, ids: Sequence[str]) -> None:
        """Brings those of these commits that the mirror lacks, if they are anywhere. Raises ``Unavailable`` when
        one is damaged, or when its repository does not answer."""
        if _changing.get():
            return
        unknown = [each for each in dict.fromkeys(ids) if each not in self._sure]
        if not unknown:
            return
        lacking = await self._lacking(unknown)
        if lacking:
            await self._take_over(lacking)
            lacking = await self._lacking(unknown)
        if len(self._sure) > _REMEMBERED:
            self._sure.clear()
        self._sure.update(each for each in unknown if each not in lacking)

    async def _take_over(self, lacking: Sequence[str]) -> None:
        for commit in lacking:
            boundary = await self.packs.boundary(self.name, commit)
            if boundary is None:
                continue
            await self.bring(boundary)
            if gone := await self._lacking(boundary):
                raise Unavailable(
                    attempted="take over a commit",
                    on=f"{self.name}: {commit}",
                    cause=f"{gone[0]}, which it was made on, is no longer in the repository",
                )
            async with self._alone():
                with scratch(self.mirror, "shared-") as pack:
                    await self.packs.get(self.name, commit, pack)
                    await self.git.run(
                        "index-pack", "--stdin",
                        attempted="take over a commit", on=commit, git_dir=self.mirror, stdin=pack, timeout=900.0,
                    )  # fmt: skip
        if await self._lacking(lacking):
            await self.fetch()

    async def _lacking(self, ids: Sequence[str]) -> list[str]:
        known = {found.id for found in await self.reader.known(ids)}
        return [each for each in ids if each not in known]

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        async with Repository._alone(self), one_process(self.mirror):
            changing = _changing.set(True)
            try:
                yield
            finally:
                _changing.reset(changing)


def shared_repository(name: str, url: str, base: str, mirror: Path, packs: CommitPacks) -> SharedRepository:
    """The repository as one of several controllers sees it."""
    git, reader = Git(), BringingReader(mirror)
    made = SharedRepository(name, url, base, mirror, git, packs=packs, reader=reader)

    async def before(git_dir: Path, args: Sequence[str], stdin: bytes | Path) -> None:
        if git_dir == mirror:
            await made.bring(_ID.findall(" ".join(args)) + (_revisions(stdin) if "--revs" in args else []))

    git.before, reader.repository = before, made
    return made


def _revisions(stdin: bytes | Path) -> list[str]:
    return _ID.findall(stdin.decode("ascii", "replace")) if isinstance(stdin, bytes) else []

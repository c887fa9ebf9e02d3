"""A repository as the controller sees it: a bare mirror that only the controller writes."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleet import files
from fleet.errors import Misused, Refused, Unavailable
from fleet.git import origin
from fleet.git.changes import ChangedPath, Stat
from fleet.git.command import RAW_ATTRIBUTES, Git, GitEnded, is_object_id
from fleet.git.mirror_lock import forget_beginning, forget_stale
from fleet.git.objects import COMMIT_BYTES, ObjectKind, ObjectReader, header, reader
from fleet.git.origin import OpenedRepository
from fleet.git.tree_walk import differences, entry_at, survey

__all__ = ["BROKEN", "Git", "Repository"]

_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Airboss"), ("EMAIL", "airboss@localhost"))
}
_MANY_PACKS = 50
_PATCH_KEPT = 1 << 20
#: What git says when its own store lacks or cannot read something that it should have.
BROKEN = re.compile(
    r"(?i)bad object|could not read|unable to read|missing (?:blob|tree|commit|necessary)|unresolved deltas|corrupt"
    r"|did not send all necessary objects|unable to find"
)
#: Where another base was fetched before: no branch can be in the place of another's directory.
_IN_ITS_PLACE = re.compile(r"'(refs/airboss/base/[^']+)' exists; cannot create")


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository of ``fleet.toml``: ``url`` (a path or a URL), its ``base`` branch, and our ``mirror``.

    Raises ``Misused`` for a name, branch or URL that git could misread.
    """

    name: str
    url: str
    base: str
    mirror: Path
    git: Git = field(default_factory=Git)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, compare=False, repr=False)
    _patches: dict[object, GitEnded] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        origin.check(self.name, self.url, self.base)

    @property
    def path(self) -> Path | None:
        """Its path, when it is on this machine; ``None`` for a remote one."""
        return origin.local_path(self.url)

    @property
    def ref(self) -> str:
        """The base branch's full ref name."""
        return f"refs/heads/{self.base}"

    @property
    def remote(self) -> str:
        """The repository's address for git."""
        return str(self.path) if self.path else self.url

    @property
    def objects(self) -> ObjectReader:
        """What reads the mirror's objects and refs."""
        return reader(self.git, self.mirror)

    async def fetch(self) -> str:
        """Updates the mirror and returns the base branch's commit.

        Raises ``RepositoryUnusable`` for one that cannot be used as it is, ``OriginAway`` when it does not answer.
        """
        async with self._alone():
            tip = await self.tip()
            if not await self._fetched(tip):
                if self.path is not None:
                    await origin.check_whole(self.git, self.path, self.name)
                await self._tidy()
                await self._bring()
                tip = await self._resolve(self._base_ref)
            return tip

    async def landed(self, old: str, new: str) -> None:
        """We moved the base branch, between commits of the mirror that are whole: nothing has to be fetched.

        Where that cannot be noted, the next fetch does it.
        """
        with contextlib.suppress(Unavailable):
            async with self._alone():
                await self._run("update-ref", self._base_ref, new, old, what="note the base")

    @property
    def _base_ref(self) -> str:
        """The mirror's ref for the base branch. It is only there once everything that it reaches is."""
        return f"refs/airboss/base/{self.base}"

    async def _fetched(self, tip: str) -> bool:
        """Whether the mirror has the commit with all that it reaches. The commit alone may be left of a failure."""
        known = await self.objects.find(self._base_ref)
        if known is None or known.id == tip:
            return known is not None
        ended = await self._run(
            "merge-base", "--is-ancestor", tip, self._base_ref, what="look for a commit", expect=(0, 1, 128)
        )
        return ended.code == 0

    async def _bring(self) -> None:
        """Fetches the base branch. What an earlier failure left half done is fetched anew."""
        known = await self.objects.find(self._base_ref)
        try:
            await self._fetch_from()
        except Unavailable as error:
            if "promisor" in error.cause or "lazy fetching" in error.cause:
                raise origin.partial(self.name) from error
            other = _IN_ITS_PLACE.search(error.cause)
            if not other and not BROKEN.search(error.cause):
                raise
            await self._run("update-ref", "-d", other[1] if other else self._base_ref, what="forget a base")
            await self._fetch_from(*([] if other else ["--refetch"]))
        if known is not None:
            return
        reached = await self._run(
            "rev-list", "--count", self._base_ref, "--", what="read the history", expect=(0, 128), timeout=900.0
        )
        if reached.code:
            await self._run("update-ref", "-d", self._base_ref, what="forget an incomplete history")
            raise origin.shallow(self.name, "git fetch --unshallow, there")

    async def _fetch_from(self, *options: str, refs: str = "") -> None:
        await self.git.run(
            # As packs, whole or not at all: loose objects of a fetch that was killed would look like fetched ones.
            "-c", "fetch.unpackLimit=1",
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", *options, "--",
            self.remote, refs or f"+{self.ref}:{self._base_ref}",
            attempted="fetch a branch", on=self.name, git_dir=self.mirror, timeout=900.0,
        )  # fmt: skip

    async def branch(self, name: str) -> str:
        """Brings another branch into the mirror, under no name there, and returns its commit.

        Raises ``Misused`` for a name that git could misread, else like :meth:`fetch`.
        """
        origin.check(self.name, self.url, name)
        async with self._alone():
            try:
                commit = await origin.tip(self.git, self.path or self.url, name, self.name)
            except Refused as error:
                raise Refused(attempted=f"read the branch {name}", on=self.name, cause=error.cause) from None
            await self._fetch_from(refs=f"refs/heads/{name}")
        return commit

    async def submodules(self, commit: str) -> Mapping[str, str]:
        """The commits of other repositories in ``commit``, by the paths at which they belong."""
        return (await survey(self.objects, _id(commit))).submodules

    async def tip(self) -> str:
        """The base branch's commit, read from the repository itself, never from the mirror."""
        return await origin.tip(self.git, self.path or self.url, self.base, self.name)

    async def last_fetched(self) -> str:
        """The base branch's commit when it was last fetched; empty before that."""
        found = await self.objects.find(self._base_ref) if self.mirror.is_dir() else None
        return found.id if found is not None else ""

    async def opened(self) -> OpenedRepository:
        """What git says of a repository on this machine. Raises ``Refused`` when there is none."""
        if self.path is None:
            raise Misused(attempted="open the repository here", on=self.name, cause="it is on another machine")
        return await origin.opened(self.git, self.path, self.name)

    async def has(self, name: str, kind: str = "commit") -> bool:
        """Whether the mirror holds this object."""
        return self.mirror.is_dir() and await self.objects.find(f"{name}^{{{kind}}}") is not None

    async def known(self, commits: list[str]) -> list[str]:
        """Those of ``commits`` (any strings) that are commits in the mirror."""
        found = await self.objects.known(commit for commit in commits if is_object_id(commit))
        return [each.id for each in found if each.kind is ObjectKind.COMMIT]

    async def show(self, commit: str, path: str, limit: int = 8 << 20) -> bytes | None:
        """A file's bytes in ``commit``; ``None`` when ``path`` is not a regular file there.

        Raises ``Refused`` when it is bigger than ``limit`` bytes.
        """
        if path.startswith("/") or not set(path.split("/")).isdisjoint(("", ".", "..")):
            return None
        entry = await entry_at(self.objects, _id(commit), path)
        if entry is None or not entry.mode.startswith("100"):
            return None
        found = await self.objects.read([entry.id], limit)
        if entry.id in found:
            return found[entry.id].data
        if not await self.has(entry.id, "blob"):
            raise self._missing(entry.id)
        raise Refused(attempted=f"read {path}", on=commit, cause=f"it is bigger than {limit} bytes")

    async def tree_of(self, commit: str) -> str:
        """The id of the commit's tree."""
        return await self._resolve(f"{_id(commit)}^{{tree}}")

    async def parents(self, commit: str) -> list[str]:
        """The ids of the commit's parents."""
        found = await self.objects.read([_id(commit)], COMMIT_BYTES)
        if commit not in found or found[commit].kind is not ObjectKind.COMMIT:
            raise Unavailable(
                attempted="find the parents", on=f"{self.name}: {commit}", cause="there is no such commit"
            )
        return header(found[commit].data, "parent")

    async def changed_paths(self, base: str, commit: str, *, renames: bool = False) -> list[ChangedPath]:
        """The differences between two commits or trees, submodules included.

        Without ``renames`` a moved file is a D and an A, so that rules about paths see both.
        """
        if not renames:
            return await differences(self.objects, _id(base), _id(commit))
        ended = await self._run(
            "diff-tree", "-r", "-z", "--no-commit-id", "--name-status", "--ignore-submodules=none", "-M",
            _id(base), _id(commit), "--", what="list what changed", on=commit, limit=256 << 20,
        )  # fmt: skip
        if ended.cut:
            raise Refused(attempted="list what changed", on=commit, cause="too many paths")
        fields_ = iter(ended.out.decode("utf-8", "surrogateescape").split("\0"))
        changes = []
        for status in fields_:
            if not status:
                break
            first = next(fields_)
            changes.append(
                ChangedPath("R", next(fields_), first) if status[0] == "R" else ChangedPath(status[0], first)
            )
        return changes

    async def diff(self, base: str, commit: str, limit: int) -> bytes:
        """The first ``limit`` bytes of the patch between two commits: untrusted bytes, for display."""
        ended = await self._run(
            "diff-tree", "-p", "-M", "--no-color", "--no-ext-diff", "--no-textconv", "--no-commit-id",
            _id(base), _id(commit), "--", what="make a patch", on=commit, limit=limit,
        )  # fmt: skip
        return ended.out

    async def additions(self, base: str, commit: str, limit: int, *, context: int = 0) -> GitEnded:
        """The first ``limit`` bytes of the patch, with ``context`` unchanged lines around each change, and with the
        bytes of binary files. Untrusted."""
        asked = (base, commit, context)
        known = self._patches.get(asked)
        if known is not None and not known.cut and len(known.out) <= limit:
            return known
        ended = await self._run(
            "diff-tree", "-p", f"-U{context}", "-M", "--text", "--no-color", "--no-ext-diff", "--no-textconv",
            "--no-commit-id", "--src-prefix=a/", "--dst-prefix=b/", _id(base), _id(commit), "--",
            what="read what a change adds", on=commit, limit=limit,
        )  # fmt: skip
        self._patches.clear()  # what asks again is of the same change
        if len(ended.out) <= _PATCH_KEPT:
            self._patches[asked] = ended
        return ended

    async def contains(self, commit: str, texts: Sequence[str]) -> frozenset[str]:
        """Those of ``texts`` (one line each) that are in some file of ``commit``."""
        wanted = [text for text in texts if text]
        if not wanted:
            return frozenset()
        # The texts may be secrets: they go in by standard input, because other logins can read a command line.
        ended = await self._run(
            "grep", "--no-color", "-h", "-o", "-a", "-F", "-f", "-", _id(commit), "--",
            what="search the base", on=commit, stdin="\n".join(wanted).encode("utf-8", "replace"), expect=(0, 1),
        )  # fmt: skip
        return frozenset(ended.out.decode("utf-8", "replace").split("\n")).intersection(wanted)

    async def shortstat(self, base: str, commit: str) -> Stat:
        """Files, lines added and lines removed between two commits or trees."""
        ended = await self._run(
            "diff-tree", "-r", "--no-renames", "--shortstat", "--no-commit-id", "--no-ext-diff", "--no-textconv",
            _id(base), _id(commit), "--", what="measure a change", on=commit,
        )  # fmt: skip
        counts = {
            word[:3]: int(number) for number, word in re.findall(r"(\d+) (file|insertion|deletion)", ended.line)
        }
        return Stat(counts.get("fil", 0), counts.get("ins", 0), counts.get("del", 0))

    async def commit_tree(self, tree: str, parents: Sequence[str], message: str, when: int) -> str:
        """Makes a commit authored by Airboss. The same arguments give the same id, so repeating is harmless.

        ``when`` is seconds since the epoch. A snapshot has one parent: its recorded base.
        """
        date = f"@{when} +0000"
        ended = await self._run(
            "commit-tree",
            *(word for parent in parents for word in ("-p", _id(parent))),
            "-F",
            "-",
            _id(tree),
            what="make a commit",
            on=tree,
            stdin=message.replace("\0", "").encode("utf-8", "replace") or b"\n",
            env=_IDENTITY | {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date},
        )
        return ended.line

    async def share(self, commit: str, owner: str) -> None:
        """A row of the store is about to name a commit that we made: where other controllers may need it, they can
        get it from now on. ``owner``: the task or session that it is of."""

    async def is_ancestor(self, ancestor: str, commit: str) -> bool:
        """Whether ``ancestor`` is in the history of ``commit``."""
        if _id(ancestor) in (commit, *await self.parents(commit)):
            return True
        ended = await self._run(
            "merge-base", "--is-ancestor", _id(ancestor), _id(commit), what="compare commits", expect=(0, 1)
        )
        return ended.code == 0

    async def pack(self, target: Path, wanted: str, haves: list[str] | None = None) -> None:
        """Writes a pack of ``wanted`` (a commit with its history, or a tree), thin against ``haves``."""
        revisions = "".join([f"{_id(wanted)}\n", *(f"^{_id(have)}\n" for have in haves or ())])
        await self._run(
            "pack-objects", "--revs", "--stdout", "-q", "--delta-base-offset", *(["--thin"] if haves else []),
            what="pack objects", on=wanted, stdin=revisions.encode(), stdout=target, timeout=900.0,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Nobody else changes the mirror, which is there, in the block."""
        async with self._lock:
            await self._init()
            yield

    async def _init(self) -> None:
        if (self.mirror / "info" / "attributes").exists():
            forget_stale(self.mirror / f"{self._base_ref}.lock")
            return
        with files.writing("make the mirror", self.mirror):
            self.mirror.parent.mkdir(parents=True, exist_ok=True)
            forget_beginning(self.mirror)
        await self.git.run(
            "init", "--quiet", "--bare", "--template=", "--object-format=sha1", "--", str(self.mirror),
            attempted="make the mirror", on=str(self.mirror),
        )  # fmt: skip
        info = self.mirror / "info"
        with files.writing("make the mirror", self.mirror):
            info.mkdir(exist_ok=True)
            files.replace(info / "attributes", RAW_ATTRIBUTES.encode(), mode=0o644)

    async def _tidy(self) -> None:
        """Joins small packs. Nothing is ever removed from a mirror: judged commits stay."""
        packs = self.mirror / "objects" / "pack"
        if packs.is_dir() and sum(1 for _ in packs.glob("*.pack")) > _MANY_PACKS:
            await self._run("repack", "--quiet", "-d", "--geometric=2", what="join packs", timeout=900.0)

    async def _resolve(self, what: str) -> str:
        found = await self.objects.find(what)
        if found is None:
            raise self._missing(what)
        return found.id

    def _missing(self, what: str) -> Unavailable:
        return Unavailable(attempted="find an object", on=f"{self.name}: {what}", cause="it is not in the mirror")

    async def _run(
        self,
        *args: str,
        what: str,
        on: str = "",
        stdin: bytes = b"",
        stdout: Path | None = None,
        env: dict[str, str] | None = None,
        limit: int = 64 << 20,
        timeout: float = 120.0,
        expect: tuple[int, ...] = (0,),
    ) -> GitEnded:
        return await self.git.run(
            *args,
            attempted=what,
            on=f"{self.name}: {on}" if on else self.name,
            git_dir=self.mirror,
            stdin=stdin,
            stdout=stdout,
            env=env,
            limit=limit,
            timeout=timeout,
            expect=expect,
        )


def _id(text: str) -> str:
    if not is_object_id(text):
        raise Misused(attempted="name a commit", on=repr(text)[:80], cause="not a full object id")
    return text

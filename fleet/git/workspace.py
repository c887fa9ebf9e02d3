"""Worktrees for agents and checkouts for gates: how commits get to a machine, and how a tree comes back.

A machine returns a tree, never history. Git and a few lines of ``sh`` run there, under the executor's login; their
output is testimony, and the controller accepts only what it can recompute from bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from fleet.errors import Misused, Unavailable
from fleet.exits import succeeded
from fleet.files import scratch
from fleet.git import handed_over, in_place, kept_trees, large_files, moving, submodule_changes, submodules
from fleet.git.attributes import as_stored
from fleet.git.changes import Stat
from fleet.git.command import is_object_id
from fleet.git.filling import CHECKOUT, WORKTREE
from fleet.git.handed_over import WorktreeGone, refused
from fleet.git.large_files import FilesPlaced
from fleet.git.machine_git import MACHINE_ENV, TRANSFER_SECONDS, checked
from fleet.git.moving import Move
from fleet.git.repository import Repository
from fleet.git.taking import (
    GONE,
    HEADER_BYTES,
    LIST_LIMIT,
    NO_EXCEPTIONS,
    SNAPSHOT,
    Exceptions,
    SnapshotLimits,
    TakenTree,
    read_header,
    unreadable,
)
from fleet.ports import Executor, Ran
from fleet.supervise import alongside

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The work of a turn, as a commit by the controller. When nothing changed, ``commit`` is the base.

    ``left_out`` are the kinds of litter in the worktree that were not taken, and the submodules in which something
    was changed. ``told``: what its agent should know of submodules; empty: nothing. ``elsewhere``: where its agent
    has commits of its own that differ from the base, when nothing changed.
    """

    commit: str
    tree: str
    base: str
    files: int
    insertions: int
    deletions: int
    left_out: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the tree equals the base's."""
        return self.commit == self.base


class Workspaces:
    """Creates, reads and removes directories on machines. Every call may be repeated."""

    def __init__(self, limits: Callable[[], SnapshotLimits]) -> None:
        self._limits = limits
        self._roots: WeakKeyDictionary[Executor, str] = WeakKeyDictionary()
        self._sent: WeakKeyDictionary[Executor, dict[str, str]] = WeakKeyDictionary()

    async def prepare(
        self, executor: Executor, repository: Repository, base: str, session: str, *, work_of: str = ""
    ) -> str:
        """The session's worktree, detached at ``base``: an absolute path on the machine. ``work_of``: a snapshot on
        ``base`` whose work it has, staged and not committed.

        A worktree that was prepared before is returned as it is, with all the agent's work. Raises ``Unavailable``
        when the machine cannot create it.
        """
        root, work = await self._root(executor), await self.place(executor, session)
        start = work_of or base
        ready = f"{root}/work/.ready/{session}"
        where = (f"{root}/repos/{repository.name}.git", work, _commit(start), ready, _commit(base))
        attempted, on = "prepare a workspace", f"{session} on {executor.machine}"
        sent = self._sent.setdefault(executor, {})
        last = await repository.known([sent.get(repository.name, start)])
        asks = last in ([], [start])
        if not asks:  # most often the branch has moved on: what is new is sent without asking what is there
            ran = await self._send(executor, repository, start, where, last, *last)
            asks = not succeeded(ran.exit)
        if asks:
            argv = ["sh", "-c", WORKTREE, "prepare", *where]
            ran = await executor.run(argv, env=MACHINE_ENV, timeout=TRANSFER_SECONDS)
        answer = checked(ran, attempted, on).split()
        if answer[:1] != ["ready"]:
            await self._fill(executor, repository, answer[1:], (start, where), on)
        sent[repository.name] = start
        await in_place.put(executor, repository, root, work, start, base)
        return work

    async def place(self, executor: Executor, session: str) -> str:
        """Where the session's worktree is, or would be."""
        return f"{await self._root(executor)}/work/{_name(session)}"

    async def _fill(
        self,
        executor: Executor,
        repository: Repository,
        there: list[str],
        wanted: tuple[str, tuple[str, ...]],
        on: str,
    ) -> None:
        """Sends what the machine lacks for a worktree; ``there``: commits that it says to have."""
        (start, where), attempted = wanted, "prepare a workspace"
        haves = await repository.known(there)
        for attempt in [haves, []] if haves else [[]]:
            ran = await self._send(executor, repository, start, where, attempt)
            if succeeded(ran.exit):
                return
        checked(
            ran, attempted, on, hint=f"If this continues, remove {where[0]} there; it is refilled automatically."
        )

    @staticmethod
    async def _send(
        executor: Executor, repository: Repository, start: str, where: tuple[str, ...], haves: list[str], *only: str
    ) -> Ran:
        """Sends a pack of ``start``. ``only``: a base that must be there, else nothing is taken."""
        with scratch(repository.mirror, "transfer-") as pack:
            await repository.pack(pack, start, haves)
            return await executor.run(
                ["sh", "-c", WORKTREE, "prepare", *where, "receive", *only],
                env=MACHINE_ENV,
                stdin=pack,
                timeout=TRANSFER_SECONDS,
            )

    async def put_large(
        self, executor: Executor, repository: Repository, tree: str, commit: str, base: str
    ) -> FilesPlaced:
        """Puts the objects of Git LFS in place of their pointers in a directory that has a commit's files, by the
        rules of both commits. May be repeated. Raises ``Unavailable`` when the machine cannot do it."""
        return await large_files.put(executor, repository, await self._root(executor), tree, commit, base)

    async def snapshot(  # noqa: PLR0917 - what to take from where, and the words and date of the commit
        self,
        executor: Executor,
        repository: Repository,
        base: str,
        workspace: str,
        message: str,
        when: int,
        exceptions: Exceptions = NO_EXCEPTIONS,
    ) -> Snapshot:
        """Commits everything in the worktree except ignored files, committed or not, as one commit on ``base``.

        A file that the agent added although it is ignored is taken too. Ends of lines are stored as ``git add``
        would. The author is Airboss, ``when`` is seconds since the epoch: the same work gives the same commit.
        Raises ``TreeRefused`` when a limit or rule forbids it; the error names the limit or path. Raises
        ``WorktreeGone`` when there is none.
        """
        root = await self._root(executor)
        attempted, on = "take a snapshot", f"{workspace} on {executor.machine}"
        store = f"{root}/repos/{repository.name}.git"
        most = self._limits().snapshot_bytes
        base_tree = await repository.tree_of(base)  # the mirror is there from here on
        with scratch(repository.mirror, "transfer-") as handed:
            ran = await executor.run(
                [
                    *("sh", "-c", SNAPSHOT, "snapshot", store, workspace, _commit(base), root, str(most + 1)),
                    *exceptions.words,
                ],
                env={**MACHINE_ENV, "AIRBOSS_BASE_TREE": base_tree},
                stdin=await in_place.listing(repository, base),
                stdout=handed,
                limit=most + 1 + HEADER_BYTES + LIST_LIMIT,
                timeout=TRANSFER_SECONDS,
            )
            _must_be_there(ran, on)
            if why := unreadable(ran.err):
                raise refused(on, why)
            checked(ran, attempted, on)
            with handed.open("rb") as start:
                taken = read_header(start.read(HEADER_BYTES + LIST_LIMIT))
            if taken is None:
                raise refused(on, "the machine did not return a tree")
            if handed.stat().st_size > most + taken.offset:
                raise refused(on, f"more than {most} bytes")
            told = tuple(f"{each}: it is not taken" for each in taken.inside)
            if (tree := taken.tree) == base_tree:
                return Snapshot(base, tree, base, 0, 0, 0, taken.left_out, told, taken.elsewhere)
            await handed_over.take_in(self._limits(), repository, handed, taken, base_tree, on)
        changed = [each.path for each in await repository.changed_paths(base, tree)]
        if inside := sorted(set(changed).intersection(exceptions.kept_out)):
            raise refused(on, f"{inside[0]!r} is the operator's file, and never part of a change")
        stored = await as_stored(repository, base, tree, changed, exceptions.raw_filters)
        if stored.why:
            raise refused(on, stored.why)
        if (tree := stored.tree) == base_tree:
            return Snapshot(base, tree, base, 0, 0, 0, taken.left_out, told)
        moved = await submodule_changes.check(repository, base, tree, on)
        told = (*told, *(f"{each.path!r} {each.words}" for each in moved))
        async with alongside(repository.shortstat(base, tree), "measure a change") as measuring:
            commit = await repository.commit_tree(tree, (base,), message, when)
            stat: Stat = await measuring
        return Snapshot(commit, tree, base, stat.files, stat.insertions, stat.deletions, taken.left_out, told)

    async def tree_now(
        self,
        executor: Executor,
        repository: Repository,
        base: str,
        workspace: str,
        exceptions: Exceptions = NO_EXCEPTIONS,
    ) -> str:
        """The id of the tree that a snapshot of the worktree would have now, as the machine computes it.

        Empty where no snapshot can have all of it: something was changed inside a submodule, or nothing was but
        commits of its agent's are elsewhere.

        Raises ``Refused`` or ``Unavailable`` when some of it cannot be read.
        """
        root = await self._root(executor)
        attempted, on = "read the worktree", f"{workspace} on {executor.machine}"
        where = (f"{root}/repos/{repository.name}.git", workspace, _commit(base), root, "0")
        argv = ["sh", "-c", SNAPSHOT, "snapshot", *where, *exceptions.words]
        named = await in_place.listing(repository, base)
        env = {**MACHINE_ENV, "AIRBOSS_BASE_TREE": await repository.tree_of(base)}
        ran = await executor.run(argv, env=env, stdin=named, timeout=TRANSFER_SECONDS)
        _must_be_there(ran, on)
        if why := unreadable(ran.err):
            raise refused(on, why)
        checked(ran, attempted, on)
        taken = read_header(ran.out)
        if taken is None:
            raise Unavailable(attempted=attempted, on=on, cause="the machine did not return a tree")
        if taken.inside or taken.elsewhere:
            return ""
        if not await repository.has(taken.tree, "tree"):
            return taken.tree
        changed = [each.path for each in await repository.changed_paths(base, taken.tree)]
        return (await as_stored(repository, base, taken.tree, changed, exceptions.raw_filters)).tree

    async def move(self, executor: Executor, repository: Repository, workspace: str, move: Move) -> None:
        """Moves a worktree whose content is the snapshot ``move.yours`` to the merge ``move.merged``, in place.

        Safe to repeat until its agent works again. Raises ``Unavailable`` when the machine cannot do it.
        """
        root = await self._root(executor)
        await moving.move(executor, repository, root, workspace, move)
        where = (executor, repository, root, workspace, move.merged, move.base)
        await in_place.put(*where, before=move.yours)

    async def checkout(
        self, executor: Executor, repository: Repository, commit: str, name: str, inner: str = ""
    ) -> str:
        """A directory with exactly the bytes of ``commit``'s tree, for a gate; an absolute path on the machine.

        It is filled each time from the controller's mirror alone: all objects are sent, into a store of their own,
        so that no agent's clone and no earlier gate can have changed them. There is no ``.git``. Submodules that
        were brought are in their places. With ``inner`` it is in that directory of an earlier checkout's.
        """
        root = await self._root(executor)
        place = f"{root}/gates/{_name(name)}" + (f"/{_name(inner)}" if inner else "")
        tree = await submodules.furnished(repository, _commit(commit))
        with scratch(repository.mirror, "transfer-") as pack:
            await repository.pack(pack, tree)
            ran = await executor.run(
                ["sh", "-c", CHECKOUT, "checkout", place, tree],
                env=MACHINE_ENV,
                stdin=pack,
                timeout=TRANSFER_SECONDS,
            )
        checked(ran, "fill a checkout for a gate", f"{name} on {executor.machine}")
        return f"{place}/tree"

    async def kept_checkout(self, executor: Executor, repository: Repository, commit: str, name: str) -> str:
        """A checkout as :meth:`checkout` makes it, but one that the machine keeps: ``tree`` in what is returned.
        Only what differs from the tree that it had is sent.

        Before a run its whole tree must be hashed. Nothing but runs with a layer of their own may see it.
        """
        root = await self._root(executor)
        place, tree = f"{root}/gates/{_kept(name)}", await submodules.furnished(repository, _commit(commit))
        store = f"{root}/trees/{_name(repository.name)}"
        if not await kept_trees.take(executor, repository, store, place, tree):
            await self.checkout(executor, repository, commit, _kept(name))
        return place

    async def put_back(self, executor: Executor, repository: Repository, name: str, tree: str) -> None:
        """Gives back the kept checkout of a run that has ended, if there is one. ``tree``: what it holds; empty:
        nobody can say."""
        root, holds = await self._root(executor), await submodules.furnished(repository, tree) if tree else ""
        await executor.put_back_tree(f"{root}/trees/{_name(repository.name)}", f"{root}/gates/{_kept(name)}", holds)

    async def discard(self, executor: Executor, path: str) -> None:
        """Removes a directory made by ``prepare`` or ``checkout``; a missing one is fine."""
        root = await self._root(executor)
        kept = re.fullmatch(rf"({re.escape(root)}/(?:work|gates)/{_NAME.pattern})(?:/tree)?", path)
        if kept is None:
            raise Misused(attempted="remove a workspace", on=path, cause="it was not made by Airboss")
        await executor.remove_tree(kept[1])

    async def _root(self, executor: Executor) -> str:
        if executor not in self._roots:
            await executor.facts()
            self._roots[executor] = executor.root
        return self._roots[executor]

    async def accept(self, repository: Repository, pack: Path, tree: str, base: str, on: str) -> None:
        """Moves a tree that was handed over as a pack into the mirror, once it is checked.

        Raises ``Refused``, and ``OriginAway`` while the repository of a submodule does not answer.
        """
        taken = TakenTree(tree, 0, ())
        await handed_over.take_in(self._limits(), repository, pack, taken, await repository.tree_of(base), on)
        await submodule_changes.check(repository, base, tree, on)


def _must_be_there(ran: Ran, on: str) -> None:
    if GONE.encode() in ran.err.splitlines():
        raise WorktreeGone(attempted="take a snapshot", on=on, cause=GONE)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise Misused(
            attempted="name a workspace", on=repr(text)[:80], cause="use letters, digits, '.', '_' and '-'"
        )
    return text


def _commit(text: str) -> str:
    if not is_object_id(text):
        raise Misused(attempted="name a commit", on=repr(text)[:80], cause="not a full object id")
    return text


def _kept(name: str) -> str:
    """What the checkout of a run is called while the run has it."""
    return f"{_name(name)}.tree"

"""Moves a repository's base branch from one commit to the next, unless someone else moved it: compare and swap."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.errors import AirbossError, DiskFull, Refused, RepositoryUnusable, Unavailable
from fleet.events import FencedBy
from fleet.files import scratch
from fleet.git import lfs, push
from fleet.git.origin import NoBranch, OpenedRepository
from fleet.git.repository import Repository
from fleet.landing import fence_hook
from fleet.landing.fence_hook import FenceToken
from fleet.logins import login_name

_DURABLE = ("-c", "core.fsync=committed")
_NO_OPTIONS = "does not support push options"


@dataclass(frozen=True, slots=True)
class Swapped:
    """The base branch is now at ``new``. ``fenced_by``: what would have kept a stale landing out."""

    new: str
    fenced_by: FencedBy = FencedBy.BASE_SHA


@dataclass(frozen=True, slots=True)
class Moved:
    """The base branch was not where the caller expected it, and was not changed; it is at ``found``, or gone."""

    found: str


class BaseBranch:
    """One repository's base branch.

    A bare repository on this machine is changed with ``update-ref``; a remote one, or one with a working tree or
    with hooks, ours or its owner's, with a push that names the old value, and the fencing token for our hook. The
    ref itself is the only record of whether a swap happened.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._takes_options = True
        self._on = f"{repository.base} of {repository.name}"

    async def current(self) -> str:
        """The base branch's commit, read from the repository itself; empty where it has no such branch any more."""
        try:
            return await self._repository.tip()
        except NoBranch:
            return ""

    async def follows(self, new: str, found: str) -> bool:
        """Whether ``found``, where the branch is now, is ``new`` or has it in its history."""
        if not found:
            return False
        await self._repository.fetch()
        return found == new or await self._repository.is_ancestor(new, found)

    async def check_landable(self) -> None:
        """Raises ``RepositoryUnusable``, with a hint, when a change cannot be landed here as things are."""
        if self._repository.path is None:
            return
        found = await self._repository.opened()
        if found.bare and not (found.git_dir / "worktrees").exists():
            return
        holder, gone = await self._checked_out(found.git_dir)
        if holder is None:
            return
        if gone:
            raise self._unusable(
                f"{self._repository.base} was checked out in {holder}, which is gone",
                f"git -C {found.git_dir} worktree prune",
            )
        if found.bare:
            raise self._unusable(
                f"{self._repository.base} is checked out in {holder}",
                f"Remove that worktree (git worktree remove), or check out another branch in {holder}.",
            )
        if found.settings.get("receive.denycurrentbranch", "").lower() != "updateinstead":
            raise self._unusable(
                f"{self._repository.base} is checked out in {holder}",
                "Name a bare repository in fleet.toml, check out another branch there, or let landings update that "
                f"checkout: git -C {holder} config receive.denyCurrentBranch updateInstead",
            )
        status = await self._repository.git.run(
            "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=none",
            attempted="look for uncommitted work", on=self._on, cwd=holder, limit=4096,
        )  # fmt: skip
        if status.out:
            raise self._dirty(holder)

    async def check_rights(self, tip: str) -> None:
        """Raises ``Refused`` when this login may not move the branch, and ``Unavailable`` when that is not known.
        ``tip`` is where the branch is; nothing is changed."""
        if self._repository.path is not None:
            git_dir = (await self._repository.opened()).git_dir
            closed = [place for place in ("objects", "refs/heads") if not os.access(git_dir / place, os.W_OK)]
            if closed:
                raise self._refused(
                    f"the controller's login may not write in {git_dir / closed[0]}",
                    f"Make the repository its own: chown -R {login_name()} {git_dir}",
                )
            return
        ended = await self._repository.git.run(
            "push", "--dry-run", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", "--",
            self._repository.remote, f"{tip}:{self._repository.ref}",
            attempted="ask for the right to push", on=self._on, git_dir=self._repository.mirror,
            expect=(0, 1, 128), timeout=60.0,
        )  # fmt: skip
        if ended.code:
            cause = f"{ended.out.decode('utf-8', 'replace')}\n{ended.err}".strip()[-400:]
            raise self._refused(cause, "Give the controller's key the right to push there.")

    async def swap(self, old: str, new: str, token: FenceToken | None = None) -> Swapped | Moved:
        """Moves the base branch from ``old`` to ``new``, or finds that it is already at ``new``.

        Raises ``Refused`` when ``new`` does not descend from ``old`` or the repository rejects it,
        ``RepositoryUnusable`` while nothing can land there, and ``Unavailable`` when the result is unknown (ask
        ``current`` later).
        """
        if not await self._repository.is_ancestor(old, new):
            raise self._refused(
                f"{new[:12]} does not descend from {old[:12]}", "Merge onto the current base first."
            )
        if (tip := await self.current()) != old:
            return await self._elsewhere(tip, new)
        await self.check_landable()
        await lfs.deliver(self._repository, old, new)
        if self._repository.path is not None:
            found = await self._repository.opened()
            if found.bare and not fence_hook.runs_hooks(found):
                return await self._update_ref(found, old, new)
        return await self._push(old, new, token)

    async def _update_ref(self, found: OpenedRepository, old: str, new: str) -> Swapped | Moved:
        repository, git = self._repository, self._repository.git
        git_dir, umask = found.git_dir, found.umask
        with scratch(repository.mirror, "landing-") as pack:
            await repository.pack(pack, new, [old])
            try:
                await git.run(
                    *_DURABLE, "index-pack", "--stdin", "--fix-thin",
                    attempted="bring the new commit in", on=self._on, git_dir=git_dir, stdin=pack, timeout=900.0,
                    umask=umask,
                )  # fmt: skip
            except DiskFull:
                raise
            except Unavailable as error:
                return await self._seen(False, old, new, error.cause)
        ended = await git.run(
            *_DURABLE, "update-ref", "-m", "airboss: landed", repository.ref, new, old,
            attempted="move the base branch", on=self._on, git_dir=git_dir, expect=(0, 1, 128), umask=umask,
        )  # fmt: skip
        return await self._seen(ended.code == 0, old, new, ended.err)

    async def _push(self, old: str, new: str, token: FenceToken | None) -> Swapped | Moved:
        repository = self._repository
        options = [f"--push-option={token.option}"] if token is not None and self._takes_options else []
        try:
            ended = await repository.git.run(
                "push", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", *options,
                f"--force-with-lease={repository.ref}:{old}", "--", repository.remote, f"{new}:{repository.ref}",
                attempted="push the new commit", on=self._on, git_dir=repository.mirror, expect=(0, 1, 128),
                timeout=900.0, umask=await push.umask_into(repository),
            )  # fmt: skip
            worked, words = ended.code == 0, f"{ended.out.decode('utf-8', 'replace')}\n{ended.err}"
        except Unavailable as error:
            worked, words = False, error.cause
        if options and not worked and _NO_OPTIONS in words:
            self._takes_options = False
            return await self._push(old, new, token)
        seen = await self._seen(worked, old, new, words)
        if isinstance(seen, Swapped) and worked and token is not None and token.accepted(words):
            return replace(seen, fenced_by=FencedBy.HOOK)
        return seen

    async def _seen(self, worked: bool, old: str, new: str, words: str) -> Swapped | Moved:
        """The result of an attempt, from the ref; git's own status does not know what happened behind a cut
        link."""
        try:
            found = await self.current()
        except AirbossError as error:
            if worked:
                return Swapped(new)
            raise Unavailable(
                attempted="land the change", on=self._on, cause=f"{push.failure(words)}; then {error.cause}"
            ) from error
        if worked:
            return Swapped(new)
        if found != old:
            return await self._elsewhere(found, new)
        if "Up-to-date check failed" in words:
            raise self._unusable(
                f"a git works in {self._repository.path}, or died there and left its index.lock",
                "If none runs there, remove that file.",
            )
        if (wrong := push.unusable(words)) is not None:
            raise self._unusable(*wrong)
        if any(said in words for said in ("staged changes", "overwrit", "Could not update working tree")):
            raise self._dirty(self._repository.path or Path())
        if push.is_rejection(words):
            people = 'mode = "branch" in fleet.toml pushes what passes as a branch, for people to merge.'
            raise self._refused(push.rejection(words), f"{push.RULES} Or {people}")
        raise Unavailable(attempted="land the change", on=self._on, cause=push.failure(words))

    async def _elsewhere(self, found: str, new: str) -> Swapped | Moved:
        """Whether the branch moved to or past ``new``, or elsewhere."""
        return Swapped(new) if found == new or await self.follows(new, found) else Moved(found)

    async def _checked_out(self, git_dir: Path) -> tuple[Path | None, bool]:
        """The working tree that has the base branch checked out, and whether only git still knows of it."""
        listed = await self._repository.git.run(
            "worktree", "list", "--porcelain", "-z", attempted="look for checkouts", on=self._on, git_dir=git_dir
        )
        for record in listed.out.decode("utf-8", "surrogateescape").split("\0\0"):
            fields = record.split("\0")
            if f"branch {self._repository.ref}" in fields and "bare" not in fields:
                gone = any(field.startswith("prunable") for field in fields)
                return Path(fields[0].removeprefix("worktree ")), gone
        return None, False

    def _dirty(self, holder: Path) -> RepositoryUnusable:
        return self._unusable(
            f"{holder} has uncommitted changes", "Commit or stash them there; landings update this checkout."
        )

    def _unusable(self, cause: str, hint: str) -> RepositoryUnusable:
        return RepositoryUnusable.of(self._refused(cause, hint))

    def _refused(self, cause: str, hint: str) -> Refused:
        return Refused(attempted="land the change", on=self._on, cause=cause, hint=hint)

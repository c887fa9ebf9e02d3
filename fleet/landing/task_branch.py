"""A change as a branch of its own, where people merge: ``airboss/t7`` at the commit that was judged.

The branch is only ever made, never moved: one of that name at another commit belongs to somebody else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fleet.errors import AirbossError, Refused, RepositoryUnusable, Unavailable
from fleet.events import FencedBy
from fleet.git import push
from fleet.git.command import is_object_id
from fleet.git.repository import Repository
from fleet.landing.base_branch import Moved, Swapped
from fleet.landing.fence_hook import FenceToken

_PREFIX: Final = "refs/heads/airboss/"
_NO_OPTIONS: Final = "does not support push options"


def ref_of(task: str) -> str:
    """The full name of a task's branch."""
    return f"{_PREFIX}{task}"


def landed(ref: str, commit: str) -> str:
    """In words, what became of a commit: ``landed C on main``, ``pushed C as airboss/t7``."""
    how, to = ("pushed", "as") if ref.startswith(_PREFIX) else ("landed", "on")
    return f"{how} {commit} {to} {ref.removeprefix('refs/heads/')}"


class TaskBranch:
    """One task's branch in the repository that its change is pushed to."""

    def __init__(self, repository: Repository, task: str) -> None:
        self._repository, self.ref = repository, ref_of(task)
        self._name = self.ref.removeprefix("refs/heads/")
        self._on = f"{self._name} of {repository.name}"

    async def current(self) -> str:
        """The commit that the branch has in the repository itself; empty where there is none."""
        ended = await self._repository.git.run(
            "ls-remote", "--", self._repository.remote, self.ref,
            attempted="look for the branch", on=self._on, git_dir=self._repository.mirror,
        )  # fmt: skip
        found = next((line.split()[0] for line in ended.line.splitlines() if line.endswith(f"\t{self.ref}")), "")
        return found if is_object_id(found) else ""

    async def follows(self, new: str, found: str) -> bool:
        """Whether ``found``, where the branch is now, has ``new`` in its history: people work on from it."""
        if found in ("", new):
            return found == new
        await self._repository.git.run(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--",
            self._repository.remote, f"+{self.ref}:refs/airboss/pushed/{self._name}",
            attempted="fetch the branch", on=self._on, git_dir=self._repository.mirror, timeout=900.0,
        )  # fmt: skip
        return await self._repository.has(found) and await self._repository.is_ancestor(new, found)

    async def swap(self, old: str, new: str, token: FenceToken | None = None) -> Swapped | Moved:
        """Makes the branch at ``new``, a change of ``old``, or finds that it is there already.

        Raises ``Refused`` when the repository rejects it, ``RepositoryUnusable`` while nothing can be pushed there,
        and ``Unavailable`` when the result is unknown.
        """
        if found := await self.current():
            return Swapped(new) if await self.follows(new, found) else Moved(found)
        options = [] if token is None else [f"--push-option={token.option}"]
        worked, words = await self._push(new, options)
        if options and not worked and _NO_OPTIONS in words:
            worked, words = await self._push(new, [])
        if worked:
            hooked = token is not None and token.accepted(words)
            return replace(Swapped(new), fenced_by=FencedBy.HOOK) if hooked else Swapped(new)
        try:
            found = await self.current()
        except AirbossError as error:
            raise Unavailable(attempted="push the change", on=self._on, cause=words) from error
        if found:
            return Swapped(new) if await self.follows(new, found) else Moved(found)
        if (wrong := push.unusable(words)) is not None:
            raise RepositoryUnusable(attempted="push the change", on=self._on, cause=wrong[0], hint=wrong[1])
        if push.is_rejection(words) or "rejected" in words or "denied" in words.lower():
            raise Refused(
                attempted="push the change",
                on=self._on,
                cause=push.rejection(words),
                hint=push.RULES,
            )
        raise Unavailable(attempted="push the change", on=self._on, cause=words)

    async def _push(self, new: str, options: list[str]) -> tuple[bool, str]:
        try:
            ended = await self._repository.git.run(
                "push", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", *options,
                f"--force-with-lease={self.ref}:", "--", self._repository.remote, f"{new}:{self.ref}",
                attempted="push the change", on=self._on, git_dir=self._repository.mirror, expect=(0, 1, 128),
                timeout=900.0, umask=await push.umask_into(self._repository),
            )  # fmt: skip
        except Unavailable as error:
            return False, error.cause[-400:]
        return ended.code == 0, f"{ended.out.decode('utf-8', 'replace')}\n{ended.err}".strip()[-400:]

    def taken(self, found: str) -> Refused:
        """Another commit has the branch's name."""
        return Refused(
            attempted="push the change",
            on=self._on,
            cause=f"a branch {self._name} is there already, at {found[:12]}, and is not of this change",
            hint="Rename or delete it there, then /judge the task again.",
        )

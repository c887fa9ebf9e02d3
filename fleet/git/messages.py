"""The messages of commits, as bytes that anybody may have written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fleet.errors import Misused
from fleet.git.command import is_object_id
from fleet.git.repository import Repository

_MOST_COMMITS: Final = 100
_MOST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class CommitMessage:
    """A commit's message; ``None``: it is too long to be read."""

    commit: str
    text: bytes | None


async def messages(repository: Repository, base: str, commit: str) -> Sequence[CommitMessage]:
    """Those of the newest hundred commits that ``commit`` reaches and ``base`` does not, the oldest first.

    Of the newest only as many as have a megabyte in all; the others have no text.
    """
    for each in (base, commit):
        if not is_object_id(each):
            raise Misused(attempted="name a commit", on=repr(each)[:80], cause="not a full object id")
    ended = await repository.git.run(
        "rev-list", f"--max-count={_MOST_COMMITS}", commit, f"^{base}", "--",
        attempted="list the commits of a change", on=repository.name, git_dir=repository.mirror,
    )  # fmt: skip
    found, left = [], _MOST_BYTES
    for name in ended.out.decode("ascii", "replace").split():
        whole = (await repository.objects.read([name], left)).get(name)
        left -= whole.size if whole else 0
        found.append(CommitMessage(name, whole.data.partition(b"\n\n")[2] if whole else None))
    return found[::-1]

"""Looks for this store's names where they are kept outside it: on machines, and on base branches."""

from __future__ import annotations

from typing import Final

from fleet.flight.prompts import SESSION_TRAILER
from fleet.git import merging
from fleet.git.repository import Repository
from fleet.ports import Executor
from fleet.store.traces import Trace

_NAMES: Final = 20_000
_COMMITS: Final = 500

_LIST = r"""
cd -- "$1" 2> /dev/null || exit 0
ls -1 pipes work 2> /dev/null | grep -e "^$2-" | head -n "$3" || :
"""


async def on_machine(executor: Executor, instance: str) -> list[Trace]:
    """The processes and worktrees of a login that carry the store's names. Raises ``Unavailable``."""
    await executor.facts()
    argv = ["sh", "-c", _LIST, "traces", executor.root, instance, str(_NAMES)]
    ran = await executor.run(argv, timeout=30.0, limit=4 << 20)
    names = ran.out.decode("ascii", "replace").split()
    return [Trace(name, f"on {executor.machine}") for name in names]


async def on_base(repository: Repository, instance: str) -> list[Trace]:
    """The store's changes among the newest commits of a base branch. Raises ``Unavailable``, ``Refused``."""
    tip = await repository.fetch()
    found = await merging.trailers(repository, tip, SESSION_TRAILER, _COMMITS)
    where = f"on {repository.base} of {repository.name}"
    return [Trace(name, where, commit) for commit, name in found if name.startswith(f"{instance}-")]

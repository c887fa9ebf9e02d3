"""What the question before an edit costs an agent at the controller, with 10,000 locks held.

The base starts ``/bin/true``: less than any hook that is a program of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
from pathlib import Path

from fleet.agent_events import Allow, Asked
from fleet.clock import SystemClock
from fleet.git.repository import Repository
from fleet.locks import LockCause, Resource, Want
from fleet.model import ChatRef, Isolation, Session, Task, TaskMode
from fleet.store import sessions, tasks
from fleet.store.core import Store, Tx
from gates.locks import book
from gates.locks.guard import LockGuard
from gates.locks.service import LockService
from tests.bench.harness import command, compare, report, timed
from tests.far_end.repositories import make_bare

HELD = 10_000
HOLDERS = 20
HOUR_US = 3_600_000_000
BAR = 1.0


def filled(tx: Tx, base: str) -> tuple[Task, Session]:
    """Tasks that hold everything, and the last of them with its session."""
    for number in range(HOLDERS):
        task = tasks.create_task(
            tx, repo="shop", agent="demo", machine="", prompt="x", mode=TaskMode.CHANGE,
            requester="p", origin=ChatRef("p", "c"),
        )  # fmt: skip
        each = HELD // HOLDERS
        wants = tuple(Want(Resource(f"src/d{number}/f{at}.py", "shop")) for at in range(each))
        book.acquire(tx, book.Request(task.id, wants, HOUR_US, LockCause.TOUCHED, task=task.id))
    session = sessions.create_session(
        tx, task=task.id, machine="m", agent="demo", base=base, isolation=Isolation.SEPARATE_LOGINS
    )
    return task, sessions.update(tx, session.id, workspace="/work")


def main() -> int:
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as directory, Store.open(f"sqlite:///{directory}/airboss.db") as store:
        bare = make_bare(Path(directory, "shop.git"), {"a.txt": "a\n"})
        repository = Repository("shop", str(bare), "main", Path(directory, "mirror.git"))
        base = loop.run_until_complete(repository.fetch())
        guard = LockGuard(store, LockService(store, SystemClock()), lambda _: repository)
        task, session = loop.run_until_complete(store.write(lambda tx: filled(tx, base)))

        number = itertools.count()

        def edit() -> object:
            path = f"/work/src/d{HOLDERS - 1}/f{next(number)}.py"
            ruling = loop.run_until_complete(guard.edit(session, task, Asked("1", "Edit", "{}", paths=(path,))))
            if not isinstance(ruling, Allow):
                sys.exit(f"bench: the edit of {path} was refused")
            return ruling

        base_side = ("start /bin/true", command(["/bin/true"]))
        return report(
            [
                compare(
                    f"edit of a held file, {HELD:,} locks",
                    ("ask the controller", timed(edit)),
                    base_side,
                    bar=BAR,
                )
            ]
        )


if __name__ == "__main__":
    sys.exit(main())

"""What people wait for with a million events in the ledger, against the same with twenty thousand.

``/status`` first (the store just opened) and later, ``/logs`` of a task, and the ledger's part of a landing: the
events, and the statement of the receipt. ``/digest all`` reads everything: shown is how long others wait meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bot.digest import make_digest
from bot.telemetry_view import look
from bot.telling.story import story
from fleet.events import (
    AgentSaid,
    Event,
    GateClosed,
    GateOpened,
    LandingDone,
    Refs,
    Source,
    ToolCallEnded,
    ToolCallStarted,
    VerdictGiven,
)
from fleet.exits import Exited
from fleet.model import ChatRef, Isolation, TaskMode, TaskState
from fleet.redact import Redactor
from fleet.store import ledger, sessions, tasks
from fleet.store.core import Store, Tx
from fleet.store.ledger import Entry
from gates.receipts.issue import compute
from tests.bench.harness import Comparison, Trial, compare, report, timed

SMALL, LARGE = 20_000, 1_000_000
OF_A_TASK = 200  # events
TREE, BASE, COMMIT = "d" * 40, "b" * 40, "c" * 40


def fill(store: Store, size: int) -> None:
    """Tasks that ended, each with a like part of the ledger, and a few at work."""
    number = 0
    while number * OF_A_TASK < size:
        with store.transaction() as tx:
            for _ in range(50):
                number += 1
                _task(tx, TaskState.RUNNING if number <= 5 else TaskState.FAILED)


def _task(tx: Tx, end: TaskState) -> str:
    task = tasks.create_task(
        tx, repo="shop", agent="demo", machine="", prompt="mend it", mode=TaskMode.CHANGE, requester="phone::ada",
        origin=ChatRef("phone", "c1"),
    )  # fmt: skip
    session = sessions.create_session(
        tx, task=task.id, machine="evo-x2", agent="demo", base=BASE, isolation=Isolation.UNSAFE_SAME_USER
    )
    refs = Refs(task=task.id, session=session.id)
    for state in (TaskState.PREPARING, TaskState.RUNNING, *([] if end is TaskState.RUNNING else [end])):
        tasks.move(tx, task.id, state, "", "airboss")
    if end is not TaskState.RUNNING:
        sessions.update(tx, session.id, ended_us=tx.now_us())
    events: list[Event] = []
    for call in range(OF_A_TASK // 3 - 2):
        events += [
            AgentSaid(f"{call}: tests/unit/test_shop.py::test_the_total PASSED in 0.02s"),
            ToolCallStarted(f"c{call}", "Bash", "pytest -q"),
            ToolCallEnded(f"c{call}", "ok", 0, ""),
        ]
    ledger.append_all(tx, [Entry(event, "agent:demo", Source.AGENT, refs) for event in events])
    return task.id


def land(store: Store) -> None:
    """A task's last events, and its receipt's statement."""
    with store.transaction() as tx:
        task = _task(tx, TaskState.RUNNING)
        refs = Refs(task=task, session=f"{task}.1", gate_run=f"{task}.1.1-tests", machine="evo-x2")
        sessions.update(tx, f"{task}.1", ended_us=tx.now_us())
        closed = GateClosed("tests", "passed", "", Exited(0), 0, TREE, "gate", True, "0" * 64, 3, 1, 2, None)
        for event in (
            GateOpened("tests", COMMIT, TREE, BASE, ("pytest",), "a" * 64, 1),
            closed,
            VerdictGiven(COMMIT, TREE, BASE, "passed", (), (refs.gate_run,), "separate-logins", 0, ""),
            LandingDone("refs/heads/main", BASE, COMMIT, TREE, 1),
        ):
            ledger.append(tx, event, actor="airboss", source=Source.CONTROLLER, refs=refs)
        for state in (TaskState.JUDGING, TaskState.LANDING, TaskState.LANDED):
            tasks.move(tx, task, state, "", "airboss")
        compute(tx, task)


def reading(loop: asyncio.AbstractEventLoop, store: Store, fn: Callable[[Tx], Any], times: int) -> Trial:
    def work() -> None:
        for _ in range(times):
            loop.run_until_complete(store.read(fn))

    return timed(work)


def first_status(loop: asyncio.AbstractEventLoop, url: str) -> Trial:
    def work() -> None:
        with Store.open(url) as store:
            loop.run_until_complete(store.read(look))

    return timed(work)


def waiting(loop: asyncio.AbstractEventLoop, store: Store) -> tuple[float, float]:
    """Seconds that ``/digest all`` takes, and the longest that a ``/status`` took meanwhile."""

    async def both() -> tuple[float, float]:
        began, longest = loop.time(), 0.0
        digest = asyncio.ensure_future(make_digest(store, 0))
        while not digest.done():
            asked = loop.time()
            await store.read(look)
            longest = max(longest, loop.time() - asked)
            await asyncio.sleep(0.005)
        return loop.time() - began, longest

    return loop.run_until_complete(both())


def measure(loop: asyncio.AbstractEventLoop, where: Path, large: int) -> list[Comparison]:
    urls = {size: f"sqlite:///{where / f'{size}.db'}" for size in (large, SMALL)}
    stores = {size: Store.open(url, redact=Redactor()) for size, url in urls.items()}
    for size, store in stores.items():
        fill(store, size)
    trials: dict[str, Callable[[int], Trial]] = {
        "/status, the first after a start": lambda size: first_status(loop, urls[size]),
        "/status, later, ten times": lambda size: reading(loop, stores[size], look, 10),
        "/logs of a task, ten times": lambda size: reading(loop, stores[size], partial(story, task_id="t7"), 10),
        "a landing in the ledger, and its receipt": lambda size: timed(partial(land, stores[size])),
    }
    found = []
    for name, trial in trials.items():
        ours, base = ((f"{size:,} events", trial(size)) for size in (large, SMALL))
        found.append(compare(name, ours, base, bar=1.2, rounds=21))
    took, longest = waiting(loop, stores[large])
    print(
        f"/digest all over {large:,} events: {took:.1f} s; the longest /status meanwhile: {longest * 1000:.0f} ms"
    )
    for store in stores.values():
        store.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=LARGE, help="how many the larger ledger has")
    options = parser.parse_args()
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as where:
        found = measure(loop, Path(where), options.events)
    loop.close()
    return report(found)


if __name__ == "__main__":
    sys.exit(main())

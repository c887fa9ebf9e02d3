"""/status of a large fleet against /status of a small one, through inbox, core, store and outbox."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from functools import partial
from pathlib import Path

from fleet.events import Refs, Source, ToolCallEnded, ToolCallStarted
from fleet.model import ChatRef, Isolation, TaskMode, TaskState
from fleet.store import ledger, sessions, tasks
from fleet.store.core import Tx
from fleet.store.ledger import Entry
from tests.bench.harness import Trial, compare, report, timed
from tests.chat_house import FLEET, House, house

CALLS = 20  # tool calls of each session
REPEATS = 5  # /status in one run


def fleet_of(machines: int) -> str:
    more = (f'[machines.box-{n}]\nexecutor = "local"\nslots = 4\n' for n in range(machines - 2))
    return FLEET + "".join(more)


def fill(tx: Tx, machines: int, count: int) -> None:
    """A fleet at work: sessions, each with what it did lately."""
    names = ["evo-x2", "macbook", *(f"box-{n}" for n in range(machines - 2))]
    for number in range(count):
        task = tasks.create_task(
            tx, repo="shop", agent="demo", machine="", prompt="x" * 400, mode=TaskMode.CHANGE,
            requester="phone::ada", origin=ChatRef("phone", "elsewhere"),
        )  # fmt: skip
        session = sessions.create_session(
            tx, task=task.id, machine=names[number % machines], agent="demo", base="b" * 40,
            isolation=Isolation.UNSAFE_SAME_USER,
        )  # fmt: skip
        sessions.update(tx, session.id, seen_us=tx.now_us(), driver_state='{"state":"' + "x" * 4_000 + '"}')
        tasks.move(tx, task.id, TaskState.PREPARING, "", "airboss")
        refs = Refs(task=task.id, session=session.id)
        events = [
            Entry(event, "agent:demo", Source.AGENT, refs)
            for call in range(CALLS)
            for event in (ToolCallStarted(f"c{call}", "Bash", "pytest"), ToolCallEnded(f"c{call}", "ok", 0, ""))
        ]
        ledger.append_all(tx, events)


def asking(loop: asyncio.AbstractEventLoop, there: House) -> Trial:
    async def ask() -> None:
        for _ in range(REPEATS):
            result = await there.core.call(there.message("/status"))
            assert result is not None and result.posted

    return timed(lambda: loop.run_until_complete(ask()))


def main() -> int:
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as where:
        sides, opened = [], []
        for machines, count in ((100, 200), (2, 6)):
            place = Path(where) / str(machines)
            place.mkdir()
            there = house(place, fleet_toml=fleet_of(machines))
            opened.append(there)
            inside = loop.run_until_complete(there.__aenter__())
            loop.run_until_complete(inside.store.write(partial(fill, machines=machines, count=count)))
            loop.run_until_complete(inside.settle())
            sides.append((f"{machines} machines, {count} sessions", asking(loop, inside)))
        found = compare("/status, five times", sides[0], sides[1], bar=2.0, rounds=15)
        for session in opened:
            loop.run_until_complete(session.__aexit__(None, None, None))
    loop.close()
    return report([found])


if __name__ == "__main__":
    sys.exit(main())

"""Output that waits together is committed together; what somebody waits for is committed at once."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from fleet.agent_events import AskPerson, Said
from fleet.agents.framing import Line
from fleet.events import AgentSaid, Recorded
from fleet.flight.commits import Ruled
from fleet.flight.follower import Follower
from fleet.flight.line_batch import LineBatch
from fleet.flight.pipe_reader import PipeReader, Woken
from fleet.ports import Ended, Output
from fleet.store import ledger, sessions
from fleet.store.core import Tx
from tests.far_end.machine import Machine
from tests.far_end.repositories import make_bare
from tests.flying import FastClock, world
from tests.unit import agent_lines as lines


async def test_frames_that_wait_together_share_a_commit(tmp_path: Path) -> None:
    there = world(tmp_path, str(make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})))
    with there.store:
        task = await there.running()
        there.machine.say(lines.CONFIRMED, lines.INIT, *(lines.assistant(lines.text(f"{n}")) for n in range(40)))
        there.machine.end()
        follower = Follower(there.services, there.machine, task, await there.session(task), None)
        await follower.catch_up()
        await follower.close()
        said = await there.store.read(lambda tx: ledger.read(tx, kinds=(AgentSaid.KIND,)))
    # What is said in one breath, committed together, is one event.
    assert [recorded.event.body()["text"].split() for recorded in said] == [[f"{n}" for n in range(40)]]


async def test_a_reader_gives_out_the_output_that_waits_and_nothing_else(tmp_path: Path) -> None:
    machine = Machine()
    machine.say(lines.INIT, lines.CONFIRMED, lines.INIT)
    machine.end()
    reader = PipeReader(machine, "p", "nonce", 0, FastClock())
    assert reader.output() is None
    assert isinstance(await reader.next(), Output)
    reader.wake()
    assert [type(reader.output()) for _ in range(3)] == [Output, Output, type(None)]
    assert isinstance(await reader.next(), Ended), "what was looked at is not lost"
    assert isinstance(await reader.next(), Woken)
    await reader.close()


async def test_a_stream_is_committed_without_a_wait_for_more_of_it(tmp_path: Path) -> None:
    """What is read right after a commit waits for the next one; nothing else has to come for that."""
    there = world(tmp_path, str(make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})))
    with there.store:
        task = await there.running()
        session = await there.session(task)
        turn = (await there.store.read(partial(sessions.turns, session_id=session.id)))[-1]
        follower = Follower(there.services, there.machine, task, session, turn)
        stored = asyncio.Event()
        texts: list[str] = []

        def observe(tx: Tx, recorded: Recorded) -> None:
            if isinstance(recorded.event, AgentSaid):
                tx.after_commit(partial(texts.extend, recorded.event.text.split()))
                tx.after_commit(stored.set)

        there.store.observe(observe)
        there.machine.say(lines.CONFIRMED, lines.INIT, lines.assistant(lines.text("one")))
        following = asyncio.ensure_future(follower.turn_end(turn))
        async with asyncio.timeout(60):
            await stored.wait()
            stored.clear()
            there.machine.say(lines.assistant(lines.text("two")))
            await stored.wait()
            there.machine.say(lines.assistant(lines.text("three")), lines.assistant(lines.text("four")))
            there.machine.end()
            await following
        await follower.close()
    assert [text for text in texts if text in ("one", "two", "three", "four")] == ["one", "two", "three", "four"]


async def test_a_batch_is_urgent_once_somebody_waits(tmp_path: Path) -> None:
    there = world(tmp_path, str(make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})))
    with there.store:
        session = await there.session(await there.running())
        agent = there.services.driver_of(session)
        batch = LineBatch(session)
        heard = [lines.INIT, lines.assistant(lines.text("one")), lines.can_use("r1", "c1", "Bash", command="ls")]
        urgent, asked = [], []
        for number, message in enumerate(heard, start=1):
            asked += batch.add(agent, Line(lines.line(message), number * 100))
            urgent.append(batch.urgent)
            batch.ruled += [Ruled(each, AskPerson("no rule")) for each in asked]
    assert urgent == [False, False, False] and batch.urgent, "urgent with its ruling"
    assert [each.tool for each in asked] == ["Bash"]
    assert (batch.read, batch.size, batch.offset) == (3, 300 - session.spool_offset, 300)
    assert [type(each) for each in batch.step().happened].count(Said) == 1

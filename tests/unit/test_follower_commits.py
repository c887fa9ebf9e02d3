"""Output that waits together is committed together; what somebody waits for is committed at once."""

from __future__ import annotations

from pathlib import Path

from fleet.events import AgentSaid
from fleet.flight.follower import Follower
from fleet.flight.pipe_reader import PipeReader, Woken
from fleet.ports import Ended, Output
from fleet.store import ledger
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
        follower = Follower(there.services, there.machine, task, await there.session(task))
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

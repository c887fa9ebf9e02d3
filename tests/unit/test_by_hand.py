"""Work by hand in an agent's session: who may begin it and end it, and what is said of it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bot.cards import shown
from fleet.agent_events import TurnOutcome
from fleet.agents.by_hand import interface
from fleet.clock import SystemClock
from fleet.config import FleetConfig, MachineConfig
from fleet.errors import Refused, Unreachable
from fleet.events import LandingDone, Recorded, SessionHandedBack, SessionTaken, TaskMoved
from fleet.flight.keeping import Keeper
from fleet.machines.executors import Executors
from fleet.machines.hand_terminal import HandTerminal, in_terminal
from fleet.model import Isolation, PipeEnd, Task, TaskMode, TaskState, TurnCause
from fleet.ports import Brief, PipeSpec, Ran
from fleet.store import approvals, sessions, stalls, takeovers, tasks
from fleet.store.core import Tx
from fleet.store.states import AfterHand, TakeoverState
from fleet.store.takeovers import Takeover
from gates.locks.guard import waits_since
from gates.people import OwnChange, Right, own_change, who
from tests.chat_flight import everything
from tests.chat_house import ADA, OTTO, house
from tests.far_end.machine import Machine
from tests.far_end.repositories import git, make_bare
from tests.flying import PERSON, World, world
from tests.rows import placed
from tests.unit.test_own_changes import ADA as OWNER
from tests.unit.test_own_changes import BOB, fleet
from tests.unit.test_receipts import Story, landed

BEN = "console:h:ben"


def take(tx: Tx, task: Task, by: str = PERSON, then: AfterHand | None = AfterHand.GO) -> Takeover:
    return takeovers.take(tx, tasks.task(tx, task.id), by=by, name=by[-3:], terminal="xterm", then=then)


async def stalled(there: World, mode: TaskMode = TaskMode.CHANGE, base: str = "b" * 40) -> Task:
    """A task whose agent stopped early, with a conversation."""
    task = await there.task(TaskState.PREPARING, TaskState.RUNNING, TaskState.STALLED, mode=mode, base=base)
    session = await there.session(task)

    def work(tx: Tx) -> None:
        (turn,) = sessions.turns(tx, session.id)
        sessions.update_turn(tx, turn.id, ended_us=1, outcome=TurnOutcome.FAILED)
        sessions.update(tx, session.id, resume="r", workspace="/w", pipe="p0", pipe_end=PipeEnd.GONE)
        approvals.open_stall(tx, session=session, commit="", tree="", reason="it failed")

    await there.store.write(work)
    return task


async def test_a_task_in_hand_does_not_wait_and_keeps_its_locks(tmp_path: Path) -> None:
    there = world(tmp_path)
    with there.store:
        task = await stalled(there)

        async def waits() -> bool:
            return await there.store.read(lambda tx: waits_since(tx, task, None)) > 0

        assert await waits()
        taken = await there.store.write(lambda tx: take(tx, task))
        assert not await waits()
        await there.store.write(lambda tx: takeovers.over(tx, taken))
        assert await waits()


class StoppedThere(Machine):
    """A person stops the task when its interface has just started."""

    there: World

    async def start(self, spec: PipeSpec) -> None:
        await super().start(spec)
        await self.there.store.write(lambda tx: tasks.request_stop(tx, "t1", PERSON))


@pytest.mark.parametrize("started", [True, False])
async def test_a_stop_ends_the_interface_and_the_work_by_hand_is_a_turn(tmp_path: Path, started: bool) -> None:
    there = world(tmp_path)
    if started:
        there.machine = machine = StoppedThere()
        machine.there = there
    with there.store:
        task = await stalled(there)
        await there.store.write(lambda tx: take(tx, task))
        assert await there.store.read(lambda tx: stalls.waiting(tx, task.id)) is None

        def opened(tx: Tx, recorded: Recorded) -> None:
            if isinstance(recorded.event, SessionTaken) and not started:
                tasks.request_stop(tx, task.id, PERSON)

        there.store.observe(opened)
        await there.fly(await there.now(task))
        assert (await there.now(task)).state is TaskState.STOPPED
        assert len(there.machine.started) == started
        session = await there.session(task)
        turns = await there.store.read(lambda tx: sessions.turns(tx, session.id))
        assert [turn.cause for turn in turns] == [TurnCause.REQUEST, TurnCause.BY_HAND]
        assert turns[-1].ended_us and turns[-1].prompt == "ada works on it by hand"
        (taken,) = await there.store.read(lambda tx: takeovers.of_task(tx, task.id))
        assert turns[-1].started_us == taken.since_us, "it lasted as long as it was in hand"
        kinds = await there.kinds()
        assert kinds.index("session.taken") < kinds.index("session.returned") < kinds.index("session.ended")
        assert await there.store.read(lambda tx: takeovers.current(tx, task.id)) is None
        with pytest.raises(Refused, match="it is stopped"):
            await there.store.write(lambda tx: take(tx, task))


async def test_nobody_has_an_ended_task_in_hand_whose_machine_is_away(tmp_path: Path) -> None:
    there = world(tmp_path)
    with there.store:
        task = await stalled(there)

        def stopped(tx: Tx) -> None:
            takeovers.starting(tx, take(tx, task), "fleet-t1.1-p1-name", "n")
            tasks.request_stop(tx, task.id, PERSON)

        await there.store.write(stopped)
        there.machine.trouble = Unreachable(attempted="reach the machine", on="box", cause="it is away")
        await there.fly(await there.now(task))
        assert "session.ended" in await there.kinds()
        assert await there.store.read(lambda tx: takeovers.current(tx, task.id)) is None
        there.machine.trouble = None
        await Keeper(there.services, SystemClock()).end_left()
        assert there.machine.killed, "the interface is ended once the machine is back"
        (late,) = [body for kind, body in await there.told() if kind == "pipe.stopped"]
        assert (late["pipe"], late["what"]) == ("t1.1-p1", "interface")


class WithoutWorktree(Machine):
    """Its worktree cannot be taken."""

    async def run(self, argv: Sequence[str], **_: object) -> Ran:
        raise Refused(attempted="take the snapshot", cause="it is too large")


async def test_who_worked_by_hand_is_asked_what_follows(tmp_path: Path) -> None:
    there, asked = world(tmp_path), list[str]()
    there.machine = WithoutWorktree()
    base = git(make_bare(tmp_path / "repos/shop.git", {"a.txt": "a\n"}), "rev-parse", "main").strip()
    with there.store:
        task = await stalled(there, base=base)

        def ended(tx: Tx) -> None:
            take(tx, task, then=AfterHand.ASK)
            takeovers.end(tx, task.id)

        def told(tx: Tx, recorded: Recorded) -> None:
            if isinstance(recorded.event, TaskMoved) and (stall := stalls.waiting(tx, task.id)):
                asked.append(stall.reason)
                tasks.request_stop(tx, task.id, PERSON)

        await there.store.write(ended)
        there.store.observe(told)
        async with asyncio.timeout(60):
            await there.fly(await there.now(task))
    assert asked == ["the agent stepped aside, and nobody took over"], "its card comes from this event"


async def test_one_person_has_it_in_hand_and_a_card_can_end_that(tmp_path: Path) -> None:
    there = world(tmp_path)
    with there.store:
        task = await stalled(there)
        first = await there.store.write(lambda tx: take(tx, task))
        again = await there.store.write(lambda tx: take(tx, task, then=AfterHand.JUDGE))
        assert (again.id, again.then) == (first.id, AfterHand.JUDGE)
        joined = await there.store.write(lambda tx: take(tx, task, then=None))
        assert joined.then is AfterHand.JUDGE, "who comes back changes nothing by that"
        with pytest.raises(Refused, match="ada works on it by hand"):
            await there.store.write(lambda tx: take(tx, task, BEN))
        await there.store.write(lambda tx: takeovers.starting(tx, again, "p1", "n"))
        ending = await there.store.write(lambda tx: takeovers.end(tx, task.id))
        await there.store.write(lambda tx: takeovers.opened(tx, ending))  # it has just started
        now = await there.store.read(lambda tx: takeovers.current(tx, task.id))
        assert now is not None and now.state is TakeoverState.ENDING
        await there.store.write(lambda tx: takeovers.over(tx, now))
        assert await there.store.read(lambda tx: takeovers.people_of(tx, task.id)) == {PERSON}
        with pytest.raises(Refused, match="nobody works on it by hand"):
            await there.store.write(lambda tx: takeovers.end(tx, task.id))


async def test_an_agent_steps_aside_only_where_it_can(tmp_path: Path) -> None:
    there = world(tmp_path)
    with there.store:
        queued, asking = await there.task(), await stalled(there, TaskMode.ASK)
        running = await there.task(TaskState.PREPARING, TaskState.RUNNING)
        session = await there.session(running)
        for task, why in ((queued, "it is queued"), (asking, "only asks"), (running, "no conversation yet")):
            with pytest.raises(Refused, match=why):
                await there.store.write(partial(take, task=task))

        def over(tx: Tx) -> None:
            sessions.update(tx, session.id, resume="r")
            sessions.update_turn(tx, sessions.turns(tx, session.id)[-1].id, ended_us=1)

        await there.store.write(over)
        with pytest.raises(Refused, match="its turn has just ended"):
            await there.store.write(lambda tx: take(tx, running))


async def test_a_chat_says_how_to_attach_and_a_viewer_ends_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run mend it", OTTO)
        result, (card,) = await there.say("/attach t1")
        assert result.status == 2 and "it is queued" in everything(card)

        def works(tx: Tx) -> None:
            placed(tx, "t1", "macbook")
            for state in (TaskState.PREPARING, TaskState.RUNNING):
                tasks.move(tx, "t1", state, "", "airboss")
            (session,) = sessions.of_task(tx, "t1")
            sessions.update(tx, session.id, resume="r")

        await there.store.write(works)
        _, (card,) = await there.say("/attach t1")
        assert next(shown(each) for each in card.lines) == "On the controller's machine: airboss attach t1"
        result, (card,) = await there.say("/attach t1 end", ADA)
        assert result.status == 2 and "nobody works on it by hand" in everything(card)


def test_who_worked_by_hand_does_not_release_that_change() -> None:
    person = who(fleet(2), OWNER)
    assert person is not None
    assert own_change(fleet(2), Right.RELEASE, person, str(BOB)) is OwnChange.NO
    assert own_change(fleet(2), Right.RELEASE, person, str(BOB), [str(OWNER)]) is OwnChange.FORBIDDEN


def test_a_receipt_says_who_worked_by_hand() -> None:
    told = landed()
    story = Story()
    for recorded in told.events:
        if isinstance(recorded.event, LandingDone):
            story.tell(SessionTaken("p2", "claude", "go"), actor=PERSON, session="t1.1")
            story.tell(SessionHandedBack("p2", "exit status 0", True, 1), actor=PERSON, session="t1.1")
        refs = {name: getattr(recorded.refs, name) for name in ("session", "turn", "gate_run", "machine")}
        story.tell(recorded.event, actor=recorded.actor, task=recorded.refs.task, **refs)
    (session,) = json.loads(story.statement())["predicate"]["sessions"]
    (by_hand,) = session["by_hand"]
    assert by_hand == {**by_hand, "by": PERSON, "program": "claude", "exit": "exit status 0"}
    assert by_hand["until_us"] > by_hand["since_us"]


def test_the_agents_own_interface_opens_the_same_conversation() -> None:
    brief = Brief("c", "", "/w", ("agent",), model="m", resume="r")
    claude, codex = interface("claude", brief), interface("codex", replace(brief, model=""))
    assert claude is not None and claude.argv[:3] == ("agent", "--resume", "r")
    closed = ("-c", 'projects={"/w"={trust_level="untrusted"}}')
    assert codex is not None and codex.argv == ("agent", "--no-daemon", *closed, "resume", "r")
    assert interface("command", brief) is None


def relay(*lines: bytes, argv: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
    """Runs the terminal with these lines of input."""
    text = b"".join(line + b"\n" for line in lines)
    return subprocess.run(
        in_terminal(sys.executable, argv), input=text, capture_output=True, timeout=60, check=False
    )


def typed(text: bytes) -> bytes:
    return b"d" + base64.b64encode(text)


def test_what_is_typed_reaches_the_command_in_a_terminal_of_that_size() -> None:
    script = "read one; stty size; test -t 1; echo tty $?; exit 7"
    ran = relay(b"r33,99", b"rnonsense", b"d%%%", b"", b"x", typed(b"go\n"), argv=("sh", "-c", script))
    assert b"33 99" in ran.stdout and b"tty 0" in ran.stdout
    assert ran.returncode == 7
    assert relay(argv=("no-such-program",)).returncode == 127


async def test_a_person_who_comes_back_sees_what_follows_and_goes_on_typing(tmp_path: Path) -> None:
    machines = {"box": MachineConfig(executor="local", home=str(tmp_path), python=sys.executable)}
    executors = Executors(FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines=machines), tmp_path)
    executor = executors.agent("box")
    try:
        await executor.facts()
        script = "stty -echo; echo ready; while read word; do echo heard $word; done"
        argv = in_terminal(sys.executable, ("sh", "-c", script))
        await executor.start(PipeSpec("p1", "n", argv, str(tmp_path), stdin=True, env={"PATH": os.environ["PATH"]}))
        terminal = HandTerminal(executor, "p1", "n")

        async def until(word: bytes) -> bytes:
            seen = b""
            async for data in terminal.shown():
                seen += data
                if word in seen:
                    return seen
            raise AssertionError(seen)

        await until(b"ready")
        await terminal.type(b"one\n")
        await until(b"heard one")
        await terminal.type(b"two\n")
        assert b"one" not in await until(b"heard two"), "he sees nothing twice"
        again = HandTerminal(executor, "p1", "n")  # of a controller that was started anew
        await again.type(b"all of this\n")
        assert b"one" not in await until(b"heard all of this")
        await executor.stop("p1")
        async with asyncio.timeout(60):
            assert b"three" not in b"".join([data async for data in terminal.shown()])
    finally:
        await executors.close()

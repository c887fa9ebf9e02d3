"""At a session's end the agent's own file is read on its machine and compared with the stream, call by call."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet.clock import SystemClock
from fleet.events import CallDisputed, CallUnobserved, Event, SessionEnded, Source
from fleet.flight.agent_process import AgentProcess
from fleet.flight.closing import close_sessions
from fleet.flight.services import Services
from fleet.flight.surroundings import room_of
from fleet.machines.local import LocalExecutor
from fleet.model import Session, Task, TaskState
from fleet.ports import Executor
from fleet.store import ledger, sessions
from fleet.store.core import Tx
from fleet.store.recording import record
from tests.flying import World, world
from tests.session_files import ClaudeSession
from tests.unit.test_reconciling import stream

TOLD = "its-own-id"


@dataclass
class Box:
    """The one machine: a real runner."""

    executor: Executor

    def agent(self, machine: str, login: str = "") -> Executor:
        return self.executor

    def gate(self, machine: str, login: str = "") -> Executor:
        return self.executor


@dataclass
class Ending:
    """A session whose stream said three calls, about to be closed."""

    world: World
    services: Services
    home: Path
    root: Path
    task: Task
    session: Session

    def file(self, *numbers: int, at: datetime | None = None) -> ClaudeSession:
        """What the agent wrote of its session."""
        made = ClaudeSession(TOLD, at or datetime.now(UTC))
        for number in numbers:
            made.call(number)
        return made

    async def close(self) -> list[Event]:
        """Closes it, and gives what was said of differences; all of it is testimony, and behind the end."""
        try:
            await close_sessions(self.services, self.task, AgentProcess(self.services, self.task))
        finally:
            await self.services.executors.agent("box").close()
        kinds = (SessionEnded.KIND, CallDisputed.KIND, CallUnobserved.KIND)
        end, *said = await self.world.store.read(lambda tx: ledger.read(tx, kinds=kinds))
        assert isinstance(end.event, SessionEnded) and not end.event.why
        assert {each.source for each in said} <= {Source.AGENT}
        return [each.event for each in said]


async def ending(directory: Path) -> Ending:
    there = world(directory)
    home, root = directory / "home", directory / "root"
    helper = there.config.agents["helper"].model_copy(update={"settings": {"HOME": str(home)}})
    config = there.config.model_copy(update={"agents": {"helper": helper}})
    box = Box(LocalExecutor("box", root=str(root)))
    services = replace(there.services, executors=box, config=lambda: config, clock=SystemClock())
    task = await there.task(TaskState.PREPARING, TaskState.RUNNING, TaskState.LOST)

    def work(tx: Tx) -> Session:
        (session,) = sessions.of_task(tx, task.id)
        for event in (*stream(1), *stream(2, outcome="failed"), *stream(3)):
            record(tx, event, session, source=Source.AGENT)
        return sessions.update(tx, session.id, resume=TOLD)

    return Ending(there, services, home, root, task, await there.store.write(work))


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Ending]:
    made = asyncio.run(ending(tmp_path))
    with made.world.store:
        yield made


DIFFERS = [
    CallDisputed("toolu_2", "outcome", "failed", "ok"),
    CallUnobserved("toolu_4", "Bash", "only in the file"),
    CallDisputed("toolu_3", "call", "Bash", "not there"),
]


async def test_what_differs_is_said_when_the_session_ends(there: Ending) -> None:
    there.file(1, 2, 4).write(there.home / ".claude/projects")
    assert await there.close() == DIFFERS


async def test_the_file_is_found_in_the_layer_of_a_session_with_walls(there: Ending) -> None:
    there.home.mkdir()
    layer = there.root / room_of(there.world.store, there.session) / "layers" / str(there.home).replace("/", "%2f")
    there.file(1, 2, 4).write(layer / "upper/.claude/projects")
    assert await there.close() == DIFFERS


async def test_without_a_file_nothing_is_said(there: Ending) -> None:
    assert await there.close() == []


async def test_a_subagents_file_belongs_to_its_session(there: Ending) -> None:
    projects = there.home / ".claude/projects"
    there.file(1).write(projects)
    helper = ClaudeSession(TOLD, datetime.now(UTC), agent="a")
    helper.call(9)
    helper.write(projects)
    ClaudeSession("of-another", datetime.now(UTC)).write(projects)
    said = await there.close()
    assert CallUnobserved("toolu_a9", "Bash", "only in the file") in said


async def test_what_was_before_the_session_is_not_expected_in_its_stream(there: Ending) -> None:
    file = there.file(7, at=datetime.now(UTC) - timedelta(days=1))
    file.at = datetime.now(UTC)
    for number in (1, 3):
        file.call(number)
    file.call(2, failed="Exit code 1")
    file.write(there.home / ".claude/projects")
    assert await there.close() == []


async def test_a_denial_of_ours_is_a_failure_in_the_file_and_no_difference(there: Ending) -> None:
    def deny(tx: Tx) -> None:
        for event in stream(4, outcome="denied"):
            record(tx, event, there.session, source=Source.AGENT)

    await there.world.store.write(deny)
    file = there.file(1, 3)
    file.call(2, failed="Exit code 1")
    file.call(4, failed="airboss: the edit is locked")
    file.write(there.home / ".claude/projects")
    assert await there.close() == []


@pytest.mark.parametrize("how", ["link", "junk", "old"])
async def test_what_is_no_file_of_this_session_says_nothing(there: Ending, tmp_path: Path, how: str) -> None:
    path = there.file(4).write(there.home / ".claude/projects")
    match how:
        case "link":
            path.symlink_to(path.rename(tmp_path / "elsewhere"))
        case "junk":
            path.write_bytes(b"\xff{" * 1000)
        case _:
            os.utime(path, (1, 1))
    assert await there.close() == []


async def test_a_pipe_beside_the_file_holds_nothing_up(there: Ending) -> None:
    path = there.file(1, 2, 4).write(there.home / ".claude/projects")
    for name in ("empty.jsonl", f"full-{TOLD}.jsonl"):
        os.mkfifo(path.with_name(name))
    held = os.open(path.with_name(name), os.O_RDWR)
    try:
        os.write(held, there.file(5).text().encode())
        assert await there.close() == DIFFERS
    finally:
        os.close(held)


async def test_of_a_huge_file_the_beginning_is_compared_and_nothing_is_missing(there: Ending) -> None:
    """Also where it is cut between two lines."""
    path = there.file(2).write(there.home / ".claude/projects")
    line = b'{"type": "summary", "text": "%s"}\n'
    left = (16 << 20) - path.stat().st_size - len(line % b"")
    with path.open("ab") as file:
        file.write(line % (b"x" * left) + line % b"more")
    assert await there.close() == DIFFERS[:1]


async def test_of_a_file_with_more_calls_than_a_session_makes_the_first_are_compared(there: Ending) -> None:
    """An agent may write into its file what it likes."""
    file = ClaudeSession(TOLD, datetime.now(UTC) - timedelta(days=1))
    for number in range(10, 5_010):
        file.call(number, usage=False)
    file.at = datetime.now(UTC)
    file.call(4)
    file.write(there.home / ".claude/projects")
    assert await there.close() == []


async def test_a_machine_that_says_nonsense_ends_the_session_as_ever(there: Ending) -> None:
    """Its python3 answers something else."""
    there.file(1, 2, 4).write(there.home / ".claude/projects")
    fake = there.root.parent / "python"
    fake.write_text('#!/bin/sh\necho \'{"whole": true, "files": [["its-own-id", 9]]}\'\n')
    fake.chmod(0o755)
    machines = there.services.config().machines
    box = machines["box"].model_copy(update={"python": str(fake)})
    config = there.services.config().model_copy(update={"machines": {**machines, "box": box}})
    there.services = replace(there.services, config=lambda: config)
    assert await there.close() == []

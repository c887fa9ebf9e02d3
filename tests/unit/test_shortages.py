"""The controller has no more files or memory to give for a while: what meets that waits, and nothing ends by it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fleet.model import TaskState
from fleet.ports import Candidate
from fleet.store import tasks
from fleet.verdict import Verdict
from tests.flying import PERSON, world


@pytest.mark.parametrize("short", [OSError(errno.EMFILE, "Too many open files"), MemoryError()])
async def test_a_controller_that_is_short_of_something_costs_no_task(tmp_path: Path, short: Exception) -> None:
    there = world(tmp_path)
    with there.store:
        tries = 0

        async def judging(candidate: Candidate) -> Verdict:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise short
            assert "the controller's system says: " in (await there.now(task)).why
            raise ZeroDivisionError

        there.judge.judging = judging
        task = await there.task(TaskState.PREPARING, TaskState.RUNNING, TaskState.JUDGING)
        await there.fly(task)
        assert tries == 2


async def test_a_session_is_closed_once_the_controller_is_short_of_nothing(tmp_path: Path) -> None:
    there = world(tmp_path)
    with there.store:
        task = await there.task(TaskState.PREPARING)
        await there.store.write(lambda tx: tasks.move(tx, task.id, TaskState.STOPPED, "", PERSON))
        closing = [OSError(errno.EMFILE, "Too many open files")]

        async def close_left(task: str) -> None:
            if closing:
                raise closing.pop()

        there.judge.close_left = close_left  # type: ignore[method-assign] # the far side of this one call
        await there.fly(await there.now(task))
        assert [body["why"] for kind, body in await there.told() if kind == "session.ended"] == [""]

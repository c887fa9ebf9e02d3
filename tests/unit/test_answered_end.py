"""A task that ended as its agent changed nothing may have ended with a question: a message is the answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.errors import Refused
from fleet.flight import notes
from fleet.flight.notes import Reach
from fleet.model import TaskEnd, TaskMode, TaskState
from fleet.store import sessions, tasks, trees
from fleet.store.core import Tx
from fleet.store.states import TreeState
from fleet.store.trees import TreeRow
from tests.flying import PERSON, world


@pytest.mark.parametrize("end", [TaskEnd.UNCHANGED, None])
async def test_a_message_opens_it_again_once_its_session_is_closed(tmp_path: Path, end: TaskEnd | None) -> None:
    there = world(tmp_path)
    with there.store:
        task = await there.running(TaskMode.CHANGE)
        session = await there.session(task)

        def said(tx: Tx) -> Reach:
            return notes.add(tx, tasks.task(tx, task.id), "the first one", PERSON).reach

        await there.store.write(lambda tx: tasks.move(tx, task.id, TaskState.FAILED, "why", PERSON, end=end))
        with pytest.raises(Refused):
            await there.store.write(said)
        await there.store.write(lambda tx: sessions.update(tx, session.id, ended_us=tx.now_us()))
        await there.store.write(lambda tx: trees.put(tx, TreeRow(session.id, TreeState.EMPTY)))
        if end is None:  # its worktree is gone, for one
            with pytest.raises(Refused, match="it has ended: failed"):
                await there.store.write(said)
            return
        assert await there.store.write(said) is Reach.GOES_ON
        now = await there.store.read(lambda tx: (tasks.task(tx, task.id).state, trees.of(tx, session).state))
        assert now == (TaskState.STALLED, TreeState.HERE), "what it does now is not proven to be nothing"

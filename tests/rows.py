"""Rows that many tests begin with: a task that somebody asked for, and a session of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from fleet.model import ChatRef, Isolation, Session, Task, TaskMode
from fleet.store import sessions, tasks
from fleet.store.core import Tx
from fleet.store.schedule_tables import slots

PHONE = ChatRef("phone", "c")


def asked(
    tx: Tx,
    *,
    repo: str = "shop",
    agent: str = "demo",
    machine: str = "",
    prompt: str = "x",
    mode: TaskMode = TaskMode.CHANGE,
    requester: str = "phone::ada",
    origin: ChatRef = PHONE,
    needs: tuple[str, ...] = (),
    after: str = "",
) -> Task:
    """A task that waits in the queue."""
    return tasks.create_task(
        tx,
        repo=repo,
        agent=agent,
        machine=machine,
        prompt=prompt,
        mode=mode,
        requester=requester,
        origin=origin,
        needs=needs,
        after=after,
    )


def placed(tx: Tx, task: str, machine: str = "box", *, agent: str = "demo", base: str = "b" * 40) -> Session:
    """A session of it on a machine."""
    return sessions.create_session(
        tx, task=task, machine=machine, agent=agent, base=base, isolation=Isolation.UNSAFE_SAME_USER
    )


def slots_of(tx: Tx, schedule: str) -> list[Any]:
    """Every time at which a schedule was due, the newest first."""
    query = select(slots).where(slots.c.schedule == schedule).order_by(slots.c.due_us.desc())
    return list(tx.connection.execute(query))

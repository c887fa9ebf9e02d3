"""Closes a task's sessions: ends what still runs, and removes or keeps what is on the machine."""

from __future__ import annotations

import logging
from dataclasses import replace

from fleet.errors import (
    AirbossError,
    DiskFull,
    LeadershipLost,
    LeaseLost,
    Misused,
    Refused,
    StoreUnavailable,
    is_shortage,
)
from fleet.events import SessionEndedV2
from fleet.flight import attachments, by_hand, commits, keeping, leftovers, own_files, own_login, surroundings
from fleet.flight.agent_process import AgentProcess
from fleet.flight.own_files import OwnFiles
from fleet.flight.services import Services
from fleet.git import kept
from fleet.model import PipeEnd, Session, Task, TaskMode, TaskState
from fleet.store import left_running, sessions
from fleet.store.core import Tx
from fleet.store.left_running import LeftRunning
from fleet.store.recording import record
from fleet.store.states import ProcessKind

_log = logging.getLogger(__name__)


async def close_sessions(services: Services, task: Task, agent: AgentProcess) -> None:
    """Closes every session of an ended task. A landed workspace is removed; others stay for reading.

    If a machine cannot clean up, the session records what was left behind. Raises only errors of the store and the
    leases, and ``DiskFull`` and shortages, as the work cannot be saved then; the caller repeats it.
    """
    for session in await services.store.read(lambda tx: sessions.of_task(tx, task.id)):
        if session.ended_us:
            continue
        left: tuple[str, ...] = ()
        read: OwnFiles | None = None
        try:
            await services.gatekeeper.close_left(task.id)
            ended = await _ended(services, agent, session)
            read = await own_files.read(services, ended)
            left = await _tidy(services, task, agent, ended)
        except (StoreUnavailable, LeaseLost, LeadershipLost, DiskFull):
            raise
        except Exception as error:
            if is_shortage(error):
                raise
            if not isinstance(error, AirbossError):
                _log.exception("closing session %s failed", session.id)
            why = f"left behind on {session.machine}: {error}"
        else:
            why = ""

        def work(
            tx: Tx,
            session_id: str = session.id,
            machine: str = session.machine,
            why: str = why,
            left: tuple[str, ...] = left,
        ) -> None:
            runs = tuple(_still_runs(found, machine) for found in left_running.note(tx, session_id))
            ended = sessions.update(tx, session_id, ended_us=tx.now_us())
            commits.close_unseen(tx, ended)
            record(tx, SessionEndedV2(why, (*left, *runs)), ended)

        await services.store.write(work)
        if read is not None:
            await own_files.compare(services, session, read)


def _still_runs(left: LeftRunning, machine: str) -> str:
    what = "its agent" if left.kind is ProcessKind.AGENT else "the interface opened by hand"
    return f"{what} may still run on {machine}: ended once {machine} answers"


async def _ended(services: Services, agent: AgentProcess, session: Session) -> Session:
    """The session, with no process of it any more."""
    session = await by_hand.close(services, session)
    if session.pipe and session.pipe_end is PipeEnd.NONE:
        await agent.gone(session)
        session = await services.store.read(lambda tx: sessions.session(tx, session.id))
    return session


async def _keep_work(services: Services, task: Task, session: Session) -> None:
    """The work of a task that did not land: saved here, whatever becomes of its machine. What cannot be saved stays
    in its worktree."""
    try:
        await keeping.save(services, task, session)
    except (Refused, Misused) as error:
        _log.info("the work of %s is only in its worktree: %s", task.id, error)
        return
    if session.login and session.workspace:  # the next task of this login gets it as if it were new
        await keeping.reclaim_at_end(services, session)


async def _tidy(services: Services, task: Task, agent: AgentProcess, session: Session) -> tuple[str, ...]:
    """Returns lines about what the session left on its machine."""
    executor = services.executors.agent(session.machine, session.login)
    await executor.remove_tree(attachments.inbox_of(services.store, session))
    begun = bool(session.workspace)  # else it ended while its place was made: nothing of an agent is there
    if not begun or task.state in (TaskState.LANDED, TaskState.PUSHED, TaskState.ANSWERED):
        place = session.workspace or await services.workspaces.place(executor, keeping.ref_of(services, session))
        await services.workspaces.discard(executor, place)
        await executor.remove_tree(surroundings.room_of(services.store, replace(session, workspace=place)))
        if begun or task.forked:
            await kept.release(services.repositories(task.repo), keeping.ref_of(services, session))
    elif task.mode is TaskMode.CHANGE:
        await _keep_work(services, task, session)
    if session.login:
        return await own_login.clear(services, session, session.started_us)
    facts = await executor.facts()
    left = leftovers.of_processes(session, facts, agent.could_not_end)
    if session.pipe and not surroundings.walls_of_sessions(services.machine_of(session), facts):
        left += await leftovers.of_shared_login(services, executor, session, facts)
    return left

"""People who work by hand in an agent's session, in the agent's own interface.

The agent steps aside first: its turn is halted, or was over. While a row is not over, nothing else continues the
task. The interface is a process of its own, whose name and nonce are committed before it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, insert, select, update

from fleet.errors import Refused
from fleet.model import ENDS, STOPPED_EARLY, Session, Task, TaskMode, TaskState
from fleet.store import halts, sessions, stalls, tasks
from fleet.store.core import Tx
from fleet.store.halts import Halt
from fleet.store.records import reader
from fleet.store.statements import Statement
from fleet.store.states import AfterHand, HaltCause, TakeoverState
from fleet.store.usage_tables import takeovers

_OF_TASK: Final = Statement(select(takeovers).where(takeovers.c.task == bindparam("of")).order_by(takeovers.c.id))


@dataclass(frozen=True, slots=True)
class Takeover:
    """``by`` is the person's id, ``name`` theirs. ``pipe`` is empty before the interface was to start."""

    id: int
    task: str
    session: str
    by: str
    name: str
    pipe: str
    nonce: str
    terminal: str  # the kind of terminal: TERM
    then: AfterHand
    state: TakeoverState
    since_us: int
    ended_us: int

    @property
    def words(self) -> str:
        """Why the task waits."""
        return f"{self.name} works on it by hand"


_takeover = reader(Takeover)


def of_task(tx: Tx, task: str) -> list[Takeover]:
    """All of a task, oldest first."""
    return [_takeover(row) for row in _OF_TASK.all(tx.connection, {"of": task})]


def current(tx: Tx, task: str) -> Takeover | None:
    """The one that is not over."""
    return next((each for each in of_task(tx, task)[-1:] if each.state is not TakeoverState.OVER), None)


def people_of(tx: Tx, task: str) -> frozenset[str]:
    """The ids of those who worked on it by hand."""
    return frozenset(each.by for each in of_task(tx, task) if each.pipe)


def take(tx: Tx, task: Task, *, by: str, name: str, terminal: str, then: AfterHand | None) -> Takeover:
    """Asks the agent to step aside for a person. The same person may ask again; ``then`` changes what follows.

    Raises ``Refused`` when somebody else has the task in hand, or when it is in no state for that.
    """
    attempted = f"take {task.id} over"
    known = None if task.state in ENDS else current(tx, task.id)
    if known is not None:
        if known.by != by:
            raise Refused(
                attempted=attempted, cause=known.words, hint=f"/attach {task.id} end lets the fleet take over."
            )
        _set(tx, known.id, then=then or known.then)
        return _current(tx, task.id)
    session = demand_may(tx, task, attempted)
    if task.state is TaskState.RUNNING:
        turn = sessions.turns(tx, session.id)[-1]
        if turn.ended_us:
            raise Refused(attempted=attempted, cause="its turn has just ended", hint="Try again in a moment.")
        halts.halt(tx, session, turn.id, Halt(HaltCause.BY_HAND, f"{name} works on it by hand"))
    else:
        stalls.withdraw(tx, task.id, by=by, why="taken over by hand")
    row = {
        "task": task.id,
        "session": session.id,
        "by": by,
        "name": name,
        "pipe": "",
        "nonce": "",
        "terminal": terminal,
        "then": then or AfterHand.GO,
        "state": TakeoverState.WANTED,
        "since_us": tx.now_us(),
        "ended_us": 0,
    }
    tx.connection.execute(insert(takeovers), row)
    tasks.explain(tx, task.id, _current(tx, task.id).words)
    return _current(tx, task.id)


def demand_may(tx: Tx, task: Task, attempted: str) -> Session:
    """The session that a person may take over. Raises ``Refused``."""
    if task.state is not TaskState.RUNNING and task.state not in STOPPED_EARLY:
        raise Refused(
            attempted=attempted,
            cause=f"it is {task.state}",
            hint="An agent can step aside while it works, and when it waits because its turn stopped early.",
        )
    if task.mode is not TaskMode.CHANGE:
        raise Refused(attempted=attempted, cause="it only asks a question", hint=f"/stop {task.id} ends it.")
    session = sessions.newest(tx, task.id)
    if not session.resume:
        raise Refused(attempted=attempted, cause="its agent has no conversation yet", hint="Try again in a moment.")
    return session


def starting(tx: Tx, takeover: Takeover, pipe: str, nonce: str) -> None:
    """The interface is about to start."""
    _set(tx, takeover.id, state=TakeoverState.STARTING, pipe=pipe, nonce=nonce, since_us=tx.now_us())


def opened(tx: Tx, takeover: Takeover) -> None:
    """It has started, unless somebody wanted it to end before."""
    if _current(tx, takeover.task).state is TakeoverState.STARTING:
        _set(tx, takeover.id, state=TakeoverState.OPEN)


def end(tx: Tx, task: str) -> Takeover:
    """Somebody wants it to end. Raises ``Refused`` when nobody works by hand."""
    known = current(tx, task)
    if known is None:
        raise Refused(attempted="end the work by hand", on=task, cause="nobody works on it by hand")
    if known.state is not TakeoverState.ENDED:
        _set(tx, known.id, state=TakeoverState.ENDING)
    return _current(tx, task)


def ended(tx: Tx, takeover: Takeover, then: AfterHand) -> None:
    """It has ended; ``then`` has yet to follow."""
    _set(tx, takeover.id, state=TakeoverState.ENDED, then=then, ended_us=tx.now_us())


def over(tx: Tx, takeover: Takeover) -> None:
    """What follows has begun, or nothing does."""
    _set(tx, takeover.id, state=TakeoverState.OVER, nonce="")


def _current(tx: Tx, task: str) -> Takeover:
    return of_task(tx, task)[-1]


def _set(tx: Tx, takeover: int, **values: object) -> None:
    tx.connection.execute(update(takeovers).where(takeovers.c.id == takeover), values)

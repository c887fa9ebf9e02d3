"""Sessions and turns, the input for each process, and people's waiting messages.

Ids show the hierarchy: session ``t1.2`` is task t1's second, turn ``t1.2.3`` its third.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict, Unpack

from sqlalchemy import ColumnElement, bindparam, func, insert, select
from sqlalchemy import update as update_rows

from fleet.agent_events import TurnOutcome
from fleet.model import Isolation, PipeEnd, Session, TaskState, Turn, TurnCause
from fleet.ports import DriverState
from fleet.store import port_slots
from fleet.store.core import Tx
from fleet.store.queue_tables import reservations
from fleet.store.records import reader
from fleet.store.statements import ColumnChange, Statement, one_of
from fleet.store.tables import notes, sessions, tasks
from fleet.store.tables import turns as turns_table

_BY_ID = Statement(select(sessions).where(sessions.c.id == bindparam("id")))
_CHANGE = ColumnChange(update_rows(sessions).where(sessions.c.id == bindparam("key")).returning(*sessions.c))
_OF_TASK = Statement(select(sessions).where(sessions.c.task == bindparam("of")).order_by(sessions.c.number))
_ACTIVE = Statement(select(sessions).where(sessions.c.ended_us == 0).order_by(sessions.c.started_us, sessions.c.id))
SLOTLESS: Final = (TaskState.STALLED, TaskState.PARKED, TaskState.ASKING, TaskState.HELD)
"""A task in these states waits for a person, perhaps for days. No process runs, and its slot is free for others."""

_SLOTS = Statement(
    select(sessions.c.machine, sessions.c.agent, tasks.c.repo, tasks.c.requester)
    .join(tasks, tasks.c.id == sessions.c.task)
    .where(sessions.c.ended_us == 0, ~one_of(tasks.c.state, SLOTLESS))
    .union_all(
        select(reservations.c.machine, tasks.c.agent, tasks.c.repo, tasks.c.requester).join(
            tasks, tasks.c.id == reservations.c.task
        )
    )
)
_RESERVED_LOGINS = Statement(select(reservations.c.machine, reservations.c.login))
_ADD = Statement(insert(sessions))
_LAST = Statement(
    select(func.coalesce(func.max(sessions.c.number), 0).label("number")).where(sessions.c.task == bindparam("of"))
)
_NEXT_PIPE = Statement(
    update_rows(sessions)
    .where(sessions.c.id == bindparam("key"))
    .values(pipes=sessions.c.pipes + 1)
    .returning(sessions.c.pipes)
)
_TURN = Statement(select(turns_table).where(turns_table.c.id == bindparam("id")))
_OF_SESSION = select(turns_table).where(turns_table.c.session == bindparam("of")).order_by(turns_table.c.number)
_TURNS = Statement(_OF_SESSION)
_PIPE = select(sessions.c.pipe).where(sessions.c.id == bindparam("of")).scalar_subquery()
_FIRST_OF_PIPE = Statement(_OF_SESSION.where(turns_table.c.pipe == _PIPE).limit(1))
_ADD_TURN = Statement(insert(turns_table))
_CHANGE_TURN = ColumnChange(update_rows(turns_table).where(turns_table.c.id == bindparam("key")))
_WORDS_WAIT = Statement(
    select(notes.c.id)
    .join(sessions, sessions.c.id == notes.c.session)
    .where(sessions.c.task == bindparam("of"), notes.c.taken_us == 0)
    .limit(1)
)
_OPEN_NOTES = select(notes).where(notes.c.session == bindparam("of"), notes.c.taken_us == 0).order_by(notes.c.id)
_NOTES, _NOTES_UPTO = Statement(_OPEN_NOTES), Statement(_OPEN_NOTES.where(notes.c.id <= bindparam("upto")))


@dataclass(frozen=True, slots=True)
class Note:
    """A person's message to a session. ``actor`` is ``str(PersonId)``."""

    id: int
    text: str
    actor: str
    at_us: int


@dataclass(frozen=True, slots=True)
class SlotHeld:
    """Whose a slot is. ``person`` is ``str(PersonId)``."""

    machine: str
    agent: str
    repo: str
    person: str


class SessionFields(TypedDict, total=False):
    """What changes of a session."""

    conversation: str
    workspace: str
    pipe: str
    pipe_end: PipeEnd
    one_turn: bool
    nonce: str
    spool_offset: int
    driver_state: str
    resume: str
    ended_us: int
    seen_us: int
    port_slot: int
    boot: str


class TurnFields(TypedDict, total=False):
    """What changes of a turn."""

    claim: str
    snapshot: str
    tree: str
    started_us: int
    ended_us: int
    outcome: TurnOutcome
    error: str
    exit: str


_note = reader(Note)
_session = reader(Session)
_turn = reader(Turn)


def create_session(
    tx: Tx, *, task: str, machine: str, agent: str, base: str, isolation: Isolation, login: str = ""
) -> Session:
    """A task's next session; the conversation's UUID is made here."""
    number = _LAST.one(tx.connection, {"of": task}).number + 1
    row: dict[str, Any] = {
        "id": f"{task}.{number}",
        "task": task,
        "number": number,
        "machine": machine,
        "agent": agent,
        "base": base,
        **dict.fromkeys(("workspace", "pipe", "pipe_end", "nonce", "resume"), ""),
        **dict.fromkeys(("pipes", "spool_offset", "ended_us", "seen_us", "base_us"), 0),
        "isolation": str(isolation),
        "conversation": str(uuid.uuid4()),
        "one_turn": False,
        "driver_state": "{}",
        "started_us": tx.now_us(),
        "mark": secrets.token_hex(8),
        "login": login,
        "port_slot": port_slots.free(tx, machine),
    }
    _ADD.run(tx.connection, row)
    return session(tx, row["id"])


def session(tx: Tx, session_id: str) -> Session:
    """The session with this id. Raises ``KeyError`` when it does not exist."""
    if (row := _BY_ID.one(tx.connection, {"id": session_id})) is None:
        raise KeyError(session_id)
    return _session(row)


def of_ids(tx: Tx, ids: Sequence[str]) -> tuple[Session, ...]:
    """The sessions with these ids, in the ids' order; one that does not exist is left out."""
    found = {row.id: row for row in tx.connection.execute(select(sessions).where(sessions.c.id.in_(ids)))}
    return tuple(_session(found[session_id]) for session_id in ids if session_id in found)


def of_task(tx: Tx, task: str) -> list[Session]:
    """A task's sessions, oldest first."""
    return [_session(row) for row in _OF_TASK.all(tx.connection, {"of": task})]


def newest(tx: Tx, task: str) -> Session:
    """A task's last session."""
    return of_task(tx, task)[-1]


def at(tx: Tx, task: str) -> tuple[Session, Turn]:
    """A task's last session, and the last turn of that."""
    session = newest(tx, task)
    return session, turns(tx, session.id)[-1]


def active(tx: Tx) -> list[Session]:
    """Every session that has not ended, oldest first."""
    return [_session(row) for row in _ACTIVE.all(tx.connection, {})]


def slots_held(tx: Tx) -> list[SlotHeld]:
    """A row for each slot that a session has, or that is kept for a task which starts."""
    return [SlotHeld(*row) for row in _SLOTS.all(tx.connection, {})]


def busy(tx: Tx) -> dict[str, int]:
    """How many slots are held, by machine."""
    return dict(Counter(held.machine for held in slots_held(tx)))


def before_in_login(tx: Tx, session: Session) -> Session | None:
    """The last session that had this session's login before it."""
    query = (
        select(sessions)
        .where(sessions.c.machine == session.machine, sessions.c.login == session.login)
        .where(sessions.c.id != session.id, sessions.c.started_us <= session.started_us)
        .order_by(sessions.c.started_us.desc())
        .limit(1)
    )
    row = tx.connection.execute(query).one_or_none()
    return _session(row) if row else None


def logins_in_use(tx: Tx) -> dict[str, list[str]]:
    """By machine, the login of each session that has not ended, whether it holds a slot or waits for a person, and
    of each task that starts."""
    found: dict[str, list[str]] = {}
    for row in (*_ACTIVE.all(tx.connection, {}), *_RESERVED_LOGINS.all(tx.connection, {})):
        found.setdefault(row.machine, []).append(row.login)
    return found


def update(tx: Tx, session_id: str, **fields: Unpack[SessionFields]) -> Session:
    """Changes the given fields. Raises ``KeyError`` when the session does not exist."""
    values = {"key": session_id, **fields}
    if (row := _CHANGE.of(values).one(tx.connection, values)) is None:
        raise KeyError(session_id)
    return _session(row)


def rebase(tx: Tx, session_id: str, base: str, base_us: int) -> Session:
    """The session's work continues from another base, which was looked up at ``base_us``."""
    values = {"key": session_id, "base": base, "base_us": base_us}
    return _session(_CHANGE.of(values).one(tx.connection, values))


def reopen(tx: Tx, session_id: str) -> Session:
    """Opens a session that has ended, with ports that are free now. Raises ``KeyError`` when it does not exist."""
    slot = port_slots.free(tx, session(tx, session_id).machine)
    return update(tx, session_id, ended_us=0, port_slot=slot)


def next_pipe(tx: Tx, session_id: str) -> str:
    """The name of the session's next process, which no other has had: a store that was restored from a backup
    counts the same numbers again, and must not find the processes of before."""
    number = _NEXT_PIPE.one(tx.connection, {"key": session_id}).pipes
    return f"{tx.store.instance}-{session_id}-p{number}-{secrets.token_hex(8)}"


def dump_state(state: DriverState) -> str:
    """A driver's state as stored in ``Session.driver_state``."""
    return json.dumps(state, ensure_ascii=False, separators=(",", ":"))


def create_turn(tx: Tx, session: Session, cause: TurnCause, prompt: str) -> Turn:
    """The session's next turn, in the session's current pipe."""
    number = max((turn.number for turn in turns(tx, session.id)), default=0) + 1
    row: dict[str, Any] = {
        "id": f"{session.id}.{number}",
        "session": session.id,
        "pipe": _BY_ID.one(tx.connection, {"id": session.id}).pipe,
        "number": number,
        "cause": str(cause),
        "prompt": prompt,
        "claim": "",
        "snapshot": "",
        "tree": "",
        "started_us": tx.now_us(),
        "ended_us": 0,
        "outcome": "",
        "error": "",
        "exit": "",
    }
    _ADD_TURN.run(tx.connection, row)
    return turn(tx, row["id"])


def turn(tx: Tx, turn_id: str) -> Turn:
    """The turn with this id. Raises ``KeyError`` when it does not exist."""
    if (row := _TURN.one(tx.connection, {"id": turn_id})) is None:
        raise KeyError(turn_id)
    return _turn(row)


def turns(tx: Tx, session_id: str) -> list[Turn]:
    """A session's turns, oldest first."""
    return [_turn(row) for row in _TURNS.all(tx.connection, {"of": session_id})]


def pipes(tx: Tx, session_id: str) -> set[str]:
    """The processes that carried a session's turns."""
    return {row.pipe for row in _TURNS.all(tx.connection, {"of": session_id})}


def first_turn_of_pipe(tx: Tx, session_id: str) -> Turn:
    """The turn that the session's current process was started for."""
    return _turn(_FIRST_OF_PIPE.one(tx.connection, {"of": session_id}))


def update_turn(tx: Tx, turn_id: str, **fields: Unpack[TurnFields]) -> Turn:
    """Changes the given fields. Raises ``KeyError`` when the turn does not exist."""
    if _CHANGE_TURN.run(tx.connection, {"key": turn_id, **fields}) != 1:
        raise KeyError(turn_id)
    return turn(tx, turn_id)


def add_note(tx: Tx, session_id: str, text: str, actor: str) -> int:
    """Stores a person's message for the session until its flight takes it; returns the note's number."""
    row = {"session": session_id, "text": text, "actor": actor, "at_us": tx.now_us(), "taken_us": 0}
    return int(tx.connection.execute(insert(notes).returning(notes.c.id), row).scalar_one())


def waiting_notes(tx: Tx, session_id: str, upto: int | None = None) -> list[Note]:
    """The waiting messages, oldest first, up to the note ``upto`` if given."""
    if upto is None:
        found = _NOTES.all(tx.connection, {"of": session_id})
    else:
        found = _NOTES_UPTO.all(tx.connection, {"of": session_id, "upto": upto})
    return [_note(row) for row in found]


def take_notes(tx: Tx, session_id: str, upto: int | None = None) -> list[Note]:
    """Like :func:`waiting_notes`, but each is returned only once."""
    found = waiting_notes(tx, session_id, upto)
    if found:
        tx.connection.execute(update_rows(notes).where(_waiting(session_id, upto)), {"taken_us": tx.now_us()})
    return found


def words_wait(tx: Tx, task: str) -> bool:
    """Whether an agent of this task still has to read a person's message."""
    return _WORDS_WAIT.one(tx.connection, {"of": task}) is not None


def _waiting(session_id: str, upto: int | None) -> ColumnElement[bool]:
    waiting = (notes.c.session == session_id) & (notes.c.taken_us == 0)
    return waiting if upto is None else waiting & (notes.c.id <= upto)

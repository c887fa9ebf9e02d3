"""Two sources of one session, call by call: the stream that the controller read, and the agent's own session file.

Both are testimony, and so is what differs between them. Where they differ, an event says how; a call that only one
of them has is said too. Each is said once, however often the file is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import insert, select

from fleet.agent_events import ToolOutcome
from fleet.events import CallDisputed, CallUnobserved, Event, Refs, Source, ToolCallEnded, ToolCallStarted
from fleet.figures import UNFINISHED
from fleet.imports import Fact, ImportedAgent, key_of
from fleet.model import AIRBOSS
from fleet.store import ledger, rollups
from fleet.store.core import Tx
from fleet.store.figure_tables import imported
from fleet.store.ledger import Entry
from fleet.store.tables import sessions

NOT_THERE = "not there"
_TOOL, _OUTCOME, _CALL = "tool", "outcome", "call"


@dataclass(slots=True)
class Watched:
    """A session that this controller ran: what its stream said of each call, its tool and how it ended."""

    refs: Refs
    ended: bool
    calls: dict[str, list[str]] = field(default_factory=dict)


def watched(tx: Tx, conversations: Iterable[str]) -> dict[str, Watched]:
    """Those among these conversations that this controller ran itself."""
    query = select(sessions.c.id, sessions.c.task, sessions.c.machine, sessions.c.resume, sessions.c.ended_us)
    found: dict[str, Watched] = {}
    for row in tx.connection.execute(query.where(sessions.c.resume.in_(set(conversations)))).all():
        seen = Watched(Refs(task=row.task, session=row.id, machine=row.machine), bool(row.ended_us))
        seen = found.setdefault(row.resume, seen)
        after = 0
        while page := ledger.read(tx, after, kinds=(ToolCallStarted.KIND, ToolCallEnded.KIND), task=row.task):
            after = page[-1].seq
            for each in page:
                if each.refs.session != row.id or each.source is not Source.AGENT:
                    continue
                if isinstance(each.event, ToolCallStarted):
                    seen.calls.setdefault(each.event.call, [each.event.tool, UNFINISHED])
                elif isinstance(each.event, ToolCallEnded):
                    seen.calls.setdefault(each.event.call, ["", UNFINISHED])[1] = each.event.outcome
    return found


def compare(
    tx: Tx, agent: ImportedAgent, facts: Sequence[Fact], known: dict[str, Watched], since_us: int = 0
) -> None:
    """Records where the file says something else than the stream, and the calls that the stream never had.

    A call before ``since_us``, by the file's clock, is not expected in the stream.
    """
    noted = _Noted(tx)
    for fact in facts:
        seen, event = known.get(fact.conversation), fact.event
        if seen is None or not isinstance(event, ToolCallStarted | ToolCallEnded):
            continue
        stream = seen.calls.get(event.call)
        if stream is None:
            if isinstance(event, ToolCallStarted) and fact.time_us >= since_us:
                noted.note(seen.refs, event.call, _CALL, CallUnobserved(event.call, event.tool, "only in the file"))
            continue
        noted.mark(seen.refs.session, event.call)
        if isinstance(event, ToolCallStarted):
            # Codex names a tool otherwise in its files.
            if agent is ImportedAgent.CLAUDE and stream[0] and stream[0] != event.tool:
                noted.differ(seen.refs, event.call, _TOOL, stream[0], event.tool)
        elif _ends_otherwise(agent, stream[1], event.outcome) and (seen.ended or stream[1] != UNFINISHED):
            noted.differ(seen.refs, event.call, _OUTCOME, stream[1], event.outcome)
    noted.write()


def _ends_otherwise(agent: ImportedAgent, stream: str, file: str) -> bool:
    """A denial of ours is in a file of Claude Code's a failure with our words."""
    ours = agent is ImportedAgent.CLAUDE and (stream, file) == (ToolOutcome.DENIED, ToolOutcome.FAILED)
    return stream != file and not ours


def missing(tx: Tx, conversations: Iterable[str]) -> None:
    """Records the calls of ended sessions that the stream had and the file, which was read whole, has not."""
    noted = _Noted(tx)
    for seen in watched(tx, conversations).values():
        if seen.ended:
            there = noted.marked(seen.refs.session, seen.calls)
            for call, (tool, _) in seen.calls.items():
                if call not in there:
                    noted.differ(seen.refs, call, _CALL, tool, NOT_THERE)
    noted.write()


def found(tx: Tx, session: str, calls: Iterable[str]) -> set[str]:
    """Those among these calls of a session's stream that a file has too."""
    return _Noted(tx).marked(session, calls)


def without_start(tx: Tx, session: str, events: Sequence[Event]) -> list[CallUnobserved]:
    """The calls among these new events of a stream that end and never started."""
    started, ended = set[str](), list[str]()
    for event in events:
        if isinstance(event, ToolCallStarted):
            started.add(event.call)
        elif isinstance(event, ToolCallEnded) and event.call not in started:
            ended.append(event.call)
    return [
        CallUnobserved(call, "", "an end without a start")
        for call in dict.fromkeys(ended)
        if not rollups.is_open(tx, session, call)
    ]


class _Noted:
    """What is to be recorded once; keys are kept beside those of imported facts."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._marks: list[str] = []
        self._entries: dict[str, Entry] = {}

    def mark(self, session: str, call: str) -> None:
        """The file has this call of the stream."""
        self._marks.append(_key("both", session, call))

    def marked(self, session: str, calls: Iterable[str]) -> set[str]:
        """The calls among these that a file had."""
        keys = {_key("both", session, call): call for call in calls}
        return {keys[key] for key in self._known(list(keys))}

    def differ(self, refs: Refs, call: str, part: str, stream: str, file: str) -> None:
        """The two sources differ in this part."""
        self.note(refs, call, part, CallDisputed(call, part, stream, file))

    def note(self, refs: Refs, call: str, part: str, event: Event) -> None:
        """Says this, unless it was said before."""
        entry = Entry(event, AIRBOSS, Source.AGENT, refs)
        self._entries.setdefault(_key("note", refs.session, call, part), entry)

    def write(self) -> None:
        """Appends what is new."""
        known = self._known([*self._entries, *self._marks])
        fresh = {key: entry for key, entry in self._entries.items() if key not in known}
        keys = [key for key in dict.fromkeys([*fresh, *self._marks]) if key not in known]
        if keys:
            self._tx.connection.execute(insert(imported), [{"key": key} for key in keys])
        ledger.append_all(self._tx, fresh.values())

    def _known(self, keys: Sequence[str]) -> set[str]:
        found = set[str]()
        for at in range(0, len(keys), 500):
            part = keys[at : at + 500]
            found |= set(
                self._tx.connection.execute(select(imported.c.key).where(imported.c.key.in_(part))).scalars()
            )
        return found


def _key(*parts: str) -> str:
    return key_of("reconciled", *parts)

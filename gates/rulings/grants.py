"""A person's permission for the rest of a session: for the identical tool, arguments and directory only.

It is kept in the ledger; this copy in memory follows it, so that a ruling needs no transaction.
"""

from __future__ import annotations

import hashlib
from typing import Final

from fleet.agent_events import Asked
from fleet.events import PermissionGranted, Recorded, Refs, Source
from fleet.model import PersonId, Session
from fleet.store import ledger, sessions
from fleet.store.approvals import Approval
from fleet.store.core import Store, Tx
from gates.people import NamesPeople, Right, may, who

_MOST: Final = 10_000
"""The most grants of one task that are loaded again; beyond that, the agent asks again."""


def scope_of(tool: str, request: str, directory: str) -> str:
    """The digest of what a permission covers."""
    parts = (part.encode("utf-8", "surrogatepass") for part in (tool, request, directory))
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()


def grant(tx: Tx, asked: Approval, actor: str) -> None:
    """Records a person's permission for the rest of the session that asked."""
    event = PermissionGranted(asked.id, asked.tool, scope_of(asked.tool, asked.request, asked.directory))
    refs = Refs(task=asked.task, session=asked.session)
    ledger.append(tx, event, actor=actor, source=Source.PERSON, refs=refs)


class Grants:
    """The permissions by session. Call :meth:`load` once; then it stays current."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str], set[str]] = {}
        store.observe(self._observe)
        store.hear(self._take)

    async def load(self) -> None:
        """Loads permissions given before this process started, to sessions that have not ended."""
        for recorded in await self._store.read(_granted):
            self._take(recorded)

    def cover(self, session: Session, asked: Asked, config: NamesPeople) -> bool:
        """Whether somebody who still may allow it allowed exactly this for the whole session."""
        directory = asked.directory or session.workspace
        actors = self._known.get((session.id, scope_of(asked.tool, asked.request, directory)), set())
        return any(may(who(config, PersonId.parse(actor)), Right.APPROVE) for actor in actors)

    def _observe(self, tx: Tx, recorded: Recorded) -> None:
        if isinstance(recorded.event, PermissionGranted):
            tx.after_commit(lambda: self._take(recorded))

    def _take(self, recorded: Recorded) -> None:
        if isinstance(recorded.event, PermissionGranted):
            key = recorded.refs.session, recorded.event.scope_sha256
            self._known.setdefault(key, set()).add(recorded.actor)


def _granted(tx: Tx) -> list[Recorded]:
    tasks = sorted({session.task for session in sessions.active(tx)})
    kinds = (PermissionGranted.KIND,)
    return [recorded for task in tasks for recorded in ledger.read(tx, limit=_MOST, kinds=kinds, task=task)]

"""The terminals of people who work by hand in agents' sessions."""

from __future__ import annotations

from fleet.errors import Refused
from fleet.flight.services import MachineLogins
from fleet.machines.hand_terminal import HandTerminal
from fleet.model import Session
from fleet.store import sessions, takeovers
from fleet.store.core import Store, Tx
from fleet.store.takeovers import Takeover


class Hands:
    """One terminal for each task: it knows how much was typed and shown."""

    def __init__(self, store: Store, executors: MachineLogins) -> None:
        self._store, self._executors = store, executors
        self._known: dict[str, tuple[str, HandTerminal]] = {}

    async def terminal(self, task_id: str) -> HandTerminal:
        """That of the person who has the task in hand. Raises ``Refused`` when nobody has."""

        def read(tx: Tx) -> tuple[Takeover, Session] | None:
            found = takeovers.current(tx, task_id)
            return None if found is None or not found.pipe else (found, sessions.session(tx, found.session))

        found = await self._store.read(read)
        if found is None:
            raise Refused(attempted="attach", on=task_id, cause="the work by hand is over")
        takeover, session = found
        pipe, known = self._known.get(task_id, ("", None))
        if known is None or pipe != takeover.pipe:
            executor = self._executors.agent(session.machine, session.login)
            known = HandTerminal(executor, takeover.pipe, takeover.nonce)
            self._known[task_id] = takeover.pipe, known
        return known

"""How several controllers divide the tasks of one store: who leads which, and what they tell each other.

The coordinator, which holds the leadership, places tasks and leads those that have not started. In the transaction
that starts a task it gives it to the controller that leads the fewest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from fleet.flight.slot_line import SlotLine
from fleet.landing.queue import LandingQueue
from fleet.model import Task
from fleet.store import leads, pool_slots, sessions, tasks
from fleet.store.controllers import RunsOn
from fleet.store.core import Store, Tx
from fleet.store.leads import Lead
from fleet.store.notices import Notices, Topic

_PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Led:
    """A task to run here. ``lead``: what its writes depend on; ``None``: it has not started."""

    task: Task
    lead: Lead | None


@dataclass(slots=True)
class SharedFleet:
    """This controller's part in it. ``runs_on``: what is in force here; others with the same get tasks.
    ``coordinates``: it holds the leadership. ``paused``: it runs none of its tasks now. ``patience``: for so many
    seconds after it could not reach the store, others that could not either may still renew."""

    notices: Notices
    instance: str
    runs_on: Callable[[], RunsOn]
    coordinates: bool
    paused: bool = False
    patience: float = _PATIENCE_S
    _trusted: float = field(default=0.0, init=False)

    def begin(self) -> None:
        """The store answers again, or for the first time: silence before now says nothing."""
        self._trusted = time.monotonic() + self.patience

    def connect(self, slots: SlotLine, landing: LandingQueue, wake: Callable[[str], None]) -> None:
        """From now on these hear of what happens in other controllers, and tell them. ``wake``: about a task, or
        about any without an id."""
        notices = self.notices
        notices.hear(Topic.TASK, lambda key, _: wake(key))
        notices.hear(Topic.LEADS, lambda key, _: wake(""))
        notices.hear(Topic.LANDING, lambda key, _: landing.heard(key))
        notices.hear(Topic.RETURNING, lambda key, origin: slots.elsewhere(origin, _counts(key)))
        landing.tells(lambda repo: notices.tell_soon(Topic.LANDING, repo))
        slots.tells(lambda counts: notices.tell_soon(Topic.RETURNING, json.dumps(counts)))

    def tell(self, task: str) -> None:
        """Tells the others that something about a task changed."""
        self.notices.tell_soon(Topic.TASK, task)

    # --- tasks --------------------------------------------------------------------------------------------

    def hand_on(self, tx: Tx, task: str) -> None:
        """A task starts in this transaction: it gets its leader."""
        self._give(tx, task, self._able(tx))
        self.notices.tell(tx, Topic.LEADS)

    def give_back(self, tx: Tx) -> None:
        """Gives back all its tasks, whose flights have ended."""
        leads.give_back(tx, self.instance)
        self.notices.tell(tx, Topic.LEADS)

    async def led(self, store: Store) -> list[Led]:
        """The tasks to run here now, oldest first."""
        if self.paused:
            return []
        if self.coordinates and await store.read(self._unsettled):
            await store.write(self._settle)
        return await store.read(lambda tx: list(self._mine(tx)))

    def leads(self, tx: Tx, task: str, lead: Lead | None) -> bool:
        """Whether a task that runs here is still this controller's."""
        return leads.of_task(tx, task) == lead

    def _mine(self, tx: Tx) -> Iterable[Led]:
        every = leads.every(tx)
        for task in tasks.unfinished(tx):
            lead = every.get(task.id)
            if lead.controller == self.instance if lead is not None else self.coordinates:
                yield Led(task, lead)

    def _able(self, tx: Tx) -> list[str]:
        """Who can get a task: the others first, since the coordinator has other work too."""
        return [*leads.members(tx, self.runs_on()), self.instance]

    def _give(self, tx: Tx, task: str, able: list[str]) -> None:
        """A slot of a pool is reached by who keeps the pool: the coordinator."""
        found = sessions.of_task(tx, task)
        of_a_pool = bool(found) and found[-1].machine in {slot.slot for slot in pool_slots.open_slots(tx)}
        leads.give(tx, task, [self.instance] if of_a_pool else able)

    def _silent(self, tx: Tx) -> list[str]:
        if time.monotonic() < self._trusted:
            return []
        return [instance for instance, runs in leads.present(tx).items() if not runs]

    def _there(self, tx: Tx) -> set[str]:
        """Whose tasks are left to them: everybody who was not put out."""
        return {self.instance, *leads.present(tx)} - set(self._silent(tx))

    def _unsettled(self, tx: Tx) -> bool:
        return bool(self._silent(tx) or leads.homeless(tx, self._there(tx)) or leads.over(tx))

    def _settle(self, tx: Tx) -> None:
        """Puts out who is silent, and gives everybody's tasks that are led by nobody."""
        leads.tidy(tx)
        for instance in self._silent(tx):
            leads.put_out(tx, instance)
        there = self._there(tx)
        for instance in {lead.controller for lead in leads.homeless(tx, there)} - {""}:
            leads.put_out(tx, instance)  # it led the fleet before
        able = self._able(tx)
        for lead in leads.homeless(tx, there):
            self._give(tx, lead.task, able)
        self.notices.tell(tx, Topic.LEADS)


def _counts(key: str) -> dict[str, int]:
    """What another controller told; nothing where another program said something else."""
    try:
        return msgspec.json.decode(key, type=dict[str, int])
    except msgspec.DecodeError:
        return {}

"""Cards about locks: what a task was refused and who holds it, and a lock that is held without progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bot import words
from bot.cards import Action, Card, Tone, line, one_line
from bot.outbox.posting import Outbox
from bot.telling import sounds
from fleet.config import FleetConfig
from fleet.errors import Misused
from fleet.events import LocksRefused, LocksReleased, Recorded
from fleet.locks import Hold, Lock, LockCause, Resource, Want
from fleet.model import ENDS, Task, TaskState
from fleet.store import ledger, locks, recent, tasks
from fleet.store.chat import cards as card_rows
from fleet.store.core import Tx

LONG_US: Final = 30 * 60_000_000
"""A running task that holds a lock and shows nothing new for so long is shown to its requester."""

EVERY_SECONDS: Final = 60.0
_NAMED: Final = 3


def key(task: str, refused: LocksRefused) -> str:
    """One card for a task and whoever is in its way."""
    return f"locked:{task}:{refused.by}"


def is_first(tx: Tx, recorded: Recorded) -> bool:
    """Whether this holder has not refused the task anything before."""
    assert isinstance(recorded.event, LocksRefused)
    before = ledger.read(tx, kinds=(LocksRefused.KIND,), task=recorded.refs.task, upto=recorded.seq - 1)
    return all(isinstance(item.event, LocksRefused) and item.event.by != recorded.event.by for item in before)


def refused_card(tx: Tx, task: Task, refused: LocksRefused, name: Callable[[str], str], base: str) -> Card:
    """Who holds what a task wanted, with what a person can do about it."""
    holder = holding_task(tx, refused)
    then = (
        f"{task.agent} was told, and works on other files."
        if refused.cause == LockCause.TOUCHED
        else f"{task.agent} was told to undo that."
    )
    doing = (line(f"{holder.id}: ", one_line(holder.prompt, 80)),) if holder is not None else ()
    return Card(
        line(f"{task.id} · ", one_line(refused.by, 30), " holds ", one_line(_path(refused), 60)),
        (*doing, line(then)),
        actions=ways_out(tx, task, refused, name),
        footer=base,
        tone=Tone.WAITING,
    )


def waited_card(task: Task, ended: LocksReleased, base: str) -> Card:
    """A task waited for so long that others may change what it changed."""
    named = ", ".join(Resource.parse(name).name for name in ended.resources[:_NAMED])
    return Card(
        line(f"{task.id} · its locks were released: it waits too long"),
        (line(one_line(named, 80)), line("They are taken again before it lands; what changed is judged again.")),
        footer=base,
        tone=Tone.WAITING,
    )


def broken_card(task: Task, ended: LocksReleased, who: str, base: str) -> Card:
    """Somebody else took a task's locks away."""
    named = ", ".join(Resource.parse(name).name for name in ended.resources[:_NAMED])
    more = f" +{len(ended.resources) - _NAMED}" if len(ended.resources) > _NAMED else ""
    return Card(
        line(f"{task.id} · {who} took its locks away"),
        (
            line(one_line(named, 80), more),
            line("Reason: ", one_line(ended.reason, 120)),
            line("It goes on. What others change there meanwhile comes first."),
        ),
        footer=base,
        tone=Tone.WAITING,
    )


def ways_out(tx: Tx, task: Task, refused: LocksRefused, name: Callable[[str], str]) -> tuple[Action, ...]:
    """Ask whoever asked for the holder; or stop, and start again once the holder is done."""
    holder = holding_task(tx, refused)
    queue = Action(f"Queue behind {refused.by[:20]}", f"/retry {task.id} behind")
    if holder is None or holder.state in ENDS:
        return (queue,)
    return Action(f"Ask {name(holder.requester)[:20]}", f"/locks ask {task.id} {holder.id}"), queue


def last_refusal(tx: Tx, task: str) -> LocksRefused | None:
    """The last thing that a task was refused."""
    found = recent.last_events(tx, 1, kinds=(LocksRefused.KIND,), task=task)
    return next((item.event for item in found if isinstance(item.event, LocksRefused)), None)


def refused_wants(tx: Tx, task: str) -> tuple[Want, ...]:
    """What a task was refused, to be locked before it starts again."""
    found = recent.last_events(tx, _NAMED, kinds=(LocksRefused.KIND,), task=task)
    refused = [item.event for item in found if isinstance(item.event, LocksRefused)]
    return tuple(dict.fromkeys(Want(Resource.parse(name)) for event in refused for name in event.resources))


def holding_task(tx: Tx, refused: LocksRefused) -> Task | None:
    """The task in the way; ``None`` when a person's command holds it."""
    try:
        return tasks.find(tx, refused.by) if refused.by.startswith("t") else None
    except Misused:
        return None


def asked_card(asking: Task, holder: Task, refused: LocksRefused | None, who: str) -> Card:
    """For whoever asked for the holder: somebody waits for it."""
    what = one_line(_path(refused), 80) if refused is not None else "what it holds"
    return Card(
        line(f"{who} asks: {asking.id} needs what {holder.id} holds"),
        (line(what), line(f"{asking.id}: ", one_line(asking.prompt, 80))),
        actions=(
            Action("Diff", f"/diff {holder.id}", once=False),
            Action("Unlock", f"/unlock {holder.id} asked for by {who}"),
        ),
        tone=Tone.WAITING,
        mention=holder.requester,
    )


def _path(refused: LocksRefused) -> str:
    held = refused.held or next(iter(refused.resources), "")
    return Resource.parse(held).name if held else "it"


@dataclass(frozen=True, slots=True)
class StuckLocks:
    """Shows each hold once whose running task holds locks and has shown nothing new for a long time."""

    outbox: Outbox
    config: Callable[[], FleetConfig]
    long_us: int = LONG_US

    async def look(self) -> None:
        """Posts what is due."""
        if await self.outbox.store.read(self._stuck):
            await self.outbox.store.write(self._tell)

    def _tell(self, tx: Tx) -> None:
        posts = self.outbox.open(tx)
        for hold, task, since_us in self._stuck(tx):
            card = _stuck_card(task, locks.of_hold(tx, hold.id), tx.now_us() - since_us)
            shown = sounds.titled(task, card)
            sounds.post(posts, self.config(), task.origin, shown, key=_stuck_key(hold), task=task.id)

    def _stuck(self, tx: Tx) -> list[tuple[Hold, Task, int]]:
        """Holds of running tasks without progress that were not shown yet, with the time of the last progress."""
        found = []
        for hold in locks.open_holds(tx):
            task = tasks.task(tx, hold.task) if hold.task else None
            if task is None or task.state is not TaskState.RUNNING:
                continue
            last = max([hold.since_us, *(item.time_us for item in recent.last_events(tx, 1, task=task.id))])
            if tx.now_us() - last > self.long_us and card_rows.at(tx, _stuck_key(hold), task.origin) is None:
                found.append((hold, task, last))
        return found


def _stuck_key(hold: Hold) -> str:
    return f"stuck:{hold.id}"


def _stuck_card(task: Task, held: Sequence[Lock], quiet_us: int) -> Card:
    named = ", ".join(lock.resource.name for lock in held[:_NAMED])
    more = f" +{len(held) - _NAMED:,}" if len(held) > _NAMED else ""
    return Card(
        line(f"{task.id} holds a lock and shows no progress"),
        (line(one_line(named, 80), more), line(f"Nothing new from it for {words.duration(quiet_us)}.")),
        actions=(
            Action("Log", f"/logs {task.id}", once=False),
            Action("Unlock", f"/unlock {task.id} no progress"),
            Action("Stop", f"/stop {task.id}"),
        ),
        tone=Tone.WAITING,
        mention=task.requester,
    )

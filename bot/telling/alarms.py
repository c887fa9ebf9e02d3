"""Tells the admins, each in their own chat, what is wrong with the fleet itself. Each cause has one card, which
changes when it is over.

A cause makes a sound when it begins. One that comes back within an hour changes its card and makes none.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bot import words
from bot.cards import Action, Card, Tone, footed, line, one_line
from bot.health import CHAT, ControllerHealth
from bot.outbox.closed import WHY
from bot.outbox.posting import Outbox, Posts
from bot.telling import direct, sounds
from fleet.config import FleetConfig
from fleet.config.home import FLEET_FILE
from fleet.errors import Malformed
from fleet.flight.lacking import FOR_REPOSITORY
from fleet.machines.watch import MachineSeen
from fleet.model import ENDS
from fleet.ports import Clock
from fleet.store import base_tips, tasks
from fleet.store.at_work import at_work
from fleet.store.chat import cards as card_rows
from fleet.store.chat import settings
from fleet.store.chat.unheard import Unheard, unheard
from fleet.store.core import Tx
from gates.people import Right, own_change_default_turned

EVERY_SECONDS: Final = 20.0
_AGAIN_US: Final = 3_600_000_000
_AWAY_US: Final = 60_000_000
_OPEN: Final = "alarm:"
"""Prefix of the settings that hold the open alarms, by cause: what each says. Also of their cards' keys."""
_SHUT: Final = "shut:"
"""Prefix of the keys of the cards that tell whose tasks wait on a machine."""
_NAMED: Final = 3
_OTHERS: Final = "told:self-approval"
"""The setting that says when admins were told that somebody else releases what they asked for."""

_LEAST_FREE: Final = 2 << 30
"""Bytes of free disk below which the admins are told."""


@dataclass(frozen=True, slots=True)
class FleetAlarm:
    """Something that is wrong now. ``cause`` is its name: one card each; ``why`` may be empty. ``shut``: the
    machine that does not let us in, so that what runs there waits for a person."""

    cause: str
    title: str
    why: str = ""
    actions: tuple[Action, ...] = ()
    shut: str = ""


@dataclass(frozen=True, slots=True)
class Causes:
    """What is wrong now, from everything that the controller knows. ``free``: bytes of free disk; ``full``: those
    of machines where nothing new starts."""

    health: ControllerHealth
    machines: Callable[[], Mapping[str, MachineSeen]]
    clock: Clock
    home: Path
    free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    full: Mapping[str, int] = field(default_factory=dict)

    def __call__(self) -> list[FleetAlarm]:
        """One for each cause."""
        found = [*self._of_controller(), *self._of_machines()]
        free = self.free(self.home)
        if free < _LEAST_FREE:
            found.append(FleetAlarm("disk", "The controller's disk is almost full", f"{free >> 20:,} MiB are free"))
        return found

    def _of_controller(self) -> Iterator[FleetAlarm]:
        for cause, why in self.health.causes().items():
            yield FleetAlarm(cause, _title_of(cause), why)

    def _of_machines(self) -> Iterator[FleetAlarm]:
        for name, seen in self.machines().items():
            if seen.state.is_bad and self.clock.now_us() - seen.bad_us >= _AWAY_US:
                shut = name if seen.refused else ""
                title = f"{name} is {seen.state.value}"
                yield FleetAlarm(f"machine {name}", title, _what_and_how(seen), shut=shut)
        for name, free in self.full.items():
            why = f"{free >> 20:,} MiB are free. All safe worktrees were reclaimed. Nothing new starts there."
            yield FleetAlarm(f"disk {name}", f"The disk of {name} is almost full", why)


def _what_and_how(seen: MachineSeen) -> str:
    return f"{seen.why}: {seen.hint}" if seen.why and seen.hint else seen.why


@dataclass(frozen=True, slots=True)
class Alarms:
    """``causes`` returns what is wrong now; ``direct_on`` are the platforms where an admin has a private chat."""

    outbox: Outbox
    config: Callable[[], FleetConfig]
    causes: Callable[[], list[FleetAlarm]]
    direct_on: Collection[str]

    async def look(self) -> None:
        """Posts what began, edits what is over or became something else, in one transaction; writes nothing if
        nothing of that happened."""
        known, found = await self.outbox.store.read(lambda tx: (_open_alarms(tx), self._in_the_store(tx)))
        now = {alarm.cause: alarm for alarm in (*self.causes(), *found)}
        if known != {cause: alarm.title for cause, alarm in now.items()}:
            await self.outbox.store.write(lambda tx: self._tell(tx, now))
        if own_change_default_turned(self.config()) and not await self.outbox.store.read(_knows_of_others):
            await self.outbox.store.write(self._tell_of_others)

    def _in_the_store(self, tx: Tx) -> list[FleetAlarm]:
        """What is wrong according to the store."""
        lost = [each for adapter in self.direct_on for each in unheard(tx, adapter)]
        return [*_in_the_store(tx), *filter(None, (_unheard(self.config(), each) for each in lost))]

    def _tell_of_others(self, tx: Tx) -> None:
        """Once: from now on somebody else releases what an admin asked for."""
        settings.put(tx, _OTHERS, str(tx.now_us()))
        posts = self.outbox.open(tx)
        lines = (
            line("There are two admins or more: nobody releases or overrides a change that they asked for."),
            line("self_approval = true in fleet.toml allows it."),
        )
        for admin in direct.recipients(tx, self.config(), Right.MANAGE, self.direct_on):
            card = Card(line("Your own changes need somebody else now"), lines)
            direct.post(posts, self.config(), admin, card, key=_OTHERS)

    def _tell(self, tx: Tx, now: Mapping[str, FleetAlarm]) -> None:
        posts, known = self.outbox.open(tx), _open_alarms(tx)
        silent = {cause.removeprefix(CHAT) for cause in now if cause.startswith(CHAT)}
        for cause in now.keys() - known.keys():
            settings.put(tx, _OPEN + cause, now[cause].title)
            self._begin(posts, now[cause], silent)
        for cause in now.keys() & known.keys():
            if known[cause] != now[cause].title:
                settings.put(tx, _OPEN + cause, now[cause].title)
                self._change(posts, now[cause])
        for cause in known.keys() - now.keys():
            settings.put(tx, _OPEN + cause, "")
            self._end(posts, cause)

    def _admins(self, tx: Tx, silent: set[str]) -> list[direct.Recipient]:
        """Each once, where a platform that answers reaches them; else where they will read it later."""
        config = self.config()
        now = direct.recipients(tx, config, Right.MANAGE, set(self.direct_on) - silent)
        names = {admin.name for admin in now}
        later = direct.recipients(tx, config, Right.MANAGE, self.direct_on)
        return now + [admin for admin in later if admin.name not in names]

    def _begin(self, posts: Posts, alarm: FleetAlarm, silent: set[str]) -> None:
        tx, key = posts.tx, _OPEN + alarm.cause
        for admin in self._admins(tx, silent):
            card = self._card(tx, alarm, admin.id)
            if tx.now_us() - card_rows.posted_at(tx, key, admin.chat) < _AGAIN_US:
                posts.repost(admin.chat, card, key=key)
            else:
                direct.post(posts, self.config(), admin, card, key=key)
        self._tell_owners(posts, alarm)

    def _tell_owners(self, posts: Posts, alarm: FleetAlarm) -> None:
        """Tells each chat, once, which of its tasks wait on a machine that does not let us in: they keep their
        slots there until a person acts."""
        tx, config, key = posts.tx, self.config(), _SHUT + alarm.shut
        waiting = [tasks.task(tx, session.task) for session in at_work(tx, alarm.shut)] if alarm.shut else []
        for chat in dict.fromkeys(task.origin for task in waiting):
            mine = [task for task in waiting if task.origin == chat and task.state not in ENDS]
            if not mine or card_rows.at(tx, key, chat) is not None:
                continue
            ids = words.some((task.id for task in mine), _NAMED)
            card = Card(
                line(f"⚠ {alarm.title}: {ids} {'waits' if len(mine) == 1 else 'wait'}"),
                (
                    line(one_line(alarm.why, 240)),
                    line("Agents may go on there. Their output arrives once it lets us in."),
                    line("Start again is elsewhere, from the base; /stop TASK ends one."),
                ),
                actions=tuple(
                    Action(f"Start {task.id} again", f"/retry {task.id}")
                    for task in mine[:_NAMED]
                    if not task.machine
                ),  # one that asked for this machine would be refused
                footer=footed(config.isolation),
                tone=Tone.WAITING,
                mention=mine[0].requester,
            )
            sounds.post(posts, config, chat, card, key=key)

    def _change(self, posts: Posts, alarm: FleetAlarm) -> None:
        """The same cause is something else now: a machine that was away gives faulty answers. No second sound."""
        for posted in card_rows.by_key(posts.tx, _OPEN + alarm.cause):
            if posted.card_json:
                reader = Card.from_json(posted.card_json).mention
                posts.repost(posted.chat, self._card(posts.tx, alarm, reader), key=posted.key)
        self._tell_owners(posts, alarm)

    def _card(self, tx: Tx, alarm: FleetAlarm, reader: str) -> Card:
        why = (line(one_line(alarm.why, 240)),) if alarm.why else ()
        since = line(f"Since {words.day(tx.now_us(), sounds.zone_of(tx, self.config(), reader))}.")
        title = line("⚠ ", alarm.title)
        return Card(title, (*why, since), actions=alarm.actions, tone=Tone.BAD, mention=reader)

    def _end(self, posts: Posts, cause: str) -> None:
        tx = posts.tx
        for posted in card_rows.by_key(tx, _OPEN + cause):
            if posted.card_json:
                card = Card.from_json(posted.card_json)
                zone = sounds.zone_of(tx, self.config(), card.mention)
                over = line(f"Over since {words.day(tx.now_us(), zone)}.")
                title = line("✓ ", *card.title[1:])
                posts.repost(posted.chat, Card(title, (*card.lines, over), tone=Tone.GOOD), key=posted.key)
        machine = cause.removeprefix("machine ")
        for posted in card_rows.by_key(tx, _SHUT + machine):
            aside = card_rows.set_aside(tx, posted)  # the next time is told anew
            posts.repost(posted.chat, Card(line(f"✓ {machine} answers again"), tone=Tone.GOOD), key=aside)


def _title_of(cause: str) -> str:
    if cause == FLEET_FILE:
        return "fleet.toml is invalid"
    if cause.startswith(CHAT):
        return f"{cause.removeprefix(CHAT).capitalize()} cannot be reached"
    return "A component failed"


def _unheard(config: FleetConfig, found: Unheard) -> FleetAlarm | None:
    """Somebody who still has rights does not hear what waits for them: they blocked the bot, or it was removed."""
    try:
        name = sounds.known_as(config, Card.from_json(found.card_json).mention)
    except Malformed:
        return None
    if not name or found.why == WHY:
        return None
    chat, platform = found.chat, found.chat.adapter.capitalize()
    title = f"What waits for {name} does not reach them"
    return FleetAlarm(f"unheard {chat.adapter} {chat.chat}", title, f"{platform}: {found.why}")


def _in_the_store(tx: Tx) -> list[FleetAlarm]:
    """Of repositories, what is wrong according to the store."""
    since = tx.now_us() - _AWAY_US
    waiting = {
        task.repo: task.why
        for task in tasks.open_tasks(tx)
        if task.why.startswith(FOR_REPOSITORY) and task.updated_us <= since
    }
    return [*map(_stopped, base_tips.stopped(tx).items()), *map(_waiting, waiting.items())]


def _waiting(found: tuple[str, str]) -> FleetAlarm:
    """Tasks that have begun cannot go on with their repository as it is."""
    repo, why = found
    title = f"Tasks in {repo} wait until you correct it"
    return FleetAlarm(f"repository {repo}", title, why.removeprefix(FOR_REPOSITORY))


def _stopped(found: tuple[str, str]) -> FleetAlarm:
    """Landings stopped because somebody else moved the branch: a question to the admins, asked once."""
    repo, why = found
    go_on = Action("Go on", f"/resume {repo}")
    return FleetAlarm(f"landings {repo}", f"Nothing lands in {repo} until you say so", why, (go_on,))


def _knows_of_others(tx: Tx) -> bool:
    return bool(settings.get(tx, _OTHERS))


def _open_alarms(tx: Tx) -> dict[str, str]:
    return {key.removeprefix(_OPEN): title for key, title in settings.beginning(tx, _OPEN).items()}

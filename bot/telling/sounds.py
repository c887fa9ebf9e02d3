"""What makes a sound for whom, and when. Cards always arrive; this decides whether a card pings.

A level belongs to a person, a mute to a chat. Quiet hours silence everything but a task's end. What still waits for
a person when they end is shown again, with a sound.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from bot.cards import Card, line, one_line, shown
from bot.outbox.posting import Posts, Priority
from bot.telling.mutes import muted
from fleet.config import FleetConfig
from fleet.model import ChatRef, PersonId, Task
from fleet.store.chat import settings
from fleet.store.core import Tx
from fleet.zones import known_zone, machine_zone
from gates.people import console_owner, who

DAY_MINUTES: Final = 24 * 60
_TITLE, _SAME = 40, 24  # characters of a task's title, and of one that a card shows already


class Sound(StrEnum):
    """What a message is about, for the decision whether it makes a sound."""

    NONE = "none"
    RED = "red"  # the first failed gate of a task
    WAITS = "waits"  # the agent or a change waits for a person
    BAD_END = "bad-end"  # failed, refused, unavailable, lost
    GOOD_END = "good-end"  # landed, answered


class Level(StrEnum):
    """Which sounds a person wants from their own tasks."""

    ALL = "all"
    MINE = "mine"
    FINAL = "final"
    NONE = "none"


_HEARD: Final = {
    Level.ALL: frozenset({Sound.RED, Sound.WAITS, Sound.BAD_END, Sound.GOOD_END}),
    Level.MINE: frozenset({Sound.RED, Sound.WAITS, Sound.BAD_END}),
    Level.FINAL: frozenset({Sound.BAD_END, Sound.GOOD_END}),
    Level.NONE: frozenset[Sound](),
}
_FINAL: Final = frozenset({Sound.BAD_END, Sound.GOOD_END})


@dataclass(frozen=True, slots=True)
class SoundSettings:
    """What a person set. Quiet hours are minutes of the day in ``zone`` (empty: the machine's); equal: none."""

    level: Level = Level.MINE
    quiet_from: int = 0
    quiet_to: int = 0
    zone: str = ""

    def quiet(self, now_us: int) -> bool:
        """Whether it is a quiet hour."""
        here = datetime.fromtimestamp(now_us / 1_000_000, UTC).astimezone(ZoneInfo(self.zone or machine_zone()))
        minute = here.hour * 60 + here.minute
        if self.quiet_from <= self.quiet_to:
            return self.quiet_from <= minute < self.quiet_to
        return minute >= self.quiet_from or minute < self.quiet_to

    def first_loud(self, us: int) -> int:
        """The first time from ``us`` on that is not quiet."""
        if not self.quiet(us):
            return us
        minutes = range(us // 60_000_000 + 1, us // 60_000_000 + DAY_MINUTES + 1)
        return next((minute * 60_000_000 for minute in minutes if not self.quiet(minute * 60_000_000)), us)

    def hears(self, sound: Sound, now_us: int) -> bool:
        """Whether this sound is made for them now."""
        return sound in _HEARD[self.level] and (sound in _FINAL or not self.quiet(now_us))


def sound_settings(tx: Tx, config: FleetConfig, person: PersonId) -> SoundSettings:
    """What a person set; the default for everybody else."""
    stored = settings.get(tx, _key(config, person))
    if not stored:
        return SoundSettings()
    raw = json.loads(stored)
    return SoundSettings(Level(raw["level"]), raw["quiet_from"], raw["quiet_to"], raw["zone"])


def wish_of(tx: Tx, config: FleetConfig, person: str) -> SoundSettings:
    """The same for ``str(PersonId)``; the default for anything else, as for what started by itself."""
    try:
        return sound_settings(tx, config, PersonId.parse(person))
    except ValueError:
        return SoundSettings()


def save_sound_settings(tx: Tx, config: FleetConfig, person: PersonId, wish: SoundSettings) -> None:
    """Saves it, for all chats that the person uses."""
    settings.put(tx, _key(config, person), "" if wish == SoundSettings() else json.dumps(asdict(wish)))


def zone_of(tx: Tx, config: FleetConfig, person: str) -> ZoneInfo:
    """The zone of a person's clock (``str(PersonId)``): the one they set, else the machine's."""
    return ZoneInfo(known_zone(wish_of(tx, config, person).zone) or machine_zone())


def audible(tx: Tx, config: FleetConfig, chat: ChatRef, requester: str, sound: Sound) -> bool:
    """Whether a message about a task of ``requester`` pings in this chat now."""
    if sound is Sound.NONE or muted(tx, chat):
        return False
    return wish_of(tx, config, requester).hears(sound, tx.now_us())


def post(posts: Posts, config: FleetConfig, chat: ChatRef, card: Card, *, key: str = "", task: str = "") -> bool:
    """Posts a card that waits for the person whom it mentions. Whether it makes a sound: if they want one now."""
    ping = audible(posts.tx, config, chat, card.mention, Sound.WAITS)
    priority = None if ping else Priority.CARD
    posts.post(chat, addressed(config, card), key=key, ping=ping, task=task, priority=priority)
    return ping


def known_as(config: FleetConfig, person: str) -> str:
    """A person's name for ``str(PersonId)``; empty where ``fleet.toml`` has none."""
    try:
        known = who(config, PersonId.parse(person))
    except ValueError:
        return ""
    return known.name if known else ""


def name_of(config: FleetConfig, person: str) -> str:
    """A person's name for ``str(PersonId)``; anything else stays as it is."""
    return known_as(config, person) or person


def named(config: FleetConfig, text: str) -> str:
    """A text about what people did, with names instead of the ids that ``fleet.toml`` knows.

    The store and the ledger keep ids, since names change; what a person reads has names.
    """
    names = {known: person.name for person in config.people for known in person.ids}
    owner = str(console_owner())
    names.setdefault(owner, name_of(config, owner))
    wanted = "|".join(re.escape(known) for known in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w:])(?:{wanted})(?!:?\w)", lambda found: names[found.group()], text)


def addressed(config: FleetConfig, card: Card) -> Card:
    """The card with the name of the person it mentions; without one if fleet.toml does not name them."""
    return replace(card, mentioned=known_as(config, card.mention))


def titled(task: Task, card: Card) -> Card:
    """The card with the task's repository and title, unless it shows them: ``t4`` alone says nothing."""
    title = one_line(task.prompt, _TITLE)
    if any(title.raw[:_SAME] in shown(row) for row in (card.title, *card.lines[:1])):
        return card
    return replace(card, lines=(line(f"{task.repo} · ", title), *card.lines))


def _key(config: FleetConfig, person: PersonId) -> str:
    return f"notify:{name_of(config, str(person))}"

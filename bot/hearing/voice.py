"""Voice messages: kept until their sender confirms what was written down. No transcript acts without that tap.

A forwarded voice is other people's words, so it never becomes a command, just as a forwarded text does not.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from bot.cards import Action, Card, Line, Tone, line
from bot.message import Message, Speech, storable
from bot.parse import Spoken
from bot.registry import Registry
from fleet.errors import Misused, Refused
from fleet.model import PersonId
from fleet.store.chat import settings
from fleet.store.core import Tx
from fleet.untrusted import Untrusted

VERB: Final = "voice"
"""The verb of the buttons. It is no command: nobody can type it."""

LIVES_US: Final = 24 * 3_600_000_000
MOST: Final = 5
"""Voice messages of one person that may wait at once."""

_PREFIX: Final = "voice:"
_GUESS: Final = "…"
_MINUTE: Final = 60


class Deed(StrEnum):
    """What its sender does with a transcript."""

    SEND = "send"
    RUN = "run"
    ASK = "ask"
    AGAIN = "again"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Voice:
    """A message with speech in it. ``texts``: what was said, one for each speech; none while they are being
    transcribed. ``tries``: how often that was begun. ``over``: it failed, and waits for *Try again*."""

    id: str
    message: Message
    until_us: int
    texts: tuple[str, ...] = ()
    tries: int = 0
    over: bool = False

    @property
    def key(self) -> str:
        """The key of its card."""
        return f"{VERB}:{self.id}"

    @property
    def waits(self) -> bool:
        """Whether it is still to be transcribed."""
        return not (self.texts or self.over)

    def typed(self, deed: Deed = Deed.SEND) -> Message:
        """The message as if it had been typed."""
        said = as_typed(self.message, self.texts)
        verb = f"/{deed} -- " if deed in (Deed.RUN, Deed.ASK) else ""
        return replace(said, text=f"{verb}{said.text}")

    def shown(self) -> str:
        """What was said, as a person confirms it."""
        said = as_typed(self.message, self.texts)
        return "\n\n".join(part for part in (said.text, said.beside) if part)


def as_typed(message: Message, texts: Sequence[str]) -> Message:
    """The message with the words in place of the speech: what its sender said is the text, unless they typed one;
    what others said stands beside it."""
    own, beside = [], [message.beside]
    for speech, text in zip(message.spoken, texts, strict=True):
        if speech.heading or message.text:
            beside.append(f"{speech.heading or f'Said in {speech.kind}'}:\n{storable(text)}")
        else:
            own.append(storable(text))
    kinds = {speech.kind for speech in message.spoken}
    sources = {speech.file.source for speech in message.spoken}
    return replace(
        message,
        text=message.text or "\n\n".join(own),
        beside="\n\n".join(part for part in beside if part),
        spoken=(),
        files=tuple(file for file in message.files if file.source not in sources or not file.source),
        unreadable=False,
        ignored=tuple(kind for kind in message.ignored if kind not in kinds),
        forwarded=message.forwarded and not own,
    )


def guessed(message: Message) -> Message:
    """The message as if something had been said, to find out whether it is for us at all."""
    return as_typed(message, [_GUESS] * len(message.spoken)) if message.spoken else message


def unreadable(message: Message) -> Misused:
    """The answer where nothing can transcribe."""
    return Misused(
        attempted=f"read {' and '.join(dict.fromkeys(speech.kind for speech in message.spoken))}",
        cause="voice messages are not set up here",
        hint="Write it as text. An admin can set up [speech] in fleet.toml (docs/voice.md).",
    )


def demand_bounds(spoken: Sequence[Speech], *, seconds: int, size: int) -> None:
    """Raises ``Refused`` for speech that is too long or too large, before it is fetched."""
    for speech in spoken:
        if speech.seconds > seconds:
            raise Refused(
                attempted=f"transcribe {speech.kind}",
                cause=f"it takes {clock(speech.seconds)}; the limit is {clock(seconds)}",
                hint="Send several shorter ones.",
            )
        if speech.file.size > size:
            raise Refused(
                attempted=f"transcribe {speech.kind}",
                cause=f"it has {speech.file.size >> 20} MB; the limit is {size >> 20} MB",
                hint="Send a shorter one.",
            )


def keep(tx: Tx, message: Message) -> Voice:
    """Keeps a message with speech. Raises ``Refused`` when its sender has too many that wait."""
    now = tx.now_us()
    every = list(_every(tx))
    for old in every:
        if old.until_us <= now:
            drop(tx, old.id)
    if sum(voice.message.sender == message.sender and voice.waits for voice in every) >= MOST:
        raise Refused(
            attempted="transcribe another voice message",
            cause=f"{MOST} of yours are being transcribed",
            hint="Wait for them, or write it.",
        )
    voice = Voice(secrets.token_hex(8), message, now + LIVES_US)
    put(tx, voice)
    return voice


def put(tx: Tx, voice: Voice) -> None:
    """Stores it, in place of what was stored of it."""
    kept = {
        "message": voice.message.to_bytes().decode(),
        "until_us": voice.until_us,
        "texts": voice.texts,
        "tries": voice.tries,
        "over": voice.over,
    }
    settings.put(tx, _PREFIX + voice.id, json.dumps(kept))


def find(tx: Tx, id_: str) -> Voice | None:
    """The voice message of that id; ``None`` when it is done with, or was kept for long enough."""
    stored = settings.get(tx, _PREFIX + id_)
    voice = _read(id_, stored) if stored else None
    return voice if voice is not None and voice.until_us > tx.now_us() else None


def confirmed(tx: Tx, id_: str, person: PersonId) -> Voice:
    """The voice message that this person may decide about. Raises ``Refused``."""
    voice = find(tx, id_)
    if voice is None:
        raise Refused(
            attempted="use this voice message",
            cause="it was used or discarded, or is more than a day old",
            hint="Say it again.",
        )
    if voice.message.sender != person:
        raise Refused(
            attempted="use this voice message",
            cause="somebody else said it",
            hint="Only they can send or discard it.",
        )
    return voice


def waiting(tx: Tx) -> list[Voice]:
    """Those that are to be transcribed."""
    now = tx.now_us()
    return [voice for voice in _every(tx) if voice.waits and voice.until_us > now]


def drop(tx: Tx, id_: str) -> None:
    """Forgets it."""
    settings.put(tx, _PREFIX + id_, "")


def drop_all(tx: Tx, person: PersonId) -> None:
    """Forgets every voice message of a person, in all chats."""
    for voice in _every(tx):
        if voice.message.sender == person:
            drop(tx, voice.id)


def _every(tx: Tx) -> Iterator[Voice]:
    for key, stored in settings.beginning(tx, _PREFIX).items():
        yield _read(key.removeprefix(_PREFIX), stored)


def _read(id_: str, stored: str) -> Voice:
    raw = json.loads(stored)
    message = Message.from_bytes(raw["message"].encode())
    return Voice(id_, message, raw["until_us"], tuple(raw["texts"]), raw["tries"], raw["over"])


# --- its card -------------------------------------------------------------------------------------------------


def title(voice: Voice) -> Line:
    """What it is, and how long."""
    seconds = sum(speech.seconds for speech in voice.message.spoken)
    kind = voice.message.spoken[0].kind.partition(" ")[2]
    return line(kind.capitalize(), f" · {clock(seconds)}" if seconds else "")


def working_card(voice: Voice) -> Card:
    """While it is being transcribed."""
    return Card(title(voice), (line("Being transcribed…"),), tone=Tone.WORKING)


def asking_card(voice: Voice, said: object, task: str, registry: Registry) -> Card:
    """Asks whether this is what was said. ``said``: what it would mean if it were typed; ``task``: the one that it
    is about."""
    send: tuple[Action, ...] = (_action("Send", voice, Deed.SEND),)
    match said:
        case Spoken("say") if task:
            what = line(f"Send: to the agent of {task}")
        case Spoken(verb):
            what = line(
                "Send: the command ", Untrusted(verb), "" if registry.get(verb) else ", which does not exist"
            )
        case _ if voice.typed().text:
            what = line("It is no command, and no reply to a task.")
            send = (_action("Run it as a task", voice, Deed.RUN), _action("Ask", voice, Deed.ASK))
        case _:
            what = line("Words of others alone start nothing: forward it with a comment.")
            send = ()
    left = voice.typed().ignored
    lines = (what, *((line("Left out: ", ", ".join(left)),) if left else ()))
    actions = (*send, _action("Discard", voice, Deed.DISCARD))
    body = Untrusted(voice.shown())
    return Card(title(voice), lines, body=body, actions=actions, tone=Tone.WAITING, choice=True)


def failed_card(voice: Voice, why: Sequence[str]) -> Card:
    """It could not be transcribed."""
    lines = tuple(line(Untrusted(part)) for part in why if part)
    again = replace(_action("Try again", voice, Deed.AGAIN), once=False)  # it may fail again
    actions = (again, _action("Discard", voice, Deed.DISCARD))
    return Card(title(voice), lines, actions=actions, tone=Tone.BAD, choice=True)


def clock(seconds: int) -> str:
    """Minutes and seconds, as a player shows them."""
    return f"{seconds // _MINUTE}:{seconds % _MINUTE:02d}"


def _action(label: str, voice: Voice, deed: Deed) -> Action:
    return Action(label, f"/{VERB} {deed} {voice.id}")

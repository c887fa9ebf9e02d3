"""What to do when Telegram refuses a message: the next weaker form of it, until the words have arrived.

A file is left out before a word is; a closed topic moves the card to General, a group where we may not write to the
person it is for. Buttons, mention and sound stay as long as they can. What was left out is said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from bot.cards import Card, line, one_line
from bot.chats.telegram.files import Enclosure
from bot.chats.telegram.render import CAPTION_LIMIT, Rendered, plain_page, render

LONGEST: Final = 12
"""More rungs than any message needs: the ladder ends by itself."""

_CHAT_GONE: Final = (
    *("chat not found", "blocked", "kicked", "deactivated", "not a member", "upgraded"),
    *("peer_id_invalid", "chat was deleted", "initiate conversation"),
)
_NO_TOPIC: Final = ("thread not found", "topic_deleted", "topic_id_invalid")
_NO_RIGHTS: Final = ("rights to send", "write_forbidden", "restricted", "send_plain_forbidden")
_NO_BUTTONS: Final = ("button", "keyboard", "reply_markup")
_SHORT_LINES: Final = 3
_NAME: Final = 80


class Form(Enum):
    """How much of a card is sent."""

    WHOLE = auto()
    SHORT = auto()  # title and first lines
    PLAIN = auto()  # the title without markup


@dataclass(frozen=True, slots=True)
class Destination:
    """Where in a chat: a topic (0: none), and the message that is answered (0: none). ``elsewhere``: not in the
    card's own chat."""

    chat: str
    thread: int = 0
    answers: int = 0
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One message as it is sent. ``user`` is mentioned; ``person`` is who could be. ``words``: it has the card's
    words, not just a file. ``excerpt``: only the start of the body."""

    place: Destination
    card: Card
    user: str = ""
    person: str = ""
    again: bool = False
    words: bool = True
    excerpt: bool = False
    file: Enclosure | None = None
    buttons: bool = True
    silent: bool = True
    form: Form = Form.WHOLE

    def page(self) -> Rendered | None:
        """The words; ``None`` for a file that comes without."""
        if not self.words:
            return None
        if self.form is Form.PLAIN:
            return plain_page(self.card)
        if self.file is not None:
            return render(self.card, limit=CAPTION_LIMIT, user=self.user, again=self.again, excerpt=self.excerpt)
        return render(self.card, user=self.user, again=self.again)

    def noting(self, words: str, *, name: str = "", why: str = "") -> Attempt:
        """The same with a line that says what is missing."""
        pieces = (
            *((one_line(name, _NAME), ": ") if name else ()),
            words,
            *((one_line(why, _NAME),) if why else ()),
        )
        return replace(self, card=replace(self.card, lines=(*self.card.lines, line(*pieces))))


def weaker(attempt: Attempt, why: str) -> Attempt | None:
    """The next form to try after Telegram's refusal ``why``; ``None``: the chat takes nothing from us."""
    said, place = why.lower(), attempt.place
    if any(words in said for words in _CHAT_GONE):
        return _to_person(attempt, "Airboss is no longer in the group.") if place.chat.startswith("-") else None
    if place.thread and any(words in said for words in _NO_TOPIC):
        return replace(attempt, place=replace(place, thread=0, answers=0))
    if "topic_closed" in said:
        if not place.thread:
            return _to_person(attempt, "The topic is closed.")
        general, silent = replace(place, thread=0, answers=0), attempt.silent and not attempt.person
        moved = replace(attempt, place=general, user=attempt.person, silent=silent)
        return moved.noting("Its topic is closed.")
    if attempt.file is not None:
        return _other_file(attempt, attempt.file, why)
    if any(words in said for words in _NO_RIGHTS):
        return _to_person(attempt, "Airboss may not write in the group.")
    if attempt.buttons and any(words in said for words in _NO_BUTTONS):
        return replace(attempt, buttons=False).noting("Its buttons could not be shown: /help has the commands.")
    if place.answers and "repl" in said:
        return replace(attempt, place=replace(place, answers=0))
    if attempt.form is Form.WHOLE:
        short = replace(attempt.card, lines=attempt.card.lines[:_SHORT_LINES], fields=(), body=None, footer="")
        return replace(attempt, card=short, form=Form.SHORT).noting("Telegram refused the rest: ", why=why)
    return replace(attempt, form=Form.PLAIN) if attempt.form is Form.SHORT else None


def _other_file(attempt: Attempt, file: Enclosure, why: str) -> Attempt:
    """A picture is sent as a file: Telegram refuses very large or very long ones as photos. A file is left out."""
    if file.photo:
        return replace(attempt, file=replace(file, photo=False))
    if attempt.words:
        return replace(attempt, file=None).noting("could not be sent: ", name=file.name, why=why)
    alone = replace(attempt, file=None, words=True, card=Card(line("A file is missing")))
    return alone.noting("could not be sent: ", name=file.name, why=why)


def _to_person(attempt: Attempt, why: str) -> Attempt | None:
    if attempt.place.elsewhere or not attempt.person or attempt.person == attempt.place.chat or attempt.silent:
        return None
    return replace(attempt, place=Destination(attempt.person, elsewhere=True)).noting(why)

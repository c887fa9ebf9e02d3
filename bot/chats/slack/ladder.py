"""What to do when Slack refuses a message: the next weaker form of it, until the words have arrived.

A locked thread's card goes to its channel, a closed channel's to the person it is for. Buttons and mention stay as
long as they can. What was left out is said, and comes as a file or, where files are refused too, as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from bot.cards import Card, line, one_line, shown
from bot.chats.slack.errors import NOT_HERE
from bot.chats.slack.render import HEADER, Drawn, draw, escape, is_user, pieces_of, plain

LONGEST: Final = 10
"""More rungs than any message needs: the ladder ends by itself."""

_THREAD_CLOSED: Final = frozenset(
    (
        *("cannot_reply_to_message", "thread_not_found", "restricted_action_thread_locked", "invalid_thread_ts"),
        "restricted_action_non_threadable_channel",
    )
)
_CLOSED: Final = NOT_HERE | frozenset(
    (
        *("is_archived", "is_inactive", "messages_tab_disabled", "team_access_not_granted", "no_permission"),
        *("restricted_action", "restricted_action_read_only_channel", "restricted_action_thread_only_channel"),
        *("ekm_access_denied", "access_denied", "channel_type_not_supported", "posting_to_general_channel_denied"),
        *("user_not_found", "external_channel_migrating", "cannot_dm_bot", "user_disabled"),
    )
)
_NO_BROADCAST: Final = frozenset(("cant_broadcast_message",))
_TEXT: Final = 3_500
_MOST_MESSAGES: Final = 3
_SHORT_LINES: Final = 3


class Extent(Enum):
    """How much of a card is sent."""

    WHOLE = auto()
    SHORT = auto()  # its title, first lines and buttons
    TEXT = auto()  # its words without blocks


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes. ``elsewhere``: not in the card's own channel."""

    channel: str
    thread: str = ""
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Offered:
    """One message as it is sent. ``user`` is mentioned; ``broadcast``: the channel of its thread shows it too.
    ``edit``: it replaces a message, so what is left out comes with no file."""

    place: Target
    card: Card
    user: str = ""
    again: bool = False
    broadcast: bool = False
    edit: bool = False
    form: Extent = Extent.WHOLE

    def drawn(self) -> Drawn:
        """What Slack is sent. Its ``whole`` are the words that are missing from it."""
        if self.form is Extent.WHOLE:
            return draw(self.card, user=self.user, again=self.again)
        words = plain(self.card)
        if self.form is Extent.SHORT:
            lines = self.card.lines[:_SHORT_LINES]
            missing = bool(self.card.lines[_SHORT_LINES:] or self.card.fields or self.card.body)
            if missing:
                lines = (*lines, line("Slack refused the rest", "." if self.edit else ": it is in a file."))
            short = replace(
                self.card, title=(one_line(shown(self.card.title), HEADER),), lines=lines, fields=(), body=None
            )
            drawn = draw(short, user=self.user, again=self.again)
            return replace(drawn, whole=words if missing and not self.edit else "")
        mention = f"<@{self.user}> " if is_user(self.user) else ""
        lost = "\n(Its buttons could not be shown: `/fleet help` has the commands.)" if self.card.actions else ""
        first = pieces_of(words, _TEXT)[0]
        return Drawn([], f"{mention}{escape(first)}{lost}", "" if first == words else words)

    def noting(self, words: str) -> Offered:
        """The same with a line that says what is different."""
        return replace(self, card=replace(self.card, lines=(*self.card.lines, line(words))))


def weaker(attempt: Offered, code: str) -> Offered | None:
    """The next form to try after Slack's refusal ``code``; ``None``: the place takes nothing from us."""
    place = attempt.place
    if attempt.broadcast and code in _NO_BROADCAST:
        return replace(attempt, broadcast=False)
    if place.thread and code in _THREAD_CLOSED:
        moved = replace(attempt, place=replace(place, thread=""), broadcast=False)
        return moved.noting("Its thread is closed.")
    if code in _CLOSED or code in _THREAD_CLOSED:
        if place.elsewhere or not attempt.user or attempt.user == place.channel:
            return None
        moved = replace(attempt, place=Target(attempt.user, elsewhere=True), broadcast=False)
        return moved.noting("Airboss may not write in the channel.")
    if attempt.form is Extent.WHOLE:
        return replace(attempt, form=Extent.SHORT)
    if attempt.form is Extent.SHORT and not attempt.edit:
        return replace(attempt, form=Extent.TEXT)
    return None


def instead_of(name: str, words: str, code: str) -> Iterator[str]:
    """The texts to send when the file ``name`` is refused: the note, and ``words`` as far as a few messages carry
    them."""
    shown = escape(one_line(name).one_line(80))
    note = f"The file {shown} could not be sent: Slack says {escape(code)}."
    if code in NOT_HERE:  # words may go to a public channel without being in it, files may not
        note += " Type `/invite @airboss` for the next ones."
    parts = pieces_of(words, _TEXT) if words else []
    for part in parts[:_MOST_MESSAGES]:
        yield escape(part)
    left = len(parts) - _MOST_MESSAGES
    yield f"{note} The rest of its text is left out." if left > 0 else note

"""The forms of a card that Slack is offered, the strongest first: what it refuses is sent in the next form.

Mention, buttons and sound stay as long as they can, and the words that are left out come as a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from bot.cards import Card, line
from bot.chats.slack.errors import NOT_HERE
from bot.chats.slack.render import Drawn, bare, draw, plain

_THREAD_CLOSED: Final = frozenset(
    ("cannot_reply_to_message", "thread_not_found", "restricted_action_thread_locked", "invalid_thread_ts")
)
_CLOSED: Final = NOT_HERE | frozenset(
    (
        "is_archived",
        "restricted_action",
        "restricted_action_read_only_channel",
        "restricted_action_non_threadable_channel",
        "messages_tab_disabled",
        "team_access_not_granted",
        "user_not_found",
    )
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes. ``elsewhere``: not in the card's own channel."""

    channel: str
    thread: str = ""
    elsewhere: bool = False


def forms(card: Card, *, user: str, again: bool) -> Iterator[Drawn]:
    """The whole card, its title and buttons, and its title as text alone."""
    whole = draw(card, user=user, again=again)
    yield whole
    short = replace(bare(card), lines=(line("Slack refused the rest: it is in a file."),))
    text = plain(card)
    yield replace(draw(short, user=user, again=again), whole=text)
    yield Drawn([], whole.text, text)


def other_place(place: Target, code: str, user: str) -> Target | None:
    """Where to try next: a closed thread's card goes to its channel, a closed channel's to the person it is for.
    ``None``: nowhere, or another form may help."""
    if place.thread and code in _THREAD_CLOSED:
        return replace(place, thread="")
    if code in _CLOSED and user and not place.elsewhere:
        return Target(user, elsewhere=True)
    return None


def is_closed(code: str) -> bool:
    """Whether no form of the card would be accepted there."""
    return code in _CLOSED or code in _THREAD_CLOSED

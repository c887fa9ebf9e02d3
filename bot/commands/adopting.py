"""``/adopt``: a session that a person started by hand goes on in the fleet, with its work and its conversation.

Only that person may ask for it: what they and their agent said leaves their machine.
"""

from __future__ import annotations

import re

from bot.cards import Card, footed, line
from bot.outbox.posting import Posts
from bot.parse import headed
from bot.registry import Call, Context
from bot.telling import sounds
from fleet.errors import Misused, Refused
from fleet.model import PersonId
from fleet.store import hooked
from fleet.store.hooked import Adoption
from gates.people import who

_USAGE = "Usage: /adopt h3 WORDS…"


def is_by_hand(args: str) -> bool:
    """Whether a command's words name such a session first."""
    return re.fullmatch(r"[hH]\d{1,18}", headed(args)[0]) is not None


def adopt(context: Context, call: Call, posts: Posts) -> None:
    """Asks for it: its hook hands work and conversation over at its next sign of life."""
    named, words = headed(call.args)
    if not words:
        raise Misused(attempted="adopt a session", cause="it does not say what to do next", hint=_USAGE)
    answer = Card(
        line(f"{named} is adopted at its next sign of life"),
        (line("Its hook then hands over its work and conversation, and a task goes on with them."),),
        footer=footed(context.config().isolation),
    )
    found = next((each for each in hooked.open_ones(posts.tx) if each.id == named.lower()), None)
    if found is None:
        raise Misused(
            attempted="adopt a session",
            on=named,
            cause="no session by hand is open under this name",
            hint=_USAGE,
        )
    starter = who(context.config(), PersonId.parse(found.person))
    if starter is None or starter.name != call.person.name:
        raise Refused(
            attempted="adopt a session",
            on=found.id,
            cause="somebody else started it, and its conversation goes with it",
            hint=f"{sounds.name_of(context.config(), found.person)} can adopt it.",
        )
    asked = Adoption(call.actor, call.message.chat, words)
    hooked.change(posts.tx, found, adopt=asked.to_json(), seen_us=found.seen_us)  # no sign of life
    posts.post(call.message.chat, answer)

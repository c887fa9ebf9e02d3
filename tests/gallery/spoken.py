"""The cards of voice messages: heard, shown to be confirmed, and not understood."""

from __future__ import annotations

from dataclasses import replace

from bot.cards import Card
from bot.explain import explain
from bot.hearing.voice import Voice, asking_card, failed_card, working_card
from bot.message import Attachment, Speech
from bot.parse import Reply, Spoken
from bot.speech.transcript import HEARD_NOTHING
from fleet.errors import Refused
from tests.chat_house import House

_FILE = Attachment("voice.ogg", "", "audio/ogg", 30_000, "F1")


def spoken(there: House, text: str) -> Voice:
    """A voice message of twelve seconds; without ``text`` while it is being transcribed."""
    message = replace(there.message(), spoken=(Speech(_FILE, 12, "a voice message"),))
    return Voice("1", message, 0, (text,) if text else ())


def voice_cards(there: House, task: str) -> dict[str, Card]:
    """By what the words come to; ``task`` is the one that some are about."""
    registry = there.core.context.registry
    run = spoken(there, "Run in shop: the discount raises the price, look at pricing and mend it.")
    say = spoken(there, "Keep the old signature, please, two callers use it.")
    chatter = spoken(there, "What is the weather like today?")
    nothing = explain(
        Refused(attempted="transcribe the voice message", cause=HEARD_NOTHING, hint="Speak again, or write it.")
    )
    return {
        "being transcribed": working_card(spoken(there, "")),
        "a new task": asking_card(run, Spoken("run", "…"), "", registry),
        "to an agent": asking_card(say, Spoken("say"), task, registry),
        "no command": asking_card(chatter, Reply(""), "", registry),
        "not understood": failed_card(spoken(there, ""), [nothing.headline, nothing.detail, nothing.remedy]),
    }

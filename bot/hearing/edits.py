"""What an edited message does: it replaces a task that has not started; otherwise the sender is told."""

from __future__ import annotations

from typing import Final

from bot.cards import Action, Card, Tone, line
from bot.hearing import acts, drafts
from bot.hearing.sent import Sent
from bot.message import Message
from bot.outbox.posting import Posts
from bot.registry import Call, Effect, FleetControl, Registry
from bot.telling import buttons
from fleet.errors import Misused, Refused
from fleet.model import ENDS
from fleet.store import sessions, tasks
from fleet.store.core import Tx

REPLACE: Final = drafts.VERBS - {"schedule"}
"""The commands whose task an edit replaces."""


def ignored(message: Message, before: Sent | None, registry: Registry) -> str:
    """Why nothing is done; empty: something is. A chat also reports edits that change no text."""
    if before is not None:
        return "the text did not change" if before.unchanged else ""
    return "" if message.private and acts.is_command(message, registry) else "an edit of a message without a task"


def demand_known(before: Sent | None) -> Sent:
    """What the message came to before. Raises ``Misused`` when that was no task."""
    if before is None:
        raise Misused(
            attempted="use your edited message",
            cause="an edit is only read for a task that has not started",
            hint="Send it as a new message.",
        )
    return before


def unstarted(tx: Tx, task: str) -> bool:
    """Whether its agent has not been placed, so that the task can be replaced."""
    return tasks.task(tx, task).state not in ENDS and not sessions.of_task(tx, task)


def replacing(call: Call, effect: Effect, before: Sent, control: FleetControl) -> Effect:
    """The new task instead of the old one. Raises ``Refused`` when the old one has started meanwhile."""

    def instead(posts: Posts) -> None:
        tx = posts.tx
        if not unstarted(tx, before.task) or not tasks.request_stop(tx, before.task, call.actor):
            raise Refused(
                attempted="use your edited message",
                on=before.task,
                cause="it has just started with your first text",
                hint=f"Reply to its card, or write: /say {before.task} WORDS",
            )
        buttons.withdraw(posts, tasks.task(tx, before.task).origin, f"/stop {before.task}")
        effect(posts)
        if posts.task:
            title = f"{posts.task} replaces {before.task}: you edited the message"
            posts.post(call.message.chat, Card(line(title)), task=posts.task)
        tx.after_commit(lambda: control.wake(before.task))

    return instead


def told(message: Message, before: Sent, registry: Registry) -> Effect:
    """Says that the agent has the first text, with a button that sends the new one."""
    new = "\n\n".join(part for part in (message.text, message.beside) if part)
    offer = Action("Send the new text", f"/say {before.task} I edited my message. It now reads:\n{new}")
    card = Card(
        line(f"{before.task} · has your message as it was before your edit"),
        (line(f"Its agent does not see edits; {registry.write(message.adapter, 'say')} sends it words."),),
        actions=(offer,) if new else (),
        tone=Tone.WAITING,
    )

    def effect(posts: Posts) -> None:
        posts.post(message.chat, card, task=before.task)

    return effect

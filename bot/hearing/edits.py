"""What an edited message does: it replaces a task that has not started; otherwise the sender is told."""

from __future__ import annotations

from typing import Final

from bot.cards import Action, Card, Tone, line
from bot.hearing import acts, drafts, sent
from bot.message import Message
from bot.outbox.posting import Posts
from bot.registry import Effect, FleetControl, Registry
from bot.telling import buttons
from fleet.errors import Misused, Refused
from fleet.model import ENDS
from fleet.store import sessions, tasks
from fleet.store.chat import attachments
from fleet.store.chat.sent import SentMessage
from fleet.store.core import Tx

REPLACE: Final = drafts.VERBS - {"schedule"}
"""The commands whose task an edit replaces."""


def ignored(message: Message, before: SentMessage | None, registry: Registry) -> str:
    """Why nothing is done; empty: something is. A chat also reports edits that change no text."""
    if before is not None:
        return "the text did not change" if sent.unchanged(message, before) else ""
    return "" if message.private and acts.is_command(message, registry) else "an edit of a message without a task"


def demand_known(before: SentMessage | None) -> SentMessage:
    """What the message came to before. Raises ``Misused`` when that was no task."""
    if before is None:
        raise Misused(
            attempted="use your edited message",
            cause="an edit is only read for a task that has not started, and for a message that was refused",
            hint="Send it as a new message.",
        )
    return before


def unstarted(tx: Tx, task: str) -> bool:
    """Whether its agent has not been placed, so that the task can be replaced."""
    return tasks.task(tx, task).state not in ENDS and not sessions.of_task(tx, task)


def anew(message: Message, effect: Effect) -> Effect:
    """What a message asks for that came to nothing before its edit. That is over once it comes to something."""

    def heard(posts: Posts) -> None:
        sent.forget(posts.tx, message)
        effect(posts)

    return heard


def replacing(message: Message, effect: Effect, before: SentMessage, control: FleetControl) -> Effect:
    """The new task instead of the old one, which goes on when the edit leads to a question. Raises ``Refused`` when
    the old one has started meanwhile."""

    def instead(posts: Posts) -> None:
        tx, chat = posts.tx, message.chat
        if not unstarted(tx, before.task) or tasks.stop_requested(tx, before.task):
            raise Refused(
                attempted="use your edited message",
                on=before.task,
                cause="it has started with your first text, or is being stopped",
                hint=f"Reply to its card, or write: /say {before.task} WORDS",
            )
        effect(posts)
        if not posts.task:
            sent.reworded(tx, message)
            stop = Action(f"Stop {before.task}", f"/stop {before.task}")
            card = Card(line(f"{before.task} keeps your first text"), actions=(stop,), tone=Tone.WAITING)
            posts.post(chat, card, task=before.task)
            return
        if not message.files:  # Slack names none in an edit; a picture's caption cannot lose its picture
            attachments.copy(tx, before.task, posts.task)
        tasks.request_stop(tx, before.task, str(message.sender))
        buttons.withdraw(posts, tasks.task(tx, before.task).origin, f"/stop {before.task}")
        posts.post(
            chat, Card(line(f"{posts.task} replaces {before.task}: you edited the message")), task=posts.task
        )
        tx.after_commit(lambda: control.wake(before.task))

    return instead


def told(message: Message, before: SentMessage, registry: Registry) -> Effect:
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
        sent.reworded(posts.tx, message)
        posts.post(message.chat, card, task=before.task)

    return effect

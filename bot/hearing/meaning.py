"""What a message means where it was sent: a command, text for an agent or a draft, or nothing for us.

In a group most messages are for others: there we handle commands, mentions of us and replies to us.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bot.cards import Action, Card, Tone, line, one_line
from bot.hearing import drafts
from bot.message import Message
from bot.parse import Ignore, Reply, Spoken, lone_word, parse, slip_of
from bot.registry import Registry
from fleet.errors import Misused
from fleet.model import ENDS
from fleet.store import tasks
from fleet.store.chat import threads
from fleet.store.core import Tx
from gates.people import Right

FILES_ALONE: Final = "Look at the attached files."
_SLIP_WORDS: Final = 2


@dataclass(frozen=True, slots=True)
class Background:
    """What the store knows about a message: its task and whether that has ended, and its sender's draft."""

    task: str = ""
    over: bool = False
    draft: drafts.Draft | None = None

    def draft_for(self, message: Message) -> drafts.Draft | None:
        """The draft, unless the message is a reply to a task's card: then it is about that task."""
        return None if self.task and message.reply_to else self.draft


@dataclass(frozen=True, slots=True)
class Doubt:
    """A single word while a draft waits for its prompt: the command ``verb``, or the prompt? Only the sender
    knows."""

    word: str
    verb: str
    draft: drafts.Draft


@dataclass(frozen=True, slots=True)
class DraftWords:
    """The prompt that a draft was waiting for."""

    draft: drafts.Draft
    text: str


Heard = Spoken | Reply | Ignore | Doubt | DraftWords


def background(tx: Tx, message: Message, *, known: bool) -> Background:
    """Looks up what :func:`hear` needs; a draft only for people we know."""
    task = threads.task_of_message(tx, message.chat, message.reply_to)
    return Background(
        task,
        over=bool(task) and not message.direct and tasks.task(tx, task).state in ENDS,
        draft=drafts.kept(tx, message.chat, message.sender) if known else None,
    )


def hear(message: Message, found: Background, registry: Registry) -> Heard:
    """What a typed message means. ``Reply``: text to us that is for no task and no draft."""
    text = message.text or (FILES_ALONE if message.files else "")
    draft = found.draft_for(message)
    said = parse(
        text,
        registry.names,
        direct=message.direct or bool(found.task),
        threaded=bool(found.task or draft),
    )
    if isinstance(said, Ignore):
        return said
    if isinstance(said, Spoken) and not said.plain:
        ours = message.direct or found.task or registry.get(said.verb) is not None
        return said if ours else Ignore("not for us")
    if draft is not None:
        return _for_draft(text.strip(), said, draft, registry)
    if isinstance(said, Spoken):
        return said
    if found.task:
        # In a thread whose task has ended, messages are for other people unless they are addressed to us.
        theirs = found.over and not (message.direct or message.private or message.reply_to)
        return Ignore("the task of this thread has ended") if theirs else Spoken("say", said.text)
    return said if message.direct else Ignore("not for us")


def _for_draft(text: str, said: Spoken | Reply, draft: drafts.Draft, registry: Registry) -> Heard:
    word = said.verb if isinstance(said, Spoken) else lone_word(said.text)
    meant = registry.get(slip_of(word, registry.names)) if word else None
    if meant is None:
        return said if isinstance(said, Spoken) else DraftWords(draft, said.text)
    if word in registry.names and meant.right is Right.SEE:
        return Spoken(word, plain=True)
    return Doubt(text, meant.verb, draft)


def unmeant(message: Message, registry: Registry) -> Misused:
    """The reply to a message that is for no task and no draft; one or two words may be a mistyped verb."""
    if message.unreadable:
        return Misused(
            attempted="read this",
            cause="only text, pictures and files can be read here",
            hint="Write it as text, or send it as a file.",
        )
    given = message.text.split()
    word = lone_word(given[0].rstrip(",:;")) if 0 < len(given) <= _SLIP_WORDS else ""
    close = registry.get(slip_of(word, registry.names))
    hint = "Try /run PROMPT, /say TASK MESSAGE, or /help."
    return Misused(
        attempted="use this message",
        cause="it is not a command, and not a reply to a task",
        hint=f"Did you mean /{close.verb}?" if close else hint,
    )


def unknown(message: Message) -> Card:
    """What somebody is told whom fleet.toml does not name."""
    return Card(line("You are not registered here."), (line(f"Your id: {message.sender}"),))


def doubting(doubt: Doubt, write: Callable[[str], str]) -> Card:
    """Asks which it is."""
    draft = doubt.draft
    return Card(
        line("“", one_line(doubt.word, 40), f"”: {write(doubt.verb)}, or your task's prompt?"),
        (line(f"{write('cancel')} discards the draft; no task has started."),),
        actions=(
            Action(write(doubt.verb), f"/{doubt.verb}"),
            Action("It is the prompt", f"/{draft.verb} {draft.arguments(doubt.word)}", digest=draft.files),
        ),
        tone=Tone.WAITING,
        choice=True,
    )

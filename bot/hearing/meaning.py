"""What a message means where it was sent: a command, text for an agent or a draft, or nothing for us.

In a group most messages are for others: there we handle commands, mentions of us and replies to us.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from bot.cards import Action, Card, Tone, line, one_line
from bot.hearing import drafts, edits, sent
from bot.message import Message
from bot.nods import is_nod
from bot.parse import Ignore, Reply, Spoken, lone_word, parse, slip_of
from bot.registry import Registry
from fleet.errors import Misused
from fleet.model import ENDS
from fleet.store import tasks
from fleet.store.chat import threads
from fleet.store.chat.sent import SentMessage
from fleet.store.core import Tx
from gates.people import Person, Right, may

FILES_ALONE: Final = "Look at the attached files."
_SLIP_WORDS: Final = 2


@dataclass(frozen=True, slots=True)
class Background:
    """What the store knows about a message: its task and whether that has ended, and its sender's draft.

    ``rest_of``: the task that an earlier part of the same act came to. ``before``: what a message came to that this
    one edits, and whether its task has not started.
    """

    task: str = ""
    over: bool = False
    draft: drafts.Draft | None = None
    rest_of: str = ""
    before: SentMessage | None = None
    unstarted: bool = False

    def draft_for(self, message: Message) -> drafts.Draft | None:
        """The draft, unless the message is a reply to a task's card: then it is about that task."""
        return None if self.task and message.reply_to else self.draft


@dataclass(frozen=True, slots=True)
class Doubt:
    """A single word, or a nod, while a draft waits for its prompt: the command ``verb``, or the prompt? Only the
    sender knows."""

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
    before = sent.before_edit(tx, message) if message.edited else None
    return Background(
        task,
        over=bool(task) and not message.direct and tasks.task(tx, task).state in ENDS,
        draft=drafts.kept(tx, message.chat, message.sender) if known and not message.edited else None,
        rest_of=sent.rest_of(tx, message) if known else "",
        before=before,
        unstarted=before is not None and bool(before.task) and edits.unstarted(tx, before.task),
    )


def hear(message: Message, found: Background, registry: Registry) -> Heard:
    """What a typed message means. ``Reply``: text to us that is for no task and no draft.

    What stands beside the text is never a command: it follows the words that a command takes.
    """
    heard = _typed(message, found, registry)
    beside = message.beside
    match heard:
        case Spoken(verb, args) if beside and (command := registry.get(verb)) and command.takes_words:
            return replace(heard, args=_joined(args, beside))
        case Reply(text) if beside:
            return Reply(_joined(text, beside))
        case DraftWords(_, text) if beside:
            return replace(heard, text=_joined(text, beside))
    return heard


def _joined(text: str, beside: str) -> str:
    return f"{text}\n\n{beside}".strip()


def _typed(message: Message, found: Background, registry: Registry) -> Heard:
    text = message.text or (FILES_ALONE if message.files and not message.beside else "")
    draft = found.draft_for(message)
    said: Spoken | Reply | Ignore = Reply("")
    if text or not message.beside:
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
    if found.rest_of:
        return Spoken("say", f"{found.rest_of} {text}")
    if draft is not None:
        return _for_draft(text.strip(), said, draft, registry, files=bool(message.files))
    if isinstance(said, Spoken):
        return said
    if found.task:
        # In a thread whose task has ended, messages are for other people unless they are addressed to us.
        theirs = found.over and not (message.direct or message.private or message.reply_to)
        if theirs:
            return Ignore("the task of this thread has ended")
        return Spoken("say", f"{found.task} {said.text}")  # whatever the words begin with: "t1 broke it"
    return said if message.direct else Ignore("not for us")


def _for_draft(text: str, said: Spoken | Reply, draft: drafts.Draft, registry: Registry, *, files: bool) -> Heard:
    word = said.verb if isinstance(said, Spoken) else lone_word(said.text)
    meant = registry.get(slip_of(word, registry.names)) if word else None
    if meant is None and isinstance(said, Reply) and not files and is_nod(text):
        return Doubt(text, "cancel", draft)  # a thumb: no agent is worth it
    if meant is None:
        return said if isinstance(said, Spoken) else DraftWords(draft, said.text)
    if word in registry.names and meant.right is Right.SEE:
        return Spoken(word, plain=True)
    return Doubt(text, meant.verb, draft)


def demand_one(said: Spoken, registry: Registry, written: str) -> None:
    """Raises ``Misused`` for several commands in one message. Words for an agent may well have a line that begins
    with the same verb ("run the tests"), or with what is a command that only shows something ("/login")."""
    command = registry.get(said.verb)
    for each in said.below:
        if command and command.takes_words and not _does_something(each, registry):
            continue
        raise Misused(
            attempted=f"do {written}",
            cause="there are several commands in one message, and none was done",
            hint=f"Send each by itself. If “{each[:40]}” is one of the words, begin it with a space.",
        )


def _does_something(line: str, registry: Registry) -> bool:
    command = registry.get(lone_word(line.split(maxsplit=1)[0]))
    return line.startswith("/") and not (command and command.right is Right.SEE)


def idle_nod(message: Message, said: Heard | None, person: Person) -> bool:
    """Whether it is a thumb in reply to a task's card, from somebody who has no say in it."""
    to_agent = isinstance(said, Spoken) and said.verb == "say" and not message.files
    return to_agent and is_nod(message.text) and not may(person, Right.STEER)


def unmeant(message: Message, registry: Registry) -> Misused:
    """The reply to a message that is for no task and no draft; one or two words may be a mistyped verb."""
    if message.unreadable:
        return Misused(
            attempted=f"read {' and '.join(message.ignored) or 'this'}",
            cause="only text, pictures and files can be read here",
            hint="Write it as text, or send it as a file.",
        )
    if message.forwarded or (message.beside and not message.text):
        return Misused(
            attempted="use what you forwarded",
            cause="it came without words of your own, and forwarded words are no command",
            hint="Forward it again with a comment, such as /run fix this.",
        )
    if message.files and not message.text:
        hint = "Send it again with a caption, such as /run make it look like this."
        return Misused(attempted="use your file", cause="it came without words", hint=hint)
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
    if message.nameless:
        how = "Switch off “Remain anonymous” in your admin rights, or write to me in a private chat."
        return Card(line("I cannot see who you are: you write in the group's name."), (line(how),))
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

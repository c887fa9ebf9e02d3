"""What most handlers need: which task is meant, and a reply as an effect."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo

from bot.cards import Card
from bot.outbox.posting import Posts
from bot.parse import words
from bot.registry import Call, Context, Effect
from bot.telling import documents, sounds
from bot.telling.log_card import SHOWN_CHARACTERS, SHOWN_LINES
from fleet.errors import Misused
from fleet.model import Isolation, Session, Task
from fleet.store import sessions, tasks
from fleet.store.chat import threads
from fleet.store.core import Tx
from fleet.untrusted import clean

FILE_LIMIT: Final = 4 << 20
"""Characters of a document that a command makes."""

_NAMED_IN_A_HINT: Final = 8
_AND = frozenset(("and", "&", "+", "und", ""))
_NAMED = re.compile(r"#?t\d+(?:\.\d+)*", re.IGNORECASE)
_LIKE_AN_ID = re.compile(r"\W*[a-z]?\d", re.IGNORECASE)
_OF_SCHEDULE = re.compile(r"/schedule (?:pause|resume) (s\d+)")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SAID_ID = re.compile(
    rf"\s*(?:the\s+)?task\s+(?:number\s+)?#?(\d{{1,9}}|{'|'.join(_NUMBERS)})(?=$|[\s.,:;!?])", re.IGNORECASE
)
_LEADING_ID = re.compile(r"[#@]?(t)(\d+(?:\.\d+)*)[,;:!]*(?=\s|$)|#?()(\d+(?:\.\d+)*)(?=\s|$)", re.IGNORECASE)


def reply(call: Call, card: Card, *, task: str = "", data: Mapping[str, object] | None = None) -> Effect:
    """Posts the card in the chat of the call, and does nothing else. ``data``: the same for scripts."""

    def effect(posts: Posts) -> None:
        posts.data = dict(data) if data is not None else posts.data
        posts.post(call.message.chat, card, task=task)

    return effect


def meant(tx: Tx, call: Call, *, newest: bool = False) -> Task:
    """The task of the first argument, else of the card that was replied to, else this chat's only open task. In a
    reply, a word that is no id is just a word: ``/stop it now``.

    ``newest``: if none is open, this chat's newest task. Raises ``Misused`` when several are named.
    """
    given = [word.rstrip(",;:!?") for word in words(_with_id(call.args))]
    ids = [word for word in given if word.lower() not in _AND]
    if len(ids) > 1 and all(_NAMED.fullmatch(word) for word in ids):
        raise Misused(
            attempted=f"do /{call.verb}",
            cause="several tasks are named",
            hint=f"One at a time: /{call.verb} {given[0]}",
        )
    named = bool(given) and (not call.task or _LIKE_AN_ID.match(given[0]) is not None)
    return find_task(tx, call, given[0] if named else "", newest=newest)


async def task_meant(context: Context, call: Call, *, newest: bool = False) -> Task:
    """As :func:`meant`, read at once."""
    return await context.store.read(lambda tx: meant(tx, call, newest=newest))


def find_task(tx: Tx, call: Call, word: str, *, newest: bool = False) -> Task:
    """As :func:`meant`, for a given word. Raises ``Misused`` with the candidates."""
    if word:
        return tasks.find(tx, word.split(".", maxsplit=1)[0])
    if call.task:
        return tasks.task(tx, call.task)
    if named := schedule_replied_to(tx, call):
        hint = f"/schedule pause {named} · /schedule delete {named} · /schedules {named}"
        raise Misused(attempted=f"do /{call.verb}", cause=f"you reply to {named}, which is no task", hint=hint)
    chat = call.message.chat
    here = [
        task
        for task in tasks.open_tasks(tx)
        if (task.origin.adapter, task.origin.chat) == (chat.adapter, chat.chat)
    ]
    if len(here) == 1:
        return here[0]
    last = tasks.newest_in(tx, chat.adapter, chat.chat) if newest and not here else None
    if last is not None:
        return last
    some = (here or tasks.recent(tx, _NAMED_IN_A_HINT))[-_NAMED_IN_A_HINT:]
    more = "…, " if len(here) > len(some) else ""
    ids = more + ", ".join(task.id for task in some)
    raise Misused(
        attempted="find the task",
        cause="no task is named" if not here else "several tasks are open",
        hint=f"Add a task: {ids}" if ids else "There are no tasks yet: /run starts one.",
    )


def schedule_replied_to(tx: Tx, call: Call) -> str:
    """The schedule whose card this message replies to; empty for another card or none."""
    stored = threads.card_of_message(tx, call.message.chat, call.message.reply_to)
    commands = " ".join(action.command for action in Card.from_json(stored).actions) if stored else ""
    found = _OF_SCHEDULE.search(commands)
    return found.group(1) if found else ""


def split_task(call: Call) -> tuple[str, str]:
    """A leading task id (empty if there is none) and the text after it, unchanged.

    A number alone is an id too, but not in a reply to a task's card: "2 more tests" is meant for that task.
    """
    text = _with_id(call.args).strip()
    found = _LEADING_ID.match(text)
    if found is None or (call.task and not found.group(1)):
        return "", text
    return f"{found.group(1) or ''}{found.group(2) or found.group(4)}", text[found.end() :].strip()


def _with_id(args: str) -> str:
    """A task as a voice says it, "task three" or "task 3", is ``t3``."""
    found = _SAID_ID.match(args)
    if found is None:
        return args
    said = found.group(1).lower()
    return f"t{_NUMBERS.index(said) + 1 if said in _NUMBERS else said}{args[found.end() :]}"


def last_session(tx: Tx, task: Task) -> Session | None:
    """The newest session of a task; ``None`` before it was placed."""
    found = sessions.of_task(tx, task.id)
    return found[-1] if found else None


async def isolation_of(context: Context, task: Task) -> Isolation:
    """How isolated the task's newest session is, or the next one will be."""
    session = await context.store.read(lambda tx: last_session(tx, task))
    return session.isolation if session else context.config().isolation


async def file_if_long(context: Context, name: str, text: str, *, always: bool = False) -> str:
    """Writes what is too long for a message to a file, cleaned like everything shown. Empty when it fits."""
    if not always and len(text) <= SHOWN_CHARACTERS and text.count("\n") < SHOWN_LINES:
        return ""
    return await asyncio.to_thread(documents.write, context.home / "files", name, clean(text, FILE_LIMIT))


async def zone_of_caller(context: Context, call: Call) -> ZoneInfo:
    """The zone of the person's clock."""
    return await context.store.read(lambda tx: sounds.zone_of(tx, context.config(), call.actor))

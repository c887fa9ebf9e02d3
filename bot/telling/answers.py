"""An agent's whole answer: as text when it is short, as two or three messages when they read better on a phone than
a file, else as a file with its first lines shown. One transaction posts all of it: every piece arrives or none.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from bot.cards import Action, Card, Line, Tone, line, one_line
from bot.telling import documents
from bot.telling.longtext import split, utf16
from fleet.events import AgentContinued, AgentSaid, ToolCallStarted, TurnStarted
from fleet.model import Task
from fleet.store import ledger, sessions
from fleet.store.core import Tx
from fleet.untrusted import Untrusted, clean, shortened

LIMIT: Final = 1 << 20
"""Characters of an answer; a longer one is cut in the middle, and says how much is missing."""

MESSAGES: Final = 3
MESSAGE: Final = 2_800
"""The weight of one message: what every chat shows uncut; two or three screens on a phone."""

_LINE_WEIGHT: Final = 70  # a line weighs this at least, so that a message has 40 at most
_HEAD_LINES: Final = 10
_HEAD: Final = 600  # UTF-16 units: with title and footer it fits as the caption of the file
_BLANK_LINES: Final = re.compile(r"\A(?:[^\S\n]*\n)+")
_KINDS: Final = (AgentSaid.KIND, AgentContinued.KIND, ToolCallStarted.KIND, TurnStarted.KIND)


def last_words(tx: Tx, task_id: str) -> str:
    """Everything that a task's agent said in its last turn since its last tool call, as the ledger has it."""
    pieces: list[str] = []
    after = 0
    while batch := ledger.read(tx, after=after, kinds=_KINDS, task=task_id):
        for recorded in batch:
            match recorded.event:
                case AgentSaid(text=text):
                    pieces += ["\n", text] if pieces else [text]
                case AgentContinued(text=text):
                    pieces.append(text)
                case _:
                    pieces.clear()
        after = batch[-1].seq
    return "".join(pieces)


def answer_cards(tx: Tx, task: Task, base: str, files: Path | None) -> list[Card]:
    """The messages with the answer, in order. ``base`` is their footer; ``files`` a directory for
    documents (``None``: there is none)."""
    every = [turn for session in sessions.of_task(tx, task.id) for turn in sessions.turns(tx, session.id)]
    claim = every[-1].claim if every else ""
    text = max((_safe(tx, words) for words in (claim, last_words(tx, task.id))), key=len)
    card = Card(
        title=line(f"{task.id} · ", one_line(task.prompt, 60)),
        actions=(Action("Log", f"/logs {task.id}", once=False),),
        footer=base,
        tone=Tone.GOOD,
        mention=task.requester,
    )
    if not text:
        return [replace(card, lines=(line(f"{task.agent} finished without a message."),))]
    pieces = _messages(text)
    if len(pieces) > 1:
        return _pieces(card, task, pieces)
    said = line(f"{task.agent} answers, in its own words; nothing checked them:")
    if pieces or files is None:
        return [replace(card, lines=(said,), body=Untrusted(text))]
    head, how_much = _head(text)
    return [
        replace(
            card,
            lines=(said, how_much),
            body=Untrusted(head),
            document=documents.kept(files, f"{task.id}-answer.txt", text),
        )
    ]


def _safe(tx: Tx, words: str) -> str:
    """The words without secrets, codes (removed first: a code inside would hide a secret) and blank margins."""
    text = clean(words, len(words) + 1)
    text = tx.store.redact(text) if tx.store.redact else text
    return shortened(_BLANK_LINES.sub("", text).rstrip(), LIMIT)


def _weight(text: str) -> int:
    return max(utf16(text), _LINE_WEIGHT * (text.count("\n") + 1))


def _messages(text: str) -> list[str]:
    """The text in messages; none when it would be too many of them."""
    if _weight(text) > MESSAGES * MESSAGE:
        return []
    pieces = split(text, MESSAGE, _weight)
    return pieces if len(pieces) <= MESSAGES else []


def _pieces(card: Card, task: Task, pieces: list[str]) -> list[Card]:
    """Only the first one mentions the requester, and only the last one has the buttons."""
    cards: list[Card] = []
    for number, piece in enumerate(pieces, 1):
        title, mention = line(f"{task.id} · the answer continues"), ""
        of_all = line(f"Message {number} of {len(pieces)}.")
        lines: tuple[Line, ...] = (of_all,)
        if number == 1:
            title, mention = card.title, card.mention
            lines = (line(f"{task.agent} answers, in its own words; nothing checked them."), of_all)
        actions = card.actions if number == len(pieces) else ()
        body = Untrusted(piece)
        cards.append(replace(card, title=title, lines=lines, body=body, actions=actions, mention=mention))
    return cards


def _head(text: str) -> tuple[str, Line]:
    """The start of a text that is sent as a file, and how much of it that is."""
    rows = text.split("\n")
    head = "\n".join(rows[:_HEAD_LINES])
    if utf16(head) <= _HEAD and len(rows) > _HEAD_LINES:
        return head, line(f"The first {_HEAD_LINES} of {len(rows):,} lines; the file has all of them.")
    head = head[:_HEAD]
    while utf16(head) > _HEAD:
        head = head[:-1]
    head = head[: max(head.rfind(" "), head.rfind("\n"), _HEAD // 2)].rstrip()
    return head, line(f"The first {len(head):,} of {len(text):,} characters; the file has all of them.")

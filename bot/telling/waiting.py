"""What waits for a person, as a chat sees it: what was asked there, all as a list, one of it brought up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bot import words
from bot.cards import Action, Card, Line, Tone, line, one_line
from bot.outbox.posting import Posts
from bot.pages import Page
from bot.telling import asks, buttons, sounds
from bot.telling.progress import Progress, footer
from fleet.config import FleetConfig
from fleet.model import ChatRef, Task
from fleet.store import sessions, tasks
from fleet.store.approvals import Approval
from fleet.store.chat import cards as card_rows
from fleet.store.core import Tx
from fleet.untrusted import Untrusted


def ground(tx: Tx, config: FleetConfig, task: Task, asked: Approval, files: Path) -> asks.Ground:
    """Where a question comes from. ``files`` is where the documents of long ones are written."""
    session = sessions.session(tx, asked.session)
    base = footer(task, Progress(machine=session.machine, isolation=session.isolation), config.isolation)
    return asks.Ground(base, session.machine, sounds.name_of(config, task.requester), files)


def asked_in(tx: Tx, chat: ChatRef, every: Sequence[Approval], message: str = "") -> list[Approval]:
    """Of what waits, what this chat (all its threads) has a card of; only that card's, where ``message`` is one."""
    here = {
        one.id: {
            place.message_id
            for key in (asks.key(one), asks.reminder_key(one))
            for place in card_rows.by_key(tx, key)
            if (place.chat.adapter, place.chat.chat) == (chat.adapter, chat.chat)
        }
        for one in every
    }
    answered = [one for one in every if message and message in here[one.id]]
    return answered or [one for one in every if here[one.id]]


def bring_up(
    posts: Posts, config: FleetConfig, chat: ChatRef, asked: Approval, files: Path, *, lead: Line = ()
) -> None:
    """Posts what waits anew, with fresh buttons; those of its older cards here stop. ``lead``: said first."""
    tx = posts.tx
    task = tasks.task(tx, asked.task)
    card = asks.ask_card(tx, task, asked, ground(tx, config, task, asked, files))
    for key in (asks.key(asked), asks.reminder_key(asked)):
        buttons.supersede(posts, key, chat)
    if lead:
        card = replace(card, lines=(lead, *card.lines))
    posts.post(chat, card, key=asks.key(asked), task=task.id)


def list_card(tx: Tx, title: str, every: Sequence[Approval], page: Page) -> Card:
    """What waits, one line each, and a button that brings each one up."""
    here = every[page.first : page.upto]
    return Card(
        line(title + page.span),
        tuple(_row(tx, one) for one in here) or (line("Nothing is waiting."),),
        actions=(
            *(Action(one.id, f"/waiting {one.id}", once=False) for one in here),
            *page.actions("/waiting "),
        ),
        tone=Tone.WAITING if here else Tone.PLAIN,
    )


def _row(tx: Tx, asked: Approval) -> Line:
    """``a6 · t1 · Bash: make deploy · until 14:00 UTC``."""
    text = tx.store.redact(asks.what(asked)) if tx.store.redact else asks.what(asked)
    if asked.kind in ("hold", "stall"):
        kind, text = "held: " if asked.kind == "hold" else "stalled: ", asked.reason
    elif asked.questions:
        kind = "asks: "
    else:
        kind = f"{Untrusted(asked.tool).one_line(20)}: "
    until = f" · until {words.clock(asked.expires_us)}" if asked.expires_us else ""
    return line(f"{asked.id} · {asked.task} · ", one_line(kind + text, 60), until)

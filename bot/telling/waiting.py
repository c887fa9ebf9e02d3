"""What waits for a person, as a chat sees it: what was asked there, a list of everything, and one shown again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo
from functools import partial
from pathlib import Path

from bot import words
from bot.cards import Action, Card, Line, Tone, line, one_line
from bot.outbox.posting import Posts
from bot.pages import Page
from bot.telling import asks, buttons, causes, sounds
from bot.telling.progress import Progress, bare_footer, footer
from fleet.config import FleetConfig
from fleet.model import ChatRef, Task
from fleet.store import sessions, tasks
from fleet.store.approvals import Approval
from fleet.store.chat import cards as card_rows
from fleet.store.core import Tx
from fleet.store.states import ApprovalKind
from fleet.untrusted import Untrusted


def ask_context(tx: Tx, config: FleetConfig, task: Task, asked: Approval, files: Path) -> asks.AskContext:
    """Where a question comes from. ``files`` is where the documents of long ones are written."""
    session = sessions.session(tx, asked.session)
    base = footer(task, Progress(machine=session.machine, isolation=session.isolation), config.isolation)
    zone = sounds.zone_of(tx, config, task.requester)
    others = causes.others(tx, asked) if asked.kind is ApprovalKind.STALL else ()
    return asks.AskContext(base, session.machine, sounds.name_of(config, task.requester), files, zone, others)


def asked_in(tx: Tx, chat: ChatRef, every: Sequence[Approval], message: str = "") -> list[Approval]:
    """The approvals that this chat (all its threads) has a card of; only that card's, if ``message`` is one."""
    here = {
        approval.id: {
            place.message_id
            for key in asks.keys(approval)
            for place in card_rows.by_key(tx, key)
            if (place.chat.adapter, place.chat.chat) == (chat.adapter, chat.chat)
        }
        for approval in every
    }
    answered = [approval for approval in every if message and message in here[approval.id]]
    return answered or [approval for approval in every if here[approval.id]]


def bring_up(
    posts: Posts, config: FleetConfig, chat: ChatRef, asked: Approval, files: Path, *, lead: Line = ()
) -> None:
    """Posts the card again with new buttons; the buttons of its older cards here stop. ``lead``: the first line."""
    tx = posts.tx
    task = tasks.task(tx, asked.task)
    card = asks.ask_card(tx, task, asked, ask_context(tx, config, task, asked, files))
    for key in asks.keys(asked):
        buttons.supersede(posts, key, chat)
    if lead:
        card = replace(card, lines=(lead, *card.lines))
    posts.post(chat, card, key=asks.key(asked), task=task.id)


def decided(posts: Posts, config: FleetConfig, asked: Approval, *, title: Line = ()) -> None:
    """The cards of what a person decided, or withdrew, lose their buttons and say who did it and when."""
    task = tasks.task(posts.tx, asked.task)
    by = asks.decided_by(task, asked, partial(sounds.name_of, config))
    zone = sounds.zone_of(posts.tx, config, task.requester)
    card = asks.decided_card(task, asked, by, bare_footer(task, config), zone)
    if title:
        card = replace(card, title=title, tone=Tone.PLAIN)
    for key in asks.keys(asked):
        buttons.change(posts, key, card)


def list_card(tx: Tx, title: str, every: Sequence[Approval], page: Page, zone: tzinfo) -> Card:
    """What waits, one line each, and a button that shows each again."""
    here = every[page.first : page.upto]
    return Card(
        line(title + page.span),
        tuple(_row(tx, approval, zone) for approval in here) or (line("Nothing is waiting."),),
        actions=(
            *(Action(approval.id, f"/waiting {approval.id}", once=False) for approval in here),
            *page.actions("/waiting "),
        ),
        tone=Tone.WAITING if here else Tone.PLAIN,
    )


def _row(tx: Tx, asked: Approval, zone: tzinfo) -> Line:
    """``a6 · t1 · Bash: make deploy · until 14:00 UTC``."""
    text = tx.store.redact(asks.what(asked)) if tx.store.redact else asks.what(asked)
    if asked.kind in (ApprovalKind.HOLD, ApprovalKind.STALL):
        kind, text = "held: " if asked.kind is ApprovalKind.HOLD else "stalled: ", asked.reason
    elif asked.questions:
        kind = "asks: "
    else:
        kind = f"{Untrusted(asked.tool).one_line(20)}: "
    shown = words.day if asked.kind is ApprovalKind.HOLD else words.clock
    until = f" · until {shown(asked.expires_us, zone)}" if asked.expires_us else ""
    return line(f"{asked.id} · {asked.task} · ", one_line(kind + text, 60), until)

"""Draws a card as Block Kit, so that nothing in it can act: words stand in ``plain_text``, bodies in preformatted
``rich_text``, which Slack parses for neither mentions nor links nor emoji. Only our own mention is markup.

Slack's limits that are kept here: 50 blocks, header 150 characters, section 3,000, ten fields of 2,000, button
label 75 and value 2,000, 25 buttons a block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from bot.cards import Action, Card, Line, Tone
from fleet.untrusted import Untrusted, clean, shortened

Block = dict[str, Any]

HEADER = 150
SECTION = 3_000
FIELD = 2_000
FIELDS = 10
LABEL = 75
VALUE = 2_000
BUTTONS = 25
BODY = 2_800
"""Characters of one preformatted block, and of a body that had to be shortened."""

INLINE_BODIES = 3
"""A longer body is sent as a file, its beginning and end shown."""

FALLBACK = 300
"""Characters of the text that a notification shows."""

_WHOLE = 2_000_000
_BREAK = "\u200b"
_ACTS = re.compile(
    r"(?<=<)(?=[@#!])"  # mention, channel, broadcast
    r"|(?<=@)(?=\w)"  # @here, @name
    r"|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=mailto:)"  # links
    r"|(?<=:)(?=[\w+'-]{1,100}:)"  # emoji codes
)
_SIGN = {Tone.GOOD: "✓ ", Tone.BAD: "✗ ", Tone.WAITING: "✋ "}
_STYLE = {"approve": "primary", "stop": "danger", "deny": "danger"}
_USER = re.compile(r"[UW][A-Z0-9]{1,40}")


@dataclass(frozen=True, slots=True)
class Drawn:
    """``text`` is what a notification shows; ``whole``: the body, when it is too long to be shown in full and the
    card has no document, which would hold all of it."""

    blocks: list[Block]
    text: str
    whole: str = ""


def draw(card: Card, *, user: str = "", again: bool = False) -> Drawn:
    """The card as Slack draws it. ``user`` is mentioned, which pings; ``again``: it may have been sent before."""
    title = _line(card.title)
    if title[:1].isalnum():  # a title that has a sign of its own keeps to it
        title = _SIGN.get(card.tone, "") + title
    lines = "\n".join(_line(one) for one in card.lines)
    body, whole = _body(card.body)
    if card.document:
        whole = ""
    if len(lines) > SECTION:
        whole = "\n\n".join(part for part in (lines, whole or _text(card.body)) if part)
    mention = f"<@{user}>" if _USER.fullmatch(user) else ""
    blocks = [_section({"type": "mrkdwn", "text": mention})] if mention else []
    blocks.append(_header(title))
    if lines.strip():
        blocks.append(_section(_plain(lines, SECTION)))
    fields = [_plain(f"{one.name}\n{_line(one.value)}", FIELD) for one in card.fields]
    blocks += [
        {"type": "section", "fields": fields[start : start + FIELDS]} for start in range(0, len(fields), FIELDS)
    ]
    blocks += body
    blocks += _buttons(card.actions)
    footer = " · ".join(part for part in ("shown again" if again else "", card.footer) if part)
    if footer:
        blocks.append({"type": "context", "elements": [_plain(footer, FIELD)]})
    first = _line(card.lines[0]) if card.lines else ""
    told = shortened(" · ".join(part for part in (title.strip(), first) if part), FALLBACK).replace("\n", " ")
    return Drawn(blocks, f"{mention} {escape(told)}".strip(), whole)


def bare(card: Card) -> Card:
    """The card without anything whose size is not ours, for a platform that refused it: title and buttons stay."""
    return replace(card, title=(_line(card.title)[:HEADER],), lines=(), fields=(), body=None)


def plain(card: Card) -> str:
    """Everything a card says, as a text file would."""
    parts = [
        _line(card.title),
        *map(_line, card.lines),
        *(f"{one.name}: {_line(one.value)}" for one in card.fields),
    ]
    return "\n".join([*parts, *([_text(card.body)] if card.body else [])])


def escape(text: str) -> str:
    """Text in which Slack's markup finds nothing of its own; for the places where ``plain_text`` cannot stand."""
    return disarm(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def disarm(text: str) -> str:
    """The same text for the eye; an invisible break keeps it from being a mention, a link or an emoji's code."""
    return _ACTS.sub(_BREAK, text)


def pieces_of(text: str, size: int) -> list[str]:
    """A text in parts of at most ``size`` characters: cut between lines where there are any."""
    parts: list[str] = []
    while len(text) > size:
        cut = text.rfind("\n", size // 2, size + 1)
        cut = size if cut < 0 else cut
        parts.append(text[:cut])
        text = text[cut:].removeprefix("\n") if text[cut : cut + 1] == "\n" else text[cut:]
    return [*parts, text] if text or not parts else parts


def _line(pieces: Line) -> str:
    return "".join(
        disarm(piece.one_line(FIELD)) if isinstance(piece, Untrusted) else clean(piece, SECTION * 4)
        for piece in pieces
    )


def _text(body: Untrusted | None) -> str:
    return "" if body is None else body.text(_WHOLE)


def _body(body: Untrusted | None) -> tuple[list[Block], str]:
    text = _text(body).strip("\n")
    if not text.strip():
        return [], ""
    parts = pieces_of(text, BODY)
    if len(parts) <= INLINE_BODIES:
        return [_preformatted(part) for part in parts], ""
    return [_preformatted(shortened(text, BODY))], text


def _preformatted(text: str) -> Block:
    inside = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": text or " "}]}
    return {"type": "rich_text", "elements": [inside]}


def _header(title: str) -> Block:
    if len(title) > HEADER:
        return _section(_plain(title, SECTION))
    return {"type": "header", "text": _plain(title, HEADER)}


def _section(text: Block) -> Block:
    return {"type": "section", "text": text}


def _plain(text: str, limit: int) -> Block:
    return {"type": "plain_text", "text": shortened(text, limit) if text.strip() else "…", "emoji": False}


def _buttons(actions: tuple[Action, ...]) -> list[Block]:
    made: list[Block] = []
    for number, action in enumerate(actions):
        label = _plain(action.label[:LABEL], LABEL)
        button: Block = {"type": "button", "action_id": f"press-{number}", "text": label, "value": action.token}
        if style := _STYLE.get(action.command.lstrip("/").split(" ", 1)[0]):
            button["style"] = style
        made.append(button)
    return [{"type": "actions", "elements": made[at : at + BUTTONS]} for at in range(0, len(made), BUTTONS)]

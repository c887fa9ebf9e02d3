"""Draws a card as Block Kit without active content: words are ``plain_text``, bodies preformatted ``rich_text``.
Slack looks for mentions, links or emoji in neither. Only our own mention is markup.

Slack's limits: 50 blocks, header 150 characters, section 3,000, ten fields of 2,000, button
label 75 and value 2,000, 25 buttons a block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
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
    """``text`` is what a notification shows; ``whole``: the body, if it is too long to be shown in full and the
    card has no document with all of it."""

    blocks: list[Block]
    text: str
    whole: str = ""


def draw(card: Card, *, user: str = "", again: bool = False) -> Drawn:
    """The card as blocks. ``user`` is mentioned, which pings; ``again``: it may have been sent before."""
    title = _line(card.title)
    if title[:1].isalnum():  # a title that has its own sign keeps it
        title = _SIGN.get(card.tone, "") + title
    lines = "\n".join(_line(row) for row in card.lines)
    body, whole = _body(card.body)
    if card.document:
        whole = ""
    if len(lines) > SECTION:
        whole = "\n\n".join(part for part in (lines, whole or _text(card.body)) if part)
    mention = f"<@{user}>" if is_user(user) else ""
    blocks = [_section({"type": "mrkdwn", "text": mention})] if mention else []
    blocks.append(_header(title))
    if lines.strip():
        blocks.append(_section(_plain(lines, SECTION)))
    fields = [_plain(f"{field.name}\n{_line(field.value)}", FIELD) for field in card.fields]
    blocks += [
        {"type": "section", "fields": fields[start : start + FIELDS]} for start in range(0, len(fields), FIELDS)
    ]
    blocks += body
    blocks += _buttons(card.actions)
    footer = " · ".join(part for part in ("shown again" if again else "", card.footer) if part)
    if footer:
        blocks.append({"type": "context", "elements": [_plain(footer, FIELD)]})
    first = _line(card.lines[0]) if card.lines else ""
    summary = shortened(" · ".join(part for part in (title.strip(), first) if part), FALLBACK).replace("\n", " ")
    return Drawn(blocks, f"{mention} {escape(summary)}".strip(), whole)


def is_user(user: str) -> bool:
    """Whether it has the form of a person's id, which a mention may contain."""
    return bool(_USER.fullmatch(user))


def plain(card: Card) -> str:
    """Everything a card says, as a text file would."""
    parts = [
        _line(card.title),
        *map(_line, card.lines),
        *(f"{field.name}: {_line(field.value)}" for field in card.fields),
    ]
    return "\n".join([*parts, *([_text(card.body)] if card.body else [])])


def escape(text: str) -> str:
    """Text without active Slack markup, for places that do not take ``plain_text``."""
    return disarm(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def disarm(text: str) -> str:
    """Text that looks the same; invisible breaks keep it from becoming a mention, a link or an emoji."""
    return _ACTS.sub(_BREAK, text)


def pieces_of(text: str, size: int) -> list[str]:
    """A text in parts of at most ``size`` characters, cut between lines if possible."""
    parts: list[str] = []
    while len(text) > size:
        cut = text.rfind("\n", size // 2, size + 1)
        cut = size if cut < 0 else cut
        parts.append(text[:cut])
        text = text[cut:].removeprefix("\n") if text[cut : cut + 1] == "\n" else text[cut:]
    return [*parts, text] if text or not parts else parts


def _line(pieces: Line) -> str:
    """One line of a card. What acts is broken wherever foreign text has a part in it, at a joint with ours too."""
    text, foreign = "", list[range]()
    for piece in pieces:
        start = len(text)
        text += piece.one_line(FIELD) if isinstance(piece, Untrusted) else clean(piece, SECTION * 4)
        if isinstance(piece, Untrusted):
            foreign.append(range(start, len(text) + 1))
    return _ACTS.sub(lambda found: _BREAK if any(found.start() in part for part in foreign) else "", text)


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

"""Draws a card as Telegram's HTML: within its limits, and without active content that a stranger wrote.

Telegram counts the UTF-16 units of the text without markup. It turns plain text into mentions, links and commands
automatically, except in code. No network and no library here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import Final

from bot import words
from bot.cards import Action, Card, Line, Tone
from fleet.untrusted import Untrusted

TEXT_LIMIT: Final = 4096
CAPTION_LIMIT: Final = 1024
LABEL_LIMIT: Final = 40
ROW_WIDTH: Final = 26
"""Characters of labels that fit side by side on a phone."""

BODY_LINES: Final = 60
"""A body with more lines is sent as a file; so is one that does not fit."""

_EXCERPT_LINES: Final = 12
_PIECE_LIMIT: Final = 400
_NAME_LIMIT: Final = 40
_BREAK: Final = "\u200b"
_SIGN = {Tone.GOOD: "✅ ", Tone.BAD: "❌ ", Tone.WAITING: "✋ ", Tone.PLAIN: "", Tone.WORKING: ""}
_LIVE = re.compile(
    r"[@#$+.](?=\S)"  # mentions, tags, phone numbers; every link has a dot, and most letters may precede it
    r"|(?<![\w/])/(?=\w)"  # commands
    r"|:(?=//|\d)"  # links to apps; times, which are links to a place in a video
    r"|\d(?=(?:[ -]?\d){12})"  # bank cards
)

_JOINTS: Final = tuple("@#$+./:")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered card. ``whole``: nothing is missing but what ``rest`` holds.

    ``rest`` is the full body if only its start fitted and the card has no document with all of it; it goes into a
    file of the kind ``suffix``. ``excerpt``: only the body's start is here.
    """

    html: str
    units: int
    whole: bool
    rest: str = ""
    suffix: str = ""
    excerpt: bool = False


def units(text: str) -> int:
    """Length as Telegram counts it."""
    return len(text) + sum(letter > "\uffff" for letter in text)


def disarm(text: str) -> str:
    """``text`` with a zero-width break wherever Telegram would find a mention, a link, a tag or a command."""
    return _LIVE.sub(lambda found: found.group() + _BREAK, text)


def plain(pieces: Line) -> str:
    """A line without markup: untrusted text on one line and disarmed, also where it touches our own text."""
    made, of_stranger = "", False
    for piece in pieces:
        stranger = isinstance(piece, Untrusted)
        text = disarm(piece.one_line(_PIECE_LIMIT)) if isinstance(piece, Untrusted) else piece
        if text and (stranger or of_stranger) and _join(made, text):
            made += _BREAK
        made += text
        of_stranger = stranger or (of_stranger and not text)
    return made


def _join(before: str, after: str) -> bool:
    """Whether something may come alive where two texts meet: a mention, a link, a number."""
    digits = before.rstrip(" -")[-1:].isdigit() and after.lstrip(" -")[:1].isdigit()
    return before.endswith(_JOINTS) or after.startswith((":", ".")) or digits


def render(
    card: Card, *, limit: int = TEXT_LIMIT, user: str = "", again: bool = False, excerpt: bool = False
) -> Rendered:
    """The card in at most ``limit`` units. ``user``: the Telegram id of the person it mentions. ``again``: the
    reader may have seen it before. ``excerpt``: only the start of the body, since all of it is sent as a file.
    """
    footer = " · ".join(piece for piece in ("shown again", card.footer) if piece) if again else card.footer
    page = _Page(limit - units(footer) - 2 if footer else limit)
    if user:
        name = disarm(Untrusted(card.mentioned).one_line(_NAME_LIMIT))
        page.write(f"🔔 {name}".rstrip(), f'<a href="tg://user?id={escape(user)}">', "</a>")
        page.write(" ")
    title = plain(card.title)
    sign = _SIGN[card.tone] if title[:1].isalnum() else ""  # a title that has its own sign keeps it
    page.write(sign + title, "<b>", "</b>")
    for line in card.lines:
        page.line(plain(line))
    for field in card.fields:
        page.line(f"{field.name}: ", "<b>", "</b>", plain(field.value))
    rest, suffix, whole_body = "", "", True
    if card.body is not None:
        full = card.body.text(len(card.body.raw) + 1).strip("\n")
        suffix = "diff" if full.startswith("diff --git ") else "txt"
        whole_body = page.body(full, suffix, _EXCERPT_LINES if excerpt else BODY_LINES, bool(card.document))
        rest = "" if whole_body or card.document else full
    if footer:
        page.room += units(footer) + 2
        page.line(footer, "<i>", "</i>")
    return Rendered("".join(page.parts), limit - page.room, not page.cut, rest, suffix, not whole_body)


def plain_page(card: Card) -> Rendered:
    """The title alone, without markup."""
    title = _cut(plain(card.title), TEXT_LIMIT)
    return Rendered(escape(title, quote=False), units(title), whole=False)


def keyboard(actions: tuple[Action, ...]) -> list[list[tuple[str, str]]]:
    """The buttons as (label, token), in rows as wide as a phone."""
    rows: list[list[tuple[str, str]]] = []
    width = 0
    for action in actions:
        label = action.label if len(action.label) <= LABEL_LIMIT else action.label[: LABEL_LIMIT - 1] + "…"
        if not rows or width + len(label) > ROW_WIDTH or len(rows[-1]) == 4:
            rows.append([])
            width = 0
        rows[-1].append((label, action.token))
        width += len(label) + 2
    return rows


class _Page:
    """Collects text while there is room. ``room`` is in units; ``cut``: something did not fit."""

    def __init__(self, room: int) -> None:
        self.room, self.cut = room, False
        self.parts: list[str] = []

    def write(self, text: str, before: str = "", after: str = "") -> None:
        """As much of ``text`` as fits, between two tags."""
        fitting = _cut(text, self.room)
        self.cut |= fitting != text
        if fitting:
            self.parts.append(before + escape(fitting, quote=False) + after)
            self.room -= units(fitting)

    def line(self, text: str, before: str = "", after: str = "", more: str = "") -> None:
        """The same on a new line; ``more`` follows without the tags."""
        if self.room < 2:
            self.cut |= bool(text + more)
            return
        self.write("\n")
        self.write(text, before, after)
        if more:
            self.write(more)

    def body(self, full: str, suffix: str, most: int, in_file: bool) -> bool:
        """Whole lines of preformatted text. Returns whether all of it fitted. ``in_file``: a document has all of it
        and perhaps more, so the lines that are missing cannot be counted here."""
        lines = full.split("\n")
        shown = lines[:most]
        note = ""
        while shown and (len(shown) < len(lines) or units(full) > self.room - 2):
            left = len(lines) - len(shown)
            note = (
                ("… the file has all of it" if in_file else f"… {words.count(left, 'more line')}") if left else ""
            )
            if units("\n".join(shown)) + units(note) + 3 <= self.room:
                break
            if len(shown) == 1:
                shown = [_cut(shown[0], max(0, self.room - units(note) - 3))]
                break
            shown.pop()
        text = "\n".join([*shown, note] if note else shown)
        whole = text == full
        if text.strip() and self.room > units(text) + 1:
            self.write("\n")
            tags = (
                ('<pre><code class="language-diff">', "</code></pre>") if suffix == "diff" else ("<pre>", "</pre>")
            )
            self.write(text, *tags)
        return whole


def _cut(text: str, room: int) -> str:
    """As much of ``text`` as ``room`` units hold, the last one an ellipsis when that is not all."""
    if units(text) <= room:
        return text
    kept, size = [], 0
    for letter in text:
        size += units(letter)
        if size > room - 1:
            break
        kept.append(letter)
    return "".join(kept) + "…" if room > 0 else ""

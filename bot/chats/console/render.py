"""Draws a card for a terminal, as wide as a phone would show it."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bot import words
from bot.cards import Action, Card, Tone, shown
from fleet.untrusted import Untrusted

WIDTH = 46
_BODY_LINES = 40
_BODY_CHARACTERS = 4_000
_COLOUR = {
    Tone.PLAIN: "bright_black",
    Tone.GOOD: "green",
    Tone.BAD: "red",
    Tone.WAITING: "yellow",
    Tone.WORKING: "blue",
}
_SIGN = {Tone.PLAIN: "", Tone.GOOD: "✓ ", Tone.BAD: "✗ ", Tone.WAITING: "✋ ", Tone.WORKING: ""}


def render(
    card: Card, number: Callable[[Action], int], *, colour: bool, ping: bool = False, again: bool = False
) -> str:
    """The card as lines of text, ending in a newline. Without ``colour`` there is no escape code in it.

    ``number`` gives a button's number. ``again``: an earlier process may have shown it.
    """
    title = shown(card.title)
    sign = _SIGN[card.tone] if title[:1].isalnum() else ""  # a title that has its own sign keeps it
    parts: list[RenderableType] = [Text(sign + title, style="bold", overflow="fold")]
    if ping:
        who = Untrusted(card.mentioned).one_line(WIDTH // 2) or card.mention.rsplit(":", 1)[-1]
        parts.insert(0, Text(f"🔔 {who}".rstrip(), style="yellow"))
    parts += [Text(shown(line), overflow="fold") for line in card.lines]
    if card.fields:
        parts.append(_fields(card))
    if card.body is not None:
        body = _body(card.body.text(len(card.body.raw) + 1), bool(card.document))
        parts.append(Padding(Text(body, style="dim", overflow="fold"), (1, 0, 0, 0)))
    for sign, path in (("🖼", card.picture), ("📎", card.document)):
        if path:
            parts.append(Text(f"{sign} {path}", style="cyan", overflow="fold"))
    if card.actions:
        buttons = "  ".join(f"[{number(action)}] {action.label}" for action in card.actions)
        parts.append(Padding(Text(buttons, style="bold", overflow="fold"), (1, 0, 0, 0)))
    footer = " · ".join(piece for piece in ("shown again" if again else "", card.footer) if piece)
    on_frame = len(footer) <= WIDTH - 6
    if footer and not on_frame:
        parts.append(Text(footer, style="dim", overflow="fold"))
    panel = Panel(
        Group(*parts),
        box=box.ROUNDED,
        border_style=_COLOUR[card.tone],
        subtitle=Text(footer, style="dim") if footer and on_frame else None,
        subtitle_align="right",
        padding=(0, 1),
    )
    return _print(panel, colour)


def render_edit(card: Card, *, colour: bool) -> str:
    """An edited card in one line."""
    return _print(edit_line(card), colour, width=WIDTH * 2)


def edit_line(card: Card) -> Text:
    """That line: the card's subject, and its first and last lines. Where it has no lines, or a body that they
    explain, its whole title."""
    lines = [] if card.body is not None else [shown(line, 80) for line in card.lines]
    pieces = [shown(card.title, 60).split(" · ", 1)[0]] if lines else [shown(card.title, 120)]
    pieces += lines[:1] + (lines[-1:] if len(lines) > 1 else [])
    text = Text("↻ " + " · ".join(piece for piece in pieces if piece), style=_COLOUR[card.tone])
    text.truncate(WIDTH * 2, overflow="ellipsis")
    return text


def _fields(card: Card) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for field in card.fields:
        table.add_row(Text(field.name), Text(shown(field.value), overflow="fold"))
    return table


def _body(text: str, in_file: bool) -> str:
    """As much as fits a screen, and how much more there is. ``in_file``: a document has all of it."""
    text = text.strip("\n")
    rows = text.split("\n")
    fit, room = 0, _BODY_CHARACTERS
    while fit < min(len(rows), _BODY_LINES) and len(rows[fit]) < room:
        room -= len(rows[fit]) + 1
        fit += 1
    if fit == len(rows):
        return text
    fit = min(fit, _BODY_LINES - 1)  # the note is a line, too
    shown = "\n".join(rows[:fit]) or text[: _BODY_CHARACTERS - 1]
    more = words.count(len(rows) - fit, "more line") if fit else f"{len(text) - len(shown)} more characters"
    return f"{shown}\n… {'the file has all of it' if in_file else more}"


def _print(what: RenderableType, colour: bool, width: int = WIDTH) -> str:
    out = StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(what)
    return out.getvalue()

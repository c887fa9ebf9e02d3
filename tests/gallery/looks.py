"""Cards as HTML, in the look of each chat: what its renderer made, drawn as that chat's app draws it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from bot.chats.console.render import WIDTH, render
from bot.chats.slack import render as slack_render
from bot.chats.telegram import render as telegram_render
from tests.gallery.scenes import Shown

_DARK = TerminalTheme(
    (22, 25, 29),
    (215, 220, 226),
    [(62, 68, 76), (229, 105, 96), (106, 190, 120), (224, 184, 84), (98, 160, 234), (190, 130, 220), (90, 190, 200),
     (200, 205, 211)],
    [(130, 138, 148), (240, 130, 120), (130, 210, 140), (240, 205, 110), (130, 185, 245), (210, 160, 235),
     (120, 210, 215), (255, 255, 255)],
)  # fmt: skip
Look = Callable[[Shown], str]


def page(look: str, some: Sequence[Shown]) -> str:
    """One page of cards, each in a ``section`` as wide as a phone."""
    style = Path(__file__).with_name("phone.css").read_text()
    sections = "".join(
        f'<section data-group="{scene.group}" data-name="{escape(scene.name)}" data-short="{int(scene.short)}">'
        f"<h2>{escape(scene.name)}</h2>{LOOKS[look](scene)}</section>"
        for scene in some
    )
    head = '<meta charset="utf-8"><meta name="viewport" content="width=390,initial-scale=1">'
    return f'<!doctype html><html>{head}<style>{style}</style><body class="{look}">{sections}</body></html>'


def picture(path: str) -> str:
    """A picture of a card, inside the page; empty for none."""
    if not path:
        return ""
    return f'<img src="data:image/png;base64,{base64.b64encode(Path(path).read_bytes()).decode()}">'


def console(scene: Shown) -> str:
    """The console's own text, with its colours, in a terminal of a phone's width."""
    card = scene.outgoing.card
    numbers = {action.label: number for number, action in enumerate(card.actions, 1)}
    drawn = render(card, lambda action: numbers[action.label], colour=True, ping=scene.outgoing.ping)
    recorder = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    recorder.print(Text.from_ansi(drawn), soft_wrap=True)
    html = recorder.export_html(theme=_DARK, inline_styles=True, code_format="<pre>{code}</pre>")
    return f'<div class="said">{html}{picture(card.picture)}</div>'


def telegram(scene: Shown) -> str:
    """A bubble with Telegram's HTML, its picture or file above, its keyboard below."""
    card = scene.outgoing.card
    file = card.document
    drawn = telegram_render.render(card, user="12345" if scene.outgoing.ping else "")
    html = drawn.html.replace("\n<pre>", "<pre>").replace("</pre>\n", "</pre>")  # a block has its own lines there
    above = picture(card.picture) + (f'<div class="file">📄 {escape(Path(file).name)}</div>' if file else "")
    rows = "".join(
        '<div class="row">' + "".join(f'<div class="key">{escape(label)}</div>' for label, _ in row) + "</div>"
        for row in telegram_render.keyboard(card.actions)
    )
    bubble = f'<div class="bubble">{above}<div class="said">{html}</div><div class="time">16:07</div></div>'
    return bubble + (f'<div class="keys">{rows}</div>' if rows else "")


def slack(scene: Shown) -> str:
    """A row of a channel with the blocks of Block Kit."""
    card = scene.outgoing.card
    drawn = slack_render.draw(card, user="U02JPF3AB" if scene.outgoing.ping else "")
    blocks = [block for block in drawn.blocks if block["type"] != "actions"]
    keys = [key for block in drawn.blocks if block["type"] == "actions" for key in block["elements"]]
    buttons = "".join(
        f'<div class="key {key.get("style", "")}">{escape(key["text"]["text"])}</div>' for key in keys
    )
    file = f'<div class="file">📄 {escape(Path(card.document).name)}</div>' if card.document else ""
    return (
        '<div class="who">Airboss<span>APP 16:07</span></div>'
        f'<div class="said">{"".join(map(_block, blocks))}</div>{picture(card.picture)}{file}'
        + (f'<div class="keys">{buttons}</div>' if buttons else "")
    )


def _block(block: dict[str, Any]) -> str:
    """One block as Slack's app lays it out. Raises ``KeyError`` for a kind that is not drawn here."""
    match block["type"]:
        case "header":
            return f'<div class="block header">{_text(block["text"])}</div>'
        case "section":
            fields = "".join(f'<div class="block">{_text(field)}</div>' for field in block.get("fields", ()))
            text = f'<div class="block">{_text(block["text"])}</div>' if "text" in block else ""
            return text + (f'<div class="fields">{fields}</div>' if fields else "")
        case "context":
            return f'<div class="block context">{" ".join(map(_text, block["elements"]))}</div>'
        case "rich_text":
            return "".join(_rich(element) for element in block["elements"])
        case other:
            raise KeyError(other)


def _rich(element: dict[str, Any]) -> str:
    tag = {"rich_text_preformatted": "pre", "rich_text_section": "div"}[element["type"]]
    return f"<{tag}>{''.join(escape(part['text']) for part in element['elements'])}</{tag}>"


def _text(text: dict[str, Any]) -> str:
    if text["type"] == "mrkdwn":
        return re.sub(r"&lt;@(\w+)&gt;", '<span class="mention">@ada</span>', escape(text["text"]))
    return escape(text["text"])


LOOKS: dict[str, Look] = {"console": console, "telegram": telegram, "slack": slack}

"""Text as Telegram reads it: the HTML subset, the entities it finds by itself, and its way of counting."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from tests.far_end import bot_api_refusals as refusals

#: Tags without attributes, and the entity each becomes.
_PLAIN_TAGS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "code": "code",
    "pre": "pre",
    "tg-spoiler": "spoiler",
    "blockquote": "blockquote",
}
_TAGS = {*_PLAIN_TAGS, "a", "span"}
_ENTITIES = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_CHARACTER = re.compile(r"&(?:(lt|gt|amp|quot)|#(\d{1,7})|#x([0-9a-fA-F]{1,6}));")
_TAG_NAME = re.compile(r"[^\s>/]*")
_ATTRIBUTE = re.compile(r"""\s+([a-zA-Z-]+)(?:=(?:"([^"]*)"|'([^']*)'|([\w-]+)))?""")

#: What Telegram makes live in plain text, as its clients show it. General punctuation is part of none of them.
_W = r"[^\W\u2000-\u206f]"
#: No domain ends with toml.
#: A letter of a domain by TDLib's parser (td/telegram/MessageEntity.cpp): "~" too, and everything from U+00C0 on.
_D = r"[A-Za-z0-9_~\-\u00c0-\u1fff\u2070-\U0010ffff]"
_FOUND = (
    (
        "url",
        re.compile(
            rf"(?:[a-z]{{2,10}}://)?{_D}+(?:\.{_D}+)*\.(?=[^\W\d_])(?!toml(?!{_D})){_D}{{2,}}(?::\d+)?(?:/\S*)?"
        ),
    ),
    ("url", re.compile(r"\b(?:tg|ton|tonsite)://\S+")),
    ("email", re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")),
    ("mention", re.compile(r"(?<!\w)@[A-Za-z0-9_]{2,32}\b")),
    ("hashtag", re.compile(rf"(?<![\w#])#(?!\d+\b){_W}+")),
    ("cashtag", re.compile(r"(?<![\w$])\$(?:1INCH|[A-Z]{1,8})(?![\w$])")),
    ("bot_command", re.compile(r"(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@\w{3,32})?\b")),
    ("phone_number", re.compile(r"\+\d[\d ()-]{6,}\d")),
)


@dataclass(frozen=True)
class Entity:
    """A stretch of the text, in characters of Python's counting; ``extra`` is a link's address or a language."""

    kind: str
    start: int
    end: int
    extra: str = ""


@dataclass(frozen=True)
class Formatted:
    """What is left when the markup is read."""

    text: str
    entities: tuple[Entity, ...]

    def live(self) -> list[str]:
        """The words that can be tapped, with what they are."""
        dead = {"bold", "italic", "underline", "strikethrough", "code", "pre", "spoiler", "blockquote"}
        return [
            f"{entity.kind}:{self.text[entity.start : entity.end]}"
            for entity in self.entities
            if entity.kind not in dead
        ]


def utf16(text: str) -> int:
    """Length as Telegram counts it: UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def read(text: str, parse_mode: str | None) -> Formatted:
    """The formatted text of a message. Raises a ``Refusal`` for markup that cannot be parsed."""
    if parse_mode is None:
        return Formatted(text, tuple(_found(text, ())))
    if parse_mode.lower() != "html":
        raise refusals.bad("unsupported parse_mode")
    plain, entities = _parse(text)
    kept = plain.rstrip()
    cut = len(kept) - len(kept.lstrip())
    kept = kept.lstrip()
    moved = [
        Entity(entity.kind, max(0, entity.start - cut), min(len(kept), entity.end - cut), entity.extra)
        for entity in entities
    ]
    every = [entity for entity in moved if entity.end > entity.start]
    return Formatted(kept, tuple(every + _found(kept, tuple(every))))


def _parse(source: str) -> tuple[str, list[Entity]]:
    out: list[str] = []
    size = at = 0
    entities: list[Entity] = []
    stack: list[tuple[str, str, str, int, int]] = []  # tag, entity, extra, start in the text, byte offset
    while at < len(source):
        letter = source[at]
        if letter == "&" and (found := _CHARACTER.match(source, at)):
            name, decimal, hexadecimal = found.groups()
            out.append(_ENTITIES[name] if name else chr(int(decimal) if decimal else int(hexadecimal, 16)))
            size, at = size + 1, found.end()
        elif letter != "<":
            out.append(letter)
            size, at = size + 1, at + 1
        elif source.startswith("</", at):
            at = _close(source, at, size, stack, entities)
        else:
            at = _open(source, at, size, stack)
    if stack:
        tag, _, _, _, offset = stack[-1]
        raise refusals.cannot_parse(
            f'Can\'t find end tag corresponding to start tag "{tag}" at byte offset {offset}'
        )
    return "".join(out), entities


def _offset(source: str, at: int) -> int:
    return len(source[:at].encode())


def _open(source: str, at: int, size: int, stack: list[tuple[str, str, str, int, int]]) -> int:
    offset = _offset(source, at)
    name = _TAG_NAME.match(source, at + 1)
    assert name is not None, "the pattern matches the empty string too"
    tag, here = name.group().lower(), name.end()
    if tag not in _TAGS:
        raise refusals.cannot_parse(f'Unsupported start tag "{tag}" at byte offset {offset}')
    attributes: dict[str, str] = {}
    while found := _ATTRIBUTE.match(source, here):
        attributes[found.group(1).lower()] = next((group for group in found.groups()[1:] if group is not None), "")
        here = found.end()
    end = re.compile(r"\s*>").match(source, here)
    if end is None:
        raise refusals.cannot_parse(f"Unclosed start tag at byte offset {offset}")
    entity, extra = _PLAIN_TAGS.get(tag, ""), ""
    if tag == "a":
        extra = html.unescape(attributes.get("href", ""))
        entity = "text_mention" if extra.startswith("tg://user?id=") else "text_link"
    elif tag == "span":
        if attributes.get("class") != "tg-spoiler":
            raise refusals.cannot_parse(f'Tag "span" must have class "tg-spoiler" at byte offset {offset}')
        entity = "spoiler"
    elif tag == "code":
        extra = attributes.get("class", "").removeprefix("language-")
    stack.append((tag, entity, extra, size, offset))
    return end.end()


def _close(
    source: str, at: int, size: int, stack: list[tuple[str, str, str, int, int]], entities: list[Entity]
) -> int:
    offset, end = _offset(source, at), source.find(">", at)
    if end < 0:
        raise refusals.cannot_parse(f"Unclosed end tag at byte offset {offset}")
    tag = source[at + 2 : end].strip().lower()
    if not stack:
        raise refusals.cannot_parse(f"Unexpected end tag at byte offset {offset}")
    opened, entity, extra, start, _ = stack.pop()
    if tag and tag != opened:
        raise refusals.cannot_parse(
            f'Unmatched end tag at byte offset {offset}, expected "</{opened}>", found "</{tag}>"'
        )
    if size > start and not (entity == "text_link" and "." not in extra):
        entities.append(Entity(entity, start, size, extra))
    return end + 1


def _found(text: str, taken: tuple[Entity, ...]) -> list[Entity]:
    """What becomes live by itself, everywhere but in code and in links."""
    closed = [entity for entity in taken if entity.kind in ("pre", "code", "text_link", "text_mention")]
    return [
        Entity(kind, found.start(), found.end())
        for kind, pattern in _FOUND
        for found in pattern.finditer(text)
        if not any(entity.start < found.end() and found.start() < entity.end for entity in closed)
    ]

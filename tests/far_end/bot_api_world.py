"""What Telegram keeps: people, chats, topics, messages, files. No network here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.far_end.bot_api_text import Entity, Formatted, read

BOT_ID = 4242
BOT_NAME = "airboss_test_bot"


@dataclass(frozen=True)
class Button:
    """One button under a message."""

    label: str
    data: str


@dataclass
class Said:
    """A message as a phone shows it. ``mine``: the bot sent it; ``before``: its earlier texts, oldest first."""

    id: int
    chat: int
    thread: int
    mine: bool
    sender: int
    formatted: Formatted
    buttons: tuple[tuple[Button, ...], ...] = ()
    silent: bool = False
    reply_to: int = 0
    file_name: str = ""
    file: bytes = b""
    photo: bool = False
    deleted: bool = False
    previewed: bool = False
    before: list[str] = field(default_factory=list)
    at: float = 0.0

    @property
    def text(self) -> str:
        """What can be read: the text, or the caption."""
        return self.formatted.text

    @property
    def live(self) -> list[str]:
        """What can be tapped in the text, or would ping."""
        return self.formatted.live()

    @property
    def labels(self) -> list[str]:
        """The buttons, in reading order."""
        return [button.label for row in self.buttons for button in row]

    @property
    def has_media(self) -> bool:
        """A photo or a document, whose text is a caption."""
        return bool(self.file_name) or self.photo

    def data(self, label: str) -> str:
        """What the button of that label carries."""
        return next(button.data for row in self.buttons for button in row if button.label == label)


@dataclass
class Chat:
    """A conversation. ``gone``: "", "blocked" or "kicked"; ``moved_to``: the supergroup it became. ``closed``: its
    closed topics, 0 for General; ``forbidden``: what members may not send: documents, photos, text messages."""

    id: int
    kind: str
    title: str
    forum: bool = False
    may_make_topics: bool = True
    gone: str = ""
    moved_to: int = 0
    topics: dict[int, str] = field(default_factory=dict)
    closed: set[int] = field(default_factory=set)
    forbidden: set[str] = field(default_factory=set)
    messages: dict[int, Said] = field(default_factory=dict)

    @property
    def group(self) -> bool:
        return self.kind in ("group", "supergroup")


@dataclass(frozen=True)
class Stored:
    """A file on Telegram's servers."""

    id: str
    name: str
    data: bytes
    media_type: str


class World:
    """The state behind the methods."""

    def __init__(self) -> None:
        self.chats: dict[int, Chat] = {}
        self.files: dict[str, Stored] = {}
        self._message_ids: Iterator[int] = itertools.count(101)
        self._own_ids: dict[int, Iterator[int]] = {}
        self._groups: Iterator[int] = itertools.count(7001)
        self._file_ids: Iterator[int] = itertools.count(1)

    def person(self, user: int) -> Chat:
        """The private chat with a person, who has written to the bot before."""
        return self.chats.setdefault(user, Chat(user, "private", f"User {user}"))

    def group(self, title: str, *, kind: str = "supergroup", forum: bool = False) -> Chat:
        """A new group that the bot is a member of."""
        number = next(self._groups)
        chat = Chat(-(1_000_000_000_000 + number) if kind == "supergroup" else -number, kind, title, forum)
        self.chats[chat.id] = chat
        return chat

    def new_message_id(self, chat: Chat) -> int:
        """Supergroups count for themselves; all else shares one counter."""
        if chat.kind == "supergroup":
            return next(self._own_ids.setdefault(chat.id, itertools.count(2)))
        return next(self._message_ids)

    def store(self, name: str, data: bytes, media_type: str) -> Stored:
        """Keeps a file."""
        kept = Stored(f"file-{next(self._file_ids)}", name, data, media_type)
        self.files[kept.id] = kept
        return kept

    def say(self, chat: Chat, user: int, text: str, *, thread: int = 0, reply_to: int = 0) -> Said:
        """A person writes."""
        said = Said(self.new_message_id(chat), chat.id, thread, False, user, read(text, None), reply_to=reply_to)
        chat.messages[said.id] = said
        return said

    def open_topic(self, chat: Chat, name: str) -> int:
        """A new topic; its id is that of the service message that opened it."""
        number = self.new_message_id(chat)
        chat.topics[number] = name
        chat.messages[number] = Said(number, chat.id, number, True, BOT_ID, Formatted("", ()))
        return number


def user_json(user: int) -> dict[str, Any]:
    """A ``User``."""
    if user == BOT_ID:
        return {"id": BOT_ID, "is_bot": True, "first_name": "Airboss", "username": BOT_NAME}
    return {"id": user, "is_bot": False, "first_name": f"User {user}", "username": f"user{user}"}


def chat_json(chat: Chat) -> dict[str, Any]:
    """A ``Chat``."""
    shown: dict[str, Any] = {"id": chat.id, "type": chat.kind}
    if chat.kind == "private":
        return {**shown, "first_name": chat.title}
    return {**shown, "title": chat.title, **({"is_forum": True} if chat.forum else {})}


def message_json(world: World, said: Said, date: int, *, quote: bool = True) -> dict[str, Any]:
    """A ``Message``; ``quote``: with the message that it answers."""
    chat = world.chats[said.chat]
    shown: dict[str, Any] = {"message_id": said.id, "date": date, "chat": chat_json(chat)}
    shown["from"] = user_json(said.sender)
    if said.thread:
        shown |= {"message_thread_id": said.thread, "is_topic_message": True}
    if said.id in chat.topics:
        return {**shown, "forum_topic_created": {"name": chat.topics[said.id], "icon_color": 7322096}}
    text, entities = ("caption", "caption_entities") if said.has_media else ("text", "entities")
    if said.text:
        shown[text] = said.text
    if said.formatted.entities:
        shown[entities] = [_entity_json(said.text, entity) for entity in said.formatted.entities]
    # In a topic, a message that answers nothing answers the service message that opened the topic.
    answered = said.reply_to or (said.thread if said.thread in chat.topics else 0)
    if quote and answered in chat.messages:
        shown["reply_to_message"] = message_json(world, chat.messages[answered], date, quote=False)
    if said.buttons:
        rows = [[{"text": b.label, "callback_data": b.data} for b in row] for row in said.buttons]
        shown["reply_markup"] = {"inline_keyboard": rows}
    return shown


def _entity_json(text: str, entity: Entity) -> dict[str, Any]:
    units = len(text[: entity.start].encode("utf-16-le")) // 2
    length = len(text[entity.start : entity.end].encode("utf-16-le")) // 2
    shown: dict[str, Any] = {"type": entity.kind, "offset": units, "length": length}
    if entity.kind == "text_mention":
        shown["user"] = user_json(int(entity.extra.rsplit("=", 1)[1]))
    elif entity.kind == "text_link":
        shown["url"] = entity.extra
    return shown

"""The methods of the Bot API that a bot of ours may use: parameters in, a result or a ``Refusal`` out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.far_end import bot_api_refusals as refusals
from tests.far_end.bot_api_rates import Meter
from tests.far_end.bot_api_text import Formatted, read, utf16
from tests.far_end.bot_api_world import BOT_ID, Button, Chat, Said, World, chat_json, message_json, user_json

TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024
DATA_LIMIT = 64
QUERY_SECONDS = 60.0
_COMMAND = re.compile(r"[a-z0-9_]{1,32}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")
_LOOPBACK = re.compile(r"http://(?:127\.0\.0\.1|localhost|\[::1\])[:/]")


@dataclass(frozen=True)
class Upload:
    """A file of a multipart request."""

    name: str
    data: bytes
    media_type: str


@dataclass(frozen=True)
class Given:
    """A request's parameters."""

    values: Mapping[str, Any]
    uploads: Mapping[str, Upload] = field(default_factory=dict)

    def text(self, name: str) -> str:
        value = self.values.get(name, "")
        return value if isinstance(value, str) else json.dumps(value)

    def number(self, name: str) -> int:
        try:
            return int(self.values.get(name) or 0)
        except ValueError:
            raise refusals.bad(f"{name} is not specified") from None

    def flag(self, name: str) -> bool:
        return str(self.values.get(name, "")).lower() in ("true", "1")

    def json(self, name: str) -> Any:
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise refusals.bad(f"can't parse {name} JSON object") from None


@dataclass
class Query:
    """A press that waits for its answer."""

    at: float
    answered: bool = False


@dataclass
class Webhook:
    """Where updates are sent; an empty ``url`` means that they are polled for."""

    url: str = ""
    secret: str = ""


class Methods:
    """Carries them out on a world. ``now``: seconds, by the fake's own clock."""

    def __init__(
        self, world: World, meter: Meter, now: Callable[[], float], upload_limit: int, download_limit: int
    ):
        self._world, self._meter, self._now = world, meter, now
        self._upload_limit, self._download_limit = upload_limit, download_limit
        self.queries: dict[str, Query] = {}
        self.commands: list[dict[str, str]] = []
        self.webhook = Webhook()

    def call(self, method: str, given: Given) -> Any:
        """The result of a method. Raises ``Refusal``."""
        found = getattr(self, "do_" + method.lower(), None)
        if found is None:
            raise refusals.no_such_method()
        return found(given)

    # --- the bot itself -----------------------------------------------------------------------------------

    def do_getme(self, _: Given) -> Any:
        return {**user_json(BOT_ID), "can_join_groups": True, "can_read_all_group_messages": False}

    def do_setmycommands(self, given: Given) -> bool:
        commands = given.json("commands") or []
        if len(commands) > 100:
            raise refusals.too_many_commands()
        for command in commands:
            if not _COMMAND.fullmatch(command["command"]):
                raise refusals.command_invalid()
            if not 1 <= len(command["description"]) <= 256:
                raise refusals.command_description_invalid()
        self.commands = commands
        return True

    def do_setwebhook(self, given: Given) -> bool:
        url, secret = given.text("url"), given.text("secret_token")
        if url and not url.startswith("https://") and not _LOOPBACK.match(url):
            raise refusals.webhook_needs_https()
        if secret and not _SECRET.fullmatch(secret):
            raise refusals.secret_invalid()
        self.webhook = Webhook(url, secret)
        return True

    def do_deletewebhook(self, _: Given) -> bool:
        self.webhook = Webhook()
        return True

    def do_getwebhookinfo(self, _: Given) -> Any:
        return {"url": self.webhook.url, "has_custom_certificate": False, "pending_update_count": 0}

    # --- messages -----------------------------------------------------------------------------------------

    def do_getchat(self, given: Given) -> Any:
        chat = self._chat(given)
        return {**chat_json(chat), "accent_color_id": 0, "max_reaction_count": 11, "accepted_gift_types": _GIFTS}

    def do_sendmessage(self, given: Given) -> Any:
        chat = self._chat(given)
        formatted = read(given.text("text"), given.values.get("parse_mode"))
        if not formatted.text.strip():
            raise refusals.message_empty()
        if utf16(formatted.text) > TEXT_LIMIT:
            raise refusals.message_too_long()
        return self._send(chat, given, formatted)

    def do_sendphoto(self, given: Given) -> Any:
        return self._send_media(given, "photo")

    def do_senddocument(self, given: Given) -> Any:
        return self._send_media(given, "document")

    def _send_media(self, given: Given, kind: str) -> Any:
        chat = self._chat(given)
        named = given.text(kind)
        upload = given.uploads.get(named.removeprefix("attach://") if named else kind)
        if upload is None:
            raise refusals.no_such_file()
        if len(upload.data) > self._upload_limit:
            raise refusals.upload_too_big()
        caption = read(given.text("caption"), given.values.get("parse_mode"))
        if utf16(caption.text) > CAPTION_LIMIT:
            raise refusals.caption_too_long()
        kept = self._world.store(upload.name, upload.data, upload.media_type)
        return self._send(chat, given, caption, kept.name, kept.data, photo=kind == "photo")

    def _send(
        self,
        chat: Chat,
        given: Given,
        formatted: Formatted,
        name: str = "",
        data: bytes = b"",
        *,
        photo: bool = False,
    ) -> Any:
        thread, buttons = given.number("message_thread_id"), _buttons(given)
        if thread and thread not in chat.topics:
            raise refusals.thread_not_found()
        if thread in chat.closed:
            raise refusals.topic_closed()
        what = "photos" if photo else "documents" if name else "text messages"
        if what in chat.forbidden:
            raise refusals.no_right_to_send(what)
        reply = given.json("reply_parameters") or {}
        answered = int(reply.get("message_id", 0))
        if answered and (answered not in chat.messages or chat.messages[answered].deleted):
            if not reply.get("allow_sending_without_reply"):
                raise refusals.reply_not_found()
            answered = 0
        self._meter.take(chat.id, self._now(), group=chat.group)
        preview = not (given.json("link_preview_options") or {}).get("is_disabled", False)
        said = Said(
            id=self._world.new_message_id(chat),
            chat=chat.id,
            thread=thread,
            mine=True,
            sender=BOT_ID,
            formatted=formatted,
            buttons=buttons,
            silent=given.flag("disable_notification"),
            reply_to=answered,
            file_name=name,
            file=data,
            photo=photo,
            previewed=preview and any(entity.kind in ("url", "text_link") for entity in formatted.entities),
            at=self._now(),
        )
        chat.messages[said.id] = said
        return self._json(said)

    def do_editmessagetext(self, given: Given) -> Any:
        return self._edit(given, "text", TEXT_LIMIT, refusals.message_too_long)

    def do_editmessagecaption(self, given: Given) -> Any:
        return self._edit(given, "caption", CAPTION_LIMIT, refusals.caption_too_long)

    def do_editmessagereplymarkup(self, given: Given) -> Any:
        said, buttons = self._mine(given), _buttons(given)
        if buttons == said.buttons:
            raise refusals.not_modified()
        self._meter.take(said.chat, self._now(), group=self._world.chats[said.chat].group)
        said.buttons = buttons
        return self._json(said)

    def _edit(self, given: Given, what: str, limit: int, too_long: Callable[[], refusals.Refusal]) -> Any:
        said = self._mine(given)
        if said.has_media != (what == "caption"):
            raise refusals.no_text_to_edit() if said.has_media else refusals.no_caption_to_edit()
        formatted, buttons = read(given.text(what), given.values.get("parse_mode")), _buttons(given)
        if what == "text" and not formatted.text.strip():
            raise refusals.message_empty()
        if utf16(formatted.text) > limit:
            raise too_long()
        if (formatted, buttons) == (said.formatted, said.buttons):
            raise refusals.not_modified()
        self._meter.take(said.chat, self._now(), group=self._world.chats[said.chat].group)
        said.before.append(said.text)
        said.formatted, said.buttons = formatted, buttons
        return self._json(said)

    def do_deletemessage(self, given: Given) -> bool:
        said = self._chat(given).messages.get(given.number("message_id"))
        if said is None or said.deleted:
            raise refusals.delete_not_found()
        said.deleted = True
        return True

    def do_sendchataction(self, given: Given) -> bool:
        self._chat(given)
        return True

    def do_answercallbackquery(self, given: Given) -> bool:
        query = self.queries.get(given.text("callback_query_id"))
        if query is None or query.answered or self._now() - query.at > QUERY_SECONDS:
            raise refusals.query_too_old()
        query.answered = True
        return True

    # --- topics and files ---------------------------------------------------------------------------------

    def do_createforumtopic(self, given: Given) -> Any:
        chat, name = self._chat(given), given.text("name")
        if not chat.forum:
            raise refusals.not_a_forum()
        if not chat.may_make_topics:
            raise refusals.no_topic_rights()
        if not 1 <= len(name) <= 128:
            raise refusals.topic_name_invalid()
        self._meter.take(chat.id, self._now(), group=True)
        thread = self._world.open_topic(chat, name)
        return {"message_thread_id": thread, "name": name, "icon_color": 7322096}

    def do_getfile(self, given: Given) -> Any:
        kept = self._world.files.get(given.text("file_id"))
        if kept is None:
            raise refusals.no_such_file()
        if len(kept.data) > self._download_limit:
            raise refusals.download_too_big()
        about = {"file_id": kept.id, "file_unique_id": f"unique-{kept.id}"}
        return {**about, "file_size": len(kept.data), "file_path": f"files/{kept.id}"}

    # --- what they share ----------------------------------------------------------------------------------

    def _chat(self, given: Given) -> Chat:
        chat = self._world.chats.get(given.number("chat_id"))
        if chat is None:
            raise refusals.chat_not_found()
        if chat.moved_to:
            raise refusals.upgraded(chat.moved_to)
        if chat.gone:
            raise refusals.blocked() if chat.gone == "blocked" else refusals.kicked()
        return chat

    def _mine(self, given: Given) -> Said:
        said = self._chat(given).messages.get(given.number("message_id"))
        if said is None or said.deleted:
            raise refusals.edit_not_found()
        if not said.mine:
            raise refusals.cannot_edit()
        return said

    def _json(self, said: Said) -> Any:
        return message_json(self._world, said, int(self._now()))


def _buttons(given: Given) -> tuple[tuple[Button, ...], ...]:
    rows = (given.json("reply_markup") or {}).get("inline_keyboard", [])
    for row in rows:
        for button in row:
            if not 1 <= len(button.get("callback_data", "").encode()) <= DATA_LIMIT:
                raise refusals.button_data_invalid()
    return tuple(tuple(Button(button["text"], button["callback_data"]) for button in row) for row in rows if row)


_GIFTS = dict.fromkeys(
    ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels"), False
)

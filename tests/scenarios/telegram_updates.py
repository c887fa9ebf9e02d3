"""Updates as a hostile phone, a broken client or a future Telegram might send them, as hypothesis strategies.

All of them are valid by the Bot API's reference as far as types go: what must be there is there, what is optional
may be missing, and what is an enumeration may hold a word that nobody has heard of. Values are anybody's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from bot.commands import every_command
from tests.far_end.bot_api_world import BOT_ID, BOT_NAME, Said
from tests.scenarios.telegram_house import ADA, OTTO, STRANGER, VERA

IMPOSTOR = 667
"""Calls themselves Ada, with her picture and nearly her name."""

KNOWN, STRANGERS = (VERA, OTTO, ADA), (STRANGER, IMPOSTOR)
PLACES = ("private", "group", "super", "forum", "channel", "den")
VERBS = [name for command in every_command() for name in (command.verb, *command.aliases)]
Json = dict[str, Any]

MARKS = (
    "@durov #evil $EVIL /evil https://evil.example/x evil.example tg://resolve?domain=evil evil@evil.example",
    "<b>evil</b> <a href='https://evil.example'>evil</a> &lt;script&gt; </pre></code> [evil](tg://user?id=1)",
    "\x1b[2J\x1b]0;evil\x07 \u202eevil\u2066 \x00\x08\x7f", "\ud83d", "e\u0301\u0301\u0301" * 30, "👨‍👩‍👧‍👦🏴" * 20,
    "'; DROP TABLE tasks; --", "$(reboot) `reboot`", "+49 171 1234567",
)  # fmt: skip
WORDS = (
    "t1",
    "t2",
    "1",
    "a1",
    "a1 session",
    "a1 1",
    "repo=shop x",
    "on=* x",
    "-- @everyone",
    "off",
    "1h",
    "all",
    "",
)
nasty = st.one_of(st.text(max_size=60), st.sampled_from(MARKS), st.sampled_from(WORDS))
_ids = st.builds("{}{}".format, st.sampled_from("ta"), st.integers(1, 40))
#: What a person means who has a right, or thinks so.
meant = st.builds(
    "{} {}".format,
    st.one_of(
        st.sampled_from(["/run repo=shop", "/ask", "/mute 1h", "/notify all", "/run"]),
        st.builds("/{} {}".format, st.sampled_from(["say", "stop", "retry", "approve", "deny"]), _ids),
    ),
    nasty,
)
texts = st.one_of(
    nasty,
    *[meant] * 3,
    *[
        st.builds("{}{}{} {}".format, st.sampled_from(["/", "/", "", "!", "／", f"@{BOT_NAME} "]),
                  st.sampled_from(VERBS), st.sampled_from(["", "", f"@{BOT_NAME}", "@another_bot", "_", "S"]),
                  nasty)
    ] * 3,
    st.sampled_from(["x" * 4096, "/run " + "mend " * 20_000, "\n" * 4096, "/say t1 " + "😀" * 2_000]),
)  # fmt: skip

_KINDS = (
    "mention", "text_mention", "bot_command", "url", "text_link", "pre", "custom_emoji", "blockquote", "of-tomorrow"
)  # fmt: skip
_offsets = st.one_of(st.integers(0, 40), st.sampled_from([-1, 4095, 4096, 1 << 31, 1 << 62]))
entities = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(_KINDS), "offset": _offsets, "length": _offsets},
        optional={
            "user": st.sampled_from([{"id": BOT_ID, "is_bot": True, "first_name": "x"}, None]),
            "url": st.just("https://evil.example"), "language": nasty, "custom_emoji_id": nasty,
        },
    ),
    max_size=5,
)  # fmt: skip

_file = {"file_id": st.sampled_from(["file-1", "nowhere", "../..", ""]), "file_unique_id": st.just("u")}
_size = {"file_size": st.sampled_from([0, 9, 21 << 20, 1 << 40])}
photos = st.lists(
    st.fixed_dictionaries({**_file, "width": st.just(1), "height": st.just(1)}, optional=_size),
    min_size=1, max_size=3,
)  # fmt: skip
_names = st.one_of(
    nasty, st.sampled_from(["../../../etc/passwd", "/etc/passwd", "a" * 300 + ".png", "CON", ".", ""])
)
documents = st.fixed_dictionaries(_file, optional={"file_name": _names, "mime_type": nasty, **_size})
_thing = st.fixed_dictionaries({**_file, "duration": st.just(1)})
_else = st.sampled_from(
    [
        {"sticker": {"file_id": "s", "file_unique_id": "s", "type": "of-tomorrow", "width": 1, "height": 1,
                     "is_animated": False, "is_video": False}},
        {"location": {"longitude": 1.0, "latitude": 1.0}}, {"dice": {"emoji": "🎲", "value": 6}},
        {"contact": {"phone_number": "+1", "first_name": "/stop t1"}},
        {"new_chat_members": [{"id": BOT_ID, "is_bot": True, "first_name": "x"}]},
        {"left_chat_member": {"id": BOT_ID, "is_bot": True, "first_name": "x"}},
        {"migrate_from_chat_id": -999}, {"new_chat_title": "/stop t1"},
        {"forum_topic_created": {"name": "/run evil", "icon_color": 1}}, {"forum_topic_closed": {}},
        {"general_forum_topic_hidden": {}}, {"message_auto_delete_timer_changed": {"message_auto_delete_time": 1}},
        {"web_app_data": {"data": "/stop t1", "button_text": "Stop"}}, {"delete_chat_photo": True},
        {"of_tomorrow": {"text": "/stop t1", "chat": {"id": 1}}},
    ]
)  # fmt: skip
media = st.one_of(
    st.just({}), st.just({}), st.builds(lambda it: {"photo": it}, photos),
    st.builds(lambda it: {"document": it}, documents), st.builds(lambda it: {"voice": it}, _thing), _else,
)  # fmt: skip

_origin = st.sampled_from(
    [
        {"type": "user", "date": 1, "sender_user": {"id": ADA, "is_bot": False, "first_name": "Ada"}},
        {"type": "hidden_user", "date": 1, "sender_user_name": "Ada"}, {"type": "of-tomorrow", "date": 1},
        {"type": "chat", "date": 1, "sender_chat": {"id": -1, "type": "of-tomorrow"}},
    ]
)  # fmt: skip
noise = st.fixed_dictionaries(
    {},
    optional={
        "forward_origin": _origin, "is_automatic_forward": st.just(True), "media_group_id": nasty,
        "via_bot": st.just({"id": 9, "is_bot": True, "first_name": "x", "username": "x"}),
        "quote": st.builds(lambda text: {"text": text, "position": 1 << 30}, nasty),
        "external_reply": st.builds(lambda origin: {"origin": origin, "message_id": 1}, _origin),
        "reply_to_story": st.just({"chat": {"id": -1, "type": "channel"}, "id": 1}),
        "author_signature": st.sampled_from(["Ada", "503"]), "edit_date": st.just(2),
        "business_connection_id": st.just("b"), "effect_id": st.just("1"), "of_tomorrow": st.just({"a": [None]}),
    },
)  # fmt: skip


def _user(number: int, bot: bool = False) -> st.SearchStrategy[Json]:
    first = st.one_of(nasty, st.just("Ada"))
    known = st.sampled_from(["ada", "user503", BOT_NAME, "x" * 64])
    more = {"last_name": nasty, "username": known, "language_code": nasty, "is_premium": st.just(True)}
    return st.fixed_dictionaries(
        {"id": st.just(number), "is_bot": st.just(bot), "first_name": first}, optional=more
    )  # fmt: skip


crowds = {"all": (*KNOWN, OTTO, ADA, OTTO, ADA, *STRANGERS), "viewers": (VERA, *STRANGERS), "strangers": STRANGERS}

#: Edits, kinds that nobody asked for, and one that nobody has heard of; ``{who}`` and ``{chat}`` are filled in.
OTHERS = (
    "edited_message", "channel_post", "edited_channel_post", "business_message", "inline_query", "my_chat_member",
    "message_reaction", "poll_answer", "chat_join_request", "of_tomorrow", "",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """One update, but for what only the house knows. ``how``: "says", "presses" or one of ``OTHERS``.

    ``hidden``: whose voice it is instead of the sender's. ``reply``, ``token``, ``pick``: which of what there is.
    """

    sender: Json
    where: str
    how: str
    text: str
    entities: list[Json]
    media: Json
    noise: Json
    hidden: str
    reply: str
    token: str
    under: str
    pick: int


def plans(crowd: str) -> st.SearchStrategy[Plan]:
    """Updates of a crowd: "all", "viewers" (and strangers) or "strangers"."""
    senders = st.one_of(*(_user(number) for number in crowds[crowd] * 2), _user(888, True))
    return st.builds(
        Plan,
        sender=senders,
        where=st.sampled_from(["private"] * 5 + [*PLACES]),
        how=st.sampled_from(["says"] * 16 + ["presses"] * 10 + [*OTHERS]),
        text=texts,
        entities=entities,
        media=media,
        noise=noise,
        hidden=st.sampled_from([""] * 8 + ["admin", "channel"]),
        reply=st.sampled_from(["", "", "ours", "ours", "theirs", "unknown", "bare"]),
        token=st.sampled_from(["its own"] * 8 + ["another", "cut", "command", "forged", "long", "none", "odd"]),
        under=st.sampled_from(["its own"] * 8 + ["another", "inaccessible", "inline", "unknown"]),
        pick=st.integers(0, 1 << 16),
    )


@dataclass
class Forge:
    """Makes the updates of plans. ``chats``: the places but the private ones; ``topics``: of the forum;
    ``buttons``: every button on any screen, newest first."""

    chats: dict[str, Json]
    topics: list[int]
    buttons: list[tuple[Said, str]]
    ours: dict[int, list[Said]]
    now: int
    _numbers: int = 100_000

    def place(self, plan: Plan) -> str:
        """Where it is said: bots have no private chats with bots, and only strangers know the den."""
        if plan.where == "den" and plan.sender["id"] not in STRANGERS:
            return "group"
        return plan.where

    def chat(self, plan: Plan) -> Json:
        where = self.place(plan)
        return self.chats[where] if where != "private" else {"id": plan.sender["id"], "type": "private"}

    def voice(self, plan: Plan) -> int:
        """Whose word it must be taken for; 0: nobody's."""
        mute = plan.sender["is_bot"] or plan.how not in ("says", "presses", "edited_message")
        if plan.how == "presses":
            return 0 if mute or plan.under == "inline" or plan.token == "none" else int(plan.sender["id"])
        return 0 if mute or plan.hidden or plan.where == "channel" else int(plan.sender["id"])

    def update(self, plan: Plan) -> Json:
        if plan.how == "says":
            return {"message": self.message(plan)}
        if plan.how == "presses":
            return {"callback_query": self.press(plan)}
        return self.other(plan)

    def message(self, plan: Plan) -> Json:
        made: Json = {**plan.noise, **plan.media, "message_id": self._number(), "date": self.now}
        made |= {"chat": self.chat(plan), "from": plan.sender}
        text, found = ("caption", "caption_entities") if plan.media else ("text", "entities")
        if plan.text:
            made[text] = plan.text
        if plan.entities:
            made[found] = plan.entities
        if plan.hidden:
            own = plan.hidden == "admin"
            made["sender_chat"] = made["chat"] if own else {"id": -100555, "type": "channel", "title": "Ada"}
        if self.place(plan) == "forum" and plan.pick % 3:
            made |= {"message_thread_id": self.topics[plan.pick % len(self.topics)], "is_topic_message": True}
        elif self.place(plan) == "super" and plan.pick % 2:
            made["message_thread_id"] = plan.pick % 50 + 2  # a chain of replies, not a topic
        answered = self._answered(plan, int(made["chat"]["id"]), made["chat"])
        return {**made, "reply_to_message": answered} if answered else made

    def press(self, plan: Plan) -> Json:
        made: Json = {"id": f"q{self._number()}", "from": plan.sender, "chat_instance": "1"}
        said, data = self.buttons[plan.pick % len(self.buttons)]
        other, foreign = self.buttons[(plan.pick * 7 + 1) % len(self.buttons)]
        if plan.token == "none":
            made["game_short_name"] = "airboss"
        else:
            made["data"] = {
                "its own": data, "another": foreign, "cut": data[:-1], "command": "/stop t1",
                "odd": "\x00\ud83d\n" + data,
                "long": data * 500, "forged": plan.text[:64] or "x",
            }[plan.token]  # fmt: skip
        under = other if plan.under == "another" else said
        where = {"id": under.chat, "type": self._kind(under.chat)}
        if plan.under == "inline":
            made["inline_message_id"] = "i1"
        elif plan.under == "inaccessible":
            made["message"] = {"chat": where, "message_id": under.id, "date": 0}
        else:
            number = self._number() if plan.under == "unknown" else under.id
            made["message"] = {"chat": where, "message_id": number, "date": self.now, "text": under.text}
            if under.thread:
                made["message"] |= {"message_thread_id": under.thread, "is_topic_message": True}
        return made

    def pressed_in(self, plan: Plan) -> int:
        """The chat of a press."""
        other = self.buttons[(plan.pick * 7 + 1) % len(self.buttons)][0]
        return (other if plan.under == "another" else self.buttons[plan.pick % len(self.buttons)][0]).chat

    def other(self, plan: Plan) -> Json:
        who, chat, message = plan.sender, self.chat(plan), self.message(plan)
        member = {"user": who, "status": "of-tomorrow"}
        bodies: dict[str, Json] = {
            "inline_query": {"id": "1", "from": who, "query": plan.text, "offset": ""},
            "my_chat_member": {"chat": chat, "from": who, "date": 1, "old_chat_member": member,
                               "new_chat_member": member},
            "message_reaction": {"chat": chat, "message_id": 1, "date": 1, "user": who, "old_reaction": [],
                                 "new_reaction": [{"type": "of-tomorrow"}]},
            "poll_answer": {"poll_id": "1", "option_ids": [], "option_persistent_ids": [], "user": who},
            "chat_join_request": {"chat": chat, "from": who, "user_chat_id": 1, "date": 1},
            "of_tomorrow": {"message": message},
        }  # fmt: skip
        return {plan.how: bodies.get(plan.how, message)} if plan.how else {}

    def _answered(self, plan: Plan, chat: int, shown: Json) -> Json | None:
        ours = self.ours.get(chat, [])
        me = {"id": BOT_ID, "is_bot": True, "first_name": "Airboss", "username": BOT_NAME}
        base: Json = {"date": self.now, "chat": shown}
        match plan.reply:
            case "ours" if ours:
                message = ours[-1 - plan.pick % min(len(ours), 20)]
                return {**base, "message_id": message.id, "from": me, "text": message.text or "x"}
            case "theirs":
                return {**base, "message_id": self._number(), "from": {**me, "id": 9}, "text": plan.text or "x"}
            case "unknown":
                return {**base, "message_id": 999_999_999, "from": me}
            case "bare":
                return {"message_id": 1, "date": 0, "chat": {"id": -100555, "type": "of-tomorrow"}}
            case _:
                return None

    def _kind(self, chat: int) -> str:
        return next((str(known["type"]) for known in self.chats.values() if known["id"] == chat), "private")

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

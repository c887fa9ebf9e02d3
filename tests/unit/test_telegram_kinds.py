"""Every kind of message that a Telegram client can send: read, named as ignored, or a service message."""

from __future__ import annotations

from typing import Any

import pytest
from telegram import Bot, Update

from bot.chats.telegram.beside import NEW_KIND
from bot.chats.telegram.inbox import Addressed, BotUser, read, unread
from bot.message import Message

BOT = Bot("4242:AA")
ME = BotUser(4242, "airboss_test_bot")
USER = {"id": 503, "is_bot": False, "first_name": "Ada"}
CHAT = {"id": 503, "type": "private", "first_name": "Ada"}
NEWS = {"id": -1001, "type": "channel", "title": "News"}
FILE = {"file_id": "x", "file_unique_id": "u", "file_size": 3}
CHECKLIST = {"title": "todo", "tasks": [{"id": 1, "text": "cart"}, {"id": 2, "text": "tax", "completion_date": 9}]}
WRITTEN = "Checklist todo:\n- [ ] cart\n- [x] tax"
ELSEWHERE = {"origin": {"type": "channel", "date": 1, "chat": NEWS, "message_id": 4}, "chat": NEWS, "message_id": 4}


def heard(chat: dict[str, Any] | None = None, **message: Any) -> Message | None:
    said = {"message_id": 5, "date": 1_795_000_000, "chat": chat or CHAT, "from": USER, **message}
    update = Update.de_json(unread({"update_id": 1, "message": said}), BOT)
    found = read(update, BOT, ME, Addressed())
    return found[0] if found is not None else None


IGNORED: dict[str, tuple[dict[str, Any], str]] = {
    "dice": ({"dice": {"emoji": "🎲", "value": 3}}, "a dice"),
    "story": ({"story": {"chat": CHAT, "id": 3}}, "a story"),
    "video": ({"video": {**FILE, "width": 1, "height": 1, "duration": 1}}, "a video"),
    "paid": ({"paid_media": {"star_count": 1, "paid_media": [{"type": "preview"}]}}, "an attachment"),
    "a kind of tomorrow": ({"hologram": FILE}, NEW_KIND),
    "a poll without what the library needs": ({"poll": {"id": "1", "question": "which?", "options": []}}, NEW_KIND),
}


@pytest.mark.parametrize("kind", IGNORED)
def test_what_cannot_be_used_is_named(kind: str) -> None:
    raw, name = IGNORED[kind]
    found = heard(**raw)
    assert found is not None and (found.ignored, found.unreadable) == ((name,), True)


def test_a_checklist_is_part_of_the_words() -> None:
    own, forwarded = (
        heard(checklist=CHECKLIST),
        heard(checklist=CHECKLIST, forward_origin={"type": "hidden_user", "date": 1, "sender_user_name": "M"}),
    )
    assert own is not None and (own.text, own.beside) == ("", WRITTEN)
    assert forwarded is not None and forwarded.beside == f"Forwarded from M:\n{WRITTEN}"


def test_a_reply_to_a_message_elsewhere_brings_its_files_and_its_author() -> None:
    there = {**ELSEWHERE, "document": {**FILE, "file_name": "a.log"}}
    found = heard(text="/run fix that", external_reply=there)
    assert found is not None and [file.name for file in found.files] == ["a.log"]
    assert found.beside == "In reply to a message of News elsewhere"
    quoted = heard(text="/run it", external_reply=ELSEWHERE, quote={"text": "it fails", "position": 0})
    assert quoted is not None and quoted.beside == "Quoted:\n> it fails"


@pytest.mark.parametrize("broken", [{"from": None}, {"from": {"id": True}}, {"from": {"id": 9, "first_name": "x"}}])
def test_an_unknown_message_without_a_sender_of_its_chat_is_nothing(broken: dict[str, Any]) -> None:
    assert heard(poll={"id": "1"}, **broken) is None
    assert heard(chat={"id": -5, "type": "group", "title": "x"}, poll={"id": "1"}) is None


def test_who_writes_in_a_groups_name_is_nameless_and_only_heard_when_they_mean_us() -> None:
    group = {"id": -1002, "type": "supergroup", "title": "Fleet"}
    hidden = {"from": {"id": 1087968824, "is_bot": True, "first_name": "Group"}, "sender_chat": group}
    found = heard(group, text="/status@airboss_test_bot", **hidden)
    assert found is not None and found.nameless and found.direct and found.sender.user == "0"
    assert heard(group, text="/status", **hidden) is None
    assert heard(group, text="/status@airboss_test_bot", **{**hidden, "sender_chat": NEWS}) is None
    assert heard(NEWS, text="/status@airboss_test_bot", **{**hidden, "sender_chat": NEWS}) is None


def test_a_group_tells_which_supergroup_it_has_become() -> None:
    found = heard({"id": -5, "type": "group", "title": "x"}, migrate_to_chat_id=-1001)
    assert found is not None and (found.chat.chat, found.moved_to, found.text) == ("-5", "-1001", "")
    assert Message.from_bytes(found.to_bytes()) == found
    assert heard(migrate_to_chat_id=-1001) is None
    assert heard({"id": -1001, "type": "supergroup", "title": "x"}, migrate_from_chat_id=-5) is None


def test_a_mention_after_the_verb_is_no_option_and_what_is_struck_out_stays_so() -> None:
    group = {"id": -1002, "type": "supergroup", "title": "Fleet"}
    mention = {"type": "mention", "offset": 5, "length": 17}
    found = heard(group, text="/run @airboss_test_bot: fix it", entities=[mention])
    assert found is not None and found.text == "/run fix it"
    struck = heard(text="/run 😀 drop keep it", entities=[{"type": "strikethrough", "offset": 8, "length": 4}])
    assert struck is not None and struck.text == "/run 😀 ~~drop~~ keep it"


def test_a_service_message_is_nothing() -> None:
    pinned = {"message_id": 3, "date": 1, "chat": CHAT, "text": "x"}
    assert heard(pinned_message=pinned) is None
    assert heard(users_shared={"request_id": 1, "users": [{"user_id": 3}]}) is None

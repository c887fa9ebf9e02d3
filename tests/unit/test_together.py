"""Which messages are one act, how they are joined, and what stands beside a text: pure, so in milliseconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telegram import MessageEntity

from bot.chats.slack.inbox import AppUser
from bot.chats.slack.inbox import read as read_slack
from bot.chats.telegram.beside import cut_of, spelled
from bot.commands import every_command
from bot.hearing.acts import as_one, continues, patience
from bot.message import Attachment, Cut, Message
from bot.registry import Registry
from fleet.model import ChatRef, PersonId

REGISTRY = Registry(every_command())
ADA = PersonId("telegram", "", "503")
CHAT = ChatRef("telegram", "503")
HEAD = Message("telegram", "1", ADA, CHAT, "/run fix the cart", own="1", sent_s=100)
LONG = replace(HEAD, text="/run fix\n" + "log\n" * 1_020, cut=Cut.AT_SPACE)
NEXT = replace(HEAD, update_id="2", own="2", text="and the rest")
FORWARD = replace(NEXT, text="", beside="Forwarded from Bob:\nKeyError", forwarded=True)
FILE = Attachment("a.log", "", "text/plain", 1, "f1")
ALONE = replace(NEXT, text="", files=(FILE,))

TOGETHER = {
    "the second half of a paste": (LONG, NEXT, True),
    "a half that begins with a verb": (LONG, replace(NEXT, text="run the tests again after each step"), True),
    "a half that begins with a path": (LONG, replace(NEXT, text="/usr/bin/python3 failed"), True),
    "a half that begins with a command, and goes on": (LONG, replace(NEXT, text="/stop\nmore of the log"), True),
    "a half in the next second": (LONG, replace(NEXT, sent_s=101), True),
    "a half that replies to the same": (replace(LONG, reply_to="9"), replace(NEXT, reply_to="9"), True),
    "a comment and its forward": (HEAD, FORWARD, True),
    "a forward and a forward": (FORWARD, replace(FORWARD, update_id="3"), True),
    "a text and its file": (HEAD, ALONE, True),
    "a file and its text": (ALONE, NEXT, True),
    "a file and its command": (ALONE, replace(NEXT, text="/run read this"), True),
    "a short text and a short text": (HEAD, NEXT, False),
    "a command without words and a forward": (replace(HEAD, text="/status"), FORWARD, False),
    "a command without words and a file": (replace(HEAD, text="/stop t4"), ALONE, False),
    "a paste and a command of its own": (LONG, replace(NEXT, text="/stop t4"), False),
    "a paste and a later message": (LONG, replace(NEXT, sent_s=102), False),
    "a paste and an earlier message": (LONG, replace(NEXT, sent_s=99), False),
    "a paste and somebody else": (LONG, replace(NEXT, sender=PersonId("telegram", "", "9")), False),
    "a paste and another topic": (LONG, replace(NEXT, chat=ChatRef("telegram", "503", "7")), False),
    "a paste and a reply": (LONG, replace(NEXT, reply_to="5"), False),
    "a paste and a button": (LONG, replace(NEXT, text="", pressed="x"), False),
    "a paste and an edit": (LONG, replace(NEXT, edited=True), False),
    "a command and a file with a command": (HEAD, replace(ALONE, text="/ask what is it"), False),
    "a chat that sends no times": (replace(LONG, sent_s=0), replace(NEXT, sent_s=0), False),
}


@pytest.mark.parametrize(("first", "second", "one"), TOGETHER.values(), ids=TOGETHER.keys())
def test_what_one_act_sends_is_one_message(first: Message, second: Message, one: bool) -> None:
    assert continues([first], second, REGISTRY) is one


def test_a_complete_message_waits_for_nothing() -> None:
    for text in ("/status", "status", "/stop t1", "/approve a1", "/deny a1 no"):
        assert patience(replace(HEAD, text=text), REGISTRY) == 0.0, text
    assert patience(replace(HEAD, text="", pressed="x"), REGISTRY) == 0.0
    assert patience(replace(HEAD, sent_s=0), REGISTRY) == 0.0, "a console, and Slack"
    assert 0 < patience(HEAD, REGISTRY) < patience(LONG, REGISTRY) < 1
    assert patience(HEAD, REGISTRY, recovered=True) > 1, "after a restart, the chat must connect first"
    assert patience(replace(HEAD, text="/status"), REGISTRY, recovered=True) == 0.0


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), st.data())
def test_a_text_split_at_a_line_is_whole_again(text: str, data: st.DataObject) -> None:
    whole = f"/run {text}\n{text}"
    at = data.draw(st.sampled_from([i for i, letter in enumerate(whole) if letter == "\n"]))
    first, second = replace(HEAD, text=whole[:at], cut=Cut.AT_SPACE), replace(NEXT, text=whole[at + 1 :])
    kept = as_one([first, second]).text
    assert "".join(kept.split()) == "".join(whole.split())
    if whole[at - 1 : at].strip() and whole[at + 1 : at + 2].strip():
        assert kept == whole


def test_a_word_that_was_split_is_whole_again() -> None:
    text = "x" * 5_000
    halves = [replace(HEAD, text=text[:4_096], cut=cut_of(text[:4_096])), replace(NEXT, text=text[4_096:])]
    assert as_one(halves).text == text


def test_all_of_an_act_is_kept() -> None:
    contact = replace(FORWARD, beside="", unreadable=True, ignored=("a contact",))
    one = as_one([HEAD, FORWARD, replace(ALONE, forwarded=True), contact])
    assert (one.text, one.beside, one.files) == (HEAD.text, FORWARD.beside, (FILE,))
    assert (one.unreadable, one.ignored, one.update_id) == (False, ("a contact",), HEAD.update_id)
    assert as_one([contact]).unreadable


# --- beside the text ------------------------------------------------------------------------------------------

SPELLED = {
    "a link": ("see it now", [("text_link", 4, 2, {"url": "https://a.example"})], "see it (https://a.example) now"),
    "a link that is its text": ("a.example", [("text_link", 0, 9, {"url": "https://a.example/"})], "a.example"),
    "after an emoji": ("🚀 here", [("text_link", 3, 4, {"url": "https://x.example"})], "🚀 here (https://x.example)"),
    "a fence": ("with\nif a:\n    go()\nend", [("pre", 5, 14, {"language": "python"})],
                "with\n```python\nif a:\n    go()\n```\nend"),
    "a fence in a line": ("run a=1 now", [("pre", 4, 3, {})], "run \n```\na=1\n```\n now"),
    "code": ("set a_b here", [("code", 4, 3, {})], "set `a_b` here"),
    "a quote": ("he said\nx\ny\nno", [("blockquote", 8, 3, {})], "he said\n> x\n> y\nno"),
    "a link in a quote": ("x y", [("blockquote", 0, 3, {}), ("text_link", 2, 1, {"url": "https://z.example"})],
                          "> x y (https://z.example)"),
    "bold": ("so bold", [("bold", 3, 4, {})], "so bold"),
    "out of the text": ("x", [("text_link", 5, 9, {"url": "https://z.example"})], "x"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "entities", "shown"), SPELLED.values(), ids=SPELLED.keys())
def test_what_telegram_takes_out_of_the_text_is_put_back(text: str, entities: Any, shown: str) -> None:
    made = [MessageEntity(kind, start, length, **more) for kind, start, length, more in entities]
    assert spelled(text, made) == shown


ENTITY = st.builds(
    MessageEntity,
    st.sampled_from(["text_link", "pre", "code", "blockquote", "bold"]),
    st.integers(-2, 50),
    st.integers(-2, 50),
    url=st.just("https://a.example"),
)


@given(st.text(max_size=40), st.lists(ENTITY, max_size=6))
def test_no_letter_is_lost_however_entities_lie(text: str, entities: list[MessageEntity]) -> None:
    left = iter(spelled(text, entities))
    assert all(letter in left for letter in text.encode("utf-8", "replace").decode().replace("\0", "")), "in order"


# --- Slack ----------------------------------------------------------------------------------------------------

ME = AppUser("T1", "UBOT")


def said(**event: Any) -> Message | None:
    inside = {"type": "message", "user": "U1", "channel": "D1", "channel_type": "im", "ts": "1.1", **event}
    return read_slack({"type": "event_callback", "team_id": "T1", "event": inside}, ME, ["run"])


SHARED = {
    "is_share": True,
    "is_msg_unfurl": True,
    "author_name": "alerts",
    "text": "KeyError: 'price' in <https://a.example/1|cart.py>",
    "from_url": "https://x.slack.com/archives/C1/p1",
    "files": [{"id": "F1", "name": "cart.log", "mimetype": "text/plain", "size": 3}],
}
FROM_ALERTS = (
    "Forwarded from alerts (https://x.slack.com/archives/C1/p1):\n"
    "KeyError: 'price' in cart.py (https://a.example/1)"
)


@pytest.mark.parametrize("text", ["run fix this", ""])
def test_a_message_shared_in_slack_is_part_of_the_words(text: str) -> None:
    message = said(text=text, attachments=[SHARED])
    assert message is not None
    assert (message.text, message.beside) == (text, FROM_ALERTS)
    assert [file.source for file in message.files] == ["F1"]


def test_an_apps_message_is_read_and_a_links_preview_is_not() -> None:
    alert = {"title": "Build 7 failed", "fields": [{"title": "Branch", "value": "main"}], "fallback": "x"}
    preview = {"original_url": "https://a.example", "service_name": "Example", "text": "Buy now"}
    message = said(text="run fix this", attachments=[alert, preview, "x"])
    assert message is not None
    assert message.beside == "Forwarded from somebody:\nBuild 7 failed\nBranch: main"


def test_an_edit_in_slack_is_one_only_if_a_person_changed_the_words() -> None:
    now = {"user": "U1", "text": "run it now", "ts": "1.1", "edited": {"user": "U1", "ts": "2.0"}}
    event = {"subtype": "message_changed", "user": "", "ts": "2.1", "message": now}
    edited = said(**event, previous_message={"text": "run it"})
    assert edited is not None
    assert (edited.text, edited.own, edited.edited) == ("run it now", "1.1", True)
    assert edited.update_id != "m:D1:1.1"
    assert said(**event, previous_message={"text": "run it now"}) is None
    del now["edited"]
    assert said(**event, previous_message={"text": "run it"}) is None, "a preview came in"

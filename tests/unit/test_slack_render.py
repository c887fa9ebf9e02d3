"""Cards as Block Kit: nothing untrusted can act, nothing breaks Slack's limits, nothing is lost. And the way in."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.cards import Action, Card, Tone, field, line
from bot.chats.slack.inbox import AppUser, read, typed, words
from bot.chats.slack.pace import RateLimiter
from bot.chats.slack.render import BODY, draw, pieces_of, plain
from bot.commands import every_command
from bot.message import Message
from bot.registry import Registry
from fleet.model import ChatRef
from fleet.untrusted import Untrusted
from tests.far_end.slack_proxy import refused

ME = AppUser("T1", "UBOT")
VERBS = Registry(every_command()).names
HOSTILE = (
    "<@U1ADA> <!channel> <!here> <#C1|x> @everyone <https://evil.example|bank> https://evil.example "
    "www.evil.example mailto:a@b.c :rotating_light: *bold* `code` & <b> \x1b[31m \u202e"
)
TEXT = st.text(max_size=400) | st.just(HOSTILE)
UNTRUSTED = TEXT.map(Untrusted)
PIECES = st.lists(UNTRUSTED | st.sampled_from(["t1 · ", "gate failed: "]), min_size=1, max_size=3).map(
    lambda x: line(*x)
)
CARDS = st.builds(
    Card,
    title=PIECES,
    lines=st.lists(PIECES, max_size=14).map(tuple),
    fields=st.lists(PIECES.map(lambda value: field("Ran", *value)), max_size=12).map(tuple),
    body=st.none() | UNTRUSTED | st.integers(0, 20_000).map(lambda n: Untrusted("x y\n" * n)),
    actions=st.integers(0, 30).map(lambda n: tuple(Action("Log " * 30, "/logs", token=f"{i}") for i in range(n))),
    footer=st.sampled_from(["", "agent on machine"]),
    tone=st.sampled_from(Tone),
)


def texts(blocks: list[dict[str, Any]], kind: str) -> list[str]:
    """Every text object of a kind."""
    return [block["text"] for block in objects(blocks, kind)]


@pytest.mark.parametrize(
    "pieces", [(Untrusted("@"), "t1 · "), ("gate:", Untrusted("red:")), (Untrusted("a:"), "t1:")]
)
def test_what_only_a_joint_makes_active_is_broken_there(pieces: tuple[Untrusted | str, ...]) -> None:
    drawn = draw(Card(line(*pieces), fields=(field("Ran", *pieces),)), user="", again=False)
    for text in texts(drawn.blocks, "plain_text"):
        assert not re.search(r"<[@!#]|://|www\.|@\w|:[a-z_0-9]+:", text)


@given(CARDS, st.booleans())
def test_slack_takes_every_card_and_nothing_in_it_acts(card: Card, again: bool) -> None:
    drawn = draw(card, user="U1PING", again=again)
    assert refused({"text": drawn.text, "blocks": drawn.blocks}) == ""
    assert texts(drawn.blocks, "mrkdwn") == ["<@U1PING>"], "our own mention is the only markup"
    assert not re.search(r"<[@!#]", drawn.text.removeprefix("<@U1PING>"))
    assert not re.search(r"<|>|&(?!amp;|lt;|gt;)", drawn.text.removeprefix("<@U1PING>"))
    for text in texts(drawn.blocks, "plain_text"):
        assert not re.search(r"<[@!#]|://|www\.|@\w|:[a-z_]+:", text)
    assert all(block.get("emoji") is False for block in objects(drawn.blocks, "plain_text"))
    assert ("shown again" in json.dumps(drawn.blocks)) == again


def objects(blocks: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def collect(node: dict[str, Any]) -> dict[str, Any]:
        if node.get("type") == kind:
            found.append(node)
        return node

    json.loads(json.dumps(blocks), object_hook=collect)
    return found


def test_what_an_agent_wrote_is_shown_as_it_is() -> None:
    drawn = draw(Card(line("t1 · asks"), body=Untrusted("rm -rf build && echo <@U1> https://x.example :tada:")))
    (block,) = [block for block in drawn.blocks if block["type"] == "rich_text"]
    (inside,) = block["elements"]
    assert inside["type"] == "rich_text_preformatted", "which Slack parses for nothing"
    assert inside["elements"] == [{"type": "text", "text": "rm -rf build && echo <@U1> https://x.example :tada:"}]


@pytest.mark.parametrize("user", ["", "U1> <!channel>", "here", "U1|x", "u1"])
def test_only_a_real_user_is_mentioned(user: str) -> None:
    drawn = draw(Card(line("t1")), user=user)
    assert texts(drawn.blocks, "mrkdwn") == [] and drawn.text == "t1"


def test_a_long_body_is_cut_between_lines_or_becomes_a_file() -> None:
    two = "\n".join(f"line {number}" for number in range(500))
    parts = [element["text"] for block in draw(Card(line("x"), body=Untrusted(two))).blocks[1:] for element in
             block["elements"][0]["elements"]]  # fmt: skip
    assert len(parts) == 2 and "\n".join(parts) == two and all(len(part) <= BODY for part in parts)
    long = "\n".join(f"line {number}" for number in range(5_000))
    drawn = draw(Card(line("x"), body=Untrusted(long)))
    assert drawn.whole == long and len(drawn.blocks) == 2


def test_a_body_whose_document_has_it_all_becomes_no_second_file() -> None:
    card = Card(line("x"), body=Untrusted("word " * 5_000), document="/f/t1-answer.txt")
    assert draw(card).whole == ""


@given(st.text(alphabet="ab \n", max_size=300), st.integers(2, 40))
def test_pieces_hold_everything_and_none_is_too_long(text: str, size: int) -> None:
    pieces = pieces_of(text, size)
    assert all(len(piece) <= size for piece in pieces)
    assert "".join(pieces).replace("\n", "") == text.replace("\n", "")


def test_dangerous_buttons_look_so() -> None:
    card = Card(line("x"), actions=(Action("Yes", "/approve a1", token="1"), Action("No", "/deny a1", token="2")))
    (actions,) = [block for block in draw(card).blocks if block["type"] == "actions"]
    assert [button["style"] for button in actions["elements"]] == ["primary", "danger"]
    assert [button["value"] for button in actions["elements"]] == ["1", "2"]


def test_a_card_as_text_says_everything() -> None:
    card = Card(line("t1"), (line("one"),), (field("Commit", "abc"),), Untrusted("body"))
    assert plain(card) == "t1\none\nCommit: abc\nbody"


# --- the way in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ("<@UBOT> status", "status"),
        ("<@UBOT|airboss>: run it", "run it"),
        ("status <@UBOT>", "status"),
        ("run tell <@UBOT> and <@U2|bob> in <#C1|ops>", "run tell @airboss and @bob in #ops"),
        ("run &lt;b&gt; &amp;&amp; x", "run <b> && x"),
        ("see <https://x.example/a?b=1&amp;c>", "see https://x.example/a?b=1&c"),
        ("see <http://x.example|x.example> <mailto:a@b.c|a@b.c>", "see x.example a@b.c"),
        ("see <https://x.example|the page>", "see the page (https://x.example)"),
        ("<!here> run", "@here run"),
        ("run it <!date^1392734382^{date_short}|Feb 18>", "run it Feb 18"),
        ("a\0b", "ab"),
    ],
)
def test_a_message_is_read_as_it_was_typed(raw: str, meant: str) -> None:
    assert words(raw, ME) == meant


@pytest.mark.parametrize(
    ("command", "text", "meant"),
    [
        ("/fleet", "", "/status"),
        ("/fleet", "retry t1", "/retry t1"),
        ("/fleet", "/retry t1", "/retry t1"),
        ("/FLEET", "Status", "/Status"),
        ("/run", "mend &lt;it&gt;", "/run mend <it>"),
        ("/ab-run", "x", "/run x"),
        ("/ab-fleet", "mute 1h", "/mute 1h"),
        ("/nothing", "x", "/nothing x"),
        ("/fleet", "`retry t1`", "/retry t1"),
    ],
)
def test_a_slash_command_means_its_verb(command: str, text: str, meant: str) -> None:
    assert typed(command, text, VERBS) == meant


@pytest.mark.parametrize(
    ("text", "thread", "heard"),
    [
        *(("`!retry t1`", "", True), ("`retry t1`", "", False), ("!important", "", False)),
        *(("@property is missing", "1.0", True), ("<@U2> look", "1.0", False), ("*<@U2>* look", "1.0", False)),
        *((" <!here> look", "1.0", False), ("<!date^1^{date}|Feb 18> is wrong", "1.0", True)),
    ],
)
def test_words_in_a_channel_are_for_us_or_for_others(text: str, thread: str, heard: bool) -> None:
    said = {"type": "message", "user": "U1", "channel": "C1", "ts": "1.1", "text": text, "thread_ts": thread}
    found = read({"type": "event_callback", "team_id": "T1", "event": said}, ME, VERBS)
    assert (found is not None) is heard


@pytest.mark.parametrize(("more", "text"), [({}, "/help"), ({"files": [{"id": "F1"}]}, "")])
def test_our_name_alone_asks_for_help(more: dict[str, Any], text: str) -> None:
    said = {"type": "message", "user": "U1", "channel": "C1", "ts": "1.1", "text": " <@UBOT> ", **more}
    found = read({"type": "event_callback", "team_id": "T1", "event": said}, ME, VERBS)
    assert found is not None and found.text == text


def test_a_pressed_button_tells_where_it_stands() -> None:
    body = {
        "type": "block_actions", "trigger_id": "9.9", "team": {"id": "T1"}, "user": {"id": "U1", "team_id": "T2"},
        "channel": {"id": "C1"}, "container": {"message_ts": "5.5", "thread_ts": "4.4"},
        "actions": [{"value": "token"}],
    }  # fmt: skip
    message = read(body, ME, VERBS)
    assert message is not None
    assert (message.pressed, message.reply_to, message.update_id) == ("token", "5.5", "p:9.9")
    assert str(message.sender) == "slack:T2:U1", "the presser's own workspace, not the button's"
    assert message.chat == ChatRef("slack", "C1", "4.4")


@pytest.mark.parametrize(
    "event",
    [
        {"bot_id": "B1"},
        {"user": "UBOT"},
        {"subtype": "message_changed"},
        {"subtype": "bot_message"},
        {"subtype": "message_deleted"},
        {"type": "reaction_added"},
        {"user": ""},
    ],
    ids=str,
)
def test_what_no_person_said_to_us_is_nothing(event: dict[str, str]) -> None:
    said = {"type": "message", "user": "U1", "channel": "D1", "ts": "1.1", "text": "run x", **event}
    assert read({"type": "event_callback", "team_id": "T1", "event": said}, ME, VERBS) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
KEYS = (
    "type", "event", "user", "channel", "ts", "text", "team_id", "command", "user_id", "channel_id", "actions",
    "container", "message", "files", "trigger_id", "thread_ts", "channel_type", "id", "value",
    "is_ext_shared_channel",
)  # fmt: skip
TYPES = st.sampled_from(["event_callback", "block_actions", "message", "app_mention", "view_submission"])
BODIES = st.recursive(
    JSON | TYPES | st.lists(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=12),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(KEYS), BODIES | TYPES, max_size=14))
def test_whatever_slack_delivers_is_read_without_a_stumble(body: dict[str, Any]) -> None:
    message = read(body, ME, VERBS)
    if message is not None:
        assert Message.from_bytes(message.to_bytes()) == message
        assert message.sender.user and message.chat.chat


# --- patience -----------------------------------------------------------------------------------------------


def test_a_budget_is_a_channels_own_and_comes_back() -> None:
    now = 0.0
    pace = RateLimiter(burst=2, per_second=1, now=lambda: now)
    assert [pace.ask("C1"), pace.ask("C1"), pace.ask("C2")] == [0, 0, 0]
    assert pace.ask("C1") == pytest.approx(1)
    now = 1.0
    assert pace.ask("C1") == 0
    pace.close("C2", 30)
    assert pace.ask("C2") == pytest.approx(30)
    now = 31.0
    assert pace.ask("C2") == 0

"""Inbox and outbox on both databases: nothing lost, nothing handled twice, order kept, edits coalesced."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from fleet.errors import Refused
from fleet.model import ChatRef
from fleet.store import tables
from fleet.store.chat import buttons as button_rows
from fleet.store.chat import inbox, outbox, settings
from fleet.store.chat.unheard import unheard
from fleet.store.core import Store, Tx

HERE, THERE = ChatRef("tg", "1"), ChatRef("tg", "2")


def put(tx: Tx, card: str, chat: ChatRef = HERE, *, key: str = "", priority: int = 1) -> int:
    return outbox.put(tx, chat=chat, card_json=card, card_key=key, priority=priority)


def claim(tx: Tx, limit: int = 10) -> list[str]:
    return [delivery.card_json for delivery in outbox.claim(tx, "tg", limit)]


def test_an_update_is_taken_once_per_adapter(store: Store) -> None:
    with store.transaction() as tx:
        first = inbox.receive(tx, "tg", "u1", b"\xffpayload")
        assert first is not None
        assert inbox.receive(tx, "slack", "u1", b"other") is not None
    with store.transaction() as tx:
        assert inbox.receive(tx, "tg", "u1", b"again") is None
        inbox.done(tx, first)
        assert inbox.receive(tx, "tg", "u1", b"again") is None
        assert [(row.adapter, row.payload) for row in inbox.pending(tx)] == [("slack", b"other")]


def test_the_effect_and_the_end_of_the_row_are_one(store: Store) -> None:
    with store.transaction() as tx:
        number = inbox.receive(tx, "tg", "u1", b"x")
    assert number is not None
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        settings.put(tx, "effect", "yes")
        inbox.done(tx, number)
        raise ZeroDivisionError
    with store.transaction() as tx:
        assert settings.get(tx, "effect") == ""
        assert [row.id for row in inbox.pending(tx)] == [number]


def test_an_update_cannot_be_handled_twice(store: Store) -> None:
    with store.transaction() as tx:
        numbers = [inbox.receive(tx, "tg", update, b"x") or 0 for update in "abc"]
        inbox.done(tx, numbers[0])
        inbox.ignored(tx, numbers[1], "a stranger")
        inbox.failed(tx, numbers[2], "a bug")
        assert inbox.pending(tx) == []
        kept = tx.connection.execute(select(tables.inbox.c.payload).order_by(tables.inbox.c.id)).scalars()
        assert [bytes(payload) for payload in kept] == [b"x", b"", b"x"], "what was for others is forgotten"
    for number in numbers:
        with pytest.raises(ValueError, match="not pending"), store.transaction() as tx:
            inbox.done(tx, number)


def test_a_chats_messages_leave_one_by_one_in_their_order(store: Store) -> None:
    with store.transaction() as tx:
        first, _ = put(tx, "one"), put(tx, "two", priority=0)
        put(tx, "elsewhere", THERE)
        put(tx, "in a thread", ChatRef("tg", "1", "t"))
        assert claim(tx) == ["one", "elsewhere", "in a thread"]
        assert claim(tx) == []
        outbox.retry(tx, first, tx.now_us() + 60_000_000, "429")
        assert claim(tx) == []
        due = outbox.next_due_us(tx, "tg")
        assert due is not None and 59_000_000 < due <= 60_000_000
    with store.transaction() as tx:
        assert outbox.backlog(tx, HERE) == 2 and outbox.backlog(tx, THERE) == 1
        assert outbox.claim(tx, "slack", 10) == [] and outbox.next_due_us(tx, "slack") is None


def test_what_waits_for_a_day_leaves_now_as_the_clock_was_ahead(store: Store) -> None:
    with store.transaction() as tx:
        first, day_us = put(tx, "one"), 86_400_000_000
        assert claim(tx) == ["one"]
        outbox.retry(tx, first, tx.now_us() + day_us, "429")
        assert outbox.next_due_us(tx, "tg") == 0
        assert claim(tx) == ["one"]


def test_the_next_one_leaves_when_the_first_is_settled(store: Store) -> None:
    with store.transaction() as tx:
        numbers = [put(tx, card) for card in ("one", "two", "three")]
        assert claim(tx) == ["one"]
        outbox.delivered(tx, numbers[0], "m1")
        assert claim(tx) == ["two"]
        outbox.gave_up(tx, numbers[1], "the chat is gone")
        assert claim(tx) == ["three"]


def test_pings_before_edits_and_the_urgent_first(store: Store) -> None:
    with store.transaction() as tx:
        card = put(tx, "card", key="t1")
        outbox.claim(tx, "tg", 1)
        outbox.delivered(tx, card, "m1")
        outbox.edit(tx, "t1", "progress")
        put(tx, "plain", THERE, priority=5)
        put(tx, "ping", HERE, priority=0)
        assert claim(tx) == ["ping", "plain", "progress"]


def test_an_edit_that_somebody_waits_for_goes_before_what_nobody_does(store: Store) -> None:
    with store.transaction() as tx:
        for key in ("progress", "asked", "late"):
            outbox.delivered(tx, put(tx, "card", key=key), outbox.claim(tx, "tg", 1)[0].card_key)
        outbox.edit(tx, "progress", "12 s")
        outbox.edit(tx, "late", "old")
        put(tx, "passed", priority=2)
        outbox.edit(tx, "asked", "allowed", soon=True)
        outbox.edit(tx, "late", "answered", soon=True)
        claimed = outbox.claim(tx, "tg", 10)
        assert [(delivery.card_json, delivery.soon) for delivery in claimed] == [
            ("answered", True),
            ("allowed", True),
            ("passed", False),
            ("12 s", False),
        ]


def test_an_edit_of_a_card_that_has_not_left_changes_the_card(store: Store) -> None:
    with store.transaction() as tx:
        put(tx, "old", key="t1")
        assert outbox.edit(tx, "t1", "new") == 1
        (only,) = outbox.claim(tx, "tg", 10)
        assert (only.card_json, only.message_id) == ("new", "")
        outbox.delivered(tx, only.id, "m1")
        assert claim(tx) == []


@pytest.mark.parametrize("came_back", ["refused", "restarted"])
def test_a_card_that_came_back_leaves_in_its_newest_form_and_no_older_one_follows(
    store: Store, came_back: str
) -> None:
    with store.transaction() as tx:
        card = put(tx, "queued", key="t1")
        assert claim(tx) == ["queued"]
        outbox.edit(tx, "t1", "running")
        if came_back == "refused":
            outbox.retry(tx, card, 0, "429")
        else:
            outbox.requeue(tx, "tg")
        outbox.edit(tx, "t1", "answered")
        assert claim(tx) == ["answered"]
        outbox.delivered(tx, card, "m1")
        assert claim(tx) == []


def test_edits_wait_for_the_message_and_only_the_newest_is_sent(store: Store) -> None:
    with store.transaction() as tx:
        card = put(tx, "card", key="t1")
        outbox.claim(tx, "tg", 1)
        for step in ("a", "b", "c"):
            outbox.edit(tx, "t1", step)
        assert claim(tx) == []
        outbox.delivered(tx, card, "m1")
        (edit,) = outbox.claim(tx, "tg", 10)
        assert (edit.card_json, edit.message_id, edit.chat) == ("c", "m1", HERE)
        outbox.edit(tx, "t1", "d")
        assert claim(tx) == [], "two edits of one message would race"
        outbox.delivered(tx, edit.id, "m1")
        assert claim(tx) == ["d"]


def test_an_edit_that_failed_gives_way_to_a_newer_one(store: Store) -> None:
    with store.transaction() as tx:
        outbox.delivered(tx, (put(tx, "card", key="t1"), outbox.claim(tx, "tg", 1))[0], "m1")
        outbox.edit(tx, "t1", "old")
        (old,) = outbox.claim(tx, "tg", 1)
        outbox.edit(tx, "t1", "new")
        outbox.retry(tx, old.id, 0, "429")
        assert claim(tx) == ["new"]
        assert claim(tx) == []


def test_a_card_is_edited_where_it_lives(store: Store) -> None:
    with store.transaction() as tx:
        for chat, message in ((HERE, "m1"), (THERE, "m2")):
            number = put(tx, "card", chat, key="t1")
            outbox.claim(tx, "tg", 1)
            outbox.delivered(tx, number, message)
        assert outbox.edit(tx, "t1", "both") == 2
        assert outbox.edit(tx, "t1", "there", chat=THERE) == 1
        assert outbox.edit(tx, "unknown", "x") == 0
        assert {(delivery.message_id, delivery.card_json) for delivery in outbox.claim(tx, "tg", 9)} == {
            ("m1", "both"),
            ("m2", "there"),
        }


def test_a_card_that_was_posted_anew_gets_no_old_edit(store: Store) -> None:
    with store.transaction() as tx:
        outbox.delivered(tx, (put(tx, "card", key="t1"), outbox.claim(tx, "tg", 1))[0], "m1")
        outbox.edit(tx, "t1", "in flight")
        (flying,) = outbox.claim(tx, "tg", 1)
        outbox.edit(tx, "t1", "waiting")
        anew = put(tx, "anew", key="t1")
        outbox.retry(tx, flying.id, 0, "429")
        assert claim(tx) == ["anew"]
        outbox.delivered(tx, anew, "m2")
        outbox.edit(tx, "t1", "newest")
        assert [(delivery.card_json, delivery.message_id) for delivery in outbox.claim(tx, "tg", 9)] == [
            ("newest", "m2")
        ]


def test_a_card_that_was_given_up_is_edited_no_more(store: Store) -> None:
    with store.transaction() as tx:
        card = put(tx, "card", key="t1")
        outbox.claim(tx, "tg", 1)
        outbox.edit(tx, "t1", "edit")
        outbox.gave_up(tx, card, "thrown out")
        assert claim(tx) == [] and outbox.edit(tx, "t1", "edit") == 0
        assert outbox.backlog(tx, HERE) == 0


def test_what_was_in_flight_at_a_crash_comes_back_marked(store: Store, store_url: str) -> None:
    with store.transaction() as tx:
        put(tx, "one"), put(tx, "two")
        assert claim(tx) == ["one"]
    with Store.open(store_url) as after, after.transaction() as tx:
        assert outbox.requeue(tx, "tg") == 1
        (delivery,) = outbox.claim(tx, "tg", 10)
        assert (delivery.card_json, delivery.again, delivery.attempts) == ("one", True, 0)
        outbox.retry(tx, delivery.id, 0, "no network")
        (delivery,) = outbox.claim(tx, "tg", 10)
        assert (delivery.again, delivery.attempts) == (True, 1)
        outbox.delivered(tx, delivery.id, "m1")
        (two,) = outbox.claim(tx, "tg", 10)
        assert (two.card_json, two.again) == ("two", False)


def test_only_what_was_claimed_can_be_settled(store: Store) -> None:
    with store.transaction() as tx:
        number = put(tx, "one")
        with pytest.raises(ValueError, match="not in flight"):
            outbox.delivered(tx, number, "m1")
        outbox.claim(tx, "tg", 1)
        outbox.delivered(tx, number, "m1")
        with pytest.raises(ValueError, match="not in flight"):
            outbox.gave_up(tx, number, "late")


def test_a_reply_is_said_only_if_what_it_tells_of_is_true(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        put(tx, "it is done")
        raise ZeroDivisionError
    with store.transaction() as tx:
        assert claim(tx) == []


def test_a_button_works_on_its_own_message_only_wherever_that_lives_now(store: Store) -> None:
    def press(tx: Tx, token: str, message: str) -> str:
        return button_rows.look(tx, token, HERE, "ada", message).command

    with store.transaction() as tx:
        first, second = put(tx, "one", key="t1"), put(tx, "two", key="t2")
        token = button_rows.mint(tx, HERE, command="/stop t1", once=True, put=first)
        assert button_rows.mint(tx, HERE, command="/stop t1", once=True, put=first) == token
        other = button_rows.mint(tx, HERE, command="/stop t1", once=True, put=second)
        assert other != token
        assert press(tx, token, "m1") == "/stop t1", "its delivery is not recorded yet"
        for number, message in ((first, "m1"), (second, "m2")):
            outbox.claim(tx, "tg", 1)
            outbox.delivered(tx, number, message)
        assert press(tx, token, "m1") == press(tx, token, "") == press(tx, other, "m2") == "/stop t1"
        with pytest.raises(Refused, match="another message"):
            press(tx, token, "m2")
        outbox.edit(tx, "t1", "reborn", chat=HERE)
        (edit,) = outbox.claim(tx, "tg", 1)
        outbox.delivered(tx, edit.id, "m9")
        assert press(tx, token, "m9") == "/stop t1"


def test_who_was_not_reached_is_known_until_something_arrives_there(store: Store) -> None:
    def lost(tx: Tx, card: str, *, ping: bool = True, chat: ChatRef = HERE) -> None:
        outbox.put(tx, chat=chat, card_json=card, ping=ping, priority=1)
        (delivery,) = outbox.claim(tx, "tg", 1)
        outbox.gave_up(tx, delivery.id, f"no {card}")

    with store.transaction() as tx:
        lost(tx, "silent", ping=False)
        assert unheard(tx, "tg") == []
        lost(tx, "older")
        lost(tx, "newer")
        lost(tx, "there", chat=THERE)
        found = {each.chat: (each.card_json, each.why) for each in unheard(tx, "tg")}
        assert found == {HERE: ("newer", "no newer"), THERE: ("there", "no there")}
        assert unheard(tx, "slack") == []
        put(tx, "arrives")
        (delivery,) = outbox.claim(tx, "tg", 1)
        outbox.delivered(tx, delivery.id, "m1")
        assert [each.chat for each in unheard(tx, "tg")] == [THERE]

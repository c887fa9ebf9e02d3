"""Retention on both databases: what is old goes, and nothing that somebody may still ask for goes with it."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from fleet.errors import LeadershipLost, Refused
from fleet.model import ChatRef, Isolation, Session, Task, TaskMode, TaskState
from fleet.store import approvals, chat_tables, leases, ledger, sessions, tables, tasks, tree
from fleet.store.chat import attachments as attachment_rows
from fleet.store.chat import buttons as button_rows
from fleet.store.chat import cards as card_rows
from fleet.store.chat import inbox, outbox, retention
from fleet.store.chat import sent as sent_rows
from fleet.store.chat.threads import task_of_message
from fleet.store.core import Store, Tx

HERE = ChatRef("tg", "1")
AGE_US = 3_600_000_000
OLD_US = 2 * AGE_US


async def prune(store: Store, stretch: int = 2) -> None:
    """In stretches so small that every test needs several."""
    await retention.prune_rows(store, AGE_US, stretch=stretch)


def long_ago(store: Store) -> None:
    """All that happened until now happened two hours ago; what is 0 (never) stays so."""
    times = (
        tables.inbox.c.settled_us,
        tables.outbox.c.settled_us,
        tables.actions.c.used_us,
        tables.actions.c.expires_us,
        tables.tasks.c.updated_us,
    )
    with store.transaction() as tx:
        for column in times:
            tx.connection.execute(update(column.table).where(column != 0).values({column.name: column - OLD_US}))


def task(tx: Tx) -> Task:
    return tasks.create_task(
        tx, repo="shop", agent="claude", machine="", prompt="mend it", mode=TaskMode.CHANGE,
        requester="tg::ada", origin=HERE,
    )  # fmt: skip


def begin(tx: Tx, task_id: str) -> Session:
    return sessions.create_session(
        tx, task=task_id, machine="evo", agent="claude", base="abc", isolation=Isolation.UNSAFE_SAME_USER
    )


def end(tx: Tx, task_id: str) -> None:
    tasks.move(tx, task_id, TaskState.STOPPED, "", "airboss")


def over(tx: Tx, session: Session) -> None:
    sessions.update(tx, session.id, ended_us=tx.now_us())


def said(tx: Tx, card: str, *, key: str = "", task: str = "", message: str = "") -> int:
    """A message that was delivered as ``message``, or given up without one."""
    number = outbox.put(tx, chat=HERE, card_json=card, card_key=key, priority=1, task=task)
    assert [delivery.id for delivery in outbox.claim(tx, "tg", 10)] == [number]
    if message:
        outbox.delivered(tx, number, message)
    else:
        outbox.gave_up(tx, number, "thrown out")
    return number


def edited(tx: Tx, key: str, card: str, message: str) -> None:
    outbox.edit(tx, key, card)
    (edit,) = outbox.claim(tx, "tg", 10)
    outbox.delivered(tx, edit.id, message)


def cards(store: Store) -> list[str]:
    with store.transaction() as tx:
        table = tables.outbox
        return list(tx.connection.execute(select(table.c.card_json).order_by(table.c.id)).scalars())


def payloads(store: Store) -> list[bytes]:
    with store.transaction() as tx:
        table = tables.inbox
        return [
            bytes(payload)
            for payload in tx.connection.execute(select(table.c.payload).order_by(table.c.id)).scalars()
        ]


def receive(store: Store, *updates: str) -> list[int]:
    with store.transaction() as tx:
        return [inbox.receive(tx, "tg", update, b"words") or 0 for update in updates]


async def test_a_settled_update_loses_its_words_and_is_still_known(store: Store) -> None:
    done, ignored, failed, _ = receive(store, "u1", "u2", "u3", "u4")
    with store.transaction() as tx:
        inbox.done(tx, done)
        inbox.ignored(tx, ignored, "a stranger")
        inbox.failed(tx, failed, "a bug")
    long_ago(store)
    (young,) = receive(store, "u5")
    with store.transaction() as tx:
        inbox.done(tx, young)
    await prune(store)
    assert payloads(store) == [b"", b"", b"", b"words", b"words"]
    assert receive(store, "u1", "u2", "u3", "u4", "u5") == [0] * 5
    with store.transaction() as tx:
        assert [(update.update_id, update.payload) for update in inbox.pending(tx)] == [("u4", b"words")]


async def test_a_message_that_can_no_longer_be_edited_is_forgotten(store: Store) -> None:
    with store.transaction() as tx:
        for number in range(5):
            sent_rows.keep(tx, sent_rows.SentMessage(HERE, str(number), "tg::ada", "t1", "d", sent_s=7))
    await prune(store)
    table = chat_tables.sent_messages
    with store.transaction() as tx:
        assert sent_rows.find(tx, HERE, "0", "tg::ada")
        tx.connection.execute(update(table).where(table.c.message != "4").values(until_us=tx.now_us()))
        assert sent_rows.find(tx, HERE, "0", "tg::ada") is None
    await prune(store)
    with store.transaction() as tx:
        assert list(tx.connection.execute(select(table.c.message)).scalars()) == ["4"]


async def test_what_was_said_goes_and_a_reply_to_it_still_finds_its_task(store: Store) -> None:
    with store.transaction() as tx:
        task(tx)
        said(tx, "an answer", task="t1", message="m1")
        said(tx, "help", message="m2")
        said(tx, "to nobody")
        end(tx, "t1")
    long_ago(store)
    with store.transaction() as tx:
        said(tx, "young", message="m3")
        outbox.put(tx, chat=HERE, card_json="in flight", priority=1)
        assert outbox.claim(tx, "tg", 10)
        outbox.put(tx, chat=HERE, card_json="waiting", priority=1)
    await prune(store)
    assert cards(store) == ["", "", "", "young", "in flight", "waiting"]
    with store.transaction() as tx:
        assert task_of_message(tx, HERE, "m1") == "t1"
        assert outbox.requeue(tx, "tg") == 1
        assert [delivery.card_json for delivery in outbox.claim(tx, "tg", 10)] == ["in flight"]


async def test_a_message_on_its_way_stays_whole_however_old_its_row_is(store: Store) -> None:
    with store.transaction() as tx:
        outbox.put(tx, chat=HERE, card_json="in flight", priority=1)
        outbox.claim(tx, "tg", 10)
        outbox.put(tx, chat=HERE, card_json="waiting", priority=1)
        table = tables.outbox
        tx.connection.execute(update(table).values(created_us=1, settled_us=1))
        inbox.receive(tx, "tg", "u1", b"words")
        tx.connection.execute(update(tables.inbox).values(received_us=1, settled_us=1))
    await prune(store)
    assert (cards(store), payloads(store)) == (["in flight", "waiting"], [b"words"])


async def test_a_card_that_may_be_edited_stays_and_its_earlier_forms_go(store: Store) -> None:
    with store.transaction() as tx:
        card = said(tx, "status", key="status", message="m1")
        edited(tx, "status", "status, later", "m1")
        said(tx, "posted before", key="moved", message="m2")
        said(tx, "posted anew", key="moved", message="m3")
    long_ago(store)
    await prune(store)
    assert cards(store) == ["status", "", "", "posted anew"]
    with store.transaction() as tx:
        assert (found := card_rows.at(tx, "status", HERE)) is not None and found.put == card
        edited(tx, "status", "status, now", "m1")
        assert outbox.thread_of(tx, "status", "tg", "1") == "m1"


async def test_a_card_that_has_its_key_for_its_buttons_only_goes_like_any_message(store: Store) -> None:
    with store.transaction() as tx:
        said(tx, "failed", key=card_rows.loose_key(), message="m1")
        asked = said(tx, "which one?", key=(changing := card_rows.loose_key()), message="m2")
        outbox.edit(tx, changing, "this one")
    long_ago(store)
    await prune(store)
    assert cards(store) == ["", "which one?", "this one"]
    with store.transaction() as tx:
        assert (found := card_rows.at(tx, changing, HERE)) is not None and found.put == asked


@pytest.mark.parametrize("still", ["open", "its session is not closed"])
async def test_what_was_said_of_a_task_stays_until_it_has_ended(store: Store, still: str) -> None:
    with store.transaction() as tx:
        task(tx)
        said(tx, "an answer", task="t1", message="m1")
        session = begin(tx, "t1")
        if still == "open":
            over(tx, session)
        else:
            end(tx, "t1")
    long_ago(store)
    await prune(store)
    assert cards(store) == ["an answer"]
    with store.transaction() as tx:
        if still == "open":
            end(tx, "t1")
        else:
            over(tx, session)
    await prune(store)
    assert cards(store) == [""]


async def test_dead_buttons_go_and_those_that_may_be_pressed_stay(store: Store) -> None:
    def mint(tx: Tx, command: str, *, once: bool = True, lives_us: int = 0, press: bool = False) -> str:
        token = button_rows.mint(tx, HERE, command=command, once=once, lives_us=lives_us)
        if press:
            button_rows.use(tx, token, "ada")
        return token

    with store.transaction() as tx:
        dead = [mint(tx, "/stop t1", press=True), mint(tx, "/approve a1", lives_us=1)]
        alive = [
            mint(tx, "/logs t1", once=False, press=True),
            mint(tx, "/retry t1"),
            mint(tx, "/deny a1", lives_us=2 * OLD_US),
        ]
    long_ago(store)
    with store.transaction() as tx:
        young = [mint(tx, "/stop t2", press=True), mint(tx, "/approve a2", lives_us=1)]
    await prune(store)
    with store.transaction() as tx:
        assert set(tx.connection.execute(select(tables.actions.c.token)).scalars()) == {*alive, *young}
        for token in dead:
            with pytest.raises(Refused, match="not a button of this chat"):
                button_rows.look(tx, token, HERE, "ada")
        for token in alive:
            button_rows.look(tx, token, HERE, "ada")
        with pytest.raises(Refused, match="ada pressed it already"):
            button_rows.look(tx, young[0], HERE, "ada")


@pytest.mark.parametrize("walk", ["inbox", "outbox", "buttons"])
async def test_one_transaction_looks_at_a_stretch_and_changes_nothing_beyond_it(store: Store, walk: str) -> None:
    with store.transaction() as tx:
        for number in range(5):
            inbox.done(tx, inbox.receive(tx, "tg", f"u{number}", b"words") or 0)
            said(tx, "card", message=f"m{number}")
            button_rows.use(tx, button_rows.mint(tx, HERE, command=f"/stop t{number}", once=True), "ada")
    long_ago(store)

    def left() -> int:
        with store.transaction() as tx:
            tokens = len(tx.connection.execute(select(tables.actions.c.token)).all())
        return {
            "inbox": sum(map(bool, payloads(store))),
            "outbox": sum(map(bool, cards(store))),
            "buttons": tokens,
        }[walk]

    def step(tx: Tx, last: int | str) -> int | str | None:
        if walk == "buttons":
            return retention.dead_buttons(tx, str(last), age_us=AGE_US, stretch=2)
        which = retention.inbox_payloads if walk == "inbox" else retention.outbox_cards
        return which(tx, int(last), age_us=AGE_US, stretch=2)

    last: int | str | None = "" if walk == "buttons" else 0
    seen = [left()]
    while last is not None:
        before = last
        with store.transaction() as tx:
            last = step(tx, before)
        seen.append(left())
    assert seen == [5, 3, 1, 0, 0]


async def test_a_walk_that_breaks_off_is_begun_again_and_the_ledger_stays(store: Store) -> None:
    with store.transaction() as tx:
        task(tx)
        end(tx, "t1")
        written = tree.leaves(tx, 0, ledger.size(tx))
    for number in receive(store, "u1", "u2", "u3", "u4"):
        with store.transaction() as tx:
            inbox.done(tx, number)
    long_ago(store)
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        retention.inbox_payloads(tx, 0, age_us=AGE_US, stretch=2)
        raise ZeroDivisionError
    assert all(payloads(store)), "undone with its transaction"
    with store.transaction() as tx:
        retention.inbox_payloads(tx, 0, age_us=AGE_US, stretch=2)
    for _ in range(2):
        await prune(store)
        assert not any(payloads(store))
    with store.transaction() as tx:
        assert tree.leaves(tx, 0, ledger.size(tx)) == written


async def test_only_the_controller_that_leads_prunes(store: Store) -> None:
    (number,) = receive(store, "u1")
    with store.transaction() as tx:
        inbox.done(tx, number)
    long_ago(store)

    with store.transaction() as tx:
        first = leases.seize(tx, leases.LEADERSHIP, "first", 0)
        leases.seize(tx, leases.LEADERSHIP, "second", AGE_US)
    with pytest.raises(LeadershipLost):
        await prune(store.under(first.fence))
    assert await store.read(lambda tx: tx.connection.execute(select(tables.inbox.c.payload)).scalar()) == b"words"


def test_a_file_is_needed_until_its_task_has_ended_that_long_ago(store: Store) -> None:
    def needed() -> set[str]:
        with store.transaction() as tx:
            return retention.attached(tx, AGE_US)

    with store.transaction() as tx:
        for number in range(1, 4):
            task(tx)
            attachment_rows.add(
                tx, f"t{number}", attachment_rows.REQUEST, name="x", path=f"/f/{number}", media_type="", size=1
            )
        begin(tx, "t2")
        end(tx, "t2")
        end(tx, "t3")
    assert needed() == {"/f/1", "/f/2", "/f/3"}
    long_ago(store)
    assert needed() == {"/f/1", "/f/2"}, "one is open, the session of another is"


def test_what_every_adapter_has_yet_to_say_is_known(store: Store) -> None:
    with store.transaction() as tx:
        for adapter in ("slack", "tg", "gone"):
            for state in ("delivered", "in flight", "waiting"):
                chat = ChatRef(adapter, state)
                number = outbox.put(tx, chat=chat, card_json=f"{adapter} {state}", priority=1)
                if state != "waiting":
                    assert outbox.claim(tx, adapter, 1)
                if state == "delivered":
                    outbox.delivered(tx, number, "m")
        every = {f"{adapter} {state}" for adapter in ("slack", "tg", "gone") for state in ("in flight", "waiting")}
        assert set(retention.on_their_way(tx)) == every


def test_a_document_is_its_tasks_or_its_questions(store: Store) -> None:
    with store.transaction() as tx:
        for _ in range(2):
            session = begin(tx, task(tx).id)
            approvals.open_ask(
                tx,
                session=session,
                ask="x",
                tool="Bash",
                request="{}",
                command="ls",
                paths=(),
                reason="",
                expires_us=0,
            )
            over(tx, session)
        end(tx, "t1")
        assert retention.live_among(tx, ["t1", "t2", "a1", "a2", "t9"]) == {"t2", "a2"}
        assert retention.live_among(tx, []) == set()

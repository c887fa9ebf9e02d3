"""Files that controllers share through their store; on both databases."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update

from bot.hearing.shared import fetched
from bot.message import Attachment, Message
from bot.retention import Retention
from fleet import shared_files
from fleet.clock import SystemClock
from fleet.config import parse_fleet
from fleet.errors import Misused, StoreUnavailable, Unavailable
from fleet.faults import Fault, Point, injected
from fleet.flight import attachments
from fleet.machines.local import LocalExecutor
from fleet.model import ChatRef, Isolation, PersonId, Session, TaskMode, TaskState, TurnCause
from fleet.redact import Redactor
from fleet.store import blob_retention, blobs, sessions, tasks
from fleet.store.blob_tables import blob_chunks, blob_names
from fleet.store.blob_tables import blobs as blob_rows
from fleet.store.blobs import ABANDONED_US, CHUNK_BYTES, NamedBlob
from fleet.store.chat import attachments as attachment_rows
from fleet.store.core import Store, Tx
from fleet.store.states import BlobKind
from fleet.store.tables import tasks as task_rows
from fleet.supervise import alongside
from gates.runs import tails
from tests.empty_store import filled_database
from tests.far_end.postgres import Postgres
from tests.flying import FLEET
from tests.rows import asked, placed

BIG = bytes(range(256)) * (CHUNK_BYTES // 256) * 2 + b"the end"


async def put(store: Store, path: Path, name: str = "a", owner: str = "t1") -> None:
    await shared_files.put(store, path, BlobKind.GATE_OUTPUT, name=name, owner=owner)


def rows(tx: Tx) -> tuple[int, int, int]:
    """How many names, blobs and chunks there are."""
    found = (tx.connection.execute(select(func.count()).select_from(table)).scalar_one() for table in _TABLES)
    return next(found), next(found), next(found)


_TABLES = (blob_names, blob_rows, blob_chunks)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "file"
    made.write_bytes(BIG)
    return made


@pytest.mark.parametrize("data", [b"", b"x", b"y" * CHUNK_BYTES, BIG], ids=["empty", "one", "a chunk", "more"])
async def test_what_is_put_comes_back_whole_and_private(store: Store, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    await put(store, tmp_path / "file")
    target = tmp_path / "other" / "home" / "file"
    found = await shared_files.bring(store, "a", target)
    assert found is not None and found.owner == "t1"
    assert target.read_bytes() == data
    assert target.stat().st_mode & 0o777 == 0o600
    assert await shared_files.bring(store, "b", tmp_path / "nothing") is None
    assert not (tmp_path / "nothing").exists()


async def test_the_same_bytes_are_there_once_and_go_with_their_last_name(store: Store, file: Path) -> None:
    for name, owner in (("a", "t1"), ("a", "t2"), ("b", "t1"), ("b", "t1")):
        await put(store, file, name, owner)
    assert await store.read(rows) == (3, 1, 3)

    named = await store.read(lambda tx: [blobs.named(tx, "a"), blobs.named(tx, "b")])
    assert None not in named
    every = [each for each in named if each is not None]
    await store.write(lambda tx: blobs.forget(tx, every))
    assert await store.read(rows) == (1, 1, 3), "another task needs it"
    left = await store.read(lambda tx: blobs.named(tx, "a"))
    assert left is not None
    await store.write(lambda tx: blobs.forget(tx, [left]))
    assert await store.read(rows) == (0, 0, 0)


async def test_no_name_for_bytes_that_are_not_all_there(store: Store, file: Path, tmp_path: Path) -> None:
    """A commit that fails in the midst of it, and one who names what nobody put."""
    with injected(Fault(Point.STORE_COMMIT, first=3)), pytest.raises(StoreUnavailable):
        await put(store, file)
    assert (await store.read(rows))[:2] == (0, 1), "in the midst of it"
    assert await store.read(lambda tx: blobs.named(tx, "a")) is None
    half = NamedBlob("a", "t1", BlobKind.GATE_OUTPUT, "0" * 64)
    assert not await store.write(lambda tx: blobs.give_name(tx, half, 0))
    assert await store.read(lambda tx: blobs.named(tx, "a")) is None
    await put(store, file)
    await shared_files.bring(store, "a", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == BIG


async def test_what_an_earlier_try_left_is_never_taken_for_a_part(store: Store, file: Path, tmp_path: Path) -> None:
    """Of a file that changed while it was put, say: its chunks stand under the digest of before."""
    digest = hashlib.sha256(BIG).hexdigest()

    def left(tx: Tx) -> None:
        blobs.begin(tx, digest, len(BIG))
        for position, data in enumerate((b"z" * CHUNK_BYTES, b"z" * CHUNK_BYTES, b"z" * 7, b"and more")):
            blobs.put_chunk(tx, digest, position, data)

    await store.write(left)
    await put(store, file)
    await shared_files.bring(store, "a", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == BIG


@pytest.mark.parametrize("damage", ["changed", "missing"])
async def test_damage_is_found_by_the_digest_and_said(
    store: Store, file: Path, tmp_path: Path, damage: str
) -> None:
    await put(store, file)
    second = blob_chunks.c.position == 1

    def harm(tx: Tx) -> None:
        changed = update(blob_chunks).where(second).values(data=b"other")
        tx.connection.execute(changed if damage == "changed" else delete(blob_chunks).where(second))

    await store.write(harm)
    with pytest.raises(Unavailable, match="the store's copy is damaged"):
        await shared_files.bring(store, "a", tmp_path / "back")
    assert [path.name for path in tmp_path.iterdir() if "back" in path.name] == [], "no part of it stays"


async def test_bytes_without_a_name_are_swept_after_a_day(store: Store, file: Path) -> None:
    def begin(digest: str, tx: Tx) -> None:
        blobs.begin(tx, digest, 3)
        blobs.put_chunk(tx, digest, 0, b"abc")

    await put(store, file)
    for digest in ("0" * 64, "f" * 64):
        await store.write(partial(begin, digest))
    old = update(blob_rows).where(blob_rows.c.digest != "f" * 64)
    await store.write(lambda tx: tx.connection.execute(old.values(touched_us=tx.now_us() - ABANDONED_US - 1)))
    after = await store.write(lambda tx: blobs.sweep(tx, "", 2))
    assert after, "there is more"
    assert not await store.write(lambda tx: blobs.sweep(tx, after, 2))
    assert await store.read(rows) == (1, 2, 4), "what has a name stays, and what is being put"


async def test_retention_keeps_what_open_tasks_and_unlanded_work_need(store: Store, file: Path) -> None:
    def asked(state: TaskState | None, tx: Tx) -> str:
        task = tasks.create_task(
            tx, repo="p", agent="a", machine="", prompt="x", mode=TaskMode.CHANGE,
            requester="tg::ada", origin=ChatRef("tg", "1"),
        )  # fmt: skip
        if state is not None:
            tasks.move(tx, task.id, state, "", "airboss")
        return task.id

    def with_work(task: str, tx: Tx) -> None:
        session = sessions.create_session(
            tx, task=task, machine="m", agent="a", base="b", isolation=Isolation.UNSAFE_SAME_USER
        )
        turn = sessions.create_turn(tx, session, TurnCause.REQUEST, "")
        sessions.update_turn(tx, turn.id, snapshot="c" * 40, tree="d" * 40)
        sessions.update(tx, session.id, workspace="/w", ended_us=1)

    ended, open_, kept = [
        await store.write(partial(asked, state)) for state in (TaskState.STOPPED, None, TaskState.STOPPED)
    ]
    await store.write(partial(with_work, kept))
    for number, owner in enumerate((ended, open_, kept, "by-hand")):
        file.write_bytes(bytes([number]) * 10)
        await put(store, file, f"file {number}", owner)
    await blob_retention.prune_work(store, 3_600_000_000, rows=1)
    assert (await store.read(rows))[0] == 4, "nothing is that old"
    long_ago = update(blob_names).values(put_us=blob_names.c.put_us - 2 * 3_600_000_000)
    await store.write(lambda tx: tx.connection.execute(long_ago))
    await blob_retention.prune_work(store, 3_600_000_000, rows=1)
    left = await store.read(lambda tx: [blobs.named(tx, f"file {number}") for number in range(4)])
    assert [blob.owner for blob in left if blob is not None] == [open_, kept]
    assert await store.read(rows) == (2, 2, 2)


async def test_a_name_for_other_bytes_forgets_the_old_ones(store: Store, file: Path) -> None:
    await put(store, file)
    file.write_bytes(b"shorter")
    await put(store, file)
    assert await store.read(rows) == (1, 1, 1)
    await put(store, file, "b")
    file.write_bytes(b"again")
    await put(store, file)
    assert await store.read(rows) == (2, 2, 2), "what has another name stays"


async def test_the_last_lines_of_a_gate_are_told_to_others_redacted(store_url: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here" / "g1.log", tmp_path / "there" / "g1.log"
    for log in (here, there):
        log.parent.mkdir()
    with Store.open(store_url, redact=Redactor(["a-secret-value"])) as store:
        for text in (b"x" * 20_000 + b"\nfirst\n", b"later with a-secret-value\n"):
            here.write_bytes(text)
            await tails.share(store, here, "g1", "t1", tails.last_lines(here))
        assert await tails.brought(store, there, "g1") == "later with ‹redacted:secret›\n"
        assert await store.read(rows) == (1, 1, 1)
        assert [path.name for log in (here, there) for path in log.parent.iterdir()] == ["g1.log"]
        await store.write(lambda tx: tx.connection.execute(update(blob_chunks).values(data=b"other")))
        assert await tails.brought(store, there, "g1") == "", "damaged ones are not shown"


async def test_whoever_is_asked_shows_the_gate_that_another_runs(postgres: Postgres, tmp_path: Path) -> None:
    here, there = tmp_path / "here" / "g1.log", tmp_path / "there" / "g1.log"
    here.parent.mkdir()
    there.parent.mkdir()
    url = filled_database(postgres)
    with Store.open(url) as store:
        here.write_text("half of it\n")
        async with alongside(tails.follow(store, here, "g1", "t1", pause=0.01), "tell"):
            while await tails.of_run(store, there, "g1") != "half of it\n":
                await asyncio.sleep(0.01)
            there.write_text("what this one had read before it was put out\n")
            assert await tails.of_run(store, there, "g1") == "half of it\n"
        await tails.forget(store, "g1")
        assert await store.read(rows) == (0, 0, 0)


async def test_a_persons_file_reaches_the_agent_from_another_home(postgres: Postgres, tmp_path: Path) -> None:
    url = filled_database(postgres)
    sent = tmp_path / "files" / "a photo.txt"
    sent.parent.mkdir()

    async def fetch(message: Message) -> Message:
        """The chat's, whose files are on this disk."""
        return message

    file_of = Attachment("a photo.txt", str(sent), "text/plain", 5)
    here = ChatRef("tg", "1")
    message = Message("tg", "u1", PersonId("tg", "", "ada"), here, "/run look", files=(file_of,))
    executor = LocalExecutor("box", root=str(tmp_path / "root"))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(executor.close)
        store = stack.enter_context(Store.open(url))
        sent.write_bytes(b"bytes")
        await fetched(store, fetch, message)

        def begin(tx: Tx) -> Session:
            session = placed(tx, asked(tx).id)
            size, name = 5, "a photo.txt"
            attachment_rows.add(
                tx, "t1", attachment_rows.REQUEST, name=name, path=str(sent), media_type="text/plain", size=size
            )
            return session

        session = await store.write(begin)
        sent.unlink()
        found = await attachments.of_request(store, executor, session)
        assert Path(found.paths[0]).read_bytes() == b"bytes"

        await put(store, Path(found.paths[0]))
        old = update(blob_names).values(put_us=1)
        await store.write(lambda tx: tx.connection.execute(old))
        config = parse_fleet(FLEET, "fleet.toml")
        await Retention(store, lambda: config, SystemClock(), tmp_path).prune()
        assert await store.read(rows) == (2, 1, 1), "its task is open"
        await store.write(lambda tx: tx.connection.execute(update(blob_chunks).values(data=b"other")))
        with pytest.raises(Unavailable, match="damaged"):
            await attachments.of_request(store, executor, session)

        def over(tx: Tx) -> None:
            tasks.move(tx, "t1", TaskState.STOPPED, "", "airboss")
            sessions.update(tx, session.id, ended_us=1)
            tx.connection.execute(update(task_rows).values(updated_us=1))

        await store.write(over)
        await Retention(store, lambda: config, SystemClock(), tmp_path).prune()
        assert await store.read(rows) == (0, 0, 0)
        with pytest.raises(Misused, match="Send it again"):
            await attachments.of_request(store, executor, session)

"""Files on cards, and receipts of days, that another controller wrote: two homes that share only PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select, update

from bot.cards import Card, line, shown
from bot.outbox.files import BROUGHT, brought
from bot.outbox.posting import Outbox
from bot.retention import Retention
from fleet.clock import SystemClock
from fleet.config import parse_fleet
from fleet.errors import Refused, StoreUnavailable
from fleet.events import DayIssued
from fleet.faults import Fault, Point, injected
from fleet.store import blobs, ledger
from fleet.store.blob_tables import blob_chunks, blob_names
from fleet.store.core import Store, Tx
from fleet.store.tables import outbox
from gates.receipts import day as days
from gates.receipts import sshsig
from gates.receipts.day import DayRange
from tests.chat_house import CHAT, FLEET, house
from tests.empty_store import filled_database
from tests.far_end.postgres import Postgres
from tests.rows import asked

DAY = "2026-11-28"


@pytest.fixture
def url(postgres: Postgres) -> str:
    return filled_database(postgres)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    with Store.open(url) as made:
        yield made


def home(directory: Path, name: str) -> Path:
    made = directory / name
    (made / "files").mkdir(parents=True)
    return made


def a_card(place: Path, words: str = "many words") -> Card:
    """A card with a text and a picture, which are in this home."""
    (place / "files" / "t1-answer.txt").write_text(words)
    (place / "files" / "digest.png").write_bytes(b"a picture")
    document, picture = (str(place / "files" / name) for name in ("t1-answer.txt", "digest.png"))
    return Card(line("A digest"), document=document, picture=picture)


async def post(store: Store, card: Card) -> None:
    await store.write(lambda tx: Outbox(store).open(tx).post(CHAT, card))


async def sent(url: str, place: Path) -> list[Card]:
    """What the controller of a home sends of what is in the outbox."""
    async with house(place, url=url) as there:
        await there.settle()
        return [each.card for each in there.phone.sent]


async def test_a_card_that_was_not_sent_has_its_files_wherever_it_is_sent(
    url: str, store: Store, tmp_path: Path
) -> None:
    one, other = home(tmp_path, "one"), home(tmp_path, "other")
    await post(store, a_card(one))
    shutil.rmtree(one)
    (card,) = await sent(url, other)
    for path, data in ((card.document, b"many words"), (card.picture, b"a picture")):
        assert Path(path).read_bytes() == data
        assert Path(path).is_relative_to(other / "files" / BROUGHT)
    assert (Path(card.document).name, Path(card.picture).name) == ("t1-answer.txt", "digest.png")
    assert len(card.lines) == 0


async def test_what_a_home_has_at_that_path_itself_is_not_taken_for_it(
    url: str, store: Store, tmp_path: Path
) -> None:
    """Two hosts have the same path for their homes; and a document is written again under its name."""
    one, other = home(tmp_path, "one"), home(tmp_path, "other")
    for words in ("of before", "newer words"):
        await post(store, a_card(one, words))
    (one / "files" / "t1-answer.txt").write_text("what this host wrote a year ago")
    cards = await sent(url, other)
    assert [Path(card.document).read_text() for card in cards] == ["newer words"] * 2
    assert {card.picture for card in cards} == {str(one / "files" / "digest.png")}, "it is the same here"


async def test_a_damaged_copy_and_a_file_that_nobody_has_do_not_keep_a_card_back(
    url: str, store: Store, tmp_path: Path
) -> None:
    one, other = home(tmp_path, "one"), home(tmp_path, "other")
    await post(store, a_card(one))
    gone = str(one / "files" / "gone.txt")
    await post(store, Card(line("Another"), document=gone))

    def damage(tx: Tx) -> None:
        found = blobs.named(tx, str(one / "files" / "t1-answer.txt"))
        assert found is not None
        tx.connection.execute(update(blob_chunks).where(blob_chunks.c.digest == found.digest).values(data=b"other"))

    await store.write(damage)
    shutil.rmtree(one)
    first, second = await sent(url, other)
    (row,) = map(shown, first.lines)
    assert row.startswith("The file t1-answer.txt cannot be gotten out of the store: its bytes are not those of")
    assert first.document == ""
    assert Path(first.picture).read_bytes() == b"a picture"
    assert second.document == gone, "the chat says that it cannot be read"


async def test_a_brought_file_that_was_damaged_is_brought_again_and_a_store_that_is_away_is_no_answer(
    store: Store, tmp_path: Path
) -> None:
    one, folder = home(tmp_path, "one"), tmp_path / "other"
    card = a_card(one)
    await post(store, card)
    shutil.rmtree(one)
    here = await brought(store, folder, card)
    Path(here.document).write_text("cut")
    assert await brought(store, folder, card) == here
    assert Path(here.document).read_bytes() == b"many words"
    with injected(Fault(Point.STORE_READ)), pytest.raises(StoreUnavailable):
        await brought(store, folder, card)


async def test_no_card_is_in_the_outbox_before_its_files_are_in_the_store(store: Store, tmp_path: Path) -> None:
    card = a_card(home(tmp_path, "one"))
    for commit in range(1, 8):  # each file is begun, put and named; then comes the card
        with injected(Fault(Point.STORE_COMMIT, first=commit)) as fault:
            try:
                await post(store, card)
            except StoreUnavailable:
                assert fault.visits == commit
                assert await store.read(lambda tx: tx.connection.execute(select(outbox)).all()) == []
            else:
                break
    else:
        raise AssertionError("it was never posted")
    assert await store.read(lambda tx: blobs.named(tx, card.picture)) is not None


async def test_a_file_stays_in_the_store_while_its_card_is_on_its_way(store: Store, tmp_path: Path) -> None:
    card, config = a_card(home(tmp_path, "one")), parse_fleet(FLEET, "fleet.toml")
    await post(store, card)
    await store.write(lambda tx: tx.connection.execute(update(blob_names).values(put_us=1)))
    await Retention(store, lambda: config, SystemClock(), tmp_path / "other").prune()
    assert await store.read(lambda tx: blobs.named(tx, card.document)) is not None
    await store.write(lambda tx: tx.connection.execute(outbox.delete()))
    await Retention(store, lambda: config, SystemClock(), tmp_path / "other").prune()
    assert await store.read(lambda tx: blobs.named(tx, card.document)) is None


async def test_a_receipt_of_a_day_is_signed_again_in_a_home_that_did_not_write_it(
    store: Store, tmp_path: Path
) -> None:
    one, other = home(tmp_path, "one"), home(tmp_path, "other")
    await store.write(asked)
    size = await store.read(ledger.size)
    wanted = DayRange(DAY, "UTC", 1, size)
    receipt = await days.compute(store, wanted, "unsafe-same-user")
    path = await days.write(one, wanted, receipt, store.instance)
    shutil.copytree(one / "keys", other / "keys")
    issued = DayIssued(DAY, 1, size, receipt.root_sha256, receipt.sha256, str(path))
    assert await days.here(store, one, issued) == path
    there = tmp_path / "unreachable"
    elsewhere = partial(days.here, store, other, replace(issued, path=str(tmp_path / "away" / path.name)))
    with pytest.raises(Refused, match="not in the store") as refused:
        await elsewhere()
    assert "with its next daily digest" in refused.value.hint
    for _ in range(2):
        await days.share(store, one)
    one.rename(there)
    found = await elsewhere()
    assert found.parent == other / "receipts"
    for name in (path.name, f"{path.name}.sig", f"{path.name}.note", f"{path.name}.dsse"):
        assert (found.parent / name).read_bytes() == (there / "receipts" / name).read_bytes(), name
    public = sshsig.public_of(sshsig.load_or_create(there))
    assert public == sshsig.public_of(sshsig.load_or_create(other))
    for each in found.parent.iterdir():
        each.unlink()
    with pytest.raises(Refused, match="not what was issued that day"):
        await days.here(store, other, replace(issued, path="/away/" + path.name, sha256="0" * 64))

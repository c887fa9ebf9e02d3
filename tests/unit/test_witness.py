"""A witness and the log that it signs for, over HTTP: what is signed, what is refused, how a fork looks."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fleet.config import WitnessConfig
from fleet.errors import Malformed
from fleet.events import AgentSaid, Source, leaf_hash, merkle
from fleet.store import ledger
from fleet.store.core import Store
from fleet.store.ledger import Entry
from gates.receipts import note, sshsig
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.checkpoints import Checkpoints, NoteFolder
from gates.receipts.note import KeyType, NoteKey, SignedNote
from gates.witness.asking import Witnesses, latest
from gates.witness.protocol import Submission, Unsigned
from gates.witness.server import Witness, WitnessServer
from tests.proofs import consistency_proof

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(letter * 32) for letter in (b"k", b"o"))
LEAVES = [leaf_hash(bytes([number])) for number in range(40)]
FORKED = [*LEAVES[:20], *(leaf_hash(b"forged %d" % number) for number in range(20))]
ORIGIN = "airboss/abcd1234"


def point(size: int, leaves: list[bytes] = LEAVES) -> Checkpoint:
    return Checkpoint("abcd1234", size, merkle.root(leaves[:size]))


def request(size: int, old: int = 0, leaves: list[bytes] = LEAVES, key: Ed25519PrivateKey = KEY) -> bytes:
    proof = consistency_proof(old, leaves[:size]) if 0 < old <= size else []
    return Submission(old, tuple(proof), note.sign(point(size, leaves).text, key)).text.encode()


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    made = Witness("ada.example/w", tmp_path / "witness")
    (tmp_path / "witness" / "logs").write_text(f"# ours\n{note.log_key(ORIGIN, KEY).line}\n")
    return made


async def status(witness: Witness, body: bytes) -> HTTPStatus:
    ruled = await witness.add(body, 1_000)
    return ruled.status if isinstance(ruled, Unsigned) else HTTPStatus.OK


def test_a_note_is_the_published_one() -> None:
    """The example of C2SP's signed-note: key id, and the bytes that are signed."""
    key = NoteKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    line = f"— PeterNeumann {signature}\n"
    assert SignedNote.parse(f"{text}\n{line}").signed_by(key) == 0
    assert SignedNote.parse(f"{text}x\n\n{line}").signed_by(key) is None
    assert key.id.hex() == "c74f20a3"


@pytest.mark.parametrize(
    "line", ["", "x", "a+00000000+AQ==", note.log_key("a", KEY).line.replace("a+", "b+"), "a+c74f20a3+!!!!"]
)
def test_another_key_line_is_malformed(line: str) -> None:
    with pytest.raises(Malformed):
        NoteKey.parse(line)


@pytest.mark.parametrize(
    "whole", ["", "x\n", "x\n\n", "x\n\n— a\n", "x\n\n— a !!!!\n", "x\n\nno line\n", "\n\n— a AAAA\n"]
)
def test_another_note_is_malformed(whole: str) -> None:
    with pytest.raises(Malformed):
        SignedNote.parse(whole)


async def test_a_cosignature_is_over_time_and_text(witness: Witness) -> None:
    line = await witness.add(request(5), 1_700_000_000)
    assert isinstance(line, str)
    signed = SignedNote.parse(note.sign(point(5).text, KEY) + line)
    assert signed.signed_by(witness.key) == 1_700_000_000
    assert signed.signed_by(note.log_key(ORIGIN, KEY)) == 0
    (blob,) = (blob for name, blob in signed.signatures if name == witness.name)
    moved = blob[:4] + struct.pack(">Q", 1_700_000_001) + blob[12:]
    assert SignedNote(signed.text, ((witness.name, moved),)).signed_by(witness.key) is None
    assert NoteKey.parse(witness.key.line) == witness.key
    assert witness.key.type is KeyType.WITNESS


async def test_only_what_continues_is_signed(witness: Witness) -> None:
    assert await status(witness, request(10)) == HTTPStatus.OK
    assert await status(witness, request(10, 10)) == HTTPStatus.OK  # the same one again
    assert await status(witness, request(20, 10)) == HTTPStatus.OK
    again = await witness.add(request(30, 10), 1)
    assert isinstance(again, Unsigned) and (again.status, again.known) == (HTTPStatus.CONFLICT, 20)
    assert await status(witness, request(15, 20)) == HTTPStatus.BAD_REQUEST
    assert await status(witness, request(30, 20)) == HTTPStatus.OK
    assert await status(witness, request(35, 30, FORKED)) == HTTPStatus.UNPROCESSABLE_ENTITY
    assert await status(witness, request(30, 30, FORKED)) == HTTPStatus.CONFLICT
    assert await status(witness, request(35, 30, key=OTHER)) == HTTPStatus.FORBIDDEN
    unknown = note.sign(Checkpoint("ffff", 1, b"0" * 32).text, KEY)
    assert await status(witness, Submission(0, (), unknown).text.encode()) == HTTPStatus.NOT_FOUND
    for text in (b"", b"old x\n\n", b"old 01\n\n", b"\xff", b"old 0\nAAAA\n\n", request(5)[:-9], b"old 1\n" * 99):
        with pytest.raises(Malformed):
            if not isinstance(await witness.add(text, 1), str):
                raise Malformed(attempted="x", cause="a refusal says so too")
    (newest, whole), *_ = witness.signed(ORIGIN).newest_first()
    assert newest == point(30)
    assert SignedNote.parse(whole).signed_by(witness.key) == 1_000


async def test_a_witness_that_was_restarted_remembers(witness: Witness, tmp_path: Path) -> None:
    await witness.add(request(10), 1)
    later = Witness("ada.example/w", tmp_path / "witness")
    assert later.key == witness.key
    assert await status(later, request(12)) == HTTPStatus.CONFLICT
    assert await status(later, request(12, 10)) == HTTPStatus.OK


def test_a_damaged_note_hides_no_other(tmp_path: Path) -> None:
    folder = NoteFolder(tmp_path / "notes")
    assert list(folder.newest_first()) == []
    for size in (9, 100):
        folder.put(point(size % 40), note.sign(point(size % 40).text, KEY))
    (tmp_path / "notes" / "000000000099-00000000.note").write_bytes(b"\xff")
    assert [found.size for found, _ in folder.newest_first()] == [20, 9]


# --- over HTTP ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def served(witness: Witness) -> AsyncIterator[WitnessConfig]:
    server = WitnessServer(witness, "127.0.0.1", 0)
    await server.start()
    try:
        yield WitnessConfig(url=f"http://127.0.0.1:{server.port}", key=witness.key.line)
    finally:
        await server.close()


def grow(store: Store, count: int, word: str = "x") -> None:
    with store.transaction() as tx:
        ledger.append_all(tx, [Entry(AgentSaid(f"{word}{n}"), "agent", Source.AGENT) for n in range(count)])


def known_by(witness: Witness, folder: Path, store: Store, home: Path) -> None:
    ours = note.log_key(f"airboss/{store.instance}", sshsig.load_or_create(home))
    (folder / "logs").write_text(ours.line + "\n")


async def test_a_log_asks_its_witnesses(witness: Witness, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as store:
        grow(store, 300)
        home = tmp_path / "home"
        known_by(witness, tmp_path / "witness", store, home)
        async with served(witness) as config:
            stranger = WitnessConfig(url=config.url, key=note.log_key("else", OTHER).line)
            gone = WitnessConfig(url="http://127.0.0.1:9", key=config.key)
            asked = Witnesses(
                store, Checkpoints(store, home), lambda: {"ada": config, "ben": stranger, "eve": gone}
            )
            first = await asked.sign()
            assert first.witnesses == ("ada",)
            assert [reason.split(":")[0] for reason in first.missing] == ["ben", "eve"]
            assert SignedNote.parse(first.note).signed_by(witness.key)
            assert await asked.sign() is first  # nothing is newer
            grow(store, 200)
            assert (await asked.sign()).witnesses == ("ada",)
            later = Witnesses(store, Checkpoints(store, home), lambda: {"ada": config})  # it knows nothing yet
            grow(store, 1)
            assert (await later.sign()).witnesses == ("ada",)
            seen = await latest(config.url, f"airboss/{store.instance}")
            assert seen is not None and Checkpoint.parse(seen.text).size == 501
            assert await latest(config.url, "airboss/else") is None
        assert await asked.store.read(ledger.size) == 501


@dataclass(frozen=True)
class Overtaken(Checkpoints):
    """Something happens between a checkpoint and the question whether a witness signs it."""

    meanwhile: Callable[[], Awaitable[None]]

    async def keep(self) -> tuple[Checkpoint, str]:
        kept = await super().keep()
        await self.meanwhile()
        return kept


@pytest.mark.parametrize("times", [3, 100])
async def test_two_controllers_ask_one_witness_and_both_are_witnessed(
    witness: Witness, tmp_path: Path, times: int
) -> None:
    """A point that was overtaken is no fork: a later one, which contains it, is signed instead."""
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as store:
        grow(store, 50)
        home, left = tmp_path / "home", times
        known_by(witness, tmp_path / "witness", store, home)
        async with served(witness) as config:
            other = Witnesses(store, Checkpoints(store, home), lambda: {"ada": config})

            async def faster() -> None:
                nonlocal left
                if left := left - 1:
                    grow(store, 10)
                    assert (await other.sign()).witnesses == ("ada",)

            found = await Witnesses(store, Overtaken(store, home, faster), lambda: {"ada": config}).sign()
            size = await store.read(ledger.size)
            why = f"ada: it signed {size} events before, this ledger has {size - 10}"
            assert (found.witnesses, found.missing) == ((("ada",), ()) if times == 3 else ((), (why,)))


async def test_a_log_that_forks_is_not_signed(witness: Witness, tmp_path: Path) -> None:
    """Its own key signs both branches: the witness knows better."""
    home = tmp_path / "home"
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as store:
        grow(store, 300)
    (tmp_path / "b.db").write_bytes((tmp_path / "a.db").read_bytes())
    async with served(witness) as config:
        for name, words, signs in (("a", "true", ("ada",)), ("b", "forged", ())):
            with Store.open(f"sqlite:///{tmp_path / name}.db") as store:
                known_by(witness, tmp_path / "witness", store, home)
                grow(store, 50, words)
                found = await Witnesses(store, Checkpoints(store, home), lambda: {"ada": config}).sign()
                assert found.witnesses == signs, found
        assert found.missing == ("ada: it signed another root of 350 events: this ledger was written anew",)


def test_the_id_of_a_key_is_that_of_its_name_type_and_bytes() -> None:
    raw = sshsig.public_of(KEY).raw
    wanted = hashlib.sha256(b"w\n\x04" + raw).digest()[:4]
    assert NoteKey("w", KeyType.WITNESS, raw).id == wanted
    assert note.cosign("x\n", "w", KEY, 1).startswith(f"— w {base64.b64encode(wanted).decode()[:4]}")

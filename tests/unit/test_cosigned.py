"""Who outside signed an export: its end, and the openings of the gates in it, by keys that the reader pinned."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.days import days_of
from bot.local import exporting
from bot.local.verify import verify
from fleet.errors import Misused
from fleet.events import AgentSaid, Event, GateClosed, GateOpened, GateWitnessed, Refs, Source
from fleet.exits import Exited
from fleet.store import ledger
from fleet.store.core import Store
from gates.receipts import note, sshsig
from gates.receipts.checkpoints import Checkpoints
from gates.receipts.cosigned import Signers, signers
from gates.receipts.note import KeyType, NoteKey, SignedNote
from gates.witness.asking import Witnesses
from gates.witness.server import Witness
from tests.empty_store import filled
from tests.schema import load, problems
from tests.unit.test_witness import grow, known_by, served

RUN = "t1.1.1-tests"
STRANGER = NoteKey("eve", KeyType.WITNESS, sshsig.public_of(Ed25519PrivateKey.from_private_bytes(b"o" * 32)).raw)


def gate(store: Store, run: str, event: Event) -> None:
    refs = Refs(task="t1", session="t1.1", turn="t1.1.1", gate_run=run)
    with store.transaction() as tx:
        ledger.append(tx, event, actor="airboss", source=Source.CONTROLLER, refs=refs)


OPENED = GateOpened("tests", "c" * 40, "d" * 40, "b" * 40, ("pytest",), "a" * 64, 1)
CLOSED = GateClosed("tests", "passed", "", Exited(0), 0, "d" * 40, "gate", True, "0" * 64, 3, 1, 2, None)


@dataclass
class Fleet:
    """A home with an export, whose end and first gate two witnesses signed."""

    home: Path
    file: Path
    keys: tuple[str, ...]

    async def check(self, *witnesses: str, needed: int = 0) -> int:
        """What ``airboss verify`` answers to somebody who pinned the log and these witnesses."""
        key = sshsig.public_of(sshsig.load_or_create(self.home)).line
        return await verify(self.file, home=self.home, keys=[key], witnesses=witnesses, needed=needed, as_json=True)


@pytest.fixture
async def fleet(tmp_path: Path) -> Fleet:
    return await made(tmp_path, "true", gates=1)


async def made(where: Path, word: str, gates: int) -> Fleet:
    """``word`` is in the last event. Only the first of the ``gates`` has witnesses."""
    home = where / "home"
    seen = {name: Witness(f"{name}.example", where / name) for name in ("ada", "ben")}
    with Store.open(f"sqlite:///{filled(home.with_suffix('.db'))}") as store:
        for name, witness in seen.items():
            known_by(witness, where / name, store, home)
        async with served(seen["ada"]) as ada, served(seen["ben"]) as ben:
            asked = Witnesses(store, Checkpoints(store, home), lambda: {"ada": ada, "ben": ben})
            grow(store, 300)
            for number in range(gates):
                run = RUN if number == 0 else f"{RUN}-{number + 1}"
                gate(store, run, OPENED)
                if number == 0:
                    sign = await asked.sign()
                    event = GateWitnessed(sign.point.size, sign.point.root.hex(), sign.witnesses, (), sign.note)
                    gate(store, run, event)
                gate(store, run, CLOSED)
            grow(store, 1, word)
            days = days_of("2020-01-01", "2099-12-31", "UTC")
            await exporting.write(store, home, days, where / "before.bundle")
            await asked.sign()
            await exporting.write(store, home, days, where / "at-the-end.bundle")
    return Fleet(home, where / "at-the-end.bundle", tuple(each.key.line for each in seen.values()))


async def said(fleet: Fleet, capsys: pytest.CaptureFixture[str], *witnesses: str, needed: int = 0) -> str:
    """The check of the witnesses; begins with ``ok`` or ``NO``."""
    status = await fleet.check(*witnesses, needed=needed)
    found = json.loads(capsys.readouterr().out)
    assert problems(found, load("verify.json")) == []
    assert found["verified"] is (status == 0)
    (check,) = [check for check in found["checks"] if check["name"] == "witnesses"]
    return f"{'ok' if check['ok'] else 'NO'} {check['detail']}"


async def test_the_end_and_each_opening_are_checked_against_the_pinned_witnesses(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = "ok ada.example, ben.example signed 304 events, these among them; 1 of 1 openings of gates were signed"
    assert (await said(fleet, capsys, *fleet.keys, needed=2)).startswith(whole)
    assert (await said(fleet, capsys, fleet.keys[0], STRANGER.line, needed=1)).startswith("ok ada.example signed")
    assert await said(fleet, capsys, fleet.keys[0], STRANGER.line, needed=2) == (
        f"NO the opening of {RUN} was signed by 1, 2 must"
    )
    assert (await said(fleet, capsys, STRANGER.line)).startswith("ok no pinned witness signed the end; 0 of 1")
    with pytest.raises(Misused, match="fewer keys"):
        await fleet.check(fleet.keys[0], needed=2)
    with pytest.raises(Misused, match="a key is a log's"):
        await fleet.check(note.log_key("airboss/x", bytes(32)).line)


async def test_a_witness_counts_once_with_each_of_its_keys(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that changed its key is pinned with both; one key under two names is one witness."""
    newer = NoteKey("ada.example", KeyType.WITNESS, STRANGER.raw).line
    for keys in ((*fleet.keys, newer), (newer, *fleet.keys)):
        assert (await said(fleet, capsys, *keys, needed=2)).startswith("ok ada.example, ben.example signed")
    note_ = SignedNote.parse(json.loads(fleet.file.read_bytes().splitlines()[-1])["witnessed"]["note"])
    ada = sshsig.load_or_create_at(fleet.home.parent / "ada" / "key")
    log = sshsig.load_or_create(fleet.home)
    signed = note.sign(note_.text, log) + "".join(note.cosign(note_.text, name, ada, 1) for name in ("ada", "eve"))
    raw = sshsig.public_of(ada).raw
    found = signers(
        signed,
        note_.text.partition("\n")[0],
        [sshsig.public_of(log)],
        [NoteKey(name, KeyType.WITNESS, raw) for name in ("ada", "eve")],
    )
    assert isinstance(found, Signers) and len(found.names) == 1


async def test_without_pinned_witnesses_nothing_is_claimed(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    key = sshsig.public_of(sshsig.load_or_create(fleet.home)).line
    assert await verify(fleet.file, home=fleet.home, keys=[key]) == 0
    assert "says that it is witnessed by ada.example, ben.example: check that" in capsys.readouterr().out
    assert await verify(fleet.file.with_name("before.bundle"), home=fleet.home, keys=[key]) == 0
    assert "(unwitnessed)" in capsys.readouterr().out


async def test_an_opening_without_a_witness_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet = await made(tmp_path, "true", gates=2)
    assert await said(fleet, capsys, *fleet.keys, needed=1) == f"NO the opening of {RUN}-2 was signed by 0, 1 must"
    assert (await said(fleet, capsys, *fleet.keys)).endswith("1 of 2 openings of gates were signed before the run")


async def test_a_note_of_another_ledger_is_a_fork(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The operator's own key signed both: the witnesses' note does not continue what the export shows."""
    fleet = await made(tmp_path / "a", "true", gates=1)
    lines = fleet.file.read_bytes().splitlines(keepends=True)
    honest = json.loads(lines[-1])

    def changed(change: Callable[[dict[str, Any]], object]) -> None:
        given = json.loads(json.dumps(honest))
        change(given)
        fleet.file.write_bytes(b"".join([*lines[:-1], json.dumps(given).encode() + b"\n"]))

    note_ = SignedNote.parse(honest["witnessed"]["note"])
    origin, size, _ = note_.text.splitlines()
    ada = sshsig.load_or_create_at(tmp_path / "a" / "ada" / "key")
    other = f"{origin}\n{size}\n{base64.b64encode(bytes(32)).decode()}\n"
    ours = sshsig.load_or_create(fleet.home)
    forged = note.sign(other, ours) + note.cosign(other, "ada.example", ada, 1)
    changed(lambda given: given["witnessed"].update(note=forged))
    assert (await said(fleet, capsys, *fleet.keys)).startswith(
        "NO a fork: others signed a ledger that does not begin"
    )
    changed(lambda given: given["witnessed"].update(proof=["AAAA"]))
    assert (await said(fleet, capsys, *fleet.keys)).startswith("NO its proof is none")
    changed(lambda given: given.pop("witnessed"))
    assert (await said(fleet, capsys, *fleet.keys, needed=1)) == "NO nobody outside signed the end, 1 must"
    foreign = note.sign(note_.text, Ed25519PrivateKey.from_private_bytes(b"x" * 32))
    changed(lambda given: given["witnessed"].update(note=foreign))
    assert "no pinned key of the log signed it, 1 must" in await said(fleet, capsys, *fleet.keys, needed=1)


async def test_an_opening_that_was_signed_in_another_ledger_is_a_fork(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = await made(tmp_path / "a", "true", gates=1)
    with Store.open(f"sqlite:///{fleet.home.with_suffix('.db')}") as store:
        ours, ada = sshsig.load_or_create(fleet.home), sshsig.load_or_create_at(tmp_path / "a" / "ada" / "key")
        gate(store, f"{RUN}-2", OPENED)
        size = await store.read(ledger.size)
        text = f"airboss/{store.instance}\n{size}\n{base64.b64encode(bytes(32)).decode()}\n"
        whole = note.sign(text, ours) + note.cosign(text, "ada.example", ada, 1)
        gate(store, f"{RUN}-2", GateWitnessed(size, "0" * 64, ("ada",), (), whole))
        with store.transaction() as tx:
            ledger.append(tx, AgentSaid("x"), actor="agent", source=Source.AGENT)
        await exporting.write(store, fleet.home, days_of("2020-01-01", "2099-12-31", "UTC"), fleet.file)
    assert (
        await said(fleet, capsys, *fleet.keys) == f"NO a fork: the opening of {RUN}-2 was signed in another ledger"
    )


async def test_a_note_of_before_the_opening_witnesses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An old note, of the ledger as it was before the gate was opened, stands in the event of a later gate."""
    fleet = await made(tmp_path / "a", "true", gates=1)
    with Store.open(f"sqlite:///{fleet.home.with_suffix('.db')}") as store:
        (event,) = [
            each.event for each in await store.read(lambda tx: ledger.read(tx, kinds=(GateWitnessed.KIND,)))
        ]
        for each in (OPENED, event, CLOSED):
            gate(store, f"{RUN}-2", each)
        await exporting.write(store, fleet.home, days_of("2020-01-01", "2099-12-31", "UTC"), fleet.file)
    assert await said(fleet, capsys, *fleet.keys, needed=1) == f"NO the opening of {RUN}-2 was signed by 0, 1 must"


async def test_a_gate_that_passed_and_was_never_opened_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an opening there is nothing that a witness could have signed before the run."""
    fleet = await made(tmp_path / "a", "true", gates=1)
    with Store.open(f"sqlite:///{fleet.home.with_suffix('.db')}") as store:
        gate(store, f"{RUN}-2", CLOSED)
        await exporting.write(store, fleet.home, days_of("2020-01-01", "2099-12-31", "UTC"), fleet.file)
    assert await said(fleet, capsys, *fleet.keys, needed=1) == f"NO {RUN}-2 passed and was never opened"

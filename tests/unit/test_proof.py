"""``airboss prove``, and its check by somebody who has a receipt, a checkpoint and the log's key."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.cli import main
from fleet.events import leaf_hash, merkle
from fleet.model import Isolation
from fleet.store import tree
from fleet.store.core import Store
from gates.receipts import day, issue, note, sshsig
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.day import DayRange
from gates.receipts.proof import Proof
from tests.proofs import inclusion_proof
from tests.schema import load, problems
from tests.unit.test_cosigned import STRANGER, made

SEQ = 203


@dataclass(frozen=True, slots=True)
class Outsider:
    """Has a receipt, and pinned the key; ``home`` is the operator's."""

    home: Path
    receipt: Path
    witness: str
    key: str

    def prove(self, *words: str) -> int:
        return main(["--home", str(self.home), "prove", str(self.receipt), *words])

    def verify(self, *words: str) -> int:
        nobody = self.receipt.parent / "nobody"
        return main(["--home", str(nobody), "verify", str(self.receipt), "--key", self.key, *words])


@pytest.fixture
async def outsider(tmp_path: Path) -> Outsider:
    fleet = await made(tmp_path, "true", gates=1)
    fleet.home.with_suffix(".db").rename(fleet.home / "airboss.db")
    with Store.open(f"sqlite:///{fleet.home / 'airboss.db'}") as store:
        made_ = await day.compute(store, DayRange("2026-11-01", "UTC", 1, SEQ), str(Isolation.SEPARATE_LOGINS))
    receipt = issue.write_signed(fleet.home, "day.json", made_.data)
    key = sshsig.public_of(sshsig.load_or_create(fleet.home)).line
    return Outsider(fleet.home, receipt, fleet.keys[0], key)


def checks(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    said = json.loads(capsys.readouterr().out)
    assert problems(said, load("verify.json")) == []
    return {each["name"]: f"{'ok' if each['ok'] else 'NO'} {each['detail']}" for each in said["checks"]}


def held(outsider: Outsider, size: int, root: bytes | None = None) -> Path:
    """A checkpoint that somebody else kept."""
    with Store.open(f"sqlite:///{outsider.home / 'airboss.db'}") as store, store.transaction() as tx:
        point = Checkpoint(store.instance, size, root or tree.root_at(tx, size))
    file = outsider.receipt.parent / f"{size}-{'forged' if root else 'true'}.note"
    file.write_text(note.sign(point.text, sshsig.load_or_create(outsider.home)).rstrip())
    return file


def test_a_receipts_event_is_shown_to_be_under_a_checkpoint_that_somebody_holds(
    outsider: Outsider, capsys: pytest.CaptureFixture[str]
) -> None:
    proof, theirs = f"{outsider.receipt}.tlog-proof", held(outsider, 290)
    assert outsider.prove("--checkpoint", str(theirs)) == 0
    assert proof in capsys.readouterr().out
    assert outsider.verify("--proof", proof, "--against", str(theirs), "--json") == 0
    said = checks(capsys)
    assert said["entry"] == f"ok event {SEQ}, and all before it, is under the checkpoint of 290 events"
    assert said["against"].startswith("ok it fits 1 checkpoints, the last of 290")
    # A checkpoint of another size says nothing about this proof; another one of the same size is a fork.
    assert outsider.verify("--proof", proof, "--against", str(held(outsider, 300)), "--json") == 1
    assert "nothing to compare" in checks(capsys)["against"]
    assert outsider.verify("--proof", proof, "--against", str(held(outsider, 290, b"x" * 32)), "--json") == 1
    assert "a fork" in checks(capsys)["against"]
    # Its own size is the shortest of all.
    assert outsider.prove("--checkpoint", str(held(outsider, SEQ))) == 0
    capsys.readouterr()
    assert outsider.verify("--proof", proof) == 0


def test_witnesses_of_the_checkpoint_are_counted(outsider: Outsider, capsys: pytest.CaptureFixture[str]) -> None:
    proof = str(outsider.receipt.parent / "sent.tlog-proof")
    assert outsider.prove("-o", proof) == 0
    capsys.readouterr()
    demand = ("--proof", proof, "--json", "--witness")
    assert outsider.verify(*demand, outsider.witness, "--witnesses-needed", "1") == 0
    assert checks(capsys)["witnesses"].startswith("ok ada.example signed the checkpoint of 30")
    assert outsider.verify(*demand, STRANGER.line, "--witnesses-needed", "1") == 1
    assert checks(capsys)["witnesses"].startswith("NO no pinned witness signed")


def test_a_receipt_of_no_landing_is_not_compared_with_a_repository(
    outsider: Outsider, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outsider.verify("--repo", ".") == 2
    assert "a receipt that is of no landing with --repo" in capsys.readouterr().err


def test_another_proof_shows_nothing(outsider: Outsider, capsys: pytest.CaptureFixture[str]) -> None:
    file = outsider.receipt.parent / "sent.tlog-proof"
    assert outsider.prove("-o", str(file)) == 0
    made_ = Proof.parse(file.read_bytes())
    first, *rest = made_.path
    stolen = note.sign(made_.note.partition("\n\n")[0] + "\n", Ed25519PrivateKey.from_private_bytes(b"o" * 32))
    for changed, why in (
        (replace(made_, event=made_.event.replace(b"x", b"y", 1)), "does not show"),
        (replace(made_, path=(first[::-1], *rest)), "does not show"),
        (replace(made_, path=tuple(rest)), "does not show"),
        (replace(made_, index=made_.index + 1), "about event 204"),
        (replace(made_, note=stolen), "no pinned key"),
    ):
        file.write_text(changed.text)
        capsys.readouterr()
        assert outsider.verify("--proof", str(file), "--json") == 1
        assert why in checks(capsys)["entry"], why
    for junk in (b"", b"c2sp.org/tlog-proof@v1\nindex 3\n\nx", b"\xff" * 90, made_.text.encode()[:-80]):
        file.write_bytes(junk)
        assert outsider.verify("--proof", str(file), "--json") in (1, 2)
    # The operator, with the real key, about a ledger that has other events before this one.
    with Store.open(f"sqlite:///{outsider.home / 'airboss.db'}") as store, store.transaction() as tx:
        leaves = tree.leaves(tx, 0, 290)
    leaves[7] = leaf_hash(b"rewritten")
    point = Checkpoint(made_.note.partition("\n")[0].removeprefix("airboss/"), 290, merkle.root(leaves))
    forged = note.sign(point.text, sshsig.load_or_create(outsider.home))
    file.write_text(Proof(made_.event, SEQ - 1, tuple(inclusion_proof(SEQ - 1, leaves)), forged).text)
    capsys.readouterr()
    assert outsider.verify("--proof", str(file), "--json") == 1
    assert checks(capsys)["entry"].startswith("NO a fork")


def test_no_proof_for_a_checkpoint_that_is_not_of_this_ledger(
    outsider: Outsider, capsys: pytest.CaptureFixture[str]
) -> None:
    for theirs, why in (
        (held(outsider, 100), "it is of 100 events, and the receipt is about event 203"),
        (held(outsider, 290, b"x" * 32), "a fork"),
        (held(outsider, 9_000, b"x" * 32), "this ledger has"),
    ):
        assert outsider.prove("--checkpoint", str(theirs)) != 0
        assert why in capsys.readouterr().err
    assert not Path(f"{outsider.receipt}.tlog-proof").exists()

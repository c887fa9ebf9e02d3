"""The key that signs: rotation, what is published, and envelopes that the same key signs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.cli import main
from fleet.errors import DiskFull, Malformed
from fleet.faults import Fault, Point, injected
from fleet.store.core import Store
from gates.receipts import dsse, issue, keys, sshsig
from gates.receipts.keys import Succession
from gates.receipts.note import NoteKey
from tests.unit.test_receipts import landed

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(letter * 32) for letter in (b"k", b"o"))
STATEMENT = b'{"_type":"https://in-toto.io/Statement/v1"}'


def run(home: Path, *words: str, status: int = 0) -> None:
    assert main(["--home", str(home), *words]) == status


def test_what_an_old_key_signed_verifies_after_a_rotation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    run(home, "keys", "rotate", status=2)
    run(home, "keys", "make")
    receipts = []
    for number in range(3):
        receipts.append(issue.write_signed(home, f"t{number}.json", landed().statement()))
        run(home, "keys", "rotate")
    capsys.readouterr()
    for receipt in receipts:
        for file in (receipt, receipt.with_name(f"{receipt.name}.dsse")):
            run(home, "verify", str(file))
    capsys.readouterr()
    run(home, "keys", "list", "--json")
    listed = json.loads(capsys.readouterr().out)["keys"]
    assert [each["signs"] for each in listed] == [True, False, False, False]
    first, *rest = keys.successions(home)
    assert [each.new for each in (first, *rest)] == [each.old for each in rest] + [keys.every(home)[0]]
    assert not list((home / "keys").glob("*.next"))
    assert (home / "keys" / sshsig.KEY_FILE).stat().st_mode & 0o777 == 0o600
    stranger = tmp_path / "pins"  # somebody who pinned the last key only
    stranger.write_text(f"airboss {keys.every(home)[0].line}\n")
    run(home, "verify", str(receipts[0]), "--allowed-signers", str(stranger), status=1)
    stranger.write_text(keys.allowed_signers(home))
    run(home, "verify", str(receipts[0]), "--allowed-signers", str(stranger))


def test_what_a_lost_key_signed_still_verifies_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "keys", "make")
    receipt = issue.write_signed(tmp_path, "t1.json", landed().statement())
    (tmp_path / "keys" / sshsig.KEY_FILE).unlink()
    run(tmp_path, "keys", "make")
    run(tmp_path, "verify", str(receipt))
    newer = issue.write_signed(tmp_path, "t2.json", landed().statement())
    run(tmp_path, "verify", str(newer))
    assert len(list((tmp_path / "pinned").iterdir())) == 2


def test_a_rotation_that_was_interrupted_is_done_again(tmp_path: Path) -> None:
    old = sshsig.public_of(sshsig.load_or_create(tmp_path))
    for failing in range(1, 12):
        with injected(Fault(Point.FILE_WRITE, first=failing)):
            try:
                keys.rotate(tmp_path)
            except DiskFull:
                assert sshsig.public_of(sshsig.load_or_create(tmp_path)) == old
                continue
        break
    assert failing > 2
    made = keys.successions(tmp_path)
    assert len(made) == 1 and made[0].old == old
    assert made[0].new == sshsig.public_of(sshsig.load_or_create(tmp_path))


def test_a_succession_that_the_old_key_did_not_sign_is_malformed(tmp_path: Path) -> None:
    sshsig.load_or_create(tmp_path)
    said = json.loads(keys.rotate(tmp_path).line)
    for name in ("old", "new"):
        with pytest.raises(Malformed):
            Succession.parse(json.dumps({**said, name: sshsig.public_of(OTHER).line}))
    for text in ("", "[]", "{}", '{"old": 3}'):
        with pytest.raises(Malformed):
            Succession.parse(text)


def test_what_is_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "keys", "list")
    assert "airboss keys make" in capsys.readouterr().out
    run(tmp_path, "keys", "publish")
    assert "witness" not in capsys.readouterr().out
    with Store.open(f"sqlite:///{tmp_path / 'airboss.db'}") as store:
        name = f"airboss/{store.instance}"
    run(tmp_path, "keys", "publish", "--json")
    said = json.loads(capsys.readouterr().out)
    log = NoteKey.parse(said["log"])
    assert (log.name, log.raw) == (name, sshsig.public_of(sshsig.load_or_create(tmp_path)).raw)
    assert sshsig.from_allowed_signers(said["allowed_signers"]) == (sshsig.PublicKey(log.raw),)


def test_an_envelope_is_signed_as_in_toto_says() -> None:
    sealed = dsse.seal(KEY, STATEMENT)
    assert dsse.is_envelope(sealed)
    envelope = dsse.Envelope.parse(sealed)
    assert envelope.payload == STATEMENT
    assert envelope.signed_by(sshsig.public_of(KEY))
    assert not envelope.signed_by(sshsig.public_of(OTHER))
    (signature,) = envelope.signatures
    start = b"DSSEv1 28 application/vnd.in-toto+json 43 "
    KEY.public_key().verify(signature, start + STATEMENT)
    assert not dsse.Envelope(STATEMENT + b" ", (signature,)).signed_by(sshsig.public_of(KEY))


@pytest.mark.parametrize(
    "change",
    [
        {"payload": 3},
        {"payload": "!"},
        {"payloadType": "text/plain"},
        {"signatures": []},
        {"signatures": [{}]},
        {"signatures": [{"sig": 3}]},
    ],
)
def test_another_envelope_is_malformed(change: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        dsse.Envelope.parse(json.dumps({**json.loads(dsse.seal(KEY, STATEMENT)), **change}).encode())

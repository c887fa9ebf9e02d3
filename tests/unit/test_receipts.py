"""Merkle proofs against published vectors, signatures against ssh-keygen, statements against their ledger."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import Malformed, Misused, Refused, Unavailable
from fleet.events import (
    Event,
    GateClosed,
    GateOpened,
    HoldReleased,
    LandingDone,
    Recorded,
    Refs,
    SessionPlaced,
    SnapshotMade,
    Source,
    TaskRequested,
    VerdictGiven,
    encode,
    leaf_hash,
)
from gates.receipts import log, sshsig, statement
from gates.receipts.verify import check_shape, check_signature, pinned_keys
from tests.schema import load, problems

# --- RFC 6962, with the vectors of the certificate-transparency project -----------------------------

INPUTS = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
LEAVES = [leaf_hash(data) for data in INPUTS]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CONSISTENCY = {
    (1, 8): INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size: int) -> None:
    assert log.root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_the_published_ones(index: int, size: int) -> None:
    assert [node.hex() for node in log.inclusion_proof(index, LEAVES[:size])] == INCLUSION[index, size]


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_consistency_proofs_are_the_published_ones(old: int, new: int) -> None:
    assert [node.hex() for node in log.consistency_proof(old, LEAVES[:new])] == CONSISTENCY[old, new]


@given(st.integers(1, 70), st.data())
def test_every_leaf_is_shown_to_be_in_and_no_other_is(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    proof, head = log.inclusion_proof(index, leaves), log.root(leaves)
    assert log.verify_inclusion(leaves[index], index, size, proof, head)
    assert not log.verify_inclusion(leaf_hash(b"forged"), index, size, proof, head)
    assert not log.verify_inclusion(leaves[index], index, size, [*proof, head], head)
    if size > 1:
        assert not log.verify_inclusion(leaves[index], (index + 1) % size, size, proof, head)
        assert not log.verify_inclusion(leaves[index], index, size, proof[:-1], head)


@given(st.integers(1, 70), st.data())
def test_a_longer_log_is_shown_to_begin_with_the_shorter(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    old = data.draw(st.integers(1, size))
    proof = log.consistency_proof(old, leaves)
    old_head, head = log.root(leaves[:old]), log.root(leaves)
    assert log.verify_consistency(old, size, old_head, head, proof)
    forged = log.root([leaf_hash(b"forged"), *leaves[1:old]])
    assert not log.verify_consistency(old, size, forged, head, proof)
    if old < size:
        assert not log.verify_consistency(old, size, old_head, log.root([*leaves[:-1], LEAVES[0]]), proof)
        assert not log.verify_consistency(old, size, old_head, head, [*proof, head])


# --- SSHSIG -----------------------------------------------------------------------------------------

MESSAGE = b'{"_type":"https://in-toto.io/Statement/v1"}'


def ssh_keygen(folder: Path, message: bytes, signature: str, key: sshsig.PublicKey, namespace: str) -> bool:
    """What OpenSSH alone says of a signature."""
    program = shutil.which("ssh-keygen")
    assert program, "these tests need ssh-keygen: install openssh-client"
    (folder / "message.sig").write_text(signature)
    (folder / "signers").write_text(sshsig.allowed_signers_line(key))
    done = subprocess.run(
        [program, "-Y", "verify", "-f", "signers", "-I", sshsig.PRINCIPAL, "-n", namespace, "-s", "message.sig"],
        cwd=folder,
        input=message,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@pytest.mark.parametrize(
    ("change", "good"),
    [("nothing", True), ("byte", False), ("namespace", False), ("key", False)],
)
def test_ssh_keygen_alone_agrees_with_us(tmp_path: Path, change: str, good: bool) -> None:
    key = sshsig.load_or_create(tmp_path)
    signature = sshsig.sign(key, MESSAGE, "another" if change == "namespace" else sshsig.NAMESPACE)
    message = MESSAGE.replace(b"v1", b"v2") if change == "byte" else MESSAGE
    pinned = sshsig.public_of(Ed25519PrivateKey.generate() if change == "key" else key)
    assert (sshsig.verify(signature, message, pinned) == "") is good
    assert ssh_keygen(tmp_path, message, signature, pinned, sshsig.NAMESPACE) is good


def test_a_signature_by_ssh_keygen_is_read(tmp_path: Path) -> None:
    key = sshsig.load_or_create(tmp_path)
    (tmp_path / "m").write_bytes(MESSAGE)
    subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-f", "keys/receipt_ed25519", "-n", sshsig.NAMESPACE, "m"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert sshsig.verify((tmp_path / "m.sig").read_text(), MESSAGE, sshsig.public_of(key)) == ""
    assert (tmp_path / "m.sig").read_text() == sshsig.sign(key, MESSAGE)


@pytest.mark.parametrize(
    "damage", ["", "no armour", "-----BEGIN SSH SIGNATURE-----\n!!\n-----END SSH SIGNATURE-----"]
)
def test_a_damaged_signature_is_an_answer_not_a_crash(tmp_path: Path, damage: str) -> None:
    assert "damaged" in sshsig.verify(damage, MESSAGE, sshsig.public_of(sshsig.load_or_create(tmp_path)))


@given(st.binary(max_size=400))
def test_no_bytes_make_a_signature_crash_or_pass(data: bytes) -> None:
    key = sshsig.public_of(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
    good = sshsig.sign(Ed25519PrivateKey.from_private_bytes(b"k" * 32), MESSAGE)
    for text in (data.decode("latin-1"), good[: len(data)], good.replace("U1", data.decode("latin-1"), 1)):
        same = "".join(text.split()) == "".join(good.split())
        assert same or sshsig.verify(text, MESSAGE, key)


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = sshsig.public_of(sshsig.load_or_create(tmp_path))
    assert sshsig.public_of(sshsig.load_or_create(tmp_path)) == first
    path = tmp_path / "keys" / "receipt_ed25519"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(item.name for item in path.parent.iterdir()) == ["receipt_ed25519", "receipt_ed25519.pub"]
    assert sshsig.PublicKey.parse(path.with_suffix(".pub").read_text()) == first
    assert (
        subprocess.run(
            ["ssh-keygen", "-l", "-f", str(path)], check=True, capture_output=True, text=True
        ).stdout.split()[1]
        == first.fingerprint
    )


def test_a_damaged_key_is_never_replaced_by_a_new_one(tmp_path: Path) -> None:
    sshsig.load_or_create(tmp_path)
    path = tmp_path / "keys" / "receipt_ed25519"
    path.write_text("damaged")
    with pytest.raises(Unavailable, match="backup"):
        sshsig.load_or_create(tmp_path)
    assert path.read_text() == "damaged"


KEY = sshsig.public_of(Ed25519PrivateKey.from_private_bytes(b"k" * 32))


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (f"airboss {KEY.line}", True),
        (f'airboss namespaces="file,{sshsig.NAMESPACE}" {KEY.line} a comment', True),
        (f"# note\n\n{sshsig.allowed_signers_line(KEY)}", True),
        (f'airboss namespaces="file" {KEY.line}', False),
        (f"airboss cert-authority {KEY.line}", False),
        (f'airboss valid-before="20200101" {KEY.line}', False),
        (f"# airboss {KEY.line}", False),
        ("airboss ssh-rsa AAAA", False),
        ("", False),
    ],
)
def test_allowed_signers_are_read_as_ssh_keygen_reads_them(text: str, good: bool) -> None:
    if good:
        assert sshsig.from_allowed_signers(text) == (KEY,)
    else:
        with pytest.raises(Malformed):
            sshsig.from_allowed_signers(text)


# --- statements -------------------------------------------------------------------------------------

BASE, SNAPSHOT, TREE, BAD, BAD_TREE = "b" * 40, "c" * 40, "d" * 40, "e" * 40, "f" * 40
EXIT_0: dict[str, Any] = {"how": "exited", "code": 0}


@dataclass
class Story:
    """A ledger in memory, told event by event."""

    events: list[Recorded] = field(default_factory=list)

    def tell(self, event: Event, *, actor: str = "airboss", task: str = "t1", **refs: str) -> None:
        seq = len(self.events) + 1
        known = Refs(task=task, **refs)
        data = encode(
            seq=seq, id_=f"id{seq}", time_us=seq, actor=actor, refs=known, source=Source.CONTROLLER, event=event
        )
        self.events.append(
            Recorded(seq, f"id{seq}", seq, actor, known, Source.CONTROLLER, event, data, leaf_hash(data))
        )

    def gate(self, run: str, commit: str, tree: str, outcome: str = "passed") -> None:
        exit_ = EXIT_0 if outcome == "passed" else EXIT_0 | {"code": 1}
        opened = GateOpened("tests", commit, tree, BASE, ("pytest",), "a" * 64, 1)
        self.tell(opened, gate_run=run, machine="m")
        closed = GateClosed(
            "tests", outcome, "", exit_, exit_["code"] << 8, tree, "gate", True, "0" * 64, 3, 1, 2, None
        )
        self.tell(closed, gate_run=run, machine="m")

    def verdict(self, commit: str, tree: str, outcome: str, *runs: str) -> None:
        self.tell(VerdictGiven(commit, tree, BASE, outcome, (), runs, "separate-logins", 3, ""))

    def statement(self) -> bytes:
        return statement.build("t1", self.events, [item.leaf for item in self.events])


def began() -> Story:
    story = Story()
    story.tell(TaskRequested("demo", "claude", "", "change", "mend it", ""), actor="slack:T1:U1")
    story.tell(SessionPlaced("m", "claude", BASE, "separate-logins", ()), session="t1.1")
    return story


def landed() -> Story:
    """Red once, then green, then landed."""
    story = began()
    story.tell(SnapshotMade(BAD, BAD_TREE, BASE, 1, 1, 0), turn="t1.1.1")
    story.gate("t1.1.1-tests", BAD, BAD_TREE, "failed")
    story.verdict(BAD, BAD_TREE, "failed", "t1.1.1-tests")
    story.tell(TaskRequested("other", "codex", "", "change", "another", ""), task="t2")
    story.tell(SnapshotMade(SNAPSHOT, TREE, BASE, 1, 1, 0), turn="t1.1.2")
    story.gate("t1.1.2-tests", SNAPSHOT, TREE)
    story.verdict(SNAPSHOT, TREE, "passed", "t1.1.2-tests")
    story.tell(LandingDone("refs/heads/main", BASE, SNAPSHOT, TREE, 1))
    return story


def test_a_receipt_tells_the_whole_way() -> None:
    story = landed()
    check, receipt = check_shape(story.statement())
    assert check.ok, check.detail
    said = receipt["predicate"]
    assert problems(receipt, load("receipt.json")) == []
    assert receipt["subject"] == [{"name": "demo:refs/heads/main", "digest": {"gitCommit": SNAPSHOT}}]
    assert said["task"]["requester"] == "slack:T1:U1"
    assert [gate["run"] for gate in said["gates"]] == ["t1.1.2-tests"]
    assert said["failed_rounds"] == [
        {"commit": BAD, "tree": BAD_TREE, "outcome": "failed", "gate_runs": ["t1.1.1-tests"]}
    ]
    assert said["ledger"]["size"] == len(story.events)
    assert said["ledger"]["root_sha256"] == log.root([item.leaf for item in story.events]).hex()
    assert said["witness"] == "unwitnessed"
    assert hashlib.sha256(b"mend it").hexdigest() == said["task"]["prompt_sha256"]


def test_what_comes_after_the_landing_changes_nothing() -> None:
    story = landed()
    first = story.statement()
    story.tell(TaskRequested("demo", "claude", "", "change", "more", ""), task="t3")
    assert story.statement() == first


def test_a_gate_run_that_was_opened_and_never_closed_shows() -> None:
    story = began()
    story.tell(GateOpened("tests", BAD, BAD_TREE, BASE, ("pytest",), "a" * 64, 1), gate_run="t1.1.1-tests")
    story.gate("t1.1.1-tests-2", SNAPSHOT, TREE)
    story.verdict(SNAPSHOT, TREE, "passed", "t1.1.1-tests-2")
    story.tell(LandingDone("refs/heads/main", BASE, SNAPSHOT, TREE, 1))
    assert json.loads(story.statement())["predicate"]["unfinished_gate_runs"] == ["t1.1.1-tests"]


def test_a_released_hold_names_who_let_it_pass() -> None:
    story = began()
    story.gate("t1.1.1-tests", SNAPSHOT, TREE)
    story.verdict(SNAPSHOT, TREE, "held", "t1.1.1-tests")
    story.tell(HoldReleased(SNAPSHOT, True, "I read it"), actor="slack:T1:U2")
    story.tell(LandingDone("refs/heads/main", BASE, SNAPSHOT, TREE, 1))
    assert problems(json.loads(story.statement()), load("receipt.json")) == []
    assert json.loads(story.statement())["predicate"]["hold"] == {
        "approver": "slack:T1:U2",
        "commit": SNAPSHOT,
        "reason": "I read it",
    }


def _no_verdict(story: Story) -> None:
    story.gate("t1.1.1-tests", SNAPSHOT, TREE)


def _failed(story: Story) -> None:
    story.gate("t1.1.1-tests", SNAPSHOT, TREE, "failed")
    story.verdict(SNAPSHOT, TREE, "failed", "t1.1.1-tests")


def _failed_after_it_passed(story: Story) -> None:
    story.gate("t1.1.1-tests", SNAPSHOT, TREE)
    story.verdict(SNAPSHOT, TREE, "passed", "t1.1.1-tests")
    _failed(story)


def _another_tree(story: Story) -> None:
    story.gate("t1.1.1-tests", BAD, BAD_TREE)
    story.verdict(BAD, BAD_TREE, "passed", "t1.1.1-tests")


def _a_passed_verdict_on_a_failed_run(story: Story) -> None:
    story.gate("t1.1.1-tests", SNAPSHOT, TREE, "failed")
    story.verdict(SNAPSHOT, TREE, "passed", "t1.1.1-tests")


def _no_gates(story: Story) -> None:
    story.verdict(SNAPSHOT, TREE, "passed")


def _held(story: Story) -> None:
    story.gate("t1.1.1-tests", SNAPSHOT, TREE)
    story.verdict(SNAPSHOT, TREE, "held", "t1.1.1-tests")
    story.tell(HoldReleased(BAD, True, "another commit"), actor="slack:T1:U2")
    story.tell(HoldReleased(SNAPSHOT, False, "no"), actor="slack:T1:U2")


def _closed_without_opening(story: Story) -> None:
    closed = GateClosed("tests", "passed", "", EXIT_0, 0, TREE, "gate", True, "0" * 64, 3, 1, 2, None)
    story.tell(closed, gate_run="t1.1.1-tests")
    story.verdict(SNAPSHOT, TREE, "passed", "t1.1.1-tests")


@pytest.mark.parametrize(
    "tell",
    [
        _no_verdict,
        _failed,
        _failed_after_it_passed,
        _another_tree,
        _a_passed_verdict_on_a_failed_run,
        _no_gates,
        _held,
        _closed_without_opening,
    ],
)
def test_no_receipt_without_a_passing_verdict_on_the_landed_tree(tell: Any) -> None:
    story = began()
    tell(story)
    story.tell(LandingDone("refs/heads/main", BASE, SNAPSHOT, TREE, 1))
    with pytest.raises(Refused):
        story.statement()


def test_no_receipt_without_a_landing() -> None:
    story = landed()
    story.events.pop()
    with pytest.raises(Refused, match="no landing"):
        story.statement()


# --- verification -----------------------------------------------------------------------------------


def _changed(data: bytes, *path: str | int, to: Any) -> bytes:
    statement_ = json.loads(data)
    here = statement_
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = to
    return json.dumps(statement_, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("_type",), "https://in-toto.io/Statement/v0.1"),
        (("predicateType",), "https://example.org/other"),
        (("subject",), []),
        (("subject", 0, "digest", "gitCommit"), "0" * 40),
        (("predicate", "gates"), []),
        (("predicate", "gates", 0, "exit"), {"how": "exited", "code": 1}),
        (("predicate", "gates", 0, "raw_wait_status"), 256),
        (("predicate", "gates", 0, "tree"), "0" * 40),
        (("predicate", "judged", "tree"), "0" * 40),
        (("predicate", "isolation"), "wonderful"),
        (("predicate", "landed", "commit"), "main"),
        (("predicate", "ledger", "root_sha256"), "00"),
    ],
)
def test_a_statement_that_shows_less_than_a_receipt_must_is_not_one(path: Any, to: Any) -> None:
    data = landed().statement()
    assert check_shape(data)[0].ok
    assert not check_shape(_changed(data, *path, to=to))[0].ok


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":1,"a":2}'])
def test_anything_else_is_refused_without_a_crash(data: bytes) -> None:
    assert not check_shape(data)[0].ok


def test_white_space_is_not_canonical() -> None:
    data = landed().statement()
    assert not check_shape(data + b"\n")[0].ok


def test_one_of_several_pinned_keys_is_enough_and_none_is_not() -> None:
    mine, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    signature = sshsig.sign(mine, MESSAGE)
    both = (sshsig.public_of(other), sshsig.public_of(mine))
    assert check_signature(MESSAGE, signature, both).ok
    refused = check_signature(MESSAGE, signature, both[:1])
    assert not refused.ok
    assert "another key" in refused.detail


def test_a_key_beside_the_receipt_is_never_trusted(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    receipt = bundle / "t1.json"
    (bundle / "allowed_signers").write_text(sshsig.allowed_signers_line(KEY))
    (tmp_path / "link").symlink_to(bundle / "allowed_signers")
    for path in (bundle / "allowed_signers", tmp_path / "link"):
        with pytest.raises(Misused, match="beside the receipt"):
            pinned_keys(tmp_path / "home", path, "", receipt)
    with pytest.raises(Misused, match="--key"):
        pinned_keys(tmp_path / "home", None, "", receipt)
    (tmp_path / "pinned").mkdir()
    (tmp_path / "pinned" / "theirs.pub").write_text(KEY.line)
    assert pinned_keys(tmp_path, None, "", receipt) == (KEY,)
    with pytest.raises(Misused):
        pinned_keys(tmp_path, None, "", tmp_path / "pinned" / "t1.json")


def test_the_maker_of_a_key_has_it_pinned(tmp_path: Path) -> None:
    key = sshsig.load_or_create(tmp_path)
    assert pinned_keys(tmp_path, None, "", tmp_path / "receipts" / "t1.json") == (sshsig.public_of(key),)


def test_a_story_retold_with_another_actor_has_another_root() -> None:
    story = landed()
    first = json.loads(story.statement())["predicate"]["ledger"]["root_sha256"]
    other = story.events[5]
    story.events[5] = replace(other, leaf=leaf_hash(other.canonical + b" "))
    assert json.loads(story.statement())["predicate"]["ledger"]["root_sha256"] != first

"""Statements against their ledger, and what a verifier makes of them."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fleet.errors import Misused, Refused, Unavailable
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
    leaf_hash,
    merkle,
)
from fleet.events.codec import Unwritten, encode_all
from fleet.exits import Exited
from gates.receipts import sshsig, statement
from gates.receipts.verify import check_repository, check_shape, check_signature, pinned_keys
from tests.far_end.repositories import git, make_bare
from tests.schema import load, problems

MESSAGE = b'{"_type":"https://in-toto.io/Statement/v1"}'
KEY = sshsig.public_of(Ed25519PrivateKey.from_private_bytes(b"k" * 32))

BASE, SNAPSHOT, TREE, BAD, BAD_TREE = "b" * 40, "c" * 40, "d" * 40, "e" * 40, "f" * 40


@dataclass
class Story:
    """A ledger in memory, told event by event."""

    events: list[Recorded] = field(default_factory=list)

    def tell(self, event: Event, *, actor: str = "airboss", task: str = "t1", **refs: str) -> None:
        seq = len(self.events) + 1
        known = Refs(task=task, **refs)
        self.events.append(encode_all([Unwritten(seq, f"id{seq}", seq, actor, known, Source.CONTROLLER, event)])[0])

    def gate(self, run: str, commit: str, tree: str, outcome: str = "passed") -> None:
        code = 0 if outcome == "passed" else 1
        opened = GateOpened("tests", commit, tree, BASE, ("pytest",), "a" * 64, 1)
        self.tell(opened, gate_run=run, machine="m")
        closed = GateClosed(
            "tests", outcome, "", Exited(code), code << 8, tree, "gate", True, "0" * 64, 3, 1, 2, None
        )
        self.tell(closed, gate_run=run, machine="m")

    def verdict(self, commit: str, tree: str, outcome: str, *runs: str, reasons: tuple[str, ...] = ()) -> None:
        self.tell(VerdictGiven(commit, tree, BASE, outcome, reasons, runs, "separate-logins", 3, ""))

    def head(self) -> bytes:
        """The root over the events up to the landing."""
        landed = [item.seq for item in self.events if isinstance(item.event, LandingDone)]
        return merkle.root(item.leaf for item in self.events[: max(landed, default=0)])

    def statement(self) -> bytes:
        return statement.build("t1", self.events, self.head())


def began() -> Story:
    story = Story()
    story.tell(TaskRequested("demo", "claude", "", "change", "mend it", ""), actor="slack:T1:U1")
    story.tell(SessionPlaced("m", "claude", BASE, "separate-logins", ()), session="t1.1")
    return story


def landed(*reasons: str) -> Story:
    """Red once, then green, then landed."""
    story = began()
    story.tell(SnapshotMade(BAD, BAD_TREE, BASE, 1, 1, 0), turn="t1.1.1")
    story.gate("t1.1.1-tests", BAD, BAD_TREE, "failed")
    story.verdict(BAD, BAD_TREE, "failed", "t1.1.1-tests")
    story.tell(TaskRequested("other", "codex", "", "change", "another", ""), task="t2")
    story.tell(SnapshotMade(SNAPSHOT, TREE, BASE, 1, 1, 0), turn="t1.1.2")
    story.gate("t1.1.2-tests", SNAPSHOT, TREE)
    story.verdict(SNAPSHOT, TREE, "passed", "t1.1.2-tests", reasons=reasons)
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
    assert said["ledger"]["root_sha256"] == story.head().hex()
    assert said["witness"] == "unwitnessed"
    assert hashlib.sha256(b"mend it").hexdigest() == said["task"]["prompt_sha256"]


@pytest.mark.parametrize(
    ("processes", "login", "supervisor", "words"),
    [
        ("own", "shared", "shared", ""),
        ("shared", "own", "own", ""),
        ("shared", "own", "shared", "; supervisor-shares-login"),
        ("shared", "shared", "shared", "; gates-share-a-login; supervisor-shares-login"),
    ],
)
def test_who_checks_a_receipt_reads_what_its_gates_shared(
    processes: str, login: str, supervisor: str, words: str
) -> None:
    said = json.loads(landed().statement())
    said["predicate"]["gates"][0]["isolation"] = {
        "processes": processes, "files": processes, "network": "none", "login": login, "supervisor": supervisor,
    }  # fmt: skip
    check, _ = check_shape(rfc8785.dumps(said))
    assert check.ok and check.detail == f"demo:refs/heads/main by 1 gate{words}"


def test_layers_that_could_not_judge_are_in_the_receipt() -> None:
    assert "layers_not_available" not in json.loads(landed().statement())["predicate"]
    missing = "tests: baseline and canaries: not available for this test runner"
    receipt = json.loads(landed("tests: exit status 0", missing).statement())
    assert receipt["predicate"]["layers_not_available"] == [missing]
    assert problems(receipt, load("receipt.json")) == []


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
    closed = GateClosed("tests", "passed", "", Exited(0), 0, TREE, "gate", True, "0" * 64, 3, 1, 2, None)
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


def changed(data: bytes, *path: str | int, to: Any) -> bytes:
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
    assert not check_shape(changed(data, *path, to=to))[0].ok


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
            pinned_keys(tmp_path / "home", path, (), receipt)
    with pytest.raises(Misused, match="--key"):
        pinned_keys(tmp_path / "home", None, (), receipt)
    (tmp_path / "pinned").mkdir()
    (tmp_path / "pinned" / "theirs.pub").write_text(KEY.line)
    assert pinned_keys(tmp_path, None, (), receipt) == (KEY,)
    with pytest.raises(Misused):
        pinned_keys(tmp_path, None, (), tmp_path / "pinned" / "t1.json")


def test_the_maker_of_a_key_has_it_pinned(tmp_path: Path) -> None:
    key = sshsig.load_or_create(tmp_path)
    assert pinned_keys(tmp_path, None, "", tmp_path / "receipts" / "t1.json") == (sshsig.public_of(key),)


def test_a_story_retold_with_another_actor_has_another_root() -> None:
    story = landed()
    first = json.loads(story.statement())["predicate"]["ledger"]["root_sha256"]
    other = story.events[5]
    story.events[5] = msgspec.structs.replace(other, leaf=leaf_hash(other.canonical + b" "))
    assert json.loads(story.statement())["predicate"]["ledger"]["root_sha256"] != first


@pytest.mark.needs_root
async def test_a_repository_of_another_login_is_said_to_be_one(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "shop.git", {"a.txt": "a\n"})
    landed = {"commit": git(bare, "rev-parse", "main").strip(), "tree": "", "replaced": ""}
    missing = {"predicate": {"landed": {**landed, "commit": "0" * 40}}}
    assert "has no commit 000" in (await check_repository(missing, bare)).detail
    with pytest.raises(Unavailable, match="there is no such directory"):
        await check_repository(missing, bare / "gone")
    os.chown(bare, 65_534, 65_534)
    check = await check_repository({"predicate": {"landed": landed}}, bare)
    assert not check.ok and "belongs to another login" in check.detail and "git clone" in check.detail

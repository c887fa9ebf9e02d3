"""From a judged and landed change to a receipt that a stranger checks, with ``airboss verify`` and without it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import rfc8785

from bot.local.verify import verify
from fleet.errors import Misused, Refused, StoreUnavailable
from fleet.events import LandingDone, Refs, SessionPlaced, SnapshotMade, Source, leaf_hash
from fleet.store import ledger
from fleet.store.core import Store, Tx
from fleet.verdict import Outcome
from gates.receipts import issue, sshsig
from tests.far_end.repositories import git
from tests.scenarios.gate_house import House, airboss_toml
from tests.schema import load, problems


@dataclass
class Landed:
    """A receipt and what it speaks of, in one directory."""

    room: Path
    commit: str

    @property
    def home(self) -> Path:
        return self.room / "home"

    @property
    def bare(self) -> Path:
        return self.room / "demo.git"

    @property
    def receipt(self) -> Path:
        return self.home / "receipts" / "t1.json"

    @property
    def key(self) -> str:
        return (self.home / "keys" / "receipt_ed25519.pub").read_text()

    @property
    def store(self) -> str:
        return f"sqlite:///{self.home / 'airboss.db'}"


async def land(room: Path) -> Landed:
    """Lands one task, beside two others."""
    house = House(room, {"airboss.toml": airboss_toml("true")})
    async with house.open() as judge:
        candidate = await judge.candidate()
        for _ in range(2):
            await judge.candidate({"other": "of another task"})
        refs = Refs(task=candidate.task.id, session=candidate.session.id, machine="here")

        def before(tx: Tx) -> None:
            placed = SessionPlaced("here", "claude", candidate.base, "unsafe-same-user", ())
            ledger.append(tx, placed, actor="airboss", source=Source.CONTROLLER, refs=refs)
            made = SnapshotMade(candidate.commit, candidate.tree, candidate.base, 1, 1, 0)
            ledger.append(tx, made, actor="airboss", source=Source.CONTROLLER, refs=refs)

        await judge.store.write(before)
        with pytest.raises(Refused, match="no landing"):
            await issue.issue(judge.store, house.home, candidate.task.id)
        assert (await judge.pipeline.judge(candidate)).outcome is Outcome.PASSED
        git(house.work, "push", "--quiet", "origin", f"{candidate.commit}:main")
        done = LandingDone("refs/heads/main", candidate.base, candidate.commit, candidate.tree, 1)
        await judge.store.write(
            lambda tx: ledger.append(tx, done, actor="airboss", source=Source.CONTROLLER, refs=refs)
        )
        issued = await issue.issue(judge.store, house.home, candidate.task.id)
        data = issued.path.read_bytes()
        await judge.candidate({"more": "later tasks change nothing"})
        assert await issue.issue(judge.store, house.home, candidate.task.id) == issued
        assert issued.path.read_bytes() == data
    landed = Landed(room, candidate.commit)
    assert issued.path == landed.receipt
    return landed


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Landed:
    return asyncio.run(land(tmp_path_factory.mktemp("landed")))


@pytest.fixture
def landed(once: Landed, tmp_path: Path) -> Landed:
    """A copy that the test may change."""
    shutil.copytree(once.room, tmp_path / "landed", ignore=shutil.ignore_patterns("machine"))
    return Landed(tmp_path / "landed", once.commit)


async def test_a_receipt_is_verified_with_repository_and_ledger(
    landed: Landed, capsys: pytest.CaptureFixture[str]
) -> None:
    home, receipt = landed.home, landed.receipt
    assert sorted(item.name for item in receipt.parent.iterdir()) == [
        "allowed_signers",
        "gates",
        "t1.json",
        "t1.json.dsse",
        "t1.json.sig",
        "test-results",
    ]
    assert await verify(receipt, home=home, repo=landed.bare, ledger=landed.store, as_json=True) == 0
    said = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in said["checks"]] == ["signature", "statement", "repository", "ledger"]
    assert said["commit"] == landed.commit
    assert said["witness"] == "unwitnessed"
    assert said["isolation"] == "unsafe-same-user"
    assert problems(said, load("verify.json")) == []
    assert problems(json.loads(receipt.read_bytes()), load("receipt.json")) == []


async def test_the_receipts_of_gate_runs_and_in_totos_own_predicate_are_verified_too(
    landed: Landed, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = landed.receipt.parent
    (gate,) = (folder / "gates").glob("*.json")
    assert problems(json.loads(gate.read_bytes()), load("receipt-gate.json")) == []
    others = sorted((folder / "test-results").glob("*.json"))
    assert [path.name for path in others] == [gate.name, "t1.json"]
    for path in (gate, *others):
        for each in (path, path.with_name(f"{path.name}.dsse")):
            assert await verify(each, home=landed.home, ledger=landed.store) == 0
            assert f"verified: {landed.commit} (passed" in capsys.readouterr().out.lower()
    said = json.loads(others[1].read_bytes())
    said["predicate"]["configuration"][0]["digest"]["sha256"] = "0" * 64
    signed = issue.write_signed(landed.home, "test-results/t1.json", rfc8785.dumps(said))
    assert await verify(signed, home=landed.home, ledger=landed.store) == 1
    assert "the ledger gives another receipt for t1" in capsys.readouterr().out


async def test_a_gate_runs_receipt_that_a_kill_prevented_is_made_at_the_landing(landed: Landed) -> None:
    folder = landed.receipt.parent
    (gate,) = (folder / "gates").glob("*.json")
    data = gate.read_bytes()
    shutil.rmtree(folder / "gates")
    with Store.open(landed.store) as store:
        await issue.issue(store, landed.home, "t1")
    assert gate.read_bytes() == data


def test_openssh_alone_verifies_it(landed: Landed) -> None:
    folder = landed.receipt.parent
    argv = ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", "airboss", "-n", "airboss-receipt-v1"]
    for data, status in ((landed.receipt.read_bytes(), 0), (b" " + landed.receipt.read_bytes(), 255)):
        done = subprocess.run(
            [*argv, "-s", "t1.json.sig"], cwd=folder, input=data, capture_output=True, check=False
        )
        assert done.returncode == status, done.stderr


async def test_a_stranger_needs_a_pinned_key(
    landed: Landed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, home = tmp_path / "bundle", tmp_path / "stranger"
    shutil.copytree(landed.receipt.parent, bundle)
    receipt = bundle / "t1.json"
    with pytest.raises(Misused, match="--key"):
        await verify(receipt, home=home)
    assert await verify(receipt, home=home, keys=[landed.key]) == 0
    other = sshsig.public_of(sshsig.load_or_create(tmp_path / "other"))
    assert await verify(receipt, home=home, keys=[other.line]) == 1
    signers = tmp_path / "signers"
    signers.write_text((bundle / "allowed_signers").read_text())
    assert await verify(receipt, home=home, allowed_signers=signers) == 0
    receipt.write_bytes(receipt.read_bytes().replace(b'"unwitnessed"', b'"everybody"'))
    assert await verify(receipt, home=home, keys=[landed.key]) == 1
    assert "NOT verified" in capsys.readouterr().out
    receipt.unlink()
    with pytest.raises(Misused, match="read the receipt"):
        await verify(receipt, home=home, keys=[landed.key])


async def test_another_repository_and_another_ledger_do_not_agree(landed: Landed, tmp_path: Path) -> None:
    home, receipt = landed.home, landed.receipt
    other = await land(tmp_path / "other")
    assert await verify(receipt, home=home, ledger=other.store) == 1
    git(landed.bare, "update-ref", "refs/heads/main", "main~1")
    git(landed.bare, "reflog", "expire", "--expire=now", "--all")
    git(landed.bare, "gc", "--quiet", "--prune=now")
    assert await verify(receipt, home=home, repo=landed.bare) == 1
    with pytest.raises(StoreUnavailable):
        await verify(receipt, home=home, ledger="postgresql+psycopg://nobody@127.0.0.1:1/none")


def forge(home: Path, change: str, *values: object) -> None:
    """Changes a row of the ledger, whose triggers would refuse that."""
    with sqlite3.connect(home / "airboss.db") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        assert database.execute(change, values).rowcount == 1
    database.close()


def event(home: Path, seq: int) -> tuple[bytes, str]:
    with sqlite3.connect(home / "airboss.db") as database:
        canonical, task = database.execute("SELECT canonical, task FROM ledger WHERE seq = ?", (seq,)).fetchone()
    database.close()
    return canonical, task


async def failing_check(landed: Landed, capsys: pytest.CaptureFixture[str]) -> str:
    """What ``verify --ledger`` says about a ledger that was changed."""
    capsys.readouterr()
    assert await verify(landed.receipt, home=landed.home, ledger=landed.store, as_json=True) == 1
    (check,) = [check for check in json.loads(capsys.readouterr().out)["checks"] if not check["ok"]]
    assert check["name"] == "ledger"
    return str(check["detail"])


async def test_an_event_of_another_task_that_was_changed_is_named(
    landed: Landed, capsys: pytest.CaptureFixture[str]
) -> None:
    home = landed.home
    canonical, task = event(home, 2)
    assert task == "t2" and task != landed.receipt.stem
    forged = canonical.replace(b"slack:T1:U1", b"slack:T1:U2")
    assert forged != canonical
    forge(home, "UPDATE ledger SET canonical = ? WHERE seq = 2", forged)
    assert await failing_check(landed, capsys) == "event 2 of task t2: its bytes do not hash to its leaf"
    # The leaf is made to fit: now only the root in the receipt says so, and the kept subtrees where to look.
    forge(home, "UPDATE ledger SET leaf = ? WHERE seq = 2", leaf_hash(forged))
    said = await failing_check(landed, capsys)
    assert "do not give the receipt's root" in said and "one of the events 1 to " in said


CHANGES = {
    "leaf": ("leaf = zeroblob(32)", "its bytes do not hash to its leaf"),
    "task": ("task = 't9'", "its bytes do not agree with its column task"),
    "kind": ("kind = 'task.moved'", "its bytes do not agree with its column kind"),
    "time": ("time_us = time_us + 1", "its bytes do not agree with its column time_us"),
    "order": ("seq = -2", "it is missing"),
    "text": ("canonical = '{}'", "its bytes are not stored as bytes"),
    "no event": (f"canonical = x'7b7d', leaf = x'{leaf_hash(b'{}').hex()}'", "its bytes are not an event"),
}


@pytest.mark.parametrize(("change", "what"), CHANGES.values(), ids=CHANGES.keys())
async def test_whatever_is_changed_in_a_row_is_found(
    landed: Landed, capsys: pytest.CaptureFixture[str], change: str, what: str
) -> None:
    forge(landed.home, f"UPDATE ledger SET {change} WHERE seq = 2")
    said = await failing_check(landed, capsys)
    assert said.startswith("event 2") and what in said

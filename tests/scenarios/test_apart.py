"""Two controllers on one real PostgreSQL whose homes share nothing: one is killed, the other goes on."""

from __future__ import annotations

import socket

from fleet.store import blobs, gates
from fleet.store.blobs import NamedBlob
from fleet.store.core import Store
from fleet.store.states import BlobKind
from tests.scenarios.controllers import airboss
from tests.scenarios.house import GATE
from tests.scenarios.pair import Pair, pair

#: Waits, where the change says so, for a file that the scenario makes.
CHECK = """\
import pathlib, time
wanted = pathlib.Path("wait.txt")
while wanted.exists() and not pathlib.Path(wanted.read_text().strip()).exists():
    time.sleep(0.05)
print("1 passed")
"""


def stored(both: Pair) -> list[NamedBlob]:
    """Every file in the store."""
    with Store.open(both.url) as store, store.transaction() as tx:
        return [blob for kind in BlobKind for blob in blobs.of_kind(tx, kind, tx.now_us() + 1, 0, 1000)]


def test_what_one_controller_had_lands_through_another_home() -> None:
    gate = GATE.replace('"30s"', '"10m"')
    with pair(apart=True, files={"check.py": CHECK, "airboss.toml": gate}) as both:
        first, other = both.first, both.other
        signs = first.directory / "signs"
        signs.mkdir()
        for each in both.homes:
            each.gate_read.append(str(signs))
            each.configure()
        with both.standby(first, "--join") as killed:
            first.until(first._answers, "the first coordinates: nobody else did")
            early = first.say("/run shell echo > early.txt", wait=True)
            assert early.status == 0, early.shown
            at_work = first.say(f"/run shell while [ ! -e {signs}/work ]; do sleep 0.05; done; echo > a.txt").task
            judged = first.say(f"/run shell echo {signs}/judge > wait.txt").task
            first.until(lambda: (judged, "gate.opened") in both.events("gate.opened"), "its gate runs")
            first.until(lambda: (at_work, "turn.started") in both.events("turn.started"), "the other is at work")
            with both.standby(other, "--join") as without:
                assert without.wait(60) == 2, both.said(other)
            remedy = f"Copy the folder keys/ of {socket.gethostname()}:{first.home} to {other.home}"
            assert remedy in both.said(other)
            both.copy_keys()
            with both.standby(other, "--join"):
                there = {"home": "leads", "other": "shares"}
                first.until(lambda: both.conditions(first) == there, "the other takes part")
                assert (judged, BlobKind.COMMIT) in {(each.owner, each.kind) for each in stored(both)}
                assert not (other.home / "repos").exists(), "it has led nothing yet"

                killed.kill()
                other.until(other._answers, "the other coordinates")
                other.until(lambda: set(both.led().values()) == {"other"}, "it leads both")
                (first.home / "receipts").rename(first.directory / "unreachable")
                (signs / "judge").touch()
                assert other.wait(judged).status == 0, both.said(other)
                (signs / "work").touch()
                assert other.wait(at_work).status == 0, both.said(other)
                verified = other.say(f"/verify {early.task}")
                assert verified.status == 0, verified.shown
        tasks = [early.task, judged, at_work]
        assert [of for of, _ in both.events("landing.done")] == tasks, "each change landed once"
        assert [both.sessions(task) for task in tasks] == [1, 1, 1]
        assert len(both.events("gate.opened")) == len(both.events("gate.closed"))
        key = (first.home / "keys" / "receipt_ed25519.pub").read_text()
        for task in tasks:
            receipt = str(other.home / "receipts" / f"{task}.json")
            checked = airboss("verify", receipt, "--key", key, home=other.home)
            assert checked.returncode == 0, checked.stdout + checked.stderr
        with Store.open(both.url) as store, store.transaction() as tx:
            run = gates.of_task(tx, judged)[0].id
        printed = airboss("gate", "log", run, home=first.home)
        assert "1 passed" in printed.stdout, "the other home has read it to its end"

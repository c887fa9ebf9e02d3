"""A home that was restored: no old process answers for a new task, and what was lost is written down."""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.events import LedgerReset
from gates.people import console_owner
from gates.receipts import reset, sshsig
from tests.scenarios import controllers
from tests.scenarios.house import House, house


@pytest.fixture
def made() -> Iterator[House]:
    with house() as world:
        yield world


def airboss(home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return controllers.airboss(*argv, home=home)


def words(shown: str) -> str:
    """A card's text without its frame."""
    return " ".join(shown.replace("│", " ").split())


def run(made: House, word: str) -> str:
    answer = made.say(f"/run shell echo {word}\nwrite GOOD {word}", wait=True)
    assert answer.status == 0, answer.shown
    return answer.task


def test_after_a_restore_nothing_starts_until_a_person_says_so_and_no_old_words_are_read(made: House) -> None:
    made.start()
    assert run(made, "FIRST") == "t1"
    made.stop()
    shutil.copytree(made.home, made.directory / "copy")
    made.start()
    assert run(made, "OLD_WORDS") == "t2"
    made.stop()
    shutil.rmtree(made.home)
    shutil.copytree(made.directory / "copy", made.home)
    before = len(made.ledger())

    made.start()
    made.until(lambda: "the store is older than" in words(made.say("/status").shown), "/status says so")
    assert "airboss ledger reset --reason" in words(made.say("/status").shown), "a phone's card shows how to go on"
    refused = made.say("/run write GOOD too early")
    assert refused.status == 2 and "airboss ledger reset --reason" in words(refused.shown)
    assert made.say("/retry t1").status == 2
    doctor = airboss(made.home, "doctor")
    assert "airboss ledger reset --reason" in doctor.stdout
    assert len(made.ledger()) == before, "nothing is added to a ledger that lacks something"
    assert airboss(made.home, "ledger", "reset", "--reason", " ").returncode == 2

    done = airboss(made.home, "ledger", "reset", "--reason", "the disk died")
    assert done.returncode == 0, done.stderr
    (entry,) = [recorded for recorded in made.ledger("ledger.reset") if isinstance(recorded.event, LedgerReset)]
    event = entry.event
    assert isinstance(event, LedgerReset)
    assert (entry.seq, event.size, event.reason) == (before + 1, before, "the disk died")
    assert event.person == entry.actor == str(console_owner())
    assert any("-t2.1-" in line for line in event.lost) and any("landed as" in line for line in event.lost)
    key = sshsig.public_of(sshsig.load_or_create(made.home))
    assert reset.check(event, key) == ""
    assert airboss(made.home, "ledger", "reset", "--reason", "again").returncode == 2

    assert run(made, "NEW_WORDS") == "t3", "a number that somebody has seen is not given again"
    assert "OLD_WORDS" not in made.say("/logs t3").shown
    assert made.main().strip() == "GOOD NEW_WORDS"
    made.stop()
    made.start()
    assert run(made, "AGAIN") == "t4", "what was acknowledged once is not asked again"


def test_a_backup_of_a_running_controller_goes_on_in_another_home(made: House) -> None:
    made.start()
    assert run(made, "FIRST") == "t1"
    held = made.say("/run write GOOD held\nshell echo '# changed' >> check.py", wait=True)
    assert (held.status, held.task) == (4, "t2")
    file = made.directory / "fleet.backup"
    done = airboss(made.home, "backup", str(file))
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert airboss(made.home, "backup", str(file)).returncode == 2, "no file is overwritten"
    assert airboss(made.home, "restore", str(file)).returncode == 2, "a home that is not empty is left alone"
    made.stop()

    shutil.rmtree(made.home)
    made.home = made.directory / "other"
    done = airboss(made.home, "restore", str(file))
    assert done.returncode == 0, done.stderr
    for path in (made.home, made.home / "keys", made.home / "repos"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert stat.S_IMODE((made.home / "airboss.db").stat().st_mode) == 0o600
    made.start()
    assert "is older than" not in words(made.say("/status").shown)
    assert made.say("/approve t2").status == 0
    assert made.wait("t2").status == 0
    assert made.main().strip() == "GOOD held"
    assert run(made, "NEXT") == "t3"
    for task in ("t1", "t2"):
        receipt, store = made.home / "receipts" / f"{task}.json", made.home / "airboss.db"
        checked = airboss(made.home, "verify", str(receipt), "--repo", str(made.bare), "--ledger", str(store))
        assert checked.returncode == 0, checked.stdout

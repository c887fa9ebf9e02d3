"""Backups by schedule: when one is made, which stay, and what is said when none could be made."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.backups import Backups
from bot.local.restore import restore
from fleet.config import parse_fleet
from fleet.errors import Misused
from fleet.store.core import Store
from tests.empty_store import filled

DAY_US = 86_400_000_000


@dataclass
class Hand:
    """A clock that a test sets."""

    us: int = 1_790_000_000_000_000

    def now_us(self) -> int:
        return self.us

    async def sleep(self, seconds: float) -> None:
        self.us += int(seconds * 1_000_000)


@dataclass
class Scheduled:
    """A home whose ``fleet.toml`` asks for backups in ``at``."""

    home: Path
    at: Path
    text: str = 'isolation = "unsafe-same-user"\n[backup]\ndirectory = "{at}"\nevery = "24h"\nkeep = 2\n'
    clock: Hand = field(default_factory=Hand)

    @property
    def backups(self) -> Backups:
        return Backups(lambda: parse_fleet(self.text.format(at=self.at), "fleet.toml"), self.home, self.clock)

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.at.iterdir())


@pytest.fixture
def there(tmp_path: Path) -> Scheduled:
    home = tmp_path / "home"
    home.mkdir()
    with Store.open(f"sqlite:///{filled(home / 'airboss.db')}", create=False):
        pass
    (home / "fleet.toml").write_text('isolation = "unsafe-same-user"\n')
    return Scheduled(home, tmp_path / "far" / "backups")


async def test_one_is_made_when_the_newest_is_too_old_and_only_so_many_of_ours_stay(
    there: Scheduled, tmp_path: Path
) -> None:
    backups = there.backups
    for _ in range(3):
        await backups.look()
        await backups.look()  # not again at once, nor after a restart
        await there.backups.look()
        there.clock.us += DAY_US
    assert len(there.names) == 2, there.names
    (there.at / "mine.tar.gz").touch()
    await backups.look()
    assert len(there.names) == 3 and "mine.tar.gz" in there.names
    assert stat.S_IMODE(there.at.stat().st_mode) == 0o700
    newest = there.at / [name for name in there.names if name.startswith("airboss-")][-1]
    assert stat.S_IMODE(newest.stat().st_mode) == 0o600
    assert await restore(newest, tmp_path / "again") == 0
    assert (tmp_path / "again" / "airboss.db").exists()


async def test_one_that_fails_is_said_and_tried_again_later(there: Scheduled) -> None:
    there.at.parent.mkdir()
    there.at.write_text("a file is in its place")
    backups = there.backups
    await backups.look()
    assert "no backup was made" in backups.trouble()
    there.at.unlink()
    await backups.look()
    assert backups.trouble(), "not at once"
    there.clock.us += 700_000_000
    await backups.look()
    assert not backups.trouble() and len(there.names) == 1


async def test_a_clock_that_was_set_back_makes_no_backup_a_minute(there: Scheduled) -> None:
    backups = there.backups
    await backups.look()
    there.clock.us -= 3 * DAY_US
    for _ in range(4):
        await backups.look()
        there.clock.us += 60_000_000
    assert len(there.names) <= 2


async def test_a_newest_one_from_the_future_is_said_and_not_waited_for_in_silence(there: Scheduled) -> None:
    there.at.mkdir(parents=True)
    (there.at / "airboss-20990101T000000Z.tar.gz").touch()
    backups = there.backups
    await backups.look()
    assert "airboss-20990101T000000Z.tar.gz" in backups.trouble() and "from the future" in backups.trouble()


async def test_what_a_killed_backup_left_goes_and_a_name_that_is_no_time_stays(there: Scheduled) -> None:
    there.at.mkdir(parents=True)
    left, mine = there.at / ".airboss-20260101T000000Z.tar.gz.abcd1234", there.at / ".airboss-mine.tar.gz.d"
    odd = there.at / "airboss-20269999T999999Z.tar.gz"
    for folder in (left, mine):
        folder.mkdir()
        (folder / "airboss.db").touch()
    odd.touch()
    backups = there.backups
    await backups.look()
    assert not backups.trouble()
    assert not left.exists() and mine.exists() and odd.exists()


async def test_one_that_cannot_be_removed_is_said(there: Scheduled) -> None:
    for name in ("airboss-20200101T000000Z.tar.gz", "airboss-20200102T000000Z.tar.gz"):
        (there.at / name).mkdir(parents=True)
    backups = there.backups
    await backups.look()
    assert "remove an old backup" in backups.trouble(), backups.trouble()


async def test_without_a_directory_there_are_none_and_a_relative_one_is_refused(there: Scheduled) -> None:
    there.text = 'isolation = "unsafe-same-user"\n'
    await there.backups.look()
    assert not there.at.exists()
    with pytest.raises(Misused):
        parse_fleet('isolation = "unsafe-same-user"\n[backup]\ndirectory = "here"\n', "fleet.toml")

"""A real controller whose clock jumps, and that is killed around the start of a scheduled run: once, or not yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.cli import main
from fleet.store.core import Store
from tests.rows import slots_of
from tests.scenarios.house import House, house
from tests.schema import load, problems

HALF_PAST, HOUR = 1_800, 3_600


class Clock:
    """The controller's clock for schedules: it shows a time of tomorrow, until the machine's own is back."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self.environ = {"AIRBOSS_CLOCK": str(self._file)}
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self.midnight = today + timedelta(days=1)

    def set(self, seconds: int) -> None:
        """So long after midnight."""
        shown = self.midnight + timedelta(seconds=seconds)
        written = self._file.with_suffix(".new")
        written.write_text(str(round((shown - datetime.now(UTC)).total_seconds())))
        written.replace(self._file)


@pytest.fixture
def built() -> Iterator[House]:
    with house() as made:
        yield made


def test_a_run_starts_once_through_kills_and_jumps_of_the_clock(
    built: House, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(built.directory)
    clock.set(HALF_PAST)
    built.start(failpoint="slot-due", **clock.environ)
    asked = built.say("/schedule every hour UTC run on=evo-x2 write GOOD by schedule")
    assert f"Next: {clock.midnight:%a} {clock.midnight.day} {clock.midnight:%b} 01:00" in asked.shown
    clock.set(HOUR)
    assert built.died() == -9
    assert built.ledger("schedule.due", "task.requested") == []

    clock.set(2 * HOUR + HALF_PAST)
    built.start(failpoint="slot-taken", **clock.environ)
    assert built.died() == -9
    clock.set(HALF_PAST)  # back by hours
    built.start(**clock.environ)
    assert built.wait("t1").status == 0
    assert built.main() == "GOOD by schedule"
    assert [(body["outcome"], body["missed"]) for body in built.bodies("schedule.due")] == [("started", 1)]
    assert "every hour" in built.say("/schedules").shown
    built.stop()

    clock.set(3 * HOUR + HALF_PAST // 2)
    built.start(failpoint="slot-taken", **clock.environ)
    assert built.died() == -9
    assert len(built.ledger("schedule.due")) == len(built.ledger("task.requested")) == 2
    clock.set(3 * HOUR + HALF_PAST)
    built.start(**clock.environ)

    for running in (True, False):
        if not running:
            built.stop()
        assert main(["--home", str(built.home), "schedules", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert problems(said, load("schedules.json")) == []
        assert [schedule["id"] for schedule in said["schedules"]] == ["s1"]
    with Store.open(f"sqlite:///{built.home / 'airboss.db'}", create=False) as store, store.transaction() as tx:
        assert len(slots_of(tx, "s1")) == 2

"""Exactly which messages make a sound: by what happened, the person's level, the hour and the chat."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bot.cards import Card, line, shown
from bot.telling.reminders import Reminders
from bot.telling.sounds import Level, Sound, SoundSettings, titled
from fleet.events import LandingDone
from fleet.model import TaskState
from fleet.store import tasks
from tests.chat_flight import COMMIT, TREE, Flight
from tests.chat_house import OTTO, VERA, house, quiet_now

HOUR = 3_600_000_000
EVERY = (Sound.RED, Sound.WAITS, Sound.BAD_END, Sound.GOOD_END)


@pytest.mark.parametrize(
    ("level", "heard", "heard_when_quiet"),
    [
        (Level.ALL, (True, True, True, True), (False, False, True, True)),
        (Level.MINE, (True, True, True, False), (False, False, True, False)),
        (Level.FINAL, (False, False, True, True), (False, False, True, True)),
        (Level.NONE, (False, False, False, False), (False, False, False, False)),
    ],
)
def test_every_level_and_hour(level: Level, heard: tuple[bool, ...], heard_when_quiet: tuple[bool, ...]) -> None:
    wish = SoundSettings(level, 22 * 60, 7 * 60)
    assert tuple(wish.hears(sound, 12 * HOUR) for sound in EVERY) == heard
    for hour in (22, 23, 0, 6):
        assert tuple(wish.hears(sound, hour * HOUR) for sound in EVERY) == heard_when_quiet
    assert tuple(wish.hears(sound, 7 * HOUR) for sound in EVERY) == heard


def test_quiet_hours_are_the_persons_own() -> None:
    wish = SoundSettings(Level.MINE, 9 * 60, 17 * 60, "Asia/Tokyo")
    assert ZoneInfo("Asia/Tokyo")
    assert wish.quiet(0)  # nine in the morning there
    assert not wish.quiet(8 * HOUR)


@pytest.mark.parametrize(("level", "pings"), [("all", 3), ("mine", 2), ("final", 2), ("none", 0)])
async def test_a_task_is_heard_as_its_person_wishes(tmp_path: Path, level: str, pings: int) -> None:
    async with house(tmp_path) as there:
        await there.say(f"/notify {level}")
        await there.say("/notify none", OTTO)  # somebody else's wish does not matter
        flight = await Flight.begin(there)
        await flight.red()
        await flight.red()
        await flight.ask()
        await flight.note(LandingDone("refs/heads/main", "a", COMMIT, TREE, 1))
        await flight.move(TaskState.FAILED, why="red for good")
        assert len(flight.pings()) == pings


async def test_in_quiet_hours_only_the_end_sounds_and_what_waits_is_brought_up_afterwards(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/notify 00:00-24:00")
        hours = quiet_now()
        _, (told,) = await there.say(f"/notify {hours}")
        assert f"quiet {hours}" in told.to_json()
        flight = await Flight.begin(there)
        await flight.red()
        await flight.ask()
        assert flight.pings() == []
        await there.say("/notify off")
        await flight.ago(minutes=2)
        reminders = Reminders(there.outbox, lambda: there.config, tmp_path / "files")
        for _ in range(2):
            await reminders.look()
            await there.settle()
        assert len(flight.pings()) == 1
        assert "is still waiting for you" in flight.pings()[0]


async def test_a_muted_chat_hears_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/mute 2h")
        flight = await Flight.begin(there)
        await flight.red()
        await flight.move(TaskState.FAILED, why="red for good")
        assert flight.pings() == []
        await there.say("/mute off")
        await there.say("/retry t1")
        assert (await there.say("/notify"))[1][0].title == ("You hear: mine",)


@pytest.mark.parametrize("words", ["loud", "25:00-26:00", "22:70-07:00", "mine Mars/Olympus", "all 7-"])
async def test_a_wish_that_makes_no_sense_changes_nothing(tmp_path: Path, words: str) -> None:
    async with house(tmp_path) as there:
        await there.say("/notify final", VERA)
        result, _ = await there.say(f"/notify {words}", VERA)
        assert result.status == 2
        _, (card,) = await there.say("/notify", VERA)
        assert card.title == ("You hear: final",)


async def test_what_makes_a_sound_names_the_repository_and_the_title(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run fix the discount", OTTO)
        task = await there.store.read(lambda tx: tasks.task(tx, "t1"))
        alone = Card(line("t1 · a1 · Bash asks to run"), (line("rm -rf build"),))
        assert [shown(row) for row in titled(task, alone).lines] == ["shop · fix the discount", "rm -rf build"]
        for named in (Card(line("t1 · shop · fix the discount")), Card(line("t1"), (line("fix the discount"),))):
            assert titled(task, named) == named, "said once"

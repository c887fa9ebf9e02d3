"""An answer to /ask reaches a person whole, in every chat: as messages that keep their order, or as one file."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet.agent_events import Said
from fleet.flight.testimony import events_of
from fleet.model import TaskState
from tests.chat_flight import Flight
from tests.far_end import slack as slack_end
from tests.scenarios.house import House, house
from tests.scenarios.telegram_house import ADA
from tests.scenarios.test_one_script import (
    OnConsole,
    OnSlack,
    OnTelegram,
    Player,
    on_console,
    on_slack,
    on_telegram,
)

SECRET = "correct-horse-battery-staple"


@dataclass(frozen=True)
class Shown:
    """A message as a person sees it, and the file it brings."""

    text: str
    file: str | None = None


async def console(player: Player) -> list[Shown]:
    assert isinstance(player, OnConsole)
    messages = []
    while not player.cards.empty():
        outgoing = player.cards.get_nowait()
        document = outgoing.card.document
        content = Path(document).read_text(encoding="utf-8") if document else None
        messages.append(Shown(player.console.text(outgoing, colour=False), content))
    return messages


async def telegram(player: Player) -> list[Shown]:
    assert isinstance(player, OnTelegram)
    found = [message for message in player.there.api.screen(ADA) if message.mine]
    return [Shown(message.text, message.file.decode() if message.file_name else None) for message in found]


async def slack(player: Player) -> list[Shown]:
    assert isinstance(player, OnSlack)
    there, messages = player.there.slack, []
    for message in await there.said(slack_end.ADAS_DM):
        shared: list[dict[str, Any]] = message.get("files") or []
        content = None
        for file in shared:
            headers = {"Authorization": f"Bearer {slack_end.BOT_TOKEN}"}
            async with there.session.get(file["url_private"], headers=headers) as answer:
                content = await answer.text()
        messages.append(Shown(slack_end.shows(message), content))
    return messages


Opener = Callable[[Path], AbstractAsyncContextManager[Player]]
EVERY_CHAT = pytest.mark.parametrize(
    ("opened", "seen"),
    [(on_console, console), (on_telegram, telegram), (on_slack, slack)],
    ids=["console", "telegram", "slack"],
)


async def answered(player: Player, text: str) -> None:
    await player.say("ask why is it slow?")
    await player.settle()
    flight = await Flight.of(player)  # type: ignore[arg-type]  # every chat's house has the store and the settling
    await flight.start()
    await flight.note(*events_of(map(Said, text.split("\n"))))
    await flight.move(TaskState.ANSWERED)
    await player.settle()


@EVERY_CHAT
async def test_a_long_answer_is_one_file_that_has_all_of_it(
    tmp_path: Path, opened: Opener, seen: Callable[[Player], Awaitable[list[Shown]]]
) -> None:
    text = "\n".join(str(number) for number in range(1, 40_001))
    async with opened(tmp_path) as player:
        await answered(player, text)
        messages = await seen(player)
    assert [message.file for message in messages if message.file is not None] == [text]
    (head,) = [message.text for message in messages if "in its own words" in " ".join(message.text.split())]
    assert "The first 10 of 40,000 lines" in head
    assert "more line" not in head


@EVERY_CHAT
async def test_an_answer_of_two_screens_comes_as_messages_in_their_order(
    tmp_path: Path, opened: Opener, seen: Callable[[Player], Awaitable[list[Shown]]]
) -> None:
    rows = [f"row{number} of the code does this and that and a third thing" for number in range(90)]
    async with opened(tmp_path) as player:
        await answered(player, "\n".join(["Look:", "```sh", *rows, "```", "That is all."]))
        messages = await seen(player)
    assert [message.file for message in messages if message.file is not None] == []
    parts = [message.text for message in messages if re.search(r"Message \d of 3\.", message.text)]
    assert [re.findall(r"Message (\d) of 3\.", part) for part in parts] == [["1"], ["2"], ["3"]]
    assert [part.count("```") for part in parts] == [2, 2, 2]
    assert [int(row) for part in parts for row in re.findall(r"row(\d+) of", part)] == list(range(90))
    assert "more line" not in "".join(parts) and "left out" not in "".join(parts)


@pytest.fixture(scope="module")
def served() -> Iterator[House]:
    with house() as made:
        env = made.home / ".env"
        env.touch(mode=0o600)
        env.write_text(f"SOME_TOKEN={SECRET}\n")
        made.start()
        yield made


def test_what_a_program_printed_is_in_the_file_to_the_last_line(served: House) -> None:
    answer = served.say("/ask on=macbook shell seq 1 40000", wait=True)
    assert answer.status == 0, answer.shown
    written = (served.home / "files" / f"{answer.task}-answer.txt").read_text(encoding="utf-8")
    assert written == "".join(f"{number}\n" for number in range(1, 40_001)) + "\nDone. All tests pass."
    assert "The first 10 of 40,002 lines" in " ".join(answer.shown.split())


def test_a_program_that_babbles_megabytes_is_bounded_and_what_is_missing_is_counted(served: House) -> None:
    answer = served.say("/ask on=macbook shell seq 1 300000", wait=True)
    assert answer.status == 0, answer.shown
    written = (served.home / "files" / f"{answer.task}-answer.txt").read_text(encoding="utf-8")
    whole = "".join(f"{number}\n" for number in range(1, 300_001)) + "\nDone. All tests pass."
    note = re.search(r"… (\d+) characters left out …\n", written)
    assert note is not None
    before, after = written[: note.start()], written[note.end() :]
    assert whole.startswith(before) and whole.endswith(after)
    assert len(before) + int(note[1]) + len(after) == len(whole)
    kept = sum(len(entry.event.body()["text"]) for entry in served.of(answer.task, "agent.said", "agent.continued"))
    assert len(before) <= kept < 1_100_000


def test_a_secret_in_a_long_line_is_in_no_event_of_the_ledger(served: House) -> None:
    tell = f"python3 -c \"print(*('x' * n + '{SECRET[:9]}' + '{SECRET[9:]}' for n in range(3966, 4002, 6)))\""
    answer = served.say(f"/ask on=macbook shell {tell}", wait=True)
    assert answer.status == 0, answer.shown
    told = [entry.event.body()["text"] for entry in served.of(answer.task, "agent.said", "agent.continued")]
    assert len(told) > 5 and "‹redacted:secret›" in "".join(told)
    assert not [text for text in told if "correct" in text or "staple" in text]

"""Voice messages over the wire: nothing that was spoken acts without its speaker's tap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.revoking import revoked
from fleet.store.chat import settings
from tests.far_end.bot_api import BotApi
from tests.far_end.bot_api_world import Said
from tests.far_end.transcriber import FakeTranscriber
from tests.scenarios.telegram_house import ADA, OTTO, STRANGER, House, telegram_house
from tests.scenarios.test_whole_messages import origin

DATE = 1_795_000_000


@pytest.fixture
def api() -> Iterator[BotApi]:
    with BotApi() as made:
        yield made


@asynccontextmanager
async def spoken(directory: Path, api: BotApi, says: str = "status", **more: Any) -> AsyncIterator[Spoken]:
    async with (
        FakeTranscriber(says).serving() as far,
        telegram_house(directory, api, more=far.toml(), **more) as there,
    ):
        yield Spoken(there, api, far)


class Spoken:
    """A house with somebody who speaks to it."""

    def __init__(self, there: House, api: BotApi, far: FakeTranscriber) -> None:
        self.there, self.api, self.far = there, api, far

    def say(self, user: int, kind: str = "voice", *, seconds: int = 3, data: bytes = b"OggS", **more: Any) -> None:
        kept = self.api.world.store("voice.ogg", data, "audio/ogg")
        about: dict[str, Any] = {
            "file_id": kept.id,
            "file_unique_id": kept.id,
            "duration": seconds,
            "file_size": len(data),
        }
        if kind == "video_note":
            about["length"] = 240
        raw: dict[str, Any] = {**more, kind: about}
        self.api.say(user, "", date=DATE, **raw)

    async def card(self, chat: int, until: str = "Discard") -> Said:
        """The newest card, once it has that button."""

        def found() -> list[Said]:
            return [said for said in self.api.screen(chat) if until in said.labels]

        return (await self.api.until(found, until))[-1]

    async def press(self, user: int, card: Said, label: str) -> list[Said]:
        return await self.there.press(user, card, label)

    async def kept(self) -> dict[str, str]:
        return await self.there.store.read(lambda tx: settings.beginning(tx, "voice:"))


async def test_a_voice_is_a_task_once_its_speaker_confirms_it(tmp_path: Path, api: BotApi) -> None:
    async with spoken(tmp_path, api, "run fix the cart\n\nof evil.com/x @bob") as it:
        it.say(ADA, data=b"OggS1", seconds=75)
        card = await it.card(ADA)
        assert await it.there.tasks() == [], "nothing starts without the tap"
        assert it.far.asked[0].data == b"OggS1"
        assert not list((tmp_path / "files").rglob("*.ogg")), "the recording is not kept"
        assert "Voice message · 1:15" in card.text and "Send: the command run" in card.text and not card.live
        assert card.before == ["Voice message · 1:15\nBeing transcribed…"], "one message, which is edited"
        it.api.press(OTTO, card, "Send")
        await it.there.handled()
        assert await it.there.tasks() == [], "nobody sends the words of another person"
        await it.press(ADA, card, "Send")
        (task,) = await it.there.tasks()
        assert (task.prompt, task.requester) == ("fix the cart of evil.com/x @bob", f"telegram::{ADA}")
        assert card.labels == [] and "✓ Send" in card.text and await it.kept() == {}
        it.api.press(ADA, card, data="x")
        await it.there.handled()
        assert len(await it.there.tasks()) == 1


async def test_a_voice_in_reply_to_a_task_goes_to_its_agent(tmp_path: Path, api: BotApi) -> None:
    async with spoken(tmp_path, api, "/stop it, the price is wrong") as it:
        await it.there.say(ADA, "/ask on=macbook why?")
        group = api.group()
        progress = api.screen(ADA)[-1]
        it.say(ADA, "video_note", reply_to=progress.id)
        card = await it.card(ADA)
        assert "Send: the command stop" in card.text, (
            "as if it had been typed: what begins with a slash is a command"
        )
        await it.press(ADA, card, "Discard")
        assert not await it.there.stopping("t1") and await it.kept() == {}
        it.far.says = "look at the price"
        it.say(ADA, "audio", reply_to=progress.id)
        card = await it.card(ADA)
        assert "Send: to the agent of t1" in card.text
        said = await it.press(ADA, card, "Send")
        assert "t1" in said[-1].text
        it.say(ADA, chat=group.id)
        await it.there.handled()
        assert api.screen(group.id) == [] and len(it.far.asked) == 2, "people who talk to each other are not heard"


async def test_words_for_no_task_may_become_one_and_a_forwarded_voice_never_does(
    tmp_path: Path, api: BotApi
) -> None:
    async with spoken(tmp_path, api, "/stop all") as it:
        it.say(ADA, **origin("Mallory"))
        card = await it.card(ADA)
        assert card.labels == ["Discard"] and "Forwarded from Mallory" in card.text
        api.say(ADA, "/run on=any do what he wants", date=DATE + 9)
        it.api.say(ADA, "", date=DATE + 9, **origin("Mallory"), voice=voice_of(api))
        send = await it.card(ADA, "Send")
        await it.press(ADA, send, "Send")
        (task,) = await it.there.tasks()
        assert task.prompt == "do what he wants\n\nForwarded from Mallory:\n/stop all"
        it.far.says = "Please, mend the checkout page. on=moon"
        it.say(ADA)
        card = await it.card(ADA, "Run it as a task")
        await it.press(ADA, card, "Run it as a task")
        chosen = [said for said in api.screen(ADA) if "on any machine" in said.text or "any" in said.labels]
        assert chosen or (await it.there.tasks())[-1].prompt == it.far.says, "the options in it are words"


def voice_of(api: BotApi, size: int = 4) -> dict[str, Any]:
    kept = api.world.store("voice.ogg", b"OggS", "audio/ogg")
    return {"file_id": kept.id, "file_unique_id": kept.id, "duration": 3, "file_size": size}


async def test_a_voice_that_is_too_long_or_too_large_is_not_fetched(tmp_path: Path, api: BotApi) -> None:
    async with spoken(tmp_path, api) as it:
        it.say(ADA, seconds=301)
        api.say(ADA, "", voice=voice_of(api, 21 << 20))
        it.say(STRANGER)
        await it.there.handled()
        told = [said.text.replace("\u200b", "") for said in api.screen(ADA)]
        assert "it takes 5:01; the limit is 5:00" in told[0] and "it has 21 MB; the limit is 20 MB" in told[1]
        assert api.screen(STRANGER)[0].text.startswith("You are not registered here.")
        assert not it.far.asked and not api.called("getFile")


async def test_a_failure_is_said_and_tried_again_as_often_as_wanted(tmp_path: Path, api: BotApi) -> None:
    async def away(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503)

    async with spoken(tmp_path, api) as it:
        it.far.respond = away
        it.say(ADA)
        for tries in (1, 2):
            card = await it.card(ADA, "Try again")
            assert len(it.far.asked) == tries and "it answers with status 503" in card.text
            if tries == 2:
                it.far.respond = None
            await it.press(ADA, card, "Try again")
        card = await it.card(ADA, "Send")
        await it.press(ADA, card, "Send")
        assert api.screen(ADA)[-1].text.startswith("fleet: 0 agents active")


async def test_a_long_transcript_is_shown_whole_before_it_can_be_sent(tmp_path: Path, api: BotApi) -> None:
    text = "ask " + "why is the price wrong " * 300
    async with spoken(tmp_path, api, text) as it:
        it.say(ADA, seconds=290)
        await it.card(ADA, "Send")
        (whole,) = [said for said in api.screen(ADA) if said.file_name]
        assert whole.file.decode().strip() == text.strip() and "Transcribed below." in api.screen(ADA)[0].text


async def test_what_a_restart_finds_is_transcribed_and_no_crash_repeats_forever(
    tmp_path: Path, api: BotApi
) -> None:
    stuck = asyncio.Event()

    async def hangs(_: web.Request) -> web.StreamResponse:
        stuck.set()
        await asyncio.sleep(600)
        return web.Response()

    for life in range(4):
        async with spoken(tmp_path, api) as it:
            it.far.respond = hangs
            if not api.screen(ADA):
                it.say(ADA)
            if life < 3:
                stuck.clear()
                await stuck.wait()
            else:
                card = await it.card(ADA, "Try again")
                assert "the controller ended 3 times meanwhile" in card.text
                it.far.respond = None
                await it.press(ADA, card, "Try again")
                await it.card(ADA, "Send")


async def test_a_person_whose_rights_end_has_no_voice_left(tmp_path: Path, api: BotApi) -> None:
    async with spoken(tmp_path, api, "run it") as it:
        it.say(ADA)
        card = await it.card(ADA)
        await it.there.store.write(lambda tx: revoked(tx, f"telegram::{ADA}", "Ada", "console"))
        assert await it.kept() == {}
        await it.press(ADA, card, "Send")
        assert await it.there.tasks() == []

"""The whole house with a phone: `airboss serve`, a machine over SSH, gates, and what a kill in between leaves."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.chats.telegram.settings import Webhook
from tests.far_end.bot_api import TOKEN, BotApi
from tests.far_end.bot_api_world import Said
from tests.far_end.ports import unused_port
from tests.scenarios.house import House, house
from tests.scenarios.telegram_house import ADA, telegram_house


@contextmanager
def phoned(**more: Any) -> Iterator[tuple[House, BotApi]]:
    """A house, not yet served, whose admin has a phone."""
    with BotApi() as api, house() as made:
        made.configure(people=[{"name": "Ada", "role": "admin", "ids": [f"telegram::{ADA}"]}], **more)
        env = made.home / ".env"
        env.touch(mode=0o600)
        env.write_text(f"AIRBOSS_TELEGRAM_TOKEN={TOKEN}\nAIRBOSS_TELEGRAM_API={api.url}\n")
        yield made, api


@pytest.fixture(scope="module")
def flown() -> Iterator[tuple[House, BotApi]]:
    with phoned() as (made, api):
        made.start()
        yield made, api


def read(message: Said) -> str:
    """What a person reads: breaks have no width."""
    return message.text.replace("\u200b", "")


def shown(api: BotApi, *pieces: str) -> Said:
    """Waits for a message on Ada's phone that has all of this in it."""

    def look() -> Said | None:
        return next(
            (message for message in api.screen(ADA) if all(piece in read(message) for piece in pieces)), None
        )

    found = api.wait(look, f"the phone shows {pieces}", seconds=60)
    assert found is not None
    return found


def test_from_run_to_landed_one_message_edits_itself_and_the_end_is_a_new_one(flown: tuple[House, BotApi]) -> None:
    made, api = flown
    api.say(ADA, "/run on=macbook write GOOD by phone")
    landed = shown(api, "landed on main", "GOOD by phone")
    assert (landed.silent, landed.labels) == (True, ["Diff", "Receipt"])
    assert made.main() == "GOOD by phone"
    task = landed.text.split()[1] if landed.text.startswith("✅") else landed.text.split()[0]

    def ended() -> Said | None:
        edited = [message for message in api.screen(ADA) if message.before and "landed" in message.text]
        return next((each for each in edited if f"{task} · shop" in each.text), None)

    progress = api.wait(ended, "the card ends")
    assert progress is not None
    assert "unsafe-same-user" in progress.text
    api.press(ADA, landed, "Diff")
    diff = shown(api, "diff", task)
    assert "+GOOD by phone" in diff.text + diff.file.decode()


def test_a_failing_gate_pings_with_buttons_and_a_held_change_lands_by_one(flown: tuple[House, BotApi]) -> None:
    made, api = flown
    seen = made.directory / "the red card was seen"
    api.say(ADA, f"/run on=macbook write BAD by phone\nthen-await {seen}\nthen-write GOOD after all")
    red = shown(api, "gate check failed: exit status 1", "lacks the word: BAD by phone")
    assert (red.silent, red.labels) == (False, ["Retry", "Log", "Diff", "Stop"])
    (pinged,) = (call for call in api.called("sendMessage") if "lacks the word: BAD by phone" in str(call))
    assert f"tg://user?id={ADA}" in str(pinged)
    seen.touch()
    shown(api, "landed on main", "BAD by phone")
    api.wait(lambda: red.labels == ["Log", "Diff"], "what would do nothing after the end is gone")
    api.say(ADA, '/run write GOOD held\nshell echo "print(1)" >> check.py')
    held = shown(api, "held for a person", "check.py")
    assert not held.silent
    approve = next(label for label in held.labels if label.startswith(("Approve", "Allow", "Release")))
    api.press(ADA, held, approve)
    shown(api, "landed on main", "GOOD held")
    assert made.main() == "GOOD held"
    api.wait(lambda: approve not in held.labels, "its buttons are gone")


def test_a_kill_between_receipt_and_effect_loses_and_doubles_nothing() -> None:
    with phoned() as (made, api):
        made.start()
        assert made.controller is not None
        made.controller.send_signal(signal.SIGSTOP)
        updates = [api.say(ADA, f"/ask what is number {number}?") for number in range(3)]
        made.controller.send_signal(signal.SIGCONT)
        api.wait(lambda: updates[0] not in api.unconfirmed(), "the first is confirmed")
        made.kill()
        for update in updates:
            api.redeliver(update)
        made.start()
        for number in range(3):
            shown(api, "answered", f"what is number {number}?")
        created = [body["prompt"] for body in made.bodies("task.requested")]
        assert sorted(created) == [f"what is number {number}?" for number in range(3)]


def test_a_wrong_token_ends_serve_with_a_remedy() -> None:
    with phoned() as (made, api):
        (made.home / ".env").write_text(f"AIRBOSS_TELEGRAM_TOKEN=1:nobody\nAIRBOSS_TELEGRAM_API={api.url}\n")
        with pytest.raises(AssertionError, match="@BotFather"):
            made.start()
        assert made.died() == 2
        said = (made.directory / "serve.log").read_text()
        assert "nobody" not in said


async def test_by_webhook_only_who_knows_the_secret_is_heard(tmp_path: Path) -> None:
    port = unused_port()
    hook = Webhook(f"http://127.0.0.1:{port}/telegram", "127.0.0.1", port, "the-secret")
    with BotApi() as api:
        async with telegram_house(tmp_path, api, webhook=hook) as there:
            assert api.called("getUpdates") == []
            (answer,) = await there.say(ADA, "/run by webhook")
            assert answer.text
            assert api.webhook_answers == [200]
            who = {"id": ADA, "is_bot": False, "first_name": "Ada"}
            chat = {"id": ADA, "type": "private"}
            said_so = {"message_id": 1, "date": 1, "text": "/run forged", "from": who, "chat": chat}
            forged = {"update_id": 1, "message": said_so}
            header = "X-Telegram-Bot-Api-Secret-Token"
            async with aiohttp.ClientSession() as session:
                for headers, status in (({}, 403), ({header: "guess"}, 403), ({header: "the-secret"}, 200)):
                    async with session.post(hook.url, json=forged, headers=headers) as said:
                        assert said.status == status
                async with session.post(hook.url, data=b"{", headers={header: "the-secret"}) as said:
                    assert said.status == 400
            await there.handled()
            assert [task.prompt for task in await there.tasks()] == ["by webhook", "forged"]
            with there.store.transaction() as tx:
                refusal = "create trigger full before insert on inbox begin select raise(abort, 'no'); end"
                tx.connection.exec_driver_sql(refusal)
            api.say(ADA, "/run unkept")
            await api.until(lambda: len(api.webhook_answers) == 2)
            assert api.webhook_answers[-1] == 503, "Telegram delivers it again"

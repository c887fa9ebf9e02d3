"""Every refusal that Slack is known to give, to every kind of message: the words arrive, with mention and buttons,
or the channel is closed; and whatever it was, the next message arrives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.cards import Action, Card, line
from bot.chats.slack.pace import RateLimiter
from bot.outbox.port import Outgoing
from fleet.errors import Unavailable
from fleet.untrusted import Untrusted
from tests.conftest import sampled
from tests.far_end.slack import ADA, ADAS_DM, BOT_TOKEN, FLEET, TEAM, shows
from tests.far_end.slack_refusals import (
    CHANNEL_CLOSED,
    EDITS,
    FILES,
    FORMS,
    GONE_EDITS,
    THREAD_CLOSED,
    TRANSIENT,
)
from tests.scenarios.slack_house import HERE, House, house

WORDS = Card(
    line("t1 · landed"),
    (line("All tests pass."),),
    body=Untrusted("E   assert 1 == 2"),
    actions=(Action("Receipt", "/receipt t1"),),
    mention=f"slack:{TEAM}:{ADA}",
    mentioned="Ada",
)
LONG = replace(WORDS, body=Untrusted("\n".join(f"line {number}" for number in range(3_000))), actions=())


async def told(there: House, card: Card, thread: str = "", **more: Any) -> list[dict[str, Any]]:
    """Sends the card with its ping; answers every message that is new in the channel and in Ada's own."""
    known = [len(await there.slack.said(channel)) for channel in (FLEET, ADAS_DM)]
    place = replace(HERE, thread=thread)
    await there.store.write(lambda tx: there.outbox.open(tx).post(place, card, ping=True, **more))
    await there.settled()
    return [
        *(await there.slack.said(FLEET))[known[0] :],
        *(await there.slack.said(ADAS_DM))[known[1] :],
    ]


async def everything(there: House, messages: list[dict[str, Any]]) -> str:
    """What the messages show, and what stands in their files."""
    parts = [f"{shows(message)} {message.get('text', '')}" for message in messages]
    for file in [file for message in messages for file in message.get("files", ())]:
        headers = {"Authorization": f"Bearer {BOT_TOKEN}"}
        async with there.slack.session.get(file["url_private"], headers=headers) as answer:
            parts.append(await answer.text())
    return "\n".join(parts)


def lacks(said: str, messages: list[dict[str, Any]]) -> list[str]:
    """What of the card is missing: its words, its mention, its buttons or the word that they could not be shown."""
    first = f"{shows(messages[0])} {messages[0].get('text', '')}" if messages else ""
    return [
        name
        for name, there in {
            "title": "t1 · landed" in first,
            "words": "All tests pass." in said and "assert 1 == 2" in said,
            "mention": f"<@{ADA}>" in first,
            "buttons": "Receipt" in first or "buttons could not be shown" in first,
        }.items()
        if not there
    ]


async def test_words_arrive_whatever_was_refused(tmp_path: Path) -> None:
    """Once, twice, and for each form but the last: a form that was left out is never the words."""
    async with house(tmp_path) as there:
        lost = []
        cases = [(code, times) for code in (*FORMS, *THREAD_CLOSED) for times in (1, 2)]
        cases += [(code, 1_000) for code in CHANNEL_CLOSED]
        for code, times in [*((code, 1) for code in TRANSIENT), *cases]:
            closed = code in CHANNEL_CLOSED or code in THREAD_CLOSED
            there.proxy.fail(
                "chat.postMessage", error=code, times=times, channel=FLEET if closed else "", retry_after="0"
            )
            messages = await told(there, WORDS, thread="1.1" if code in THREAD_CLOSED else "")
            if missing := lacks(await everything(there, messages), messages):
                lost.append((code, times, missing, [shows(message) for message in messages]))
            there.proxy.faults.clear()
        assert not lost, "\n".join(map(repr, lost))


async def test_a_refusal_of_a_thread_shown_in_its_channel_is_answered_by_the_thread_alone(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        (root,) = await told(there, Card(line("root")))
        there.proxy.fail("chat.postMessage", error="cant_broadcast_message")
        (message,) = await told(there, WORDS, thread=root["ts"])
        assert message["thread_ts"] == root["ts"] and "Receipt" in shows(message)
        assert not there.proxy.called("chat.postMessage")[-1].get("reply_broadcast")


async def test_words_arrive_although_their_file_is_refused(tmp_path: Path) -> None:
    """A file of the words: as text. A document: it is named. What only an admin can mend delays nothing else."""
    receipt = tmp_path / "t1.receipt.json"
    receipt.write_text("{}")
    async with house(tmp_path) as there:
        lost = []
        for number, code in enumerate(FILES):
            method = ("files.getUploadURLExternal", "files.completeUploadExternal")[number % 2]
            card = LONG if number % 3 else replace(WORDS, document=str(receipt))
            there.proxy.fail(method, error=code, times=1_000, retry_after="0")
            said = await everything(there, await told(there, card, task="t1"))
            there.proxy.faults.clear()
            wanted = ["t1.txt", "line 900"] if number % 3 else ["t1.receipt.json", "assert 1 == 2"]
            if missing := [words for words in (*wanted, "could not be sent", f"<@{ADA}>") if words not in said]:
                lost.append((code, missing, said[:2_000]))
        assert not lost, "\n".join(map(repr, lost))
        (next_one,) = await told(there, Card(line("good morning")))
        assert "good morning" in shows(next_one)


async def test_a_file_that_slack_never_takes_holds_up_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        there.proxy.fail("files.getUploadURLExternal", status=500, times=1_000)
        card = Outgoing(7, HERE, LONG, edits="", ping=True, again=False, task="t1", key="")
        for _ in range(4):
            with pytest.raises(Unavailable):
                await there.adapter.deliver(card)
        assert await there.adapter.deliver(card)
        first, *rest = await there.slack.said()
        assert "t1 · landed" in shows(first) and "could not be sent" in rest[-1]["text"]
        assert any("line 900" in message["text"] for message in rest)


async def test_an_edit_that_is_refused_loses_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, edits=RateLimiter(1_000, 1_000)) as there:
        lost = []
        for number, code in enumerate([*EDITS, *GONE_EDITS, *sampled(FORMS, 6)]):
            key, times = f"task:t{number}", number % 3 + 1
            await told(there, Card(line(f"first {number}")), key=key)
            there.proxy.fail("chat.update", error=code, times=times)
            words = Card(line(f"second {number}"), (line("All of it."),), actions=(Action("Log", "/logs t1"),))

            def change(tx: Any, words: Card = words, key: str = key) -> None:
                there.outbox.open(tx).repost(HERE, words, key=key)

            await there.store.write(change)
            await there.settled()
            there.proxy.faults.clear()
            (shown,) = [shows(m) for m in await there.slack.said() if f"second {number}" in shows(m)]
            if "All of it." not in shown or "Log" not in shown:
                lost.append((code, times, shown))
        assert not lost, "\n".join(map(repr, lost))


async def test_a_channel_that_is_closed_and_nobody_to_tell_stops_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for code in sampled(CHANNEL_CLOSED, 5):
            there.proxy.fail("chat.postMessage", error=code, times=1_000)
            assert not await told(there, replace(WORDS, mention="", mentioned=""))
            assert len(there.proxy.faults) == 1 and there.proxy.faults[0].times == 999, f"asked again after {code}"
            there.proxy.faults.clear()
            (message,) = await told(there, Card(line(f"after {code}")))
            assert code in shows(message)

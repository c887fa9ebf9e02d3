"""The rights matrix on Telegram's wire, cell by cell: every command by everybody, typed and pressed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.cards import Action, Card, line
from bot.commands import every_command
from bot.registry import Command
from fleet.model import ChatRef
from gates.people import RIGHTS, Right
from tests.conftest import sampled
from tests.contracts.test_rights import WORDS, allowed, written
from tests.far_end.bot_api import BotApi
from tests.far_end.bot_api_world import BOT_NAME, Said
from tests.scenarios.hostile_house import ROLES, Siege, no_troubles, stranger_line
from tests.scenarios.telegram_house import STRANGER, House, telegram_house


@pytest.fixture
def api() -> Iterator[BotApi]:
    with BotApi() as made:
        yield made


def readable(messages: list[Said]) -> str:
    """What a person reads: breaks have no width."""
    return "\n".join(message.text for message in messages).replace("\u200b", "")


async def drawn(there: House, chat: int, command: str) -> Said:
    """A new card in the chat with a button for a command line."""
    known = {message.id for message in there.api.screen(chat)}
    card = Card(line("pick"), actions=(Action("Do it", command),))
    where = ChatRef("telegram", str(chat))
    await there.store.write(lambda tx: there.outbox.open(tx).post(where, card))
    await there.deliverer.drained(where)
    (shown,) = (message for message in there.api.screen(chat) if message.id not in known)
    return shown


@pytest.mark.parametrize("command", sampled(every_command(), 4), ids=lambda command: command.verb)
async def test_a_row(tmp_path: Path, api: BotApi, command: Command) -> None:
    """Typed in private, typed in a group and pressed: who may not, changes nothing and is told why once."""
    async with telegram_house(tmp_path, api) as there:
        siege = await Siege.lay(there)
        await siege.errand()
        group = siege.chats["super"]
        words = WORDS.get(command.verb, "t1" if "TASK" in command.usage else "")
        name = command.verb.replace("-", "_")
        with no_troubles():
            for user, role in ((STRANGER, None), *ROLES.items()):
                for way in ("private", "group", "button"):
                    button = await drawn(there, group, f"/{command.verb} {words}") if way == "button" else None
                    before = await there.store.read(written)
                    if button is not None:
                        earlier = {message.id: message.text for message in api.screen(group)}
                        told = await there.press(user, button, "Do it")
                        await there.deliverer.drained(ChatRef("telegram", str(group)))
                        told = told or [m for m in api.screen(group) if earlier.get(m.id) != m.text]
                    elif way == "group":
                        told = await there.say(user, f"/{name}@{BOT_NAME} {words}", chat=group)
                    else:
                        told = await there.say(user, f"/{name} {words}")
                    said, cell = readable(told), f"{command.verb} by {role or 'a stranger'}, {way}"
                    # Anybody may have quiet for themselves; where others listen, it is like running something.
                    right = Right.RUN if command.verb == "mute" and way != "private" else command.right
                    may = role is not None and right in RIGHTS[role]
                    if right is command.right:
                        assert may == (role is not None and allowed(command, role)), "as written down by hand"
                    if may:
                        assert told, f"{cell}: not answered"
                        assert "this needs the right" not in said and "not registered here" not in said, cell
                        assert "bug of ours" not in said, f"{cell}: {said}"
                        continue
                    line_ = stranger_line(user) if role is None else f"this needs the right to {right}"
                    assert len(told) == 1 and line_ in said, f"{cell}: {said}"
                    assert await there.store.read(written) == before, f"{cell}: something happened"

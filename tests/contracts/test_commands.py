"""What every command that anyone registers must keep to, by whatever room it comes from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bot import plain
from bot.cards import MAX_LINES, Card, shown
from bot.commands import every_command
from bot.registry import Command, Group, Registry
from fleet.errors import Misused
from fleet.store.chat import inbox
from gates.people import RIGHTS, Right, Role
from tests.chat_flight import Flight
from tests.chat_house import ADA, OTTO, STRANGER, VERA, house
from tests.schema import load, problems

DOCS = Path(__file__).parents[2] / "docs" / "commands.md"
COMMANDS = every_command()
ANSWER = load("answer.json")
BY_ROLE = {Role.VIEWER: VERA, Role.OPERATOR: OTTO, Role.ADMIN: ADA}
HOSTILE = (
    "",
    "t1",
    "t999999999999999999999999",
    "\x1b]0;owned\x07\x1b[2J",
    "'; DROP TABLE tasks; --",
    "“smart” — dashes … t1",
    "%s %n {0} $(id) `id`",
    "@everyone <script>alert(1)</script> [x](javascript:1)",
    "\u202eevil\u2066 \ud83d\ude00",
    "a" * 20_000,
    "-- --help",
    "repo= on= agent= x",
    "\n\n\n",
)

every = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.verb)


def text_of(card: Card) -> str:
    return "\n".join([shown(card.title), *(shown(row) for row in card.lines)])


@every
def test_it_tells_what_it_is_for(command: Command) -> None:
    assert re.fullmatch(r"[a-z][a-z-]*", command.verb)
    assert 5 <= len(command.summary) <= 60
    assert command.right in Right
    assert command.group in Group
    assert not command.brief or 3 <= len(command.brief) <= 12
    assert len(command.line) <= 60, "a phone's help shows it on two lines at most"


@every
def test_it_is_documented_as_it_is(command: Command) -> None:
    rows = DOCS.read_text(encoding="utf-8").splitlines()
    usage = command.line.replace("|", "\\|")
    also = " ".join(f"`/{name}`" for name in command.aliases)
    assert f"| `{usage}` | {command.summary} | {command.right} | {also} |" in rows


def test_nothing_else_is_documented() -> None:
    documented = set(re.findall(r"^\| `/([a-z-]+)", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert documented == {command.verb for command in COMMANDS}


def test_a_name_is_registered_once() -> None:
    registry = Registry(COMMANDS)
    with pytest.raises(ValueError, match="two commands"):
        registry.add(COMMANDS[0])


async def test_help_shows_every_command_and_each_one_in_full(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        _, (overview,) = await there.say("/help")
        assert len(overview.lines) <= MAX_LINES
        for command in COMMANDS:
            assert (f"/{command.verb} {command.brief}" in text_of(overview)) == bool(command.brief)
            _, (card,) = await there.say(f"/help {command.verb}")
            assert command.line in text_of(card)
            assert command.summary in text_of(card)


async def test_help_has_a_button_for_each_group_and_stays_one_card(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        _, (overview,) = await there.say("/help")
        assert [action.label for action in overview.actions] == list(Group)
        message = there.phone.sent[-1].id
        for group in Group:
            result, new = await there.press(there.last(), group)
            shown_now = there.phone.sent[-1]
            assert (result.status, new, shown_now.edits, shown_now.soon) == (0, [], f"m{message}", True)
            assert len(shown_now.card.lines) <= MAX_LINES
            commands = [f"/{command.verb} · {command.summary}" for command in COMMANDS if command.group is group]
            assert [shown(row) for row in shown_now.card.lines[:-1]] == commands
            _, typed = await there.say(f"/help {group}")
            assert [text_of(card) for card in typed] == [text_of(shown_now.card)]
            await there.press(shown_now.card, "Back", OTTO)
            assert text_of(there.last()) == text_of(overview)
            assert there.last().footer == "Otto · operator"
        assert not {Group.named(name) for name in Registry(COMMANDS).names} - {None}, "a group named like a command"


async def test_help_says_whether_the_reader_may_use_a_command(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for person, ending in ((OTTO, "you have it."), (VERA, "your role, viewer, does not have it.")):
            _, (card,) = await there.say("/help run", person)
            assert shown(card.lines[1]) == f"Needs the right to run; {ending}"


async def test_a_stranger_gets_their_id_and_nothing_happens(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run repo=shop first")
        for command in COMMANDS:
            _, (card,) = await there.say(f"/{command.verb} t1 words", STRANGER)
            assert text_of(card) == "You are not registered here.\nYour id: phone::mallory"
        assert [task.id for task in await there.tasks()] == ["t1"]


@pytest.mark.parametrize("role", list(Role))
async def test_each_role_by_the_matrix(tmp_path: Path, role: Role) -> None:
    async with house(tmp_path) as there:
        for command in COMMANDS:
            result, cards = await there.say(f"/{command.verb}", BY_ROLE[role])
            denied = any("this needs the right" in text_of(card) for card in cards)
            assert denied == (command.right not in RIGHTS[role]), command.verb
            assert result.status == 2 or not denied


async def test_a_redelivered_update_has_one_effect(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for command in COMMANDS:
            message = there.message(f"/{command.verb} do the thing")
            assert not (await there.core.call(message)).repeated
            await there.settle()
            before = len(there.phone.sent), len(await there.tasks())
            assert (await there.core.call(message)).repeated
            assert not await there.core.receive(message)
            await there.settle()
            assert (len(there.phone.sent), len(await there.tasks())) == before, command.verb


async def test_hostile_words_get_an_answer_and_never_an_accident(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        answers = set()
        for command in COMMANDS:
            for words in HOSTILE:
                result = await there.core.call(there.message(f"/{command.verb} {words}"))
                assert result is not None
                assert result.posted, f"no answer to /{command.verb} {words[:40]!r}"
                assert result.status in (0, 1, 2, 3)
                answers |= set(result.posted)
        await there.settle()
        assert not [text for text in there.phone.titles() if "bug of ours" in text]
        assert {post.id for post in there.phone.sent} >= answers
        assert await there.store.read(inbox.pending) == []


async def test_every_answer_has_data_for_scripts(tmp_path: Path) -> None:
    """What only shows something has data of its own; for the rest, the words of the cards are the data."""
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask()
        for command in COMMANDS:
            result, cards = await there.say(f"/{command.verb}{' t1' if 'TASK' in command.usage else ''}")
            shows = command.right is Right.SEE and command.verb not in {"mute", "notify", "cancel", "zone"}
            assert result.data or not shows or result.status, f"/{command.verb} has no data"
            data = result.data or {"cards": [plain.card(card) for card in cards]}
            assert not problems({"task": result.task, "status": result.status, "data": data}, ANSWER), command.verb
            assert json.loads(json.dumps(data)), command.verb


def test_data_for_scripts_is_redacted() -> None:
    secret = "hunter2-hunter2"
    found = plain.without_secrets(
        {"a": [{"b": f"x {secret}", "n": 1}], "c": (secret,)}, lambda text: text.replace(secret, "•••")
    )
    assert found == {"a": [{"b": "x •••", "n": 1}], "c": ["•••"]}


async def test_the_data_of_an_answer_has_no_secret(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        there.store.redact = lambda text: text.replace("hunter2", "•••")
        await there.say("/run the password is hunter2")
        result, _ = await there.say("/history")
        assert "•••" in json.dumps(result.data, ensure_ascii=False) and "hunter2" not in json.dumps(result.data)


@every
def test_wrong_arguments_are_told_the_usage(command: Command) -> None:
    error = command.misused("because")
    assert isinstance(error, Misused)
    assert command.line in error.hint


async def test_a_mistyped_verb_is_told_the_nearest(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        result, (card,) = await there.say("/statsu")
        assert result.status == 2
        assert "Did you mean /status?" in text_of(card)
        _, (card,) = await there.say("/repoz")
        assert "Did you mean /repos?" in text_of(card), "not /use, whose alias is nearer"

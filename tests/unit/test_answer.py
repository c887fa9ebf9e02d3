"""/ask ends in an answer: the agent's own words, all of them: as text, two or three messages, or a document."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.cards import Card, shown
from bot.telling.longtext import utf16
from bot.telling.sounds import Sound
from fleet.agent_events import Said
from fleet.events import AgentContinued, AgentSaid, ToolCallStarted
from fleet.flight.testimony import events_of
from fleet.model import TaskState, TurnCause
from fleet.store import sessions
from fleet.store.core import Tx
from tests.chat_flight import Flight, everything
from tests.chat_house import House, house


async def answered(there: House, *said: str, claim: str = "") -> Flight:
    await there.say("/ask why is it slow?")
    flight = await Flight.begin(there, begun=True)
    await flight.note(AgentSaid("Let me look."), ToolCallStarted("c1", "Read", "a.py"), *map(AgentSaid, said))

    def over(tx: Tx) -> None:
        turn = sessions.create_turn(tx, flight.session, TurnCause.REQUEST, "why?")
        sessions.update_turn(tx, turn.id, claim=claim)

    await there.store.write(over)
    await flight.move(TaskState.ANSWERED)
    return flight


def answers(there: House) -> list[Card]:
    """The messages that bring the answer, in the order in which they came."""
    put = [post.card for post in there.phone.sent if not post.edits]
    first = next(at for at, card in enumerate(put) if any("answers, in" in shown(line) for line in card.lines))
    return put[first:]


def body(card: Card) -> str:
    assert card.body is not None
    return card.body.text(len(card.body.raw) + 1)


def plain_words(text: str) -> list[str]:
    """The words of a text without its code fences, which are closed and opened again between messages."""
    return re.sub(r"```\w*", "", text).split()


async def test_a_short_answer_is_text_and_says_whose_words_it_is(tmp_path: Path) -> None:
    async with house(tmp_path, documents=True) as there:
        flight = await answered(there, "It reads a.py twice.", claim="It reads a.py twice.")
        card = there.phone.sent[-1].card if not there.phone.sent[-1].edits else there.phone.sent[-2].card
        assert shown(card.title) == "t1 · why is it slow?"
        assert "demo answers, in its own words; nothing checked them:" in everything(card)
        assert card.body is not None
        assert card.body.text() == "It reads a.py twice."
        assert card.document == ""
        assert flight.pings() == [], f"an answer is {Sound.GOOD_END}, silent unless a person wishes otherwise"


async def test_a_program_that_says_its_answer_line_by_line_is_heard_whole(tmp_path: Path) -> None:
    async with house(tmp_path, documents=True) as there:
        await answered(there, "First,", "second,", "third.", claim="third.")
        (card,) = [post.card for post in there.phone.sent if "in its own words" in everything(post.card)]
        assert card.body is not None
        assert card.body.text() == "First,\nsecond,\nthird."


async def test_a_long_answer_is_a_document_without_its_secrets(tmp_path: Path) -> None:
    async with house(tmp_path, documents=True) as there:
        there.store.redact = lambda text: text.replace("hunter2", "[secret]")
        text = "\n".join(f"{number}. it is slow because of hunter2 \x1b[31m" for number in range(200))
        await answered(there, "cut", claim=text)
        (card,) = [post.card for post in there.phone.sent if post.card.document]
        whole = Path(card.document).read_text(encoding="utf-8")
        assert whole.startswith("0. it is slow because of [secret]")
        assert "199. it is slow" in whole
        assert "\x1b" not in whole
        assert card.body is not None
        assert len(card.body.text()) < 1_300


@pytest.mark.parametrize("said", [(), ("",), ("\n\n", "  \n\t"), ("\x1b[0m\u200b",)])
async def test_without_words_that_is_said(tmp_path: Path, said: tuple[str, ...]) -> None:
    async with house(tmp_path) as there:
        await answered(there, *said)
        (card,) = [post.card for post in there.phone.sent if "finished without a message" in everything(post.card)]
        assert shown(card.lines[0]) == "demo finished without a message."
        assert card.body is None
        assert [action.label for action in card.actions] == ["Log"]


async def test_blank_lines_do_not_hide_the_closing_words(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await answered(there, "\n" * 40, claim="Yes.")
        assert [body(card) for card in answers(there)] == ["Yes."]


async def test_a_long_answer_is_whole_in_its_document_and_truly_counted(tmp_path: Path) -> None:
    lines = [str(number) for number in range(1, 40_001)]
    async with house(tmp_path, documents=True) as there:
        await answered(there, *(event.body()["text"] for event in events_of(map(Said, lines))), claim=lines[-1])
        (card,) = answers(there)
        text = Path(card.document).read_text(encoding="utf-8")
        assert len(text) > 200_000
        assert text == "\n".join(lines)
        assert body(card) == "\n".join(lines[:10])
        assert "The first 10 of 40,000 lines; the file has all of them." in everything(card)


async def test_a_long_line_is_one_line_again_and_truly_counted(tmp_path: Path) -> None:
    line = "word after word, " * 20_000
    async with house(tmp_path, documents=True) as there:
        await there.say("/ask why is it slow?")
        flight = await Flight.begin(there, begun=True)
        await flight.note(*events_of([Said("One line:"), Said(line), Said("That was it.")]))
        await flight.move(TaskState.ANSWERED)
        (card,) = answers(there)
        text = Path(card.document).read_text(encoding="utf-8")
        assert text == f"One line:\n{line}\nThat was it."
        (told,) = re.findall(r"The first ([\d,]+) of ([\d,]+) characters; the file", everything(card))
        assert [int(number.replace(",", "")) for number in told] == [len(body(card)), len(text)]
        assert text.startswith(body(card))


async def test_a_document_comes_with_a_beginning_that_fits_its_caption(tmp_path: Path) -> None:
    async with house(tmp_path, documents=True) as there:
        await answered(there, "\U0001f600 " * 30_000)
        (card,) = answers(there)
        assert utf16(everything(card)) < 1_000


async def test_an_answer_of_two_screens_comes_as_messages_in_order_with_its_code_whole(tmp_path: Path) -> None:
    code = "\n".join(f"    line{number} = compute({number})" for number in range(45))
    text = f"{'Some prose about it. ' * 60}\n\n```python\n{code}\n```\n\n{'And the end of it. ' * 40}".rstrip()
    async with house(tmp_path, documents=True) as there:
        flight = await answered(there, text)
        cards = answers(there)
        assert [shown(card.title) for card in cards] == ["t1 · why is it slow?", *["t1 · the answer continues"] * 2]
        assert [f"Message {number} of 3." in everything(card) for number, card in enumerate(cards, 1)] == [True] * 3
        assert all(body(card).count("```") % 2 == 0 for card in cards)
        fences = re.compile(r"```\w*")
        assert " ".join(fences.sub("", "\n".join(map(body, cards))).split()) == " ".join(
            fences.sub("", text).split()
        )
        assert all(utf16(body(card)) <= 2_800 and body(card).count("\n") < 40 for card in cards)
        assert [[action.label for action in card.actions] for card in cards] == [[], [], ["Log"]]
        assert [bool(card.mention) for card in cards] == [True, False, False]
        assert all(card.document == "" and "unsafe" in card.footer for card in cards)
        assert flight.pings() == []


async def test_a_secret_that_a_code_or_an_event_parts_is_not_shown(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        there.store.redact = lambda text: text.replace("hunter2", "[secret]")
        await answered(there, "It is hun\x1b[1mter2.")
        assert [body(card) for card in answers(there)] == ["It is [secret]."]


async def test_the_log_shows_a_long_line_as_one(tmp_path: Path) -> None:
    async with house(tmp_path, documents=True) as there:
        await there.say("/ask why is it slow?")
        flight = await Flight.begin(there, begun=True)
        await flight.note(AgentSaid("first"), AgentSaid("be"), AgentContinued("gun\nlast"))
        await there.say("/logs t1")
        card = there.phone.sent[-1].card
        assert [row[6:] for row in body(card).split("\n")][-3:] == ["first", "begun", "last"]

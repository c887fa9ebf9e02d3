"""/ask ends in an answer: the agent's own words, as text when short and as a document when long; nothing lands."""

from __future__ import annotations

from pathlib import Path

from bot.cards import shown
from bot.sounds import Sound
from fleet.events import AgentSaid, ToolCallStarted
from fleet.model import TaskState
from fleet.store import sessions
from fleet.store.core import Tx
from tests.chat_flight import Flight, everything
from tests.chat_house import House, house


async def answered(there: House, *said: str, claim: str = "") -> Flight:
    await there.say("/ask why is it slow?")
    flight = await Flight.begin(there, begun=True)
    await flight.note(AgentSaid("Let me look."), ToolCallStarted("c1", "Read", "a.py"), *map(AgentSaid, said))

    def over(tx: Tx) -> None:
        turn = sessions.create_turn(tx, flight.session, "request", "why?")
        sessions.update_turn(tx, turn.id, claim=claim)

    await there.store.write(over)
    await flight.move(TaskState.ANSWERED)
    return flight


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
        (card,) = [one.card for one in there.phone.sent if "in its own words" in everything(one.card)]
        assert card.body is not None
        assert card.body.text() == "First,\nsecond,\nthird."


async def test_a_long_answer_is_a_document_without_its_secrets(tmp_path: Path) -> None:
    async with house(tmp_path, documents=True) as there:
        there.store.redact = lambda text: text.replace("hunter2", "[secret]")
        text = "\n".join(f"{number}. it is slow because of hunter2 \x1b[31m" for number in range(200))
        await answered(there, "cut", claim=text)
        (card,) = [one.card for one in there.phone.sent if one.card.document]
        whole = Path(card.document).read_text(encoding="utf-8")
        assert whole.startswith("0. it is slow because of [secret]")
        assert "199. it is slow" in whole
        assert "\x1b" not in whole
        assert card.body is not None
        assert len(card.body.text()) < 1_300


async def test_without_words_that_is_said(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await answered(there)
        (card,) = [one.card for one in there.phone.sent if "in its own words" in everything(one.card)]
        assert "It said nothing." in everything(card)

"""Each refusal of Telegram's leads to a weaker form with the words in it, and every ladder ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.cards import Action, Card, line
from bot.chats.telegram.files import Enclosure
from bot.chats.telegram.ladder import LONGEST, Attempt, Destination, weaker

GROUP = Attempt(
    Destination("-1001", thread=7, answers=3),
    Card(line("t1 · landed"), (line("a"), line("b")), actions=(Action("Receipt", "/receipt t1"),)),
    user="503",
    person="503",
    silent=False,
    file=Enclosure("digest.png", b"x", photo=True),
)

REFUSALS = (
    "Not enough rights to send documents to the chat", "TOPIC_CLOSED", "message thread not found", "TOPIC_DELETED",
    "CHAT_WRITE_FORBIDDEN", "have no rights to send a message", "PHOTO_INVALID_DIMENSIONS", "can't parse entities",
    "message is too long", "BUTTON_DATA_INVALID", "Request Entity Too Large", "message to be replied not found",
    "of tomorrow",
)  # fmt: skip


@given(st.lists(st.sampled_from(REFUSALS), min_size=LONGEST, max_size=LONGEST))
def test_every_ladder_ends_and_keeps_the_words_to_its_end(refusals: list[str]) -> None:
    attempt = GROUP
    for why in refusals:
        following = weaker(attempt, why)
        if following is None:
            break
        assert following != attempt
        attempt = following
        page = attempt.page()
        assert page is not None
        assert "t1 · landed" in page.html
    else:
        pytest.fail("a ladder that does not end")


@pytest.mark.parametrize("why", ["chat not found", "bot was blocked by the user", "bot was kicked from the group"])
def test_a_group_that_is_gone_sends_its_person_the_card_and_a_person_who_is_gone_gets_none(why: str) -> None:
    private = weaker(GROUP, why)
    assert private is not None
    assert (private.place.chat, private.place.thread) == ("503", 0)
    page = private.page()
    assert page is not None
    assert "no longer in the group" in page.html
    assert weaker(private, why) is None


def test_a_file_alone_that_is_refused_is_named() -> None:
    alone = Attempt(Destination("1"), GROUP.card, words=False, file=Enclosure("a.log", b"x"))
    said = weaker(alone, "not enough rights to send documents to the chat")
    assert said is not None
    page = said.page()
    assert page is not None
    assert "log: could not be sent: not enough rights" in page.html.replace("\u200b", "")


def test_a_card_that_nobody_is_pinged_for_goes_to_no_private_chat() -> None:
    silent = Attempt(Destination("-1001"), GROUP.card, person="503", silent=True)
    assert weaker(silent, "CHAT_WRITE_FORBIDDEN") is None

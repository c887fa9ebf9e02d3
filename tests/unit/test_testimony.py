"""What an agent says reaches the ledger whole, in events of a bounded size, and without a secret in any of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.agent_events import Happening, Said, ToolEnded, ToolOutcome, TurnEnded, TurnOutcome
from fleet.agents.lines import WORDS_LIMIT
from fleet.events import AgentContinued, AgentSaid, Event, ToolCallEnded, TurnClosed
from fleet.flight.testimony import SUMMARY_LIMIT, TEXT_LIMIT, claim_of, error_of, events_of
from fleet.redact import Redactor

SECRET = "correct-horse-battery-staple"
REDACT = Redactor([SECRET])


def joined(events: list[Event]) -> str:
    """The words again, as every reader of the ledger puts them together."""
    text = ""
    for number, event in enumerate(events):
        assert isinstance(event, AgentSaid | AgentContinued)
        assert len(event.text) <= TEXT_LIMIT
        text += ("\n" if number and isinstance(event, AgentSaid) else "") + event.text
    return text


@given(st.lists(st.sampled_from(["a", "\n", " ", "word", "x" * 999, "y" * TEXT_LIMIT, "\n" * 1500]), max_size=14))
@example(["x" * (TEXT_LIMIT + 1)])
@example(["\n" * (3 * TEXT_LIMIT)])
def test_words_of_any_length_are_all_there(words: list[str]) -> None:
    text = "".join(words)
    assert joined(events_of([Said(text)])) == text
    assert joined(events_of([Said(line) for line in text.split("\n")])) == text


def test_an_answer_of_two_hundred_thousand_characters_is_whole() -> None:
    lines = [str(number) for number in range(40_000)]
    assert joined(events_of(map(Said, lines))) == "\n".join(lines)


@pytest.mark.parametrize("code", ["", "\x1b[31m"])
def test_a_secret_over_the_border_of_two_events_is_in_neither(code: str) -> None:
    for before in range(TEXT_LIMIT - len(SECRET) - 2, TEXT_LIMIT + 2):
        text = "x" * before + SECRET[:9] + code + SECRET[9:] + " and so on" * 1_000
        told = joined(events_of([Said(text)], REDACT))
        assert "‹redacted:secret›" in told
        assert "correct" not in told and "staple" not in told


def test_what_is_cut_out_of_too_many_words_is_counted_and_parts_no_secret() -> None:
    text = f"begin {SECRET} " * (WORDS_LIMIT // 20)
    told = joined(events_of([Said(text)], REDACT))
    (missing,) = re.findall(r"\n… (\d+) characters left out …\n", told)
    kept = len(told) - len(f"\n… {missing} characters left out …\n")
    assert kept + int(missing) == len(REDACT(text))
    assert kept <= WORDS_LIMIT
    assert "correct" not in told and "staple" not in told


@pytest.mark.parametrize("before", range(SUMMARY_LIMIT // 2 - len(SECRET), SUMMARY_LIMIT // 2 + 1, 7))
def test_a_short_form_holds_no_half_of_a_secret(before: int) -> None:
    text = "x" * before + SECRET + "y" * 300 + SECRET + "x" * before
    happened: list[Happening] = [
        ToolEnded("c1", ToolOutcome.FAILED, 1, text),
        TurnEnded(text * 20, TurnOutcome.FAILED, text * 20),
    ]
    tool, turn = events_of(happened, REDACT)
    assert isinstance(tool, ToolCallEnded) and isinstance(turn, TurnClosed)
    for told in (tool.detail, turn.claim, turn.error):
        assert "corr" not in told and "aple" not in told


def test_a_claim_is_kept_whole_and_without_its_secrets() -> None:
    words = f"{'word ' * 50_000}{SECRET[:9]}\x1b[0m{SECRET[9:]}"
    claim = claim_of(TurnEnded(words, TurnOutcome.COMPLETED), REDACT)
    assert claim == "word " * 50_000 + "‹redacted:secret›"


def test_a_vendors_words_are_kept_without_their_secrets() -> None:
    words = f"bad key {SECRET[:9]}\x1b[0m{SECRET[9:]}"
    assert error_of(TurnEnded("", TurnOutcome.FAILED, words), REDACT) == "bad key ‹redacted:secret›"

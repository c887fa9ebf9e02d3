"""Cards: what survives the outbox, and what a terminal shows of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.cards import Action, Card, Tone, capped, field, footed, line, one_line, shown
from bot.chats.console.render import WIDTH, render, render_edit
from fleet.errors import Malformed
from fleet.model import Isolation
from fleet.untrusted import Untrusted

CARD = Card(
    title=line("t1 · ", Untrusted("\x1b[31mred\x1b[0m [bold]")),
    lines=(line("running"), line("“", Untrusted("a\nb"), "”")),
    fields=(field("Ran", Untrusted("pytest -q")), field("On", "macbook")),
    body=Untrusted("\x1b]0;owned\x07E   assert 1 == 2\n" + "x" * 200),
    actions=(Action("Retry", "/retry t1", token="abc"), Action("Log", "/logs t1", once=False)),
    footer=footed(Isolation.UNSAFE_SAME_USER, "demo on macbook"),
    tone=Tone.BAD,
    mention="console:host:ada",
    picture="/tmp/p.png",
    document="/tmp/d.txt",
)

pieces = st.one_of(st.text(), st.builds(Untrusted, st.text()))
lines = st.lists(pieces, max_size=3).map(tuple)


def test_a_card_comes_back_from_the_outbox_as_it_went_in() -> None:
    assert Card.from_json(CARD.to_json()) == CARD


@given(lines, st.lists(lines, max_size=3), st.none() | st.builds(Untrusted, st.text()), st.text())
def test_any_card_comes_back(title: tuple[str], rows: list[tuple[str]], body: Untrusted | None, text: str) -> None:
    card = Card(title, tuple(rows), body=body, footer=text, actions=(Action(text, text, digest=text),))
    assert Card.from_json(card.to_json()) == card


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"title": 1}'])
def test_what_is_no_card_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        Card.from_json(text)


def test_a_terminal_shows_it_all_and_obeys_none_of_it() -> None:
    numbers = {"Retry": 1, "Log": 2}
    text = render(CARD, lambda action: numbers[action.label], colour=False, ping=True)
    assert "\x1b" not in text
    assert "owned" not in text
    for piece in ("🔔 ada", "red [bold]", "“a b”", "pytest -q", "assert 1 == 2", "[1] Retry  [2] Log", "d.txt"):
        assert piece in text
    assert "unsafe-same-user" in text
    assert all(len(row) <= WIDTH for row in text.splitlines())


@given(lines, st.builds(Untrusted, st.text()))
def test_no_untrusted_text_reaches_the_terminal_as_a_code(title: tuple[str], body: Untrusted) -> None:
    untrusted = tuple(Untrusted(piece) if isinstance(piece, str) else piece for piece in title)
    card = Card(untrusted, (untrusted,), body=body)
    for text in (render(card, lambda _: 1, colour=False), render_edit(card, colour=False)):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)


def test_an_edit_is_one_line() -> None:
    assert render_edit(CARD, colour=False).count("\n") == 1


def test_a_long_footer_is_not_cut() -> None:
    card = Card(line("x"), footer="⚠️ unsafe-same-user · " + "word " * 10 + "end")
    assert "end" in render(card, lambda _: 1, colour=False)


def test_lines_beyond_the_screen_are_counted() -> None:
    cut = capped([line(str(n)) for n in range(30)], "and {n} more", limit=12)
    assert len(cut) == 12
    assert shown(cut[-1]) == "and 19 more"


def test_an_untrusted_text_stays_on_its_line() -> None:
    assert str(one_line("a\n\n b\tc" + "x" * 100, 10)) == "a b cxxxx…"

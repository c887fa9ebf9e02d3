"""Whatever a card holds, Telegram takes what we make of it, and nothing of a stranger's comes alive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.cards import Action, Card, Field, Text, Tone, line
from bot.chats.telegram.files import clean_name
from bot.chats.telegram.inbox import message_id, parts
from bot.chats.telegram.rates import Budget, Pace
from bot.chats.telegram.render import CAPTION_LIMIT, TEXT_LIMIT, disarm, keyboard, render, units
from fleet.untrusted import Untrusted
from tests.far_end.bot_api_text import read, utf16

WORDS = (
    "<b> </b> &lt; & < > @durov #tag /stop $TON https://a.example/x a.example x@a.example tg://user?id=1 🚀 ` a . "
    "evil~.com/login get.💩.la/x é.example ~.la ton://x 4111111111111111 12:30 .com"
)
NASTY = st.lists(
    st.sampled_from([*WORDS.split(" "), " ", "\n", '"', "+49 171 1234567", "\x1b[31m", "\u202e"]), max_size=60
).map("".join)
OURS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60)
STRANGERS = st.one_of(NASTY, st.text(max_size=2000)).map(Untrusted)
PIECES: st.SearchStrategy[tuple[Text, ...]] = st.lists(st.one_of(OURS, STRANGERS), max_size=4).map(tuple)
CARDS = st.builds(
    Card,
    title=PIECES.map(lambda pieces: ("t1 ", *pieces)),
    lines=st.lists(PIECES, max_size=14).map(tuple),
    fields=st.lists(st.builds(Field, OURS, PIECES), max_size=5).map(tuple),
    body=st.one_of(st.none(), STRANGERS, st.integers(1, 9000).map(lambda n: Untrusted("line <&>\n" * n))),
    footer=st.one_of(st.just(""), OURS),
    mentioned=NASTY,
    tone=st.sampled_from(list(Tone)),
)


@given(
    card=CARDS,
    limit=st.sampled_from([TEXT_LIMIT, CAPTION_LIMIT]),
    again=st.booleans(),
    user=st.sampled_from(["", "7"]),
)
def test_every_card_is_accepted_and_ends_with_its_footer(card: Card, limit: int, again: bool, user: str) -> None:
    page = render(card, limit=limit, again=again, user=user)
    shown = read(page.html, "HTML")
    assert 0 < utf16(shown.text) <= limit
    assert page.units <= limit
    if card.footer.strip():
        assert shown.text.endswith(card.footer.rstrip())


@given(name=NASTY)
def test_the_mention_bears_the_name_and_nothing_in_a_name_comes_alive(name: str) -> None:
    shown = read(render(Card(line("t1 ", "red"), mentioned=name), user="7").html, "HTML")
    (mention,) = shown.live()
    assert mention.startswith("text_mention:🔔")
    assert Untrusted(name).one_line(40).strip() in mention.replace("\u200b", "")


@given(words=NASTY)
def test_strangers_words_are_dead_and_read_the_same(words: str) -> None:
    hostile = Untrusted(words)
    page = render(Card(line("t1 ", hostile), (line(hostile),), (Field("Ran", line(hostile)),), body=hostile))
    shown = read(page.html, "HTML")
    assert shown.live() == []
    assert hostile.one_line(400).rstrip() in shown.text.replace("\u200b", "")


@pytest.mark.parametrize("text", ["evil~.com/login", "get.💩.la/x", "a.é.example", "-.com"])
def test_a_domain_by_tdlibs_rules_is_dead(text: str) -> None:
    assert read(text, None).live(), "as a link, it would be live"
    assert read(render(Card(line("t1 ", Untrusted(text)))).html, "HTML").live() == []


@pytest.mark.parametrize(
    "pieces", [("see shop.", Untrusted("example")), (Untrusted("evil."), "example"), ("/", Untrusted("stop"))]
)
def test_no_link_forms_where_our_text_and_a_strangers_meet(pieces: tuple[Text, ...]) -> None:
    assert read(render(Card(line("t1 ", *pieces))).html, "HTML").live() == []


def test_what_we_write_ourselves_stays_alive() -> None:
    assert read(render(Card(line("Try /help"))).html, "HTML").live() == ["bot_command:/help"]


@pytest.mark.parametrize("text", ["src/app/main.py", "1/2", "a, b: c", "exit 1"])
def test_disarming_leaves_what_is_harmless_readable(text: str) -> None:
    assert disarm(text).replace("\u200b", "") == text


def test_a_body_that_fits_is_shown_and_a_longer_one_is_cut_at_a_line_and_kept_for_a_file() -> None:
    short = render(Card(line("t1"), body=Untrusted("a\nb")))
    assert short.html == "<b>t1</b>\n<pre>a\nb</pre>"
    assert (short.whole, short.rest) == (True, "")
    long = "\n".join(f"line {number}" for number in range(5000))
    page = render(Card(line("t1"), body=Untrusted(long)))
    assert page.rest == long
    assert page.html.endswith("</pre>")
    assert "\nline 58\n… " in page.html or "\nline 59\n… 4940 more lines" in page.html


def test_of_a_body_whose_document_has_it_all_no_second_file_is_made_and_nothing_is_counted() -> None:
    head = "\n".join(f"line {number}" for number in range(300))
    page = render(Card(line("t1"), body=Untrusted(head), document="/f/t1-answer.txt"))
    assert (page.rest, page.excerpt) == ("", True)
    assert page.html.endswith("line 58\nline 59\n… the file has all of it</pre>")
    assert "more line" not in page.html


@pytest.mark.parametrize(("lines", "note"), [(61, "… 1 more line"), (5000, "… 4940 more lines")])
def test_what_a_message_leaves_out_is_counted(lines: int, note: str) -> None:
    page = render(Card(line("t1"), body=Untrusted("\n".join(map(str, range(lines))))))
    assert page.html.endswith(f"\n59\n{note}</pre>")


def test_a_diff_keeps_its_fence_and_gets_a_diffs_name() -> None:
    page = render(Card(line("t1"), body=Untrusted("diff --git a/x b/x\n+new <tag>")))
    assert '<pre><code class="language-diff">diff --git' in page.html
    assert "&lt;tag&gt;</code></pre>" in page.html
    assert page.suffix == "diff"


def test_buttons_fit_a_phones_width() -> None:
    rows = keyboard(tuple(Action(label, "/x", token=label) for label in ("Retry", "Log", "Diff", "Stop", "x" * 50)))
    assert [[label for label, _ in row] for row in rows] == [["Retry", "Log", "Diff", "Stop"], ["x" * 39 + "…"]]
    assert rows[0][0] == ("Retry", "Retry")


@given(st.text(max_size=300))
def test_a_file_name_is_clean(name: str) -> None:
    clean = clean_name(name)
    assert clean
    assert "/" not in clean
    assert not clean.startswith((".", "-"))
    assert len(clean.encode()) <= 120


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_messages_name_holds_its_topic(thread: int, number: int) -> None:
    assert parts(message_id(thread, number)) == (thread, number)


@pytest.mark.parametrize("foreign", ["", "moved", "1.5", "a:b", "-3", "5:"])
def test_what_is_no_message_of_telegrams_is_told(foreign: str) -> None:
    assert parts(foreign) == (0, 0)


@given(st.text(max_size=50))
def test_length_is_counted_as_telegram_counts(text: str) -> None:
    assert units(text) == utf16(text)


def test_pings_outrank_messages_and_messages_edits() -> None:
    now = [0.0]
    budget = Budget(now=lambda: now[0], chat_pace=Pace(1000, 1000), group_pace=Pace(20 / 60, 18))

    def spent(**how: bool) -> int:
        count = 0
        while not budget.take("-5", **how):
            count += 1
        return count

    assert spent(edit=True) == 9
    assert spent() == 6
    assert spent(ping=True) == 3
    assert budget.take("7") == 0, "another chat is not touched"
    now[0] += 3.1
    assert budget.take("-5") > 0
    assert budget.take("-5", ping=True) == 0


def test_a_chat_that_was_refused_is_closed_and_no_other() -> None:
    now = [0.0]
    budget = Budget(now=lambda: now[0])
    budget.close("5", 7)
    assert budget.take("5", ping=True) == 7
    assert budget.take("6") == 0
    now[0] = 7.5
    assert budget.take("5") == 0


def test_a_second_has_at_most_thirty_messages() -> None:
    now = [0.0]
    budget = Budget(now=lambda: now[0])
    assert sum(not budget.take(str(chat), ping=True) for chat in range(100)) <= 30

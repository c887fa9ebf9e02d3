"""Strangers' text: what it cannot do once it is cleaned, and which lines of a red log reach the phone."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.redact import Redactor
from fleet.untrusted import Untrusted, clean, tail_that_matters

ANY = st.text(st.characters(), max_size=400)
NASTY = st.lists(
    st.sampled_from(
        ["\x1b[31m", "\x1b]0;", "\x07", "\x9b2J", "\x1bP", "\x1b\\", "\u202e", "\u200b", "\r", "a", "\n"]
    )
).map("".join)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a new title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1;2q#0bytes\x1b\\after", "after"),
        ("\x9b2Jcleared", "cleared"),
        ("\x1b(Bset", "set"),
        ("\x1b\x1b[31m[2Jx", "[2Jx"),
        ("never ends \x1b]0;title\nnext", "never ends \nnext"),
        ("a\x08b\x00c\x7f", "abc"),
        ("one\r\ntwo\rthree\u2028four\x85five", "one\ntwo\nthree\nfour\nfive"),
        ("user\u202efdp.exe", "userfdp.exe"),
        ("pass\u200bword\ufeff\u2060\u00ad", "password"),
        ("hi\U000e0041\U000e0042", "hi"),
        ("\ud83d lone", "\ufffd lone"),
        ("tab\tstays, é and 日本 and 🙂 too", "tab\tstays, é and 日本 and 🙂 too"),
    ],
)
def test_what_is_left(raw: str, shown: str) -> None:
    assert clean(raw) == shown


@given(st.one_of(ANY, NASTY), st.integers(0, 200))
def test_nothing_that_acts_is_left(raw: str, limit: int) -> None:
    shown = clean(raw, limit)
    assert len(shown) <= limit
    assert all(ch in "\n\t" or unicodedata.category(ch) not in {"Cc", "Cs"} for ch in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200e\u200f\ufeff")
    assert clean(shown, limit) == shown
    shown.encode()


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    shown = clean("begin" + "x" * 10_000 + "end", 200)
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert "characters left out" in shown


@given(st.integers(0, 2_000_000), st.integers(120, 4_000))
def test_what_is_left_out_is_counted_exactly(more: int, limit: int) -> None:
    shown = clean("x" * (limit + more), limit)
    found = re.search(r"\n… (\d+) characters left out …\n", shown)
    assert (found is None) == (more == 0)
    if found:
        assert shown.count("x") + int(found[1]) == limit + more


def test_as_an_argument_of_a_format_it_is_cleaned() -> None:
    assert f"{Untrusted('a' + chr(27) + '[2Jb')}" == "ab"
    assert Untrusted("a\n\tb  c" + "d" * 100).one_line(10) == "a b cdddd…"


PYTEST = """\
============================= test session starts ==============================
collected 2 items

tests/test_price.py F.                                                   [100%]

=================================== FAILURES ===================================
__________________________________ test_total __________________________________

    def test_total():
>       assert total([1, 2]) == 3
E       assert 2 == 3
E        +  where 2 = total([1, 2])

tests/test_price.py:5: AssertionError
=========================== short test summary info ============================
FAILED tests/test_price.py::test_total - assert 2 == 3
========================= 1 failed, 1 passed in 0.02s ==========================
"""


def test_the_lines_of_pytest_that_say_why() -> None:
    assert tail_that_matters(PYTEST) == "\n".join(line for line in PYTEST.splitlines() if line)
    told = tail_that_matters("noise\n" * 90 + PYTEST, 8)
    for line in (
        ">       assert total([1, 2]) == 3",
        "E       assert 2 == 3",
        "E        +  where 2 = total([1, 2])",
        "FAILED tests/test_price.py::test_total - assert 2 == 3",
        "========================= 1 failed, 1 passed in 0.02s ==========================",
    ):
        assert line in told


def test_a_few_lines_name_the_tests_and_the_first_reason() -> None:
    told = tail_that_matters(PYTEST + PYTEST, 4).splitlines()
    assert len(told) == 4
    assert "E       assert 2 == 3" in told
    assert any("test_total" in line for line in told)


@pytest.mark.parametrize(
    "line",
    [
        "src/main.c:3:5: error: expected ';' before 'return'",
        "error[E0308]: mismatched types",
        "src/app.ts(3,1): error TS2304: Cannot find name 'x'.",
        "ld: fatal error: no input",
        "ModuleNotFoundError: No module named 'shop'",
        "--- FAIL: TestTotal (0.00s)",
        "thread 'main' panicked at src/lib.rs:1",
        "not ok 3 - total",
        "FAIL: test_total (tests.TestPrice)",
    ],
)
def test_the_telling_line_is_found_far_above_the_noise(line: str) -> None:
    assert line in tail_that_matters(f"{line}\n" + "noise\n" * 5_000)


def test_without_a_telling_line_the_last_ones_are_shown() -> None:
    text = "".join(f"line {number}\n" for number in range(100))
    assert tail_that_matters(text, 3) == "line 97\nline 98\nline 99"
    assert tail_that_matters("\n\n") == ""


@given(ANY, st.integers(1, 30))
def test_never_more_than_asked_for(text: str, lines: int) -> None:
    assert len(tail_that_matters(text, lines).splitlines()) <= lines


def test_of_a_word_that_is_cut_too_little_is_left_to_be_half_a_secret() -> None:
    token = "123456789:Canary0123456789abcdefghijklmnop"
    assert Untrusted(f"use {token}").one_line(40) == "use 123456789:Ca…"
    assert Untrusted(token).one_line(40) == "123456789:Ca…"
    assert Untrusted(f"修复{token}").one_line(40) == "修复123456789:Ca…"


def test_a_title_in_a_script_without_spaces_is_not_cut_short() -> None:
    title = "修复购物车的折扣计算错误并且添加测试用例然后运行所有的测试"
    assert Untrusted(title).one_line(20) == title[:19] + "…"
    secret = "密码是芝麻开门吧朋友"
    cut = Untrusted(f"用 {secret}").one_line(9)
    assert cut == f"用 {secret[:6]}…"
    assert secret[:3] not in Redactor([secret])(cut)
    assert Untrusted("some words that are cut between two").one_line(20) == "some words that are…"

"""What a thumb types, and what is meant by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.parse import (
    Ignore,
    Reply,
    RunRequest,
    Spoken,
    lone_word,
    nearest,
    parse,
    run_request,
    slip_of,
    words,
)

VERBS = frozenset({"run", "status", "stop", "say", "sessions", "help"})


@pytest.mark.parametrize(
    ("text", "below"),
    [
        ("/stop t1\n/stop t2", "/stop t2"),
        ("stop t1\nStop t2", "Stop t2"),
        ("/status\n\n／help", "/help"),
        ("/fleet run a\n/fleet run b", "/fleet run b"),
        ("@airboss /run a\n\u200b/run@airboss b", "/run@airboss b"),
        ("/run a\nrun b", "run b"),
        ("@airboss run a\n@airboss run b", "/run b"),
        ("@airboss run a\n@otto run b", ""),
        ("/run document these:\n /stop ends one", ""),
        ("/run document these:\n```\n/stop t1\n```\n/etc/hosts too", ""),
        ("/run document these:\n```\n/stop t1\n```\n/status too", "/status too"),
        ("/run fix it\nstop when it is green\nsay why", ""),
        ("/stop t1", ""),
        ("/run\nfirst\n", ""),
    ],
)
def test_a_command_below_a_command_is_noticed(text: str, below: str) -> None:
    said = parse(text, VERBS)
    assert isinstance(said, Spoken) and "|".join(said.below) == below


@pytest.mark.parametrize(
    ("text", "verb", "args"),
    [
        ("/status", "status", ""),
        ("/STATUS", "status", ""),
        ("Status", "status", ""),
        ("status ", "status", ""),
        ("／status", "status", ""),
        ("／ｓｔｏｐ\u3000t1", "stop", "t1"),
        ("!stop t1", "stop", "t1"),
        ("/ stop t1", "stop", "t1"),
        ("/run@airboss_bot fix it", "run", "fix it"),
        ("@airboss status", "status", ""),
        ("@airboss: stop t1", "stop", "t1"),
        ("\u200b/status\u200b", "status", ""),
        ("/\u200bstop t1", "stop", "t1"),
        ("\u2066/st\u00adop\u2069 t1", "stop", "t1"),
        ("\u202e@air\u200bboss /\u200bstatus", "status", ""),
        ("/statsu", "statsu", ""),
        ("Stop.", "stop", ""),
        ("Status!", "status", ""),
        ("help?!", "help", ""),
        ("“status”", "status", ""),
        ("„Status.“", "status", ""),
        ("/Stop!", "stop", ""),
        ("“/status”", "status", ""),
        ("```sh\n/stop t1\n```", "stop", "t1"),
        ("```c++\nstatus\n```", "status", ""),
        ("!stop…", "stop", ""),
        ("@airboss Stop.", "stop", ""),
        ("/statsu.", "statsu", ""),
        ("/T7.", "t7", ""),
        ("/t7 go on", "t7", "go on"),
        ("/run\nfirst\n  second", "run", "first\n  second"),
        ("Slash status.", "status", ""),
        ("slash, stop t1", "stop", "t1"),
        ("Slash run fix it", "run", "fix it"),
    ],
)
def test_commands_are_forgiving(text: str, verb: str, args: str) -> None:
    assert parse(text, VERBS) == Spoken(verb, args)


@pytest.mark.parametrize(
    "text",
    [
        "stop, that is wrong",
        "please stop",
        "run: it",
        "looks good",
        "1",
        "t7",
        "t7 broke it",
        "Done.",
        "“no way”",
        "slash prices",
        "slash",
    ],
)
def test_words_that_are_not_for_us_stay_words(text: str) -> None:
    assert parse(text, VERBS) == Reply(text)


def test_in_a_thread_a_sentence_is_for_the_agent_and_a_lone_verb_is_not() -> None:
    assert parse("run the tests again", VERBS, threaded=True) == Reply("run the tests again")
    assert parse("stop", VERBS, threaded=True) == Spoken("stop")
    assert parse("Stop!", VERBS, threaded=True) == Spoken("stop")
    assert parse("/run the tests again", VERBS, threaded=True) == Spoken("run", "the tests again")


def test_in_a_group_only_a_slash_is_a_command() -> None:
    assert parse("status", VERBS, direct=False) == Reply("status")
    assert parse("Status!", VERBS, direct=False) == Reply("Status!")
    assert parse("/Status!", VERBS, direct=False) == Spoken("status")
    assert parse("/status", VERBS, direct=False) == Spoken("status")


@pytest.mark.parametrize("text", ["", "  ", "\u200b", "/", "//", "@airboss \u200b", " \u200b \u200b"])
def test_nothing_is_nothing(text: str) -> None:
    assert isinstance(parse(text, VERBS), Ignore)


@given(st.text(), st.booleans(), st.booleans())
def test_no_text_raises(text: str, direct: bool, threaded: bool) -> None:
    parsed = parse(text, VERBS, direct=direct, threaded=threaded)
    assert isinstance(parsed, Spoken | Reply | Ignore)
    run_request(text)
    words(text)


@given(st.text())
def test_a_prompt_after_dashes_is_kept_letter_for_letter(prompt: str) -> None:
    assert run_request("-- " + prompt).prompt == prompt.strip()


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        ("fix the test", RunRequest("fix the test")),
        ("repo=shop on=macbook agent=claude fix", RunRequest("fix", "shop", "macbook", "claude")),
        ("@macbook fix", RunRequest("fix", machine="macbook")),
        ("ON=MacBook fix", RunRequest("fix", machine="MacBook")),
        ("on=evo—x2 fix", RunRequest("fix", machine="evo-x2")),
        ("repo=“shop” fix", RunRequest("fix", repo="shop")),
        ("fix repo=shop", RunRequest("fix repo=shop")),
        ("-- @property is broken", RunRequest("@property is broken")),
        ("— @property is broken", RunRequest("@property is broken")),
        ("-rf is a “flag”\n  keep — this", RunRequest("-rf is a “flag”\n  keep — this")),
        ("repo=a repo=b x", RunRequest("repo=b x", repo="a")),
        ("—on=macbook fix", RunRequest("fix", machine="macbook")),
        ("--on=macbook –agent=claude fix", RunRequest("fix", machine="macbook", agent="claude")),
        ("on = macbook repo =shop fix", RunRequest("fix", "shop", "macbook")),
        ("@macbook, fix", RunRequest("fix", machine="macbook")),
        ("on=macbook, repo=“shop”; fix", RunRequest("fix", "shop", "macbook")),
        ("-- on = macbook", RunRequest("on = macbook")),
        ("onward = upward", RunRequest("onward = upward")),
        ("a@b.org wrote", RunRequest("a@b.org wrote")),
    ],
)
def test_run_reads_options_then_leaves_the_words_alone(args: str, meant: RunRequest) -> None:
    assert run_request(args) == meant


@pytest.mark.parametrize(
    ("text", "word"),
    [("Stop.", "stop"), ("“/Stop!”", "stop"), ("statys", "statys"), ("stop it", ""), ("", ""), ("...", "")],
)
def test_a_lone_word_is_known_as_one(text: str, word: str) -> None:
    assert lone_word(text) == word


def test_of_words_without_a_slash_only_what_is_very_near_is_a_slip() -> None:
    assert [slip_of(word, VERBS) for word in ("statys", "stp", "help")] == ["status", "stop", "help"]
    assert [slip_of(word, VERBS) for word in ("thanks", "hello", "ok", "the", "st", "runner")] == [""] * 6


def test_the_nearest_verb() -> None:
    assert nearest("statsu", VERBS) == "status"
    assert nearest("sess", VERBS) == "sessions"
    assert nearest("xyzzy", VERBS) == ""


@pytest.mark.parametrize(
    ("args", "needs"),
    [
        ("needs=xcode>=26 fix it", ("xcode>=26",)),
        ("needs=macos,xcode>=26 needs=ios fix it", ("macos", "xcode>=26", "ios")),
        ('--needs="Xcode≥26" fix it', ("Xcode≥26",)),
        ("needs=macos,xcode >= 26 fix it", ("macos", "xcode>=26")),
        ("fix it needs=macos", ()),
    ],
)
def test_what_a_machine_must_have_is_an_option(args: str, needs: tuple[str, ...]) -> None:
    found = run_request(args)
    assert found.needs == needs
    assert found.prompt == ("fix it" if needs else args)


@pytest.mark.parametrize("typed", ["ｔ１", "t１", "t١", "t۱", "t१"])
def test_an_id_is_read_in_the_digits_of_any_keyboard(typed: str) -> None:
    assert words(typed) == ["t1"]

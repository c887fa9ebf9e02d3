"""Errors in words for a person: four different things are told apart, shortly."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.explain import BUG_STATUS, explain
from fleet.errors import AirbossError, LeaseLost, Malformed, Misused, Refused, Unavailable, Unreachable


@pytest.mark.parametrize(
    ("error", "headline", "status"),
    [
        (Refused(attempted="land t1", on="main"), "🚫 Refused to land t1 (main)", 2),
        (Misused(attempted="find the task", on="t9"), "✋ Cannot find the task (t9)", 2),
        (Malformed(attempted="read a card"), "✋ Cannot read a card", 2),
        (Unreachable(attempted="reach the machine", on="nas"), "🔌 Could not reach the machine (nas)", 3),
        (ZeroDivisionError("x"), "🐞 Internal error, not your fault", BUG_STATUS),
    ],
)
def test_whose_turn_it_is(error: BaseException, headline: str, status: int) -> None:
    told = explain(error)
    assert (told.headline, told.status) == (headline, status)
    headline_, _detail, _remedy, status_ = told
    assert (headline_, status_) == (headline, status)


def test_the_hint_is_the_remedy_and_waiting_is_one_where_it_can_help() -> None:
    assert explain(Misused(attempted="x", hint="Do y.")).remedy == "Do y."
    assert explain(Unavailable(attempted="x")).remedy == "Try again in a moment."
    assert explain(LeaseLost(attempted="x")).remedy == ""


def test_of_a_long_path_the_end_is_shown() -> None:
    told = explain(Misused(attempted="read the file", on="/home/" + "deep/" * 60 + "settings.json"))
    assert len(told.headline) <= 120 and told.headline.endswith("deep/settings.json)")


def test_a_file_that_cannot_be_used_is_no_internal_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for wrong in ("file/below", "n" * 300):
        with pytest.raises(OSError) as raised:
            (tmp_path / wrong).mkdir()
        told = explain(raised.value)
        assert (told.headline.partition(" /")[0], told.status) == ("🔌 Could not use", 3) and told.detail
        assert told.headline.endswith(wrong[-20:])


def test_a_login_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError) as raised:
        Path("~no-such-login").expanduser()
    told = explain(raised.value)
    assert (told.headline, told.status) == ("✋ Cannot find your home directory", 2) and "HOME" in told.remedy


def test_it_is_short_and_carries_nothing_that_acts() -> None:
    error = Refused(
        attempted="read\n\x1b[2J" + "long " * 100, cause="log\x1b]0;x\x07 " + "y" * 5000, hint="z" * 900
    )
    told = explain(error)
    assert len(told.headline) <= 120
    assert "\n" not in told.headline
    assert len(told.detail) <= 1200
    assert len(told.remedy) <= 300
    assert "\x1b" not in told.text()


def test_a_card_shows_one_line_as_a_line_and_many_as_they_are() -> None:
    short = explain(Misused(attempted="x", cause="why", hint="how")).card()
    assert [str(line[0]) for line in short.lines] == ["why", "how"]
    assert short.body is None
    long = explain(Misused(attempted="x", cause="one\ntwo", hint="how")).card()
    assert [str(line[0]) for line in long.lines] == ["how"]
    assert str(long.body) == "one\ntwo"


def test_every_family_of_errors_has_its_words() -> None:
    def all_below(kind: type[AirbossError]) -> set[type[AirbossError]]:
        return {kind}.union(*(all_below(sub) for sub in kind.__subclasses__()))

    fleet_errors = {kind for kind in all_below(AirbossError) if kind.__module__ == "fleet.errors"}
    for kind in fleet_errors:
        told = explain(kind(attempted="do it"))
        assert told.headline[0] in "🚫✋🔌"
        assert told.status == kind.status

"""The benchmark's arithmetic: a missed bar is an exit status, and both sides run in turn."""

from __future__ import annotations

import json

import pytest

from tests.bench.harness import Comparison, Side, command, compare, report


def test_a_missed_bar_is_an_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    kept = Comparison("kept", Side("ours", (2.0, 2.0, 9.0)), Side("base", (1.0, 1.0, 1.0)), bar=2.0)
    missed = Comparison("missed", Side("ours", (2.1, 2.1, 2.1)), Side("base", (1.0, 1.0, 1.0)), bar=2.0)
    assert report([kept]) == 0
    assert report([kept, missed]) == 1
    printed = capsys.readouterr().out
    assert "MISSED" in printed
    figures = json.loads(printed.splitlines()[-1])["figures"]
    assert [(figure["ratio"], figure["kept"]) for figure in figures] == [(2.0, True), (2.1, False)]


def test_the_sides_run_in_turn_and_warm_runs_do_not_count() -> None:
    order: list[str] = []

    def trial(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    found = compare(
        "x", ("ours", lambda: trial("o", 3.0)), ("base", lambda: trial("b", 2.0)), bar=2, rounds=4, warm=1
    )
    assert "".join(order) == "ob" + "boob" * 2
    assert (len(found.ours.seconds), found.ratio) == (4, 1.5)


def test_a_command_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="ended with 3"):
        command(["sh", "-c", "exit 3"])()

"""What is left of an account, as its agent reports it, and when /status shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.cards import shown
from bot.telemetry_view import look, status_card
from fleet.agent_events import TurnEnded, TurnOutcome, Window
from fleet.agents.registry import driver
from fleet.config import parse_fleet
from fleet.model import TaskMode
from fleet.ports import Brief
from fleet.store import windows
from fleet.store.core import Store, Tx
from tests.chat_house import FLEET
from tests.empty_store import filled
from tests.rows import asked, placed
from tests.unit import agent_lines as lines
from tests.unit.test_agents_codex import BEGUN, Talk

RESETS = 1_795_888_800


def of_claude(**info: object) -> list[Window]:
    agent = driver("claude")
    state = agent.open(Brief("6f7ab5fc-52e4-4d2e-9a55-6f57a9e0a001", "do it", "/w", ("claude",))).state
    step = agent.feed(state, lines.line({"type": "rate_limit_event", "rate_limit_info": info}))
    return [each for each in step.happened if isinstance(each, Window)]


def limits(**fields: object) -> lines.Message:
    return {"method": "account/rateLimits/updated", "params": {"rateLimits": fields}}


def test_claude_says_what_is_used_of_a_window() -> None:
    warned = {"status": "allowed_warning", "rateLimitType": "five_hour", "utilization": 0.87, "resetsAt": RESETS}
    assert of_claude(**warned) == [Window("5 h", 87, RESETS * 1_000_000)]
    assert of_claude(status="rejected", rateLimitType="seven_day") == [Window("7 d", 100, 0)]
    assert of_claude(status="allowed") == []
    assert of_claude(status="allowed", rateLimitType="five_hour", utilization="much") == []


def test_codex_says_what_is_used_of_both_windows_and_its_limit_has_the_hour() -> None:
    talk = Talk(*BEGUN)
    assert "account/rateLimits/updated" not in talk.sent[0]["params"]["capabilities"]["optOutNotificationMethods"]
    short = {"usedPercent": 100, "windowDurationMins": 300, "resetsAt": RESETS}
    talk.hear(limits(primary=short, secondary={"usedPercent": 41, "windowDurationMins": 10_080}))
    assert talk.of(Window) == [Window("5 h", 100, RESETS * 1_000_000), Window("7 d", 41, 0)]
    talk.hear(limits(primary=None, secondary=None))
    talk.hear(lines.notice("turn/completed", turn={"id": "u1", "status": "failed", "error": {
        "message": "You've hit your usage limit.", "codexErrorInfo": "usageLimitExceeded"}}))  # fmt: skip
    (ended,) = talk.of(TurnEnded)
    assert (ended.outcome, ended.error) == (
        TurnOutcome.LIMITED,
        f"You've hit your usage limit. · resets at {RESETS}",
    )


@pytest.mark.parametrize("odd", [{"usedPercent": "x"}, {}, {"usedPercent": -5, "resetsAt": 2**60}, "x"])
def test_odd_figures_harm_nothing(odd: object) -> None:
    talk = Talk(*BEGUN, limits(primary=odd))
    for each in talk.of(Window):
        assert 0 <= each.used_percent <= 100 and each.resets_us >= 0


def test_status_shows_what_is_low_until_it_is_reset(tmp_path: Path) -> None:
    config = parse_fleet(FLEET, "fleet.toml")
    with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as store:

        def seen(tx: Tx, used: int, left_us: int) -> None:
            session = placed(tx, asked(tx, agent="claude", mode=TaskMode.ASK).id, "macbook", agent="claude")
            windows.note(tx, session, Window("5 h", used, tx.now_us() + left_us))

        def rows() -> list[str]:
            with store.transaction() as tx:
                return [shown(row) for row in status_card(config, look(tx), {}).lines]

        for used, left_us, low in ((80, 60_000_000, False), (88, 60_000_000, True), (88, -1, False)):
            with store.transaction() as tx:
                seen(tx, used, left_us)
            assert any("⏳ claude on macbook: 12 % of 5 h left · resets" in row for row in rows()) is low


def test_a_limit_that_only_words_tell_keeps_tasks_off_the_account_until_a_turn_works(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as store, store.transaction() as tx:
        session = placed(tx, asked(tx, agent="claude", mode=TaskMode.ASK).id, "macbook", agent="claude")

        def ended(outcome: TurnOutcome, words: str = "") -> list[tuple[str, str]]:
            windows.turn_ended(tx, session, TurnEnded("", outcome, words))
            return list(windows.spent(tx))

        assert ended(TurnOutcome.LIMITED, "You've hit your Opus limit · resets in 3 hours") == []
        assert ended(TurnOutcome.LIMITED, "You've hit your session limit · resets in 3 hours") == [
            ("claude", "macbook")
        ]
        assert ended(TurnOutcome.FAILED) == [("claude", "macbook")]
        assert ended(TurnOutcome.COMPLETED) == []

"""Figures that anyone can compute again from the range they name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.text import Text

from bot.cards import shown
from bot.days import days_of
from bot.digest import HOUR_US, WEEK_US, before, in_period, make_digest, over, parse_days, parse_span
from bot.digest_card import digest_card
from bot.plots import digest_figure, digest_picture
from fleet.events import (
    CallDisputed,
    CallUnobserved,
    Event,
    GateClosed,
    GateClosedV5,
    GateClosedV6,
    GateOpened,
    GateOverridden,
    GateWitnessed,
    LocksRefused,
    PipeEnded,
    Refs,
    Source,
    ToolCallEnded,
    ToolCallStarted,
    UsageReported,
)
from fleet.exits import Exited
from fleet.figures import DAY_US, ToolCallCounter, ToolCalls
from fleet.model import Isolation, TaskState
from fleet.range_figures import Period
from fleet.store import ledger, rollups, tasks
from fleet.store.core import Store, Tx
from fleet.store.ledger import Entry
from tests.empty_store import filled
from tests.rows import asked


def fly(tx: Tx, end: TaskState) -> None:
    task = asked(tx)
    refs = Refs(task=task.id, session=f"{task.id}.1")
    way = [TaskState.PREPARING, TaskState.RUNNING]
    if end is TaskState.LANDED:
        way += [TaskState.JUDGING, TaskState.LANDING]
    for state in (*way, end):
        tasks.move(tx, task.id, state, "", "airboss")
    for number, outcome in enumerate(("ok", "ok", "failed", "denied", "")):
        call = f"c{number}"
        ledger.append(tx, ToolCallStarted(call, "Bash", "x"), actor="a", source=Source.AGENT, refs=refs)
        if outcome:
            ended = ToolCallEnded(call, outcome, None, "")
            ledger.append(tx, ended, actor="a", source=Source.AGENT, refs=refs)
    pipe = PipeEnded("p", Exited(0), 0, True, 0)
    ledger.append(tx, pipe, actor="airboss", source=Source.SUPERVISOR, refs=refs)
    ledger.append(tx, UsageReported(1, 1, 12_500), actor="a", source=Source.AGENT, refs=refs)
    outcome = "passed" if end is TaskState.LANDED else "failed"
    gate = GateClosed("tests", outcome, "", None, None, "", "", True, "", 0, 0, 0, None)
    ledger.append(tx, gate, actor="airboss", source=Source.SUPERVISOR, refs=refs)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as opened:
        yield opened


async def test_what_failed_in_quarantine_is_counted(store: Store) -> None:
    with store.transaction() as tx:
        refs = Refs(task="t1", gate_run="t1.1.1-tests")
        opened = GateOpened("tests", "a" * 40, "d" * 40, "b" * 40, ("true",), "e" * 64, 1)
        parts = ("tests", "passed", "", None, None, "", "", True, "", 0, 0, 0, None)
        closed = GateClosedV6(*parts, "own", "own", "none", None, "", "own", "own", (), (), ("test_net",))
        for event in (opened, closed):
            ledger.append(tx, event, actor="airboss", source=Source.SUPERVISOR, refs=refs)
    digest = await make_digest(store, 0)
    assert dict(digest.quarantined) == {"tests: test_net": 1} and not digest.flaky
    assert "test_net 1×" in str(digest_card(digest, Isolation.UNSAFE_SAME_USER))


async def test_a_test_that_failed_and_passed_on_one_commit_is_a_flake(store: Store) -> None:
    def run(tx: Tx, number: int, commit: str, outcome: str, *failed: str) -> None:
        refs = Refs(task="t1", gate_run=f"t1.1.1-tests-{number}")
        opened = GateOpened("tests", commit, "d" * 40, "b" * 40, ("true",), "e" * 64, 1)
        parts = ("tests", outcome, "", None, None, "", "", True, "", 0, 0, 0, None)
        closed = GateClosedV5(*parts, "own", "own", "none", None, "", "own", "own", (), failed)
        for event in (opened, closed):
            ledger.append(tx, event, actor="airboss", source=Source.SUPERVISOR, refs=refs)

    with store.transaction() as tx:
        run(tx, 1, "a" * 40, "failed", "test_slow", "test_[x](http://evil)")
        run(tx, 2, "c" * 40, "passed")
    digest = await make_digest(store, 0)
    assert not digest.flaky, "another commit says nothing about it"
    with store.transaction() as tx:
        run(tx, 3, "a" * 40, "passed")
    digest = await make_digest(store, 0)
    assert dict(digest.flaky) == {"tests: test_slow": 1, "tests: test_[x](http://evil)": 1}
    assert "test_slow 1×" in str(digest_card(digest, Isolation.UNSAFE_SAME_USER))


async def test_the_figures_of_a_range_and_of_its_parts_agree(store: Store) -> None:
    with store.transaction() as tx:
        fly(tx, TaskState.LANDED)
        middle = ledger.size(tx)
        fly(tx, TaskState.FAILED)
        end = ledger.size(tx)
    whole, first, second = (
        await make_digest(store, 0),
        await over(store, 1, middle),
        await over(store, middle + 1, end),
    )
    again = await over(store, whole.first_seq, whole.last_seq)
    assert again.to_json() == whole.to_json()
    assert (whole.asked, dict(whole.ends), dict(whole.gates)) == (
        2,
        {"landed": 1, "failed": 1},
        {"passed": 1, "failed": 1},
    )
    assert whole.calls == ToolCalls(ok=4, failed=2, denied=2, unfinished=2)
    assert whole.cost_udollar == 25_000
    assert len(whole.to_land_us) == 1
    assert first.ends + second.ends == whole.ends
    assert first.cost_udollar + second.cost_udollar == whole.cost_udollar
    card = digest_card(whole, Isolation.UNSAFE_SAME_USER)
    assert f"ledger 1 to {whole.last_seq}" in card.footer
    assert "unsafe-same-user" in card.footer
    said = {field.name: shown(field.value) for field in card.fields}
    assert "33% err" in said["Tool calls"]
    assert said["Not counted"] == "2 denied, 2 unfinished"
    assert said["Enforced"] == "by the machines: nothing · by the owner's word: one login for all"
    assert said["Failed is"].startswith("Claude Code: is_error")
    assert [shown(each) for each in card.lines][1:] == [
        "10 tool calls · 1 active day · 2 sessions · 33 % failed (2 in 6)",
        "This measures the harness: what ran and how it ended. It does not say that the code is right.",
    ]


async def test_on_a_phone_is_what_happened_and_the_rest_is_behind_a_button(store: Store) -> None:
    with store.transaction() as tx:
        fly(tx, TaskState.LANDED)
    made = await make_digest(store, 0)
    card = digest_card(made, Isolation.SEPARATE_LOGINS, more="/digest all more")
    assert [action.command for action in card.actions] == ["/digest all more"]
    assert [field.name for field in card.fields] == ["Tasks", "Gate runs", "Cost"]
    assert len(card.lines) == 2
    made.halts.update({"more": 1})
    made.flaky.update({"t": 1})
    made.quarantined.update({"q": 1})
    made.reviews.update({"ok": 1})
    made.people.update({"overridden": 1})
    made.before = await make_digest(store, 0)
    fields = digest_card(made, Isolation.SEPARATE_LOGINS, more="/digest all more").fields
    assert len(fields) == 8


async def test_what_rested_on_people_and_what_deserves_a_look_is_said(store: Store) -> None:
    refs = Refs(task="t1", session="t1.1", turn="t1.1.1", gate_run="t1.1.1-tests")
    opened = GateOpened("tests", "a" * 40, "d" * 40, "b" * 40, ("true",), "e" * 64, 1)
    with store.transaction() as tx:
        for event in (
            opened,
            GateWitnessed(1, "0" * 64, ("ada",), (), "note"),
            GateOverridden("tests", "a" * 40, "d" * 40, "e" * 64, "failed", "ada", "why", 9, True),
            LocksRefused("t2", ("shop:src/**",), "t1", "shop:src/a.py", "change"),
            CallDisputed("c", "outcome", "ok", "failed"),
            CallUnobserved("d", "Bash", "only in the file"),
        ):
            ledger.append(tx, event, actor="airboss", source=Source.CONTROLLER, refs=refs)
        again = msgspec.structs.replace(refs, gate_run="t1.1.1-tests-2")
        ledger.append(tx, opened, actor="airboss", source=Source.CONTROLLER, refs=again)
    digest = await make_digest(store, 24 * 3_600_000_000)
    card = digest_card(digest, Isolation.SEPARATE_LOGINS)
    said = {field.name: shown(field.value) for field in card.fields}
    assert said["Enforced"] == (
        "by the machines: separate logins, 1 of 2 openings witnessed · "
        "by the owner's word: 1 opening unwitnessed, 1 self-approved, 1 overridden"
    )
    assert said["Not counted"] == "0 denied, 0 unfinished, 1 unobserved, 1 disputed between stream and file"
    assert said["Locks"] == "1 time another had what was wanted"
    assert said["Opened, not closed"] == "2 gate runs"


async def test_a_trend_says_how_much_more_or_less(store: Store) -> None:
    with store.transaction() as tx:
        fly(tx, TaskState.LANDED)
    made = await make_digest(store, 0)
    made.before = await make_digest(store, 0)
    made.before.earlier_us = WEEK_US
    made.before.figures.ended[0, "evo-x2", "ok"] += 5
    made.before.cost_udollar = 6_250
    card = digest_card(made, Isolation.SEPARATE_LOGINS)
    (before,) = [shown(field.value) for field in card.fields if field.name == "A week before"]
    assert before == "10 tool calls (now -50 %), 1 landed, 0 gates failed, $0.0063 (now +100 %)"


async def test_the_picture_is_one_for_a_phone(store: Store) -> None:
    empty = await make_digest(store, 0)
    with store.transaction() as tx:
        fly(tx, TaskState.LANDED)
    full = await make_digest(store, 0)
    for digest in (empty, full):
        data = digest_picture(digest)
        assert data.startswith(b"\x89PNG")
        assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (1080, 1080)


async def test_what_the_picture_says_stands_out_from_its_opaque_paper(store: Store) -> None:
    """By WCAG's ratio for text, so that it is read in the sun, and on a chat that is dark."""
    empty = await make_digest(store, 0)
    with store.transaction() as tx:
        fly(tx, TaskState.LANDED)
    for digest in (empty, await make_digest(store, 0)):
        figure = digest_figure(digest)
        *paper, opaque = to_rgba(figure.get_facecolor())
        said = [each for each in figure.findobj(Text) if isinstance(each, Text) and each.get_text()]
        assert opaque == 1 and len(said) >= 6
        for each in said:
            assert _contrast(to_rgb(each.get_color()), paper) >= 4.5, each.get_text()


def _contrast(one: Sequence[float], other: Sequence[float]) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Sequence[float]) -> float:
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    ("text", "hours"),
    [("", 24), ("24h", 24), ("7d", 168), ("2 w", 336), ("ALL", 0), ("1 day", 24), ("week", 168), ("3", 72)],
)
def test_spans_are_read(text: str, hours: int) -> None:
    assert parse_span(text) == hours * 3_600_000_000


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("today", ("2026-11-30", "2026-11-30")),
        ("yesterday.", ("2026-11-29", "2026-11-29")),
        ("2026-02", ("2026-02-01", "2026-02-28")),
        ("2026", ("2026-01-01", "2026-12-31")),
        ("2026-11-01..", ("2026-11-01", "2026-11-30")),
        ("from 2026-11-01 to 2026-11-03", ("2026-11-01", "2026-11-03")),
        ("2026-11-01 2026-11-03", ("2026-11-01", "2026-11-03")),
        ("7d", None),
        ("5-2", None),
    ],
)
def test_days_are_read(text: str, days: tuple[str, str] | None) -> None:
    found = parse_days(text, "Europe/Berlin", date(2026, 11, 30))
    assert found == (days_of(*days, "Europe/Berlin").period if days else None)


async def test_days_are_those_of_the_zone_wherever_they_are_counted(store: Store) -> None:
    """In the card, the picture and figures for scripts: ten calls over UTC's midnight are one day in Berlin."""
    zone, refs = ZoneInfo("Europe/Berlin"), Refs(session="claude:s", machine="evo-x2")
    midnight = days_of("2026-11-11", "2026-11-11", "UTC").period.from_us

    def call(tx: Tx, at_us: int, number: int, *, ends: bool) -> None:
        events: list[Event] = [ToolCallStarted(f"c{at_us}", "Bash", "")]
        events += [ToolCallEnded(f"c{at_us}", "ok", None, "")] if ends else []
        ledger.append_all(tx, [Entry(event, "agent", Source.IMPORT, refs, at_us + number) for event in events])

    with store.transaction() as tx:
        for number in range(10):
            call(tx, midnight + (number - 5) * 300_000_000, number, ends=number % 5 > 0)
        call(tx, midnight + 3 * DAY_US, 0, ends=True)
    wanted = days_of("2026-11-11", "2026-11-30", zone.key)
    made = await in_period(store, wanted.period, zone)
    assert "11 tool calls · 2 active days · 1 session · peak 10" in str(
        digest_card(made, Isolation.UNSAFE_SAME_USER)
    )
    said = [each.get_text() for each in digest_figure(made).findobj(Text) if isinstance(each, Text)]
    assert "10" in said and "11 Nov" in said
    assert [row["calls"] for row in made.figures.by_days()] == [10, 0, 0, 1]


async def test_a_week_before_is_that_day_though_clocks_changed_between(store: Store) -> None:
    zone, refs = ZoneInfo("Europe/Berlin"), Refs(session="claude:s")
    earlier = days_of("2026-10-19", "2026-10-19", zone.key).period
    with store.transaction() as tx:
        first, end = earlier.from_us, earlier.upto_us
        for at_us in (first - 1, first, first + 1, end - 1, end):
            done = ToolCallEnded(f"c{at_us}", "ok", None, "")
            ledger.append_all(tx, [Entry(done, "agent", Source.IMPORT, refs, at_us)])
    made = await before(store, days_of("2026-10-26", "2026-10-26", zone.key).period, zone)
    assert (made.figures.tool_calls, made.earlier_us) == (3, WEEK_US)


@pytest.mark.parametrize("text", ["yesterday", "-1d", "0h", "1e9d", "99999d", "7d; rm", "2026", "90m"])
def test_other_spans_are_not(text: str) -> None:
    assert parse_span(text) is None


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (ToolCalls(ok=21_874, failed=1, denied=9, unfinished=9), "0.0046% err"),
        (ToolCalls(ok=0, failed=0, denied=5), "no tool calls yet"),
        (ToolCalls(ok=5), "0% err"),
        (ToolCalls(failed=5), "100% err"),
        (ToolCalls(ok=39, failed=1), "2.5% err"),
        (ToolCalls(ok=7, failed=1), "12% err"),
        (ToolCalls(ok=9_999_999, failed=1), "0.000010% err"),
    ],
)
def test_the_error_rate_counts_failed_among_ok_and_failed(calls: ToolCalls, said: str) -> None:
    assert calls.error_rate() == said


def test_the_window_is_whole_utc_days(store: Store) -> None:
    with store.transaction() as tx:
        fly(tx, TaskState.FAILED)
        now = tx.now_us()
        counted = [rollups.window(tx, at) for at in (now, now + 27 * DAY_US, now + 28 * DAY_US, now - DAY_US)]
    assert counted == [ToolCalls(2, 1, 1, 1), ToolCalls(2, 1, 1, 1), ToolCalls(), ToolCalls()]


def test_an_event_seen_before_is_counted_once(store: Store) -> None:
    counter = ToolCallCounter()
    with store.transaction() as tx:
        fly(tx, TaskState.FAILED)
        for _ in range(2):
            counter.fold(ledger.read(tx))
    assert counter.total() == ToolCalls(2, 1, 1, 1)


async def test_a_digest_reads_its_range_in_pages(store: Store) -> None:
    refs = Refs(task="t1", session="t1.1")
    started = Entry(ToolCallStarted("c", "Bash", "x"), "a", Source.AGENT, refs)
    ended = Entry(ToolCallEnded("c", "ok", None, ""), "a", Source.AGENT, refs)
    with store.transaction() as tx:
        ledger.append_all(tx, [started, ended] * 2_500)
    assert (await make_digest(store, 0)).calls == ToolCalls(ok=2_500)
    assert (await over(store, 2, 4_001)).calls == ToolCalls(ok=2_000)


async def test_whole_days_are_read_from_what_is_kept_and_the_rest_from_events(store: Store) -> None:
    refs = Refs(task="t1", session="t1.1", machine="m")
    ended = Entry(ToolCallEnded("c", "ok", None, ""), "a", Source.AGENT, refs)
    begin = 20_000 * DAY_US
    for day in range(3):
        with store.transaction() as tx:
            tx._now_us = begin + day * DAY_US + 12 * HOUR_US  # the store's clock
            ledger.append_all(tx, [ended] * 10)
    with store.transaction() as tx:
        tx.connection.exec_driver_sql("UPDATE figure_calls SET calls = 1000")
    for first_hour, last_hour, calls in (
        (0, 72, 3_000),
        (11, 61, 1_020),
        (11, 13, 10),
        (13, 59, 1_000),
        (13, 24, 0),
    ):
        made = await in_period(store, Period(begin + first_hour * HOUR_US, begin + last_hour * HOUR_US))
        assert (made.calls.ok, sum(made.figures.by_hour.values())) == (calls, calls)
    for numbers, calls in (((1, 30), 3_000), ((2, 29), 28)):
        assert sum((await over(store, *numbers)).figures.by_hour.values()) == calls

"""Digests of days that somebody named: what they say of days without anything, and whose picture is whose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from matplotlib.patches import Rectangle

from bot.cards import shown
from bot.days import days_of
from bot.digest import in_period
from bot.digest_card import digest_card
from bot.pictures import drawn
from bot.plots import digest_figure
from fleet.events import Refs, Source, ToolCallEnded
from fleet.model import Isolation
from fleet.store import ledger
from fleet.store.core import Store
from fleet.store.ledger import Entry
from tests.empty_store import filled


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as opened:
        yield opened


async def test_a_picture_of_the_same_events_by_another_clock_takes_no_others_place(
    store: Store, tmp_path: Path
) -> None:
    refs, night = Refs(session="claude:s"), days_of("2026-11-11", "2026-11-11", "UTC").period.from_us - 1
    with store.transaction() as tx:
        ledger.append_all(tx, [Entry(ToolCallEnded("c", "ok", None, ""), "agent", Source.IMPORT, refs, night)])
    ever, berlin = days_of("2026-11-10", "2026-11-11", "UTC").period, ZoneInfo("Europe/Berlin")
    one, other = await in_period(store, ever), await in_period(store, ever, berlin)
    assert (one.first_seq, one.last_seq) == (other.first_seq, other.last_seq)
    assert drawn(tmp_path, one) != drawn(tmp_path, other)
    assert drawn(tmp_path, one) == drawn(tmp_path, one)


async def test_the_picture_marks_one_peak_and_says_the_year_of_what_is_long(store: Store) -> None:
    with store.transaction() as tx:
        for date in ("2025-03-01", "2026-11-01", "2026-11-05"):
            end, at = ToolCallEnded(date, "ok", None, ""), days_of(date, date, "UTC").period.from_us
            ledger.append_all(tx, [Entry(end, "agent", Source.IMPORT, Refs(session="claude:s"), at)])
    for first, years in (("2026-11-01", False), ("2025-01-01", True)):
        made = await in_period(store, days_of(first, "2026-11-30", "UTC").period)
        axes = digest_figure(made).axes[0]
        bars = [bar for bar in axes.patches if isinstance(bar, Rectangle) and bar.get_height()]
        colours = [bar.get_facecolor() for bar in bars]
        assert colours.count(colours[0]) == 1 < len(colours)
        assert any("2025" in label.get_text() for label in axes.get_xticklabels()) == years


async def test_days_without_anything_are_named(store: Store) -> None:
    zone = ZoneInfo("Europe/Berlin")
    asked = days_of("2026-10-24", "2026-10-25", zone.key).period  # the clocks change on the second
    card = digest_card(await in_period(store, asked, zone), Isolation.SEPARATE_LOGINS, zone=zone, asked=asked)
    assert [shown(each) for each in card.lines[:1]] == [
        "2026-10-24 00:00 CEST to 2026-10-25 23:59 CET: nothing happened"
    ]
    assert card.footer.endswith("ledger of 0 events")

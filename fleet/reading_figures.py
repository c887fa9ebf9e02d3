"""Reads the figures of a range or a period: from what is kept of it, or from its events.

``fleet.range_figures`` says what is counted; both ways give the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from fleet.events import GateOpened, PipeEnded
from fleet.events.counted import CountedLine
from fleet.model import ENDS
from fleet.range_figures import KINDS, Period, RangeFigures
from fleet.store import day_figures, ledger
from fleet.store.core import Store, Tx
from fleet.store.day_figures import QUARTER_US, Amount, KeptFigures, KeptPeriod
from fleet.store.recent import numbers_in

_PAGE: Final = 2_000
_HOUR_US: Final = 4 * QUARTER_US
_STATELESS: Final = tuple(kind for kind in KINDS if kind not in (PipeEnded.KIND, GateOpened.KIND))
"""What each event adds for itself, whatever was before it."""


async def figures_of(
    store: Store, first_seq: int, last_seq: int, zone: ZoneInfo, period: Period | None = None
) -> RangeFigures:
    """The figures of exactly this range, both ends included; read in pages, so that others can read between."""
    found = RangeFigures(zone, period)
    for after in range(first_seq - 1, last_seq, _PAGE):
        read = partial(ledger.counted_lines, after=after, upto=min(after + _PAGE, last_seq), kinds=KINDS)
        found.fold_lines(await store.read(read, long=True))
    return found


@dataclass(frozen=True, slots=True)
class Counted:
    """The figures of a period, whose events are between these two; ``last_seq`` is 0 where it has none."""

    figures: RangeFigures
    first_seq: int
    last_seq: int


async def figures_in(store: Store, period: Period, zone: ZoneInfo) -> Counted:
    """The figures of a period: of its whole UTC days from what is kept of them, of what is before and behind these
    days from its events."""

    def read(tx: Tx) -> KeptPeriod | tuple[int, int]:
        kept = day_figures.of_period(tx, period.from_us, period.upto_us)
        return kept or numbers_in(tx, period.from_us, period.upto_us) or (1, 0)

    kept = await store.read(read, long=True)
    if not isinstance(kept, KeptPeriod):
        return Counted(await figures_of(store, *kept, zone, period), *kept)
    found = _of(kept.whole, zone, period)
    for begin, end in kept.edges:
        edge = RangeFigures(zone, period)
        edge.fold_lines(await _lines(store, begin, end, kept.last_seq))
        found.add_sums(edge)
    return Counted(found, kept.first_seq, kept.last_seq)


async def _lines(store: Store, begin_us: int, end_us: int, last_seq: int) -> list[CountedLine]:
    """What counts for itself between these times, up to this event; read by the hour, so that others can read
    between."""
    found = list[CountedLine]()
    for from_us in range(begin_us, end_us, _HOUR_US):
        upto_us = min(from_us + _HOUR_US, end_us)
        read = partial(ledger.counted_between, from_us=from_us, upto_us=upto_us, upto=last_seq, kinds=_STATELESS)
        found += await store.read(read, long=True)
    return found


def kept_figures(
    tx: Tx, first_seq: int, last_seq: int, zone: ZoneInfo, *, by_hour: bool = False
) -> RangeFigures | None:
    """The figures of a range from what is kept of it; ``None`` where it is not whole segments of the ledger.
    ``by_hour``: calls by hour too, which takes longer."""
    size = ledger.size(tx)
    by_quarter = by_hour or zone.key != "UTC"
    kept = day_figures.of_segments(tx, first_seq, last_seq, size, by_quarter=by_quarter)
    return None if kept is None else _of(kept, zone)


def _of(kept: KeptFigures, zone: ZoneInfo, period: Period | None = None) -> RangeFigures:
    """The figures that folding the events gives."""
    found = RangeFigures(zone, period)
    for time_us, machine, outcome, calls in (*kept.calls, *day_figures.as_calls(kept.unfinished)):
        found.ended[time_us // QUARTER_US, machine, outcome] += calls
    found.sessions.update(kept.sessions)
    found.open_gates.update(kept.open_gates)
    for name, amount in kept.amounts:
        match name:
            case Amount.SUBAGENTS:
                found.subagents += amount
            case Amount.ASKED:
                found.asked += amount
            case Amount.COST:
                found.cost_udollar += amount
            case Amount.UNOBSERVED:
                found.unobserved += amount
            case Amount.DISPUTED:
                found.disputed += amount
            case Amount.BYTES:
                found.output_bytes += amount
            case _ if name.startswith(Amount.GATE):
                found.gates[name.removeprefix(Amount.GATE)] += amount
            case _ if (end := name.removeprefix(Amount.END)) in ENDS:
                found.ends[end] += amount
    return found

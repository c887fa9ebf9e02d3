"""The digest: figures about a range of the ledger, which anyone can recompute from that range."""

from __future__ import annotations

import calendar
import re
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from bot import claims
from bot.claims import Claims
from bot.days import days_of
from bot.parse import tidy
from fleet.events import (
    BaseMoved,
    BudgetGranted,
    BudgetReached,
    GateClosed,
    GateClosedV5,
    GateClosedV6,
    GateOpened,
    GateOverridden,
    GateWitnessed,
    HoldReleased,
    HoldReleasedV2,
    LocksRefused,
    ProgressHalted,
    Recorded,
    ReviewAnswered,
    Source,
    TaskMoved,
    TaskRequested,
)
from fleet.events.codec import LIMIT
from fleet.figures import DAY_US, ToolCalls
from fleet.model import ENDS, TaskState
from fleet.range_figures import Period, RangeFigures
from fleet.reading_figures import figures_in, figures_of, kept_figures
from fleet.schedule.times import instant, local_time
from fleet.store import ledger
from fleet.store.core import Store, Tx
from fleet.store.recent import times_in
from fleet.verdict import Outcome

UTC = ZoneInfo("UTC")
HOUR_US = 3_600_000_000
WEEK_US = 7 * 24 * HOUR_US
_RARE = (
    TaskRequested.KIND,
    TaskMoved.KIND,
    GateOpened.KIND,
    GateClosed.KIND,
    GateOverridden.KIND,
    ReviewAnswered.KIND,
    BaseMoved.KIND,
    BudgetReached.KIND,
    BudgetGranted.KIND,
    ProgressHalted.KIND,
    GateWitnessed.KIND,
    LocksRefused.KIND,
    *claims.KINDS,
)
"""What is read of a period, event by event; calls are not, and neither is what agents used."""

_SPAN = re.compile(r"(?:(\d{1,4})\s*(h|hours?|d|days?|w|weeks?|months?)|(\d{1,3}))$")
_UNIT_US = {"h": HOUR_US, "d": 24 * HOUR_US, "w": 7 * 24 * HOUR_US, "m": 30 * 24 * HOUR_US}
_DATE = r"\d{4}-\d{2}-\d{2}"
_DAYS = re.compile(rf"(?:from\s+)?({_DATE})(?:(?:\s*(?:\.{{2,3}}|…|to|-)\s*|\s+)({_DATE}|(?<=[.…])$))?")
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_YEAR = re.compile(r"\d{4}")
_LAST_DAY = -(-LIMIT // DAY_US)
_EVER = Period(-_LAST_DAY * DAY_US, _LAST_DAY * DAY_US)
_PAGE = 2_000


@dataclass(slots=True)
class Digest:
    """Figures over the events ``first_seq`` to ``last_seq``.

    ``to_land_us`` has an entry for each task that was requested and landed inside the range; ``planted`` counts the
    planted defects that a reviewer caught or missed; ``halts`` counts limits that were used up or added to, and
    tasks without progress; ``witnessed`` counts openings of gates that somebody outside signed before the run;
    ``refused`` counts locks that another had; ``pushes`` counts moves of base branches by others; ``ends_by_hour``
    counts task ends by hour since the epoch.
    ``before`` is a period of the same length, a week earlier, or just before this one where that is longer;
    ``earlier_us`` says how much earlier it is.
    """

    first_seq: int
    last_seq: int
    from_us: int = 0
    upto_us: int = 0
    asked: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    gates: Counter[str] = field(default_factory=Counter)
    people: Counter[str] = field(default_factory=Counter)
    red: dict[tuple[str, str, str], set[str]] = field(default_factory=dict)
    flaky: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    reviews: Counter[str] = field(default_factory=Counter)
    planted: Counter[bool] = field(default_factory=Counter)
    halts: Counter[str] = field(default_factory=Counter)
    pushes: Counter[str] = field(default_factory=Counter)
    figures: RangeFigures = field(default_factory=lambda: RangeFigures(UTC))
    calls: ToolCalls = field(default_factory=ToolCalls)
    opened: int = 0
    witnessed: int = 0
    refused: int = 0
    cost_udollar: int = 0
    to_land_us: list[int] = field(default_factory=list)
    ends_by_hour: Counter[tuple[int, str]] = field(default_factory=Counter)
    claims: Claims = field(default_factory=Claims)
    before: Digest | None = None
    earlier_us: int = 0

    @property
    def median_to_land_us(self) -> int | None:
        """Microseconds from the request to the landing; ``None`` when nothing landed."""
        return round(statistics.median(self.to_land_us)) if self.to_land_us else None

    def to_json(self) -> dict[str, object]:
        """For scripts: integers and names only."""
        return {
            "first_seq": self.first_seq,
            "last_seq": self.last_seq,
            "from_us": self.from_us,
            "upto_us": self.upto_us,
            "tasks_asked": self.asked,
            "tasks_ended": dict(sorted(self.ends.items())),
            "gates": dict(sorted(self.gates.items())),
            "reviews": dict(sorted(self.reviews.items())),
            "planted_defects": {"caught": self.planted[True], "missed": self.planted[False]},
            "tool_calls": {
                "ok": self.calls.ok,
                "failed": self.calls.failed,
                "denied": self.calls.denied,
                "unfinished": self.calls.unfinished,
            },
            "cost_udollar": self.cost_udollar,
            "gates_opened": self.opened,
            "gates_witnessed": self.witnessed,
            "locks_refused": self.refused,
            "base_moved": dict(sorted(self.pushes.items())),
            "halts": dict(sorted(self.halts.items())),
            "median_to_land_us": self.median_to_land_us,
            "claims": self.claims.to_json(),
            "person_needed": self.claims.needed,
        }


def parse_span(args: str) -> int | None:
    """Microseconds of ``24h``, ``7d``, ``2w``, ``month`` (30 days), ``all`` (0), or a day when empty; ``None`` for
    anything else."""
    given = tidy(args).lower().rstrip(".")
    if given in ("", "today", "day"):
        return 24 * HOUR_US
    if given in ("all", "ever"):
        return 0
    if given in ("week", "month"):
        return _UNIT_US[given[0]]
    found = _SPAN.match(given)
    count = int(found[1] or found[3]) if found else 0
    return count * _UNIT_US[(found[2] or "d")[0]] if found and count else None


def parse_days(args: str, zone: str, today: date) -> Period | None:
    """The days of ``2026-11-01..2026-11-30``, both included, ``2026-11-01..`` (until today), ``2026-11-01``,
    ``2026-11``, ``2026``, ``today`` and ``yesterday``; ``None`` for anything else. Raises ``Misused`` for dates
    that do not exist."""
    said = tidy(args).lower()
    said = said if said.endswith("..") else said.rstrip(".")
    if said in ("today", "yesterday"):
        said = (today - timedelta(days=said == "yesterday")).isoformat()
    if (month := _MONTH.fullmatch(said)) is not None:
        year, number = int(month[1]), int(month[2])
        said = f"{said}-01..{said}-{calendar.monthrange(year, number)[1]:02d}"
    elif _YEAR.fullmatch(said):
        said = f"{said}-01-01..{said}-12-31"
    found = _DAYS.fullmatch(said)
    if found is None:
        return None
    last = found[1] if found[2] is None else found[2] or today.isoformat()
    return days_of(found[1], last, zone, hint="Write /digest 2026-11-01..2026-11-30.").period


async def make_digest(store: Store, span_us: int, zone: ZoneInfo = UTC) -> Digest:
    """The figures of the last ``span_us`` microseconds; 0: of everything. ``zone``: whose days are counted."""
    now_us = await store.read(Tx.now_us)
    if not span_us:
        return await in_period(store, _EVER, zone)
    made = await in_period(store, Period(now_us - span_us, _EVER.upto_us), zone)
    made.before = await before(store, Period(now_us - span_us, now_us), zone)
    return made


async def before(store: Store, period: Period, zone: ZoneInfo = UTC) -> Digest:
    """The figures of a period as long, a week earlier; of a longer one than a week, those just before it. Both by
    the clocks of ``zone``: a week before a day of 25 hours is a whole day too."""
    begin, end = (local_time(us, zone).replace(tzinfo=None) for us in (period.from_us, period.upto_us))
    shift = max(timedelta(weeks=1), end - begin)
    made = await in_period(store, Period(instant(begin - shift, zone), instant(end - shift, zone)), zone)
    made.earlier_us = shift // timedelta(microseconds=1)
    return made


async def in_period(store: Store, period: Period, zone: ZoneInfo = UTC) -> Digest:
    """The figures of a period, with what was imported."""
    counted = await figures_in(store, period, zone)
    if not counted.last_seq:
        size = await store.read(ledger.size)
        return Digest(size + 1, size, figures=counted.figures)
    made = await _made(store, counted.first_seq, counted.last_seq, counted.figures)
    times = await store.read(partial(times_in, from_us=period.from_us, upto_us=period.upto_us))
    made.from_us, made.upto_us = times or (0, 0)  # what was imported is in no order of its times
    return made


async def over(store: Store, first_seq: int, last_seq: int, zone: ZoneInfo = UTC) -> Digest:
    """The figures of exactly this range, both ends included."""
    kept = await store.read(partial(kept_figures, first_seq=first_seq, last_seq=last_seq, zone=zone, by_hour=True))
    made = await _made(store, first_seq, last_seq, kept or await figures_of(store, first_seq, last_seq, zone))
    bounds = await store.read(lambda tx: ledger.of_numbers(tx, (first_seq, last_seq)))
    times = [recorded.time_us for recorded in bounds]
    made.from_us, made.upto_us = min(times, default=0), max(times, default=0)
    return made


async def _made(store: Store, first_seq: int, last_seq: int, figures: RangeFigures) -> Digest:
    """The digest with these figures, and with what is read of the range event by event. The ledger only grows, so
    that is read in pages, each in its own transaction: other readers do not wait."""
    digest = Digest(first_seq, last_seq, figures=figures, calls=figures.calls, cost_udollar=figures.cost_udollar)
    asked, opened = dict[str, int](), dict[str, tuple[str, str, str]]()

    def numbers(tx: Tx) -> list[int]:
        by_people = ledger.numbers_from(tx, first_seq, last_seq, claims.OF_PEOPLE, Source.PERSON)
        return sorted([*ledger.numbers_of(tx, first_seq, last_seq, _RARE), *by_people])

    found = await store.read(numbers, long=True)
    for at in range(0, len(found), _PAGE):
        page = await store.read(partial(ledger.of_numbers, numbers=found[at : at + _PAGE]), long=True)
        _fold(digest, filter(figures.counts, page), asked, opened)
    await claims.look_up(store, digest.claims)
    return digest


def _fold(
    digest: Digest, events: Iterable[Recorded], asked: dict[str, int], opened: dict[str, tuple[str, str, str]]
) -> None:
    for recorded in events:
        task, at = recorded.refs.task, recorded.time_us
        digest.claims.fold(recorded)
        match recorded.event:
            case TaskRequested():
                digest.asked += 1
                asked[task] = at
            case TaskMoved(new=new) if new in ENDS:
                digest.ends[new] += 1
                digest.ends_by_hour[at // HOUR_US, new] += 1
                if new == TaskState.LANDED and task in asked:
                    digest.to_land_us.append(at - asked[task])
            case GateClosed(outcome=outcome) as closed:
                digest.gates[outcome] += 1
                _note_flake(digest, opened.pop(recorded.refs.gate_run, None), closed)
            case GateOpened(gate=gate, commit=commit):
                digest.opened += 1
                opened[recorded.refs.gate_run] = (task, gate, commit)
            case HoldReleased(approved=True) as released:
                digest.people["released"] += 1
                digest.people["self-approved"] += isinstance(released, HoldReleasedV2) and released.self_approved
            case GateOverridden(self_approved=own):
                digest.people["overridden"] += 1
                digest.people["self-approved"] += own
            case ReviewAnswered() as answered:
                digest.reviews[_how(answered)] += 1
                if answered.caught is not None:
                    digest.planted[answered.caught] += 1
            case BaseMoved(repo=repo, rewritten=rewritten):
                digest.pushes[f"{repo} {'rewritten' if rewritten else 'moved'}"] += 1
            case GateWitnessed(witnesses=witnesses):
                digest.witnessed += bool(witnesses)
            case LocksRefused():
                digest.refused += 1
            case BudgetReached():
                digest.halts["budget used up"] += 1
            case ProgressHalted():
                digest.halts["without progress"] += 1
            case BudgetGranted():
                digest.halts["given more"] += 1
            case _:
                pass


def _note_flake(digest: Digest, ran: tuple[str, str, str] | None, closed: GateClosed) -> None:
    """Counts a gate that failed and then passed on one commit, and the tests that had failed."""
    if ran is None:
        return
    if isinstance(closed, GateClosedV6):
        digest.quarantined.update(f"{ran[1]}: {name}" for name in closed.quarantined)
    outcome, names = Outcome(closed.outcome), closed.failed if isinstance(closed, GateClosedV5) else ()
    if outcome.red:
        digest.red.setdefault(ran, set()).update(names)
    elif outcome is Outcome.PASSED and ran in digest.red:
        digest.flaky.update([f"{ran[1]}: {name}" for name in sorted(digest.red.pop(ran))] or [ran[1]])


def _how(answered: ReviewAnswered) -> str:
    if answered.none:
        return "no review"
    objections = any(finding.severity == "blocking" for finding in answered.findings)
    return "objection" if objections else "no objection"

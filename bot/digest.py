"""``/digest``: figures about a range of the ledger, which anyone can recompute from that range."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from bot import words
from bot.cards import Card, footed, line
from bot.cards import field as card_field
from bot.parse import tidy
from fleet.events import (
    GateClosed,
    PipeEnded,
    Recorded,
    TaskMoved,
    TaskRequested,
    ToolCallEnded,
    ToolCallStarted,
    UsageReported,
)
from fleet.figures import ToolCallCounter, ToolCalls
from fleet.model import ENDS, Isolation, TaskState
from fleet.store import ledger
from fleet.store.core import Store, Tx
from fleet.store.recent import first_seq_since

HOUR_US = 3_600_000_000
KINDS = (
    TaskRequested.KIND,
    TaskMoved.KIND,
    GateClosed.KIND,
    ToolCallStarted.KIND,
    ToolCallEnded.KIND,
    PipeEnded.KIND,
    UsageReported.KIND,
)
_SPAN = re.compile(r"(\d{1,4})\s*(h|hours?|d|days?|w|weeks?)?$")
_UNIT_US = {"h": HOUR_US, "d": 24 * HOUR_US, "w": 7 * 24 * HOUR_US}
_PAGE = 2_000


@dataclass(slots=True)
class Digest:
    """Figures over the events ``first_seq`` to ``last_seq``. ``to_land_us`` has an entry for each task that was
    requested and landed inside the range; ``ends_by_hour`` counts task ends by hour since the epoch."""

    first_seq: int
    last_seq: int
    from_us: int = 0
    upto_us: int = 0
    asked: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    gates: Counter[str] = field(default_factory=Counter)
    calls: ToolCalls = field(default_factory=ToolCalls)
    cost_udollar: int = 0
    to_land_us: list[int] = field(default_factory=list)
    ends_by_hour: Counter[tuple[int, str]] = field(default_factory=Counter)

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
            "tool_calls": {
                "ok": self.calls.ok,
                "failed": self.calls.failed,
                "denied": self.calls.denied,
                "unfinished": self.calls.unfinished,
            },
            "cost_udollar": self.cost_udollar,
            "median_to_land_us": self.median_to_land_us,
        }


def parse_span(args: str) -> int | None:
    """Microseconds of ``24h``, ``7d``, ``2w``, ``all`` (0), or a day when empty; ``None`` for anything else."""
    given = tidy(args).lower()
    if given in ("", "today", "day"):
        return 24 * HOUR_US
    if given in ("all", "ever"):
        return 0
    if given == "week":
        return _UNIT_US["w"]
    found = _SPAN.match(given)
    if found is None or int(found.group(1)) == 0:
        return None
    return int(found.group(1)) * _UNIT_US[(found.group(2) or "d")[0]]


async def make_digest(store: Store, span_us: int) -> Digest:
    """The figures of the last ``span_us`` microseconds; 0: of everything."""

    def bounds(tx: Tx) -> tuple[int, int]:
        return (first_seq_since(tx, tx.now_us() - span_us) if span_us else 1), ledger.size(tx)

    return await over(store, *await store.read(bounds))


async def over(store: Store, first_seq: int, last_seq: int) -> Digest:
    """The figures of exactly this range, both ends included.

    The ledger only grows, so the range is read in pages, each in its own transaction: other readers do not wait.
    """
    digest, calls, asked = Digest(first_seq, last_seq), ToolCallCounter(), dict[str, int]()
    for after in range(first_seq - 1, last_seq, _PAGE):
        read = partial(ledger.read, after=after, upto=min(after + _PAGE, last_seq), limit=_PAGE, kinds=KINDS)
        page = await store.read(read, long=True)
        calls.fold(page)
        _fold(digest, page, asked)
    digest.calls = calls.total()
    if first_seq <= last_seq:
        bounds = await store.read(lambda tx: ledger.of_numbers(tx, (first_seq, last_seq)))
        digest.from_us, digest.upto_us = bounds[0].time_us, bounds[-1].time_us
    return digest


def _fold(digest: Digest, events: Iterable[Recorded], asked: dict[str, int]) -> None:
    for recorded in events:
        task, at = recorded.refs.task, recorded.time_us
        match recorded.event:
            case TaskRequested():
                digest.asked += 1
                asked[task] = at
            case TaskMoved(new=new) if new in ENDS:
                digest.ends[new] += 1
                digest.ends_by_hour[at // HOUR_US, new] += 1
                if new == TaskState.LANDED and task in asked:
                    digest.to_land_us.append(at - asked[task])
            case GateClosed(outcome=outcome):
                digest.gates[outcome] += 1
            case UsageReported(cost_udollar=cost):
                digest.cost_udollar += cost
            case _:
                pass


def digest_card(digest: Digest, isolation: Isolation, picture: str = "") -> Card:
    """The figures for a phone."""
    ends = ", ".join(f"{count} {end}" for end, count in digest.ends.most_common()) or "none"
    gates = ", ".join(f"{count} {outcome}" for outcome, count in digest.gates.most_common()) or "none"
    calls = digest.calls
    fields = [
        card_field("Tasks", f"{digest.asked} asked, ended: {ends}"),
        card_field("Gate runs", gates),
        card_field("Tool calls", f"{calls.ok} ok, {calls.failed} failed · {calls.error_rate()}"),
        card_field("Not counted", f"{calls.denied} denied, {calls.unfinished} unfinished"),
        card_field("Cost", words.money(digest.cost_udollar)),
    ]
    if digest.median_to_land_us is not None:
        fields.append(card_field("Median to land", words.duration(digest.median_to_land_us)))
    when = words.span(digest.from_us, digest.upto_us) if digest.upto_us else "nothing happened"
    return Card(
        title=line("Digest"),
        lines=(line(when),),
        fields=tuple(fields),
        footer=footed(isolation, f"ledger {digest.first_seq} to {digest.last_seq}"),
        picture=picture,
    )

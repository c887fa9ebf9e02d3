"""What agents say that their sessions cost, by agent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from fleet.events import Recorded, Source, UsageReported
from fleet.store import ledger, sessions
from fleet.store.core import Store, Tx
from fleet.store.recent import first_seq_since

_PAGE = 2_000


@dataclass(slots=True)
class Spent:
    """Cost and tokens: since the later of two times (``today``), and since the earlier one (``all``)."""

    today_udollar: int = 0
    all_udollar: int = 0
    today_tokens: int = 0
    all_tokens: int = 0


async def spent(store: Store, since_us: int, today_us: int) -> dict[str, Spent]:
    """What was reported since then, by agent, highest cost first. Read in pages, so that others can read between.

    What was imported from agents' own session files is not in it.
    """
    found, agents = dict[str, Spent](), dict[str, str]()
    after = await store.read(lambda tx: first_seq_since(tx, since_us)) - 1
    while page := await store.read(partial(_page, after=after, known=frozenset(agents))):
        events, more = page
        agents |= more
        for recorded in events:
            used = recorded.event
            if recorded.refs.session in agents and isinstance(used, UsageReported):
                _add(found.setdefault(agents[recorded.refs.session], Spent()), used, recorded.time_us >= today_us)
        after = events[-1].seq
    return dict(sorted(found.items(), key=lambda item: (-item[1].all_udollar, -item[1].all_tokens, item[0])))


def _add(sum_: Spent, used: UsageReported, today: bool) -> None:
    tokens = used.input_tokens + used.output_tokens
    sum_.all_udollar += used.cost_udollar
    sum_.all_tokens += tokens
    if today:
        sum_.today_udollar += used.cost_udollar
        sum_.today_tokens += tokens


def _page(tx: Tx, after: int, known: frozenset[str]) -> tuple[list[Recorded], dict[str, str]] | None:
    """The next events, and the agents of their sessions that are not known yet; ``None`` at the end."""
    events = ledger.read(tx, after=after, limit=_PAGE, kinds=(UsageReported.KIND,))
    ours = {recorded.refs.session for recorded in events if recorded.source is not Source.IMPORT}
    return (events, {name: sessions.session(tx, name).agent for name in ours - known}) if events else None

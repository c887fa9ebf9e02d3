"""``airboss review try``: asks each reviewer about a small change with planted defects, without a controller."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bot.local.options import print_json
from fleet.config import ReviewerConfig, Secrets, load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import Misused
from fleet.untrusted import clean
from gates.review.asking import PreparedReview, Review, ask, prepare
from gates.review.exchange import WhyNone
from gates.review.shown import Mark, ShownFile, ShownLine

_BUDGET_S: Final = 60.0
_TASK: Final = "Add a discount to the price of an order."
SAMPLE: Final = """\
from decimal import Decimal

TAX = Decimal("1.2")


def price(net: Decimal, discount: Decimal = Decimal(0)) -> Decimal:
    # The price with tax, after a discount between 0 and 1.
    if not 0 <= discount <= 1:
        raise ValueError(f"not a discount: {discount}")
    return net * (1 - discount) * TAX


def saved(net: Decimal, discount: Decimal) -> Decimal:
    # How much a discount saves.
    return price(net) - price(net, discount)
"""
"""A change without defects."""


def _sample() -> list[ShownFile]:
    rows = SAMPLE.splitlines()
    lines = [ShownLine(Mark.ADDED, number, row) for number, row in enumerate(rows, 1)]
    return [ShownFile("shop/price.py", ["new file mode 100644"], [lines])]


@dataclass(slots=True)
class Tried:
    """What was seen of one reviewer. ``median_ms``: an answer's time; ``problem``: empty when all is well."""

    reviewer: str
    asked_model: str
    model: str = ""
    families: tuple[str, ...] = ()
    identity: str = ""
    digest: str = ""
    rounds: int = 0
    answered: int = 0
    caught: int = 0
    objections: int = 0
    median_ms: int = 0
    problem: str = ""

    @property
    def status(self) -> int:
        """0: it answers and catches every defect; 1: it answers; 3: it gives no answer that counts."""
        if not self.answered:
            return 3
        return 0 if self.caught == self.rounds else 1


async def review_try(home: Path, name: str, rounds: int, as_json: bool) -> int:
    """Tries one reviewer of ``fleet.toml``, or all. Returns the exit status.

    Raises ``Misused`` when there is no such reviewer.
    """
    reviewers = load_fleet(home / FLEET_FILE).reviewers
    if not reviewers or (name and name not in reviewers):
        raise Misused(
            attempted="try a reviewer",
            on=name or FLEET_FILE,
            cause=f"fleet.toml has no [reviewers.{name or 'NAME'}]",
            hint='Add one with url = "http://127.0.0.1:11434/v1" and model = "…".',
        )
    env = Secrets.load(home)
    chosen = {name: reviewers[name]} if name else reviewers
    found = []
    for each, reviewer in chosen.items():
        key = env.require(reviewer.key, f"try the reviewer {each}") if reviewer.key else ""
        found.append(await _try(each, reviewer, key, rounds))
    if as_json:
        print_json({"v": 1, "reviewers": [asdict(tried) for tried in found]})
    else:
        sys.stdout.write("\n\n".join(map(_text, found)) + "\n")
    return max(tried.status for tried in found)


async def _try(name: str, reviewer: ReviewerConfig, key: str, rounds: int) -> Tried:
    tried, took = Tried(name, reviewer.model), list[int]()
    started = time.monotonic()
    for _ in range(rounds):
        left = _BUDGET_S - (time.monotonic() - started)
        if left <= 0:
            tried.problem = tried.problem or f"a minute was enough for {tried.rounds} of {rounds} rounds"
            break
        prepared = await asyncio.to_thread(prepare, reviewer, _sample(), _TASK, "(none)")
        tried.rounds += 1
        review = await _within(left, reviewer, key, prepared)
        if review is None:
            tried.problem = "no answer within a minute"
            break
        if review.reply:
            took.append(review.reply.duration_us // 1_000)
        _count(tried, review)
        if review.answered is None:
            break
    tried.median_ms = sorted(took)[len(took) // 2] if took else 0
    return tried


async def _within(seconds: float, reviewer: ReviewerConfig, key: str, prepared: PreparedReview) -> Review | None:
    try:
        async with asyncio.timeout(seconds):
            return await ask(reviewer, key, prepared, author="")
    except TimeoutError:
        return None


def _count(tried: Tried, review: Review) -> None:
    if review.reply:
        tried.model, tried.digest = review.reply.model, review.reply.weights.digest
    if review.answered:
        tried.families, tried.identity = review.answered.families, str(review.answered.identity)
    tried.answered += review.caught is not None
    tried.caught += bool(review.caught)
    tried.objections += len(review.findings)
    if review.none is not None and review.none.why is not WhyNone.MISSED_DEFECT:
        tried.problem = f"{review.none.cause}. {review.none.hint}".strip()


def _text(tried: Tried) -> str:
    rows = [
        ("reviewer", tried.reviewer),
        ("asked", tried.asked_model),
        ("answered", f"{tried.model or 'nobody'} ({', '.join(tried.families) or 'no family'})"),
        ("known by", {"pinned": "its digest", "asserted": "the endpoint's word"}.get(tried.identity, "-")),
        ("digest", tried.digest or "the endpoint gives none"),
        ("answer takes", f"{tried.median_ms / 1000:.1f} s" if tried.model else "-"),
        ("defects caught", f"{tried.caught} of {tried.rounds}"),
        ("other findings", str(tried.objections)),
        *([("problem", tried.problem)] if tried.problem else []),
    ]
    return "\n".join(f"{title:<16}{clean(value)}" for title, value in rows)

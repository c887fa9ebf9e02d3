"""Tries a reviewer on a small change with planted defects, before a gate depends on it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from fleet.config import ReviewerConfig
from gates.review.asking import Ask, PreparedReview, Review, ask, prepare
from gates.review.exchange import WhyNone
from gates.review.shown import Mark, ShownFile, ShownLine

BUDGET_S: Final = 60.0
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


async def try_reviewer(
    name: str,
    reviewer: ReviewerConfig,
    key: str,
    rounds: int,
    budget_s: float = BUDGET_S,
    *,
    through: Ask | None = None,
) -> Tried:
    """Asks at most ``rounds`` times within ``budget_s`` seconds. A reviewer that does not answer raises nothing."""
    tried, took = Tried(name, reviewer.model), list[int]()
    started = time.monotonic()
    for _ in range(rounds):
        left = budget_s - (time.monotonic() - started)
        if left <= 0:
            tried.problem = tried.problem or f"{budget_s:.0f} s were enough for {tried.rounds} of {rounds} rounds"
            break
        prepared = await asyncio.to_thread(prepare, reviewer, _sample(), _TASK, "(none)")
        tried.rounds += 1
        review = await _within(left, reviewer, key, prepared, through)
        if review is None:
            tried.problem = f"no answer within {left:.0f} s"
            break
        if review.reply:
            took.append(review.reply.duration_us // 1_000)
        _count(tried, review)
        if review.answered is None:
            break
    tried.median_ms = sorted(took)[len(took) // 2] if took else 0
    return tried


async def _within(
    seconds: float, reviewer: ReviewerConfig, key: str, prepared: PreparedReview, through: Ask | None
) -> Review | None:
    try:
        async with asyncio.timeout(seconds):
            return await ask(reviewer, key, prepared, author="", through=through)
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

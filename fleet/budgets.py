"""What a task, a person, a repository or a day may use: limits as whole numbers, and their words.

Money is micro-dollars, time microseconds; 0 is no limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from fleet.errors import Misused

NEAR_PERCENT: Final = 80
SLOT_US: Final = 900_000_000
"""Use is counted by quarters of an hour: in every zone a day begins with one."""

MOST: Final = 2**50
EXAMPLE: Final = "5usd, 2h, 2Mtokens, 300calls or 4attempts"
_UNITS: Final = {"s": 1_000_000, "m": 60_000_000, "min": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_SIZES: Final = {"": 1, "k": 1_000, "m": 1_000_000}
_PART: Final = re.compile(r"(\$?)(\d{1,12}(?:\.\d{1,6})?)\s*([a-z$]*)")
_TOKENS: Final = re.compile(r"([km]?)(?:tok|tokens?)")


class Scope(StrEnum):
    """Whose use is limited. All but ``TASK`` are for a day."""

    TASK = "task"
    PERSON = "person"
    REPO = "repo"
    DAY = "day"  # all tasks together


class Measure(StrEnum):
    """What is limited. Attempts are turns that nobody asked for twice: the request, rework, and tries again."""

    MONEY = "money"
    TOKENS = "tokens"
    CALLS = "calls"
    TIME = "time"
    ATTEMPTS = "attempts"


@dataclass(frozen=True, slots=True)
class Allowance:
    """A limit for each measure; 0: none."""

    money: int = 0
    tokens: int = 0
    calls: int = 0
    time: int = 0
    attempts: int = 0

    def limit(self, measure: Measure) -> int:
        """The limit of one measure."""
        return int(getattr(self, measure))

    def before(self, other: Allowance) -> Allowance:
        """This one where it limits something, else ``other``."""
        return Allowance(*(self.limit(each) or other.limit(each) for each in Measure))

    def __bool__(self) -> bool:
        return any(map(self.limit, Measure))


UNLIMITED: Final = Allowance()


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-dollars for a million tokens."""

    input: int
    output: int

    def of(self, input_tokens: int, output_tokens: int) -> int:
        """What so many tokens cost, rounded up."""
        return -(-(input_tokens * self.input + output_tokens * self.output) // 1_000_000)


@dataclass(frozen=True, slots=True)
class Count:
    """How much of a limit is used; ``limit`` 0: none. ``unpriced``: tokens whose cost nobody knows, not in money.

    ``name`` is the task, the person's id, the repository, or empty for the whole day.
    """

    scope: Scope
    name: str
    measure: Measure
    used: int
    limit: int
    unpriced: int = 0

    @property
    def reached(self) -> bool:
        """Whether a turn at work must end. Attempts limit what starts: one that has begun may be used."""
        return self.spent and self.measure is not Measure.ATTEMPTS

    @property
    def spent(self) -> bool:
        """Whether nothing is left for another turn."""
        return bool(self.limit) and self.used >= self.limit

    @property
    def near(self) -> bool:
        """Whether four fifths are used. Attempts are too few for such a note."""
        over = self.used * 100 >= self.limit * NEAR_PERCENT
        return bool(self.limit) and over and self.measure is not Measure.ATTEMPTS

    @property
    def left(self) -> int:
        """What is left of the limit."""
        return max(0, self.limit - self.used)

    def __str__(self) -> str:
        """``$4.10 of $5.00``, or ``$4.10, unlimited``."""
        if not self.limit:
            return f"{words(self.measure, self.used)}, unlimited"
        return f"{words(self.measure, self.used)} of {words(self.measure, self.limit, limit=True)}"


def parse_budget(text: str) -> Allowance:
    """The limits of ``5usd,2h,300calls``. Raises ``Misused``."""
    parts = [_part(part) for part in text.lower().replace(" ", "").split(",") if part]
    found = dict(parts)
    if len(found) < max(1, len(parts)):
        raise _misused(text, "it limits the same thing twice" if parts else "it limits nothing")
    return Allowance(**{str(measure): amount for measure, amount in found.items()})


def parse_money(text: str) -> int:
    """Micro-dollars of ``5``, ``2.50`` or ``$5``. Raises ``ValueError``."""
    amount = Decimal(text.removeprefix("$")) * 1_000_000
    if amount != int(amount) or not 0 < amount < MOST:
        raise ValueError(text)
    return int(amount)


def typed_budget(budget: Allowance) -> str:
    """The inverse of :func:`parse_budget`: ``2.5usd,7200s``; empty for no limits."""
    units = {Measure.MONEY: "usd", Measure.TOKENS: "tokens", Measure.CALLS: "calls", Measure.TIME: "s"}
    sizes = {Measure.MONEY: 1_000_000, Measure.TIME: 1_000_000}
    return ",".join(
        f"{Decimal(limit) / sizes.get(measure, 1):f}{units.get(measure, 'attempts')}"
        for measure, limit in limits(budget)
    )


def dump_budget(budget: Allowance) -> str:
    """The stored form; empty for no limits."""
    return json.dumps({str(measure): limit for measure, limit in limits(budget)}) if budget else ""


def load_budget(stored: str) -> Allowance:
    """The inverse of :func:`dump_budget`."""
    return Allowance(**json.loads(stored)) if stored else UNLIMITED


def words(measure: Measure, amount: int, *, limit: bool = False) -> str:
    """An amount for people: ``$5.00``, ``1.2M tokens``, ``2 h 10 min``; ``limit``: 0 is ``unlimited``."""
    if limit and not amount:
        return "unlimited"
    match measure:
        case Measure.MONEY:
            return dollars(amount)
        case Measure.TOKENS:
            return f"{_short(amount)} tokens"
        case Measure.TIME:
            return _span(amount)
        case Measure.CALLS | Measure.ATTEMPTS:
            name = "call" if measure is Measure.CALLS else "attempt"
            return f"{amount:,} {name}" + ("" if amount == 1 else "s")


def dollars(udollar: int) -> str:
    """Micro-dollars as dollars: cents from one cent on, else enough digits to see the amount."""
    amount = Decimal(udollar) / 1_000_000
    return f"${amount:.4f}" if 0 < udollar < 10_000 else f"${amount:.2f}"


def limits(budget: Allowance) -> Iterator[tuple[Measure, int]]:
    """What the budget limits."""
    return ((measure, budget.limit(measure)) for measure in Measure if budget.limit(measure))


def _part(part: str) -> tuple[Measure, int]:
    found = _PART.fullmatch(part)
    if found is None:
        raise _misused(part, "it is no amount")
    sign, digits, unit = found.groups()
    number = Decimal(digits)
    tokens = _TOKENS.fullmatch(unit)
    if sign or unit in ("usd", "$", "dollar", "dollars"):
        if sign and unit:
            raise _misused(part, "it has two units")
        measure, amount = Measure.MONEY, number * 1_000_000
    elif tokens:
        measure, amount = Measure.TOKENS, number * _SIZES[tokens[1]]
    elif unit in ("call", "calls"):
        measure, amount = Measure.CALLS, number
    elif unit in ("attempt", "attempts"):
        measure, amount = Measure.ATTEMPTS, number
    elif unit in _UNITS:
        measure, amount = Measure.TIME, number * _UNITS[unit]
    else:
        raise _misused(part, "its unit is unknown" if unit else "it has no unit")
    if amount != int(amount) or not 0 < amount < MOST:
        raise _misused(part, "it is not a possible limit")
    return measure, int(amount)


def _misused(text: str, cause: str) -> Misused:
    return Misused(attempted="read the budget", on=text[:40], cause=cause, hint=f"Write for example {EXAMPLE}.")


def _short(count: int) -> str:
    for size, sign in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{Decimal(count) / size:.1f}".removesuffix(".0") + sign
    return str(count)


def _span(us: int) -> str:
    seconds = us // 1_000_000
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else ""]
    return " ".join(part for part in parts if part)

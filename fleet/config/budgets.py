"""``[budgets]`` of ``fleet.toml``: what tasks may use, and what an agent's tokens cost where it does not say."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from fleet import budgets
from fleet.budgets import Allowance, Price
from fleet.config.limits import SECTION
from fleet.config.values import LongDuration, duration_us, wrong


def _money(text: str) -> str:
    try:
        budgets.parse_money(text)
    except (ValueError, ArithmeticError) as error:
        raise wrong(f"is no amount of money ({text!r})", 'write US dollars, for example "5" or "2.50"') from error
    return text


Money = Annotated[str, AfterValidator(_money)]


class BudgetConfig(BaseModel):
    """The most that may be used. What is left out is unlimited."""

    model_config = SECTION

    money: Money | None = None
    """US dollars as text, for example `"5"` or `"2.50"`."""
    tokens: Annotated[int, Field(ge=1, le=budgets.MOST)] | None = None
    """Input and output, cached input too."""
    calls: Annotated[int, Field(ge=1, le=budgets.MOST)] | None = None
    """Tool calls, those of subagents too."""
    time: LongDuration | None = None
    """How long turns run, for example `"2h"`."""
    attempts: Annotated[int, Field(ge=1, le=budgets.MOST)] | None = None
    """Turns that nobody asked for twice: the request, rework, and tries again."""

    @property
    def budget(self) -> Allowance:
        """The same as whole numbers."""
        return Allowance(
            money=budgets.parse_money(self.money) if self.money else 0,
            tokens=self.tokens or 0,
            calls=self.calls or 0,
            time=duration_us(self.time) if self.time else 0,
            attempts=self.attempts or 0,
        )


class Budgets(BaseModel):
    """``[budgets]``. Days are those of the person's zone, for ``repo`` and ``day`` those of the controller's."""

    model_config = SECTION

    task: BudgetConfig = BudgetConfig()
    """Each task, unless `/run budget=…` says otherwise."""
    person: BudgetConfig = BudgetConfig()
    """Each person's tasks together, a day. `budget` of a person goes before it."""
    repo: BudgetConfig = BudgetConfig()
    """Each repository's tasks together, a day. `budget` of a repository goes before it."""
    day: BudgetConfig = BudgetConfig()
    """All tasks together, a day."""


class PriceConfig(BaseModel):
    """What a million tokens cost, for an agent that reports no cost or reports it late."""

    model_config = SECTION

    input: Money
    """US dollars for a million tokens of input, cached ones too."""
    output: Money
    """US dollars for a million tokens of output."""

    @property
    def price(self) -> Price:
        """The same in micro-dollars."""
        return Price(budgets.parse_money(self.input), budgets.parse_money(self.output))

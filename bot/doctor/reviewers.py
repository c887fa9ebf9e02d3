"""Whether the reviewers of ``fleet.toml`` answer: who, how fast, and whether they catch a planted defect."""

from __future__ import annotations

from typing import Final

from bot.doctor.findings import Finding, Severity
from fleet.config import FleetConfig, ReviewerConfig, Secrets
from fleet.supervise import side_by_side
from fleet.untrusted import clean
from gates.review.agent import AgentReviewers
from gates.review.trial import Tried, try_reviewer

_BUDGET_S: Final = 30.0
_TRY: Final = "airboss review try shows more"


async def check_reviewers(config: FleetConfig, env: Secrets, agents: AgentReviewers) -> list[Finding]:
    """One finding for each reviewer, asked once and all at the same time."""
    return await side_by_side([_check(*each, env, agents) for each in config.reviewers.items()], "ask a reviewer")


async def _check(name: str, reviewer: ReviewerConfig, env: Secrets, agents: AgentReviewers) -> Finding:
    subject = f"reviewer {name}"
    if reviewer.key and not env.get(reviewer.key):
        return Finding(Severity.BAD, subject, f".env has no {reviewer.key}", f"add {reviewer.key}=… to .env")
    through = agents.through(reviewer)
    tried = await try_reviewer(name, reviewer, env.get(reviewer.key), 1, _BUDGET_S, through=through)
    if not tried.answered:
        what = clean(tried.problem or "it did not answer")
        return Finding(Severity.BAD, subject, what, _TRY, unavailable=True)
    who = _who(tried)
    if not tried.caught:
        return Finding(Severity.WARN, subject, f"{who}, and missed a planted defect", _TRY)
    return Finding(Severity.OK, subject, f"{who}, and caught a planted defect")


def _who(tried: Tried) -> str:
    model = f"{clean(tried.model)} ({', '.join(tried.families)}, {tried.identity})"
    return f"{model} answered in {tried.median_ms / 1000:.1f} s"

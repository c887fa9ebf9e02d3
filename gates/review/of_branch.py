"""A review of any branch, outside of every gate: it decides nothing and is in no receipt."""

from __future__ import annotations

from collections.abc import Callable

from fleet.config import ReviewerConfig
from fleet.git import merging
from fleet.git.repository import Repository
from fleet.untrusted import clean
from gates.review.agent import AgentReviewers
from gates.review.asking import Review, ask, prepare
from gates.review.commit_text import commit_text
from gates.review.exchange import NoReview, RemarkSeverity
from gates.review.service import changed_files


async def review_of(
    repository: Repository,
    base: str,
    head: str,
    reviewer: ReviewerConfig,
    *,
    key: str,
    author: str,
    about: str,
    redact: Callable[[str], str] | None,
    agents: AgentReviewers | None = None,
) -> Review:
    """What the reviewer says of what ``head`` changed since it left ``base``, both commits of the mirror.

    ``author``: the family of who wrote it; empty: not compared. Raises ``NoReview`` where the change cannot be
    shown whole.
    """
    fork = await merging.forked_from(repository, base, head) or base
    shown = await changed_files(repository, fork, head, reviewer, redact=redact)
    commits = await commit_text(repository, base, head, limit=reviewer.diff_bytes, redact=redact)
    prepared = prepare(reviewer, shown, redact(about) if redact else about, "(not run)", commits=commits)
    through = agents.through(reviewer, (repository, head)) if agents else None
    return await ask(reviewer, key, prepared, author=author, redact=redact, through=through)


def objections(review: Review) -> int:
    """How many of its findings are blocking."""
    return sum(each.severity is RemarkSeverity.BLOCKING for each in review.findings)


def headline(review: Review) -> str:
    """The answer in one line."""
    if review.none is not None:
        return f"no review: {why_none(review.none)}"
    count = objections(review)
    return f"{count or 'no'} objection{'s' if count > 1 else ''} from {review.answered}"


def findings(review: Review) -> list[str]:
    """A line for each finding. Its words are the model's."""
    return [f"{each.severity}: {clean(str(each))}" for each in review.findings]


def why_none(none: NoReview | None) -> str:
    """Why there is no review, and the remedy where one is known; empty: there is one."""
    return "" if none is None else f"{none.cause}. {none.hint}" if none.hint else none.cause

"""``airboss review``: ``try`` asks reviewers about a change with planted defects, ``ask`` one about any branch.

Neither needs a controller, and neither decides anything.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from bot.local.gate_try import commit_of, existing
from bot.local.options import print_json
from fleet.config import FleetConfig, Secrets, load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import Misused, Unavailable
from fleet.git.command import Git
from fleet.git.repository import Repository
from fleet.machines.executors import Executors
from fleet.redact import Redactor
from fleet.untrusted import clean
from gates.review.agent import AgentReviewers
from gates.review.asking import Review
from gates.review.independence import choose
from gates.review.of_branch import findings, headline, objections, review_of, why_none
from gates.review.trial import Tried, try_reviewer


@asynccontextmanager
async def agent_reviewers(home: Path, config: FleetConfig, env: Secrets) -> AsyncIterator[AgentReviewers]:
    """Asks agents for reviews, with links of its own."""
    executors = Executors(config, home)
    try:
        yield AgentReviewers.of(lambda: config, executors, env)
    finally:
        await executors.close()


def try_each(options: argparse.Namespace, home: Path) -> int:
    """Tries one reviewer of ``fleet.toml``, or all. Returns the exit status.

    Raises ``Misused`` when there is no such reviewer.
    """
    found = asyncio.run(_tried(home, options.name, options.rounds))
    if options.json:
        print_json({"v": 1, "reviewers": [asdict(tried) for tried in found]})
    else:
        sys.stdout.write("\n\n".join(map(_text, found)) + "\n")
    return max(tried.status for tried in found)


async def _tried(home: Path, name: str, rounds: int) -> list[Tried]:
    config = load_fleet(home / FLEET_FILE)
    reviewers = config.reviewers
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
    async with agent_reviewers(home, config, env) as agents:
        for each, reviewer in chosen.items():
            key = env.require(reviewer.key, f"try the reviewer {each}") if reviewer.key else ""
            found.append(await try_reviewer(each, reviewer, key, rounds, through=agents.through(reviewer)))
    return found


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


_ATTEMPTED = "ask a reviewer"


def ask(options: argparse.Namespace, home: Path) -> int:
    """Asks about ``head`` on ``base`` and prints the answer: 0 without objection, 1 with one, 3 for no review.

    ``author`` is the family of who wrote it; empty: not compared. Raises ``Misused`` for a ref or a reviewer that
    does not exist, and ``NoReview`` where the change cannot be shown whole.
    """
    review = asyncio.run(_asked(options, home))
    if options.json:
        print_json(_plain(review))
    else:
        sys.stdout.write(_said(review, options.author))
    return _status(review)


async def _asked(options: argparse.Namespace, home: Path) -> Review:
    where, author = existing(Path(options.repo), _ATTEMPTED), options.author
    env, config = Secrets.load(home), load_fleet(home / FLEET_FILE)
    reviewer = config.reviewers[choose(config.reviewers, options.name, author)]
    key = env.require(reviewer.key, _ATTEMPTED) if reviewer.key else ""
    redact, git = Redactor(env.values()), Git()
    found = await git.run(
        "rev-parse", "--absolute-git-dir", cwd=where, attempted=_ATTEMPTED, on=str(where), expect=(0, 128)
    )
    if found.code:
        raise Misused(attempted=_ATTEMPTED, on=str(where), cause="it is not a git repository")
    old, new = [await commit_of(git, where, ref, _ATTEMPTED) for ref in (options.base, options.head)]
    repository = Repository("repository", str(where), "main", Path(found.line))
    words = {"key": key, "author": author, "about": options.about}
    async with agent_reviewers(home, config, env) as agents:
        return await review_of(repository, old, new, reviewer, **words, redact=redact, agents=agents)


def _status(review: Review) -> int:
    if review.none is not None:
        return Unavailable.status
    return int(objections(review) > 0)


def _plain(review: Review) -> dict[str, object]:
    who = review.answered
    return {
        "v": 1,
        "status": _status(review),
        "none": why_none(review.none),
        "model": who.model if who else "",
        "families": list(who.families) if who else [],
        "identity": str(who.identity) if who else "",
        "findings": [asdict(each) for each in review.findings],
    }


def _said(review: Review, author: str) -> str:
    unknown = "(the author's family was not compared: pass --author FAMILY)"
    compared = author or review.none is not None
    return "\n".join([headline(review), *findings(review), *([] if compared else [unknown])]) + "\n"

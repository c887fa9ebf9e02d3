"""``airboss review ask``: what a reviewer says of any branch. It decides nothing."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import asdict
from pathlib import Path

from bot.local.gate_try import commit_of, existing
from bot.local.options import print_json
from bot.local.review_try import agent_reviewers
from fleet.config import Secrets, load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import Misused, Unavailable
from fleet.git.command import Git
from fleet.git.repository import Repository
from fleet.redact import Redactor
from gates.review.asking import Review
from gates.review.independence import choose
from gates.review.of_branch import findings, headline, objections, review_of, why_none

_ATTEMPTED = "ask a reviewer"


def run(options: argparse.Namespace, home: Path) -> int:
    """Asks about ``head`` on ``base`` and prints the answer: 0 without objection, 1 with one, 3 for no review.

    ``author`` is the family of who wrote it; empty: not compared. Raises ``Misused`` for a ref or a reviewer that
    does not exist, and ``NoReview`` where the change cannot be shown whole.
    """
    review = asyncio.run(_asked(options, home))
    if options.json:
        print_json(_plain(review))
    else:
        sys.stdout.write(_text(review, options.author))
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


def _text(review: Review, author: str) -> str:
    unknown = "(the author's family was not compared: pass --author FAMILY)"
    compared = author or review.none is not None
    return "\n".join([headline(review), *findings(review), *([] if compared else [unknown])]) + "\n"

"""``airboss review try``: asks each reviewer about a small change with planted defects, without a controller."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from bot.local.options import print_json
from fleet.config import FleetConfig, Secrets, load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import Misused
from fleet.machines.executors import Executors
from fleet.untrusted import clean
from gates.review.agent import AgentReviewers
from gates.review.trial import Tried, try_reviewer


@asynccontextmanager
async def agent_reviewers(home: Path, config: FleetConfig, env: Secrets) -> AsyncIterator[AgentReviewers]:
    """Asks agents for reviews, with links of its own."""
    executors = Executors(config, home)
    try:
        yield AgentReviewers.of(lambda: config, executors, env)
    finally:
        await executors.close()


def run(options: argparse.Namespace, home: Path) -> int:
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

"""The commands of ``airboss review``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bot.local.options import home_path, word


def add_reviewing(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the commands."""
    review = commands.add_parser("review", help="the independent reviewers")
    verbs = review.add_subparsers(metavar="COMMAND", required=True)
    add = verbs.add_parser("try", help="ask a reviewer of fleet.toml about a change with planted defects")
    add.add_argument("name", nargs="?", default="", metavar="REVIEWER")
    add.add_argument("--rounds", type=int, default=3, choices=range(1, 21), metavar="1-20")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=_try)
    add = verbs.add_parser("ask", help="ask a reviewer about any branch; it decides nothing")
    add.add_argument("name", nargs="?", default="", metavar="REVIEWER")
    add.add_argument("--repo", required=True, type=word, metavar="DIR")
    add.add_argument("--base", required=True, type=word, metavar="REF")
    add.add_argument("--head", required=True, type=word, metavar="REF")
    add.add_argument("--author", default="", metavar="FAMILY", help="who wrote it, as in anthropic or openai")
    add.add_argument("--about", default="", metavar="TEXT", help="what the change is for")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=_ask)


def _try(options: argparse.Namespace) -> int:
    import asyncio

    from bot.local.owner import as_owner
    from bot.local.review_try import review_try

    as_owner(home_path(options))
    return asyncio.run(review_try(home_path(options), options.name, options.rounds, options.json))


def _ask(options: argparse.Namespace) -> int:
    import asyncio

    from bot.local.owner import as_owner
    from bot.local.review_ask import review_ask

    as_owner(home_path(options))
    asking = review_ask(
        home_path(options),
        Path(options.repo),
        options.base,
        options.head,
        name=options.name,
        author=options.author,
        about=options.about,
        as_json=options.json,
    )
    return asyncio.run(asking)

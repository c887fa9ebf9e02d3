"""Faults in a fleet that two controllers share, on a real PostgreSQL: killed at a failpoint, wrong clock, no store.

One seed runs always, on the way of an ordinary task; ``AIRBOSS_CAMPAIGN=full`` plays 200, also of schedules, work
that did not land, budgets, lines and pools, an outage of a minute, and the end of who polls a chat.
"""

from __future__ import annotations

import contextlib

import pytest

from tests.conftest import FULL, SEED
from tests.far_end.bot_api import TOKEN, BotApi
from tests.scenarios.killed_controllers import ORDINARY, POINTS, Play
from tests.scenarios.killed_flights import killed_controllers
from tests.scenarios.outage import play_outage
from tests.scenarios.pair import Pair, pair
from tests.scenarios.telegram_house import ADA

_SEEDS = 200 if FULL else 1
_IN_ONE_FLEET = 10


_FIRSTS = range(SEED, SEED + _SEEDS, _IN_ONE_FLEET)


@pytest.mark.timeout(900 if FULL else 300)
@pytest.mark.parametrize("what", [*_FIRSTS, *(("outage", "poller") if FULL else ())])
def test_two_controllers_land_everything_once_whatever_happens(what: int | str) -> None:
    match what:
        case "outage":
            with killed_controllers() as fleet:
                play_outage(fleet)
        case "poller":
            with pair("third") as both:
                _poller(both)
        case int(first):
            with killed_controllers() as fleet:
                for seed in range(first, min(first + _IN_ONE_FLEET, SEED + _SEEDS)):
                    fleet.play(Play.of(seed, POINTS if FULL else ORDINARY))


def _poller(both: Pair) -> None:
    """Who polls the chat is killed while somebody writes: the other answers, and takes each message once."""
    one, other = both.homes[:2]
    with BotApi() as api:
        for each in (one, other):
            each.configure(people=[{"name": "Ada", "role": "admin", "ids": [f"telegram::{ADA}"]}])
            with (each.home / ".env").open("a") as env:
                env.write(f"AIRBOSS_TELEGRAM_TOKEN={TOKEN}\nAIRBOSS_TELEGRAM_API={api.url}\n")
        with contextlib.ExitStack() as stack:
            polls = stack.enter_context(both.standby(one, "--join"))
            one.until(one._answers, "the first coordinates")
            stack.enter_context(both.standby(other, "--join"))
            one.until(lambda: both.conditions(one) == {"home": "leads", "other": "shares"}, "the other takes part")
            api.say(ADA, "/run shell echo 0 > 0.txt")
            one.until(lambda: both.events("task.requested"), "the first polls")
            for number in range(1, 4):
                api.say(ADA, f"/run shell echo {number} > {number}.txt")
            polls.kill()
            for number in range(4, 6):
                api.say(ADA, f"/run shell echo {number} > {number}.txt")
            api.wait(lambda: not api.unconfirmed(), "the other polls", seconds=60)
            other.until(lambda: len(both.events("task.requested")) >= 6, "each message has its task")
            tasks = sorted(of for of, _ in both.events("task.requested"))
            assert [other.wait(task).status for task in tasks] == [0] * 6, both.said(other)
            assert tasks == [f"t{number}" for number in range(1, 7)]
            assert [other.main(f"{number}.txt").strip() for number in range(6)] == list("012345")

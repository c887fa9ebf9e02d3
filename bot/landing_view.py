"""The landing queues as people see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bot import words
from bot.cards import Line, line, one_line
from fleet.store.landing_line import LandingPlace
from fleet.store.states import PlaceState

_SHOWN: Final = 4
_STATE: Final = {
    PlaceState.JOINED: "waits",
    PlaceState.MERGED: "is judged",
    PlaceState.PASSED: "passed",
    PlaceState.NOT_PASSED: "did not pass",
    PlaceState.CONFLICT: "conflicts",
}


def landing_lines(queues: Mapping[str, Sequence[LandingPlace]], stopped: Mapping[str, str]) -> list[Line]:
    """Who lands next in each repository where several wait to, and how far each is. One alone needs no queue.
    ``stopped``: where nothing lands, and why."""
    shown = [
        line(f"⏸ {repo} lands nothing: ", one_line(why, 90), f" · /resume {repo}") for repo, why in stopped.items()
    ]
    for repo, places in queues.items():
        if len(places) < 2:
            continue
        shown.append(line(f"Landing in {repo}: {words.count(len(places), 'change')}"))
        for at, place in enumerate(places[:_SHOWN], 1):
            after = f" on top of {place.behind[-1]}" if place.behind else ""
            out = (" · without ", one_line(place.without[0], 60)) if place.without else ()
            shown.append(line(f"  {at}. {place.task} {_STATE[place.state]}{after}", *out))
        if (more := len(places) - _SHOWN) > 0:
            shown.append(line(f"  and {more} more"))
    return shown


def landing_summary(queues: Mapping[str, Sequence[LandingPlace]], stopped: Mapping[str, str]) -> list[Line]:
    """The same in at most two lines, for a screen that shows much else."""
    shown = []
    if stopped:
        repo, why = next(iter(stopped.items()))
        more = f" · {len(stopped) - 1} more: /queue" if len(stopped) > 1 else f" · /resume {repo}"
        shown.append(line(f"⏸ {repo} lands nothing: ", one_line(why, 60), more))
    if waiting := {repo: places for repo, places in queues.items() if len(places) > 1}:
        each = [
            f"{repo} {words.some((place.task for place in places), _SHOWN)}" for repo, places in waiting.items()
        ]
        more = f" · {len(each) - 2} more" if len(each) > 2 else ""
        shown.append(line(f"In line to land: {' · '.join(each[:2])}{more}"))
    return shown


def plain_places(queues: Mapping[str, Sequence[LandingPlace]]) -> dict[str, object]:
    """The same for ``--json``."""
    return {
        repo: [
            {
                "task": place.task,
                "state": str(place.state),
                "behind": list(place.behind),
                "without": list(place.without),
                "base": place.base,
                "commit": place.commit,
                "why": place.why,
            }
            for place in places
        ]
        for repo, places in queues.items()
    }

"""What each change in a repository's landing queue is merged with. Pure: the queue says it all.

The first one is merged with the branch, the next with the merge of the one before it, and so on; all of them are
judged side by side. What passes on top of another lands only where the branch has come to be exactly that commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleet.store.landing_line import LandingPlace
from fleet.store.states import PlaceState

_STANDS = (PlaceState.MERGED, PlaceState.PASSED)
_OUT = (PlaceState.NOT_PASSED, PlaceState.CONFLICT)


@dataclass(frozen=True, slots=True)
class Tip:
    """Nobody is before it: it is merged with the branch as it is, and may land."""


@dataclass(frozen=True, slots=True)
class After:
    """It is merged with ``commit``, which has the changes of ``behind`` and has not landed; with the branch as the
    first one saw it, where only such are before it that are left out."""

    commit: str
    behind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """It cannot be known yet what it will be merged with. ``task``: who it waits for."""

    task: str


Next = Tip | After | Wait


def plan(line: Sequence[LandingPlace], most: int) -> dict[str, Next]:
    """What each change is merged with next, by task. ``most`` of them are judged at once."""
    found: dict[str, Next] = {}
    ahead: Next = Tip()
    for at, place in enumerate(line):
        mine = ahead
        if at and (place.alone or at >= most) and not isinstance(ahead, Wait):
            mine = Wait(line[at - 1].task)
        found[place.task] = mine
        ahead = _behind(place, mine)
    return found


def _behind(place: LandingPlace, mine: Next) -> Next:
    """What those behind ``place`` are merged with. One that did not pass, or conflicts, is left out: it lands only
    if what is before it does not."""
    if isinstance(mine, Wait):
        return mine
    merged = isinstance(mine, Tip) or place.base == mine.commit
    if place.alone or not merged:
        return Wait(place.task)
    if place.state in _STANDS:
        return After(place.commit, (*(mine.behind if isinstance(mine, After) else ()), place.task))
    if place.state in _OUT:
        return mine if isinstance(mine, After) else After(place.base, ())
    return Wait(place.task)

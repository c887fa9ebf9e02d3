"""Whole flights with a fault in the store, a machine, a file or a chat: each comes out as it would without."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest

from fleet.faults import Point
from tests.conftest import SEED
from tests.scenarios.fault_campaign import FLIGHTS, Case, Length, cases, undisturbed, wrong
from tests.scenarios.house import house

_FULL = os.environ.get("AIRBOSS_CAMPAIGN") == "full"

#: A plain run plays so many cases, all of one flight.
_SAMPLE = 4

#: `make test` plays the same cases each time, so that a failure comes from a change and not from chance.
#: `make torture` plays all of them.
_SAMPLE = 7

#: A fault that lasts takes its time at each visit, so the full campaign plays one visit in so many.
_LASTING_ONE_IN = 10


def _sampled(number: int) -> list[Case]:
    """One case of a sampled flight, whose undisturbed run is played once for all of them."""
    flight = random.Random(_SAMPLE).choice(list(FLIGHTS))
    chosen = random.Random(f"{_SAMPLE} {number}")
    point = chosen.choice([point for point, visits in undisturbed(flight).visits.items() if visits])
    length = chosen.choice([Length.ONCE, Length.THRICE, Length.SECONDS])
    return [chosen.choice(cases(flight, point, length))]


def _all(flight: str, point: Point, length: Length) -> list[Case]:
    every = cases(flight, point, length)
    if length is not Length.MINUTE:
        return every
    return random.Random(SEED).sample(every, -(-len(every) // _LASTING_ONE_IN))


def _play(played: list[Case]) -> None:
    found = [line for case in played for line in wrong(case)]
    assert not found, f"{len(played)} cases with AIRBOSS_SEED={SEED}:\n" + "\n".join(found)


def _parts() -> Iterator[object]:
    for flight in FLIGHTS:
        for point in Point:
            for length in (Length.ONCE, Length.THRICE, Length.MINUTE):
                yield pytest.param(_all, (flight, point, length), id=f"{flight}-{point}-{length}")


@pytest.mark.parametrize(
    ("choose", "what"),
    _parts() if _FULL else [pytest.param(_sampled, (n,), id=f"sample-{n}") for n in range(_SAMPLE)],
)
def test_a_flight_with_a_fault_comes_out_as_without(
    choose: Callable[..., list[Case]], what: tuple[object, ...]
) -> None:
    _play(choose(*what))


def test_the_environment_sets_faults_in_a_whole_controller() -> None:
    with house() as built:
        built.start(AIRBOSS_FAULT="machine.call@6:3 store.commit@33 chat.call@2:3")
        begun = built.say("/run write bad\nthen-write GOOD at last")
        ended = built.wait(begun.task)
        assert ended.status == 0, ended.shown
        assert built.main() == "GOOD at last"
        assert (built.directory / "serve.log").read_text().count("fault injected") + (
            built.home / "airboss.log"
        ).read_text().count("fault injected") == 7

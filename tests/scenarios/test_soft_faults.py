"""Whole flights with a fault in the store, a machine, a file or a chat: each comes out as it would without."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from bot.outbox.delivering import Deliverer
from fleet.faults import Point
from fleet.flight.follower import Follower
from gates.leaks.search import fingerprint_key
from gates.runs.place import find_place
from gates.runs.watch import GateOutput
from tests.conftest import SEED, sampled
from tests.scenarios.fault_campaign import FLIGHTS, Length, Ruling, case_at, cases, judge
from tests.scenarios.house import house

#: What `make test` plays, one flight for all of it; `make torture` plays all sites. Without the fix that is named,
#: its case fails.
_ALWAYS: dict[str, tuple[Any, ...]] = {
    "an agent's lines are read again after their commit failed": (
        *("permitted", Point.STORE_COMMIT, Follower._apply, Length.ONCE),
    ),
    "an answer is told again after its commit failed": (
        *(
            "permitted",
            Point.STORE_COMMIT,
            Follower._take_from_people,
            Length.ONCE,
        ),  # writes nothing until there is an answer
    ),
    "the deliverer survives a read that failed": ("permitted", Point.STORE_READ, Deliverer._due, Length.ONCE),
}
_ONE_OF: dict[str, tuple[Any, ...]] = {
    "a gate's log meets a full disk": ("permitted", Point.FILE_WRITE, GateOutput.take, Length.ONCE),
    "the key that masks secrets meets a full disk": ("permitted", Point.FILE_WRITE, fingerprint_key, Length.ONCE),
    "the only machine for a gate is away for a minute": (
        *("permitted", Point.MACHINE_CALL, find_place, Length.MINUTE),
    ),
}


@pytest.mark.timeout(300)  # a fault that ends something is waited for twice as long as usual
@pytest.mark.parametrize("case", [*_ALWAYS, *sampled(_ONE_OF, 1)])
def test_a_flight_with_a_fault_comes_out_as_without(case: str) -> None:
    judged = judge(case_at(*{**_ALWAYS, **_ONE_OF}[case]))
    assert judged.ruling is Ruling.PASSED, "\n".join(judged.found)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "length" in metafunc.fixturenames:
        lengths = [Length.ONCE, Length.THRICE, Length.MINUTE, Length.REAL_MINUTE]
        parts = [(flight, point, length) for flight in FLIGHTS for point in Point for length in lengths]
        metafunc.parametrize(("flight", "point", "length"), parts, ids=["-".join(part) for part in parts])


def each_site(flight: str, point: Point, length: Length) -> None:
    """The whole campaign. Of the real minutes, one a point and flight."""
    chosen = cases(flight, point, length, SEED)
    if length is Length.REAL_MINUTE:
        chosen = chosen[:1]
    judged = [judge(case) for case in chosen]
    counts = Counter(each.ruling for each in judged)
    print(", ".join(f"{counts[ruling]} {ruling}" for ruling in Ruling))
    found = [line for each in judged for line in each.found]
    assert counts[Ruling.PASSED] == len(chosen), f"{dict(counts)}, AIRBOSS_SEED={SEED}:\n" + "\n".join(found)


if os.environ.get("AIRBOSS_CAMPAIGN") == "full":
    test_each_site_of_each_point = each_site


def test_the_environment_sets_faults_in_a_whole_controller() -> None:
    with house() as built:
        built.start(AIRBOSS_FAULT="machine.call@6 store.commit@33 chat.call@2:2")
        begun = built.say("/run write bad\nthen-write GOOD at last")
        ended = built.wait(begun.task)
        assert ended.status == 0, ended.shown
        assert built.main() == "GOOD at last"
        assert (built.directory / "serve.log").read_text().count("fault injected") + (
            built.home / "airboss.log"
        ).read_text().count("fault injected") == 4

"""Ten changes that wait to land against one gate: how long until all of them have landed.

Real store, real git, real flights; the gate only takes its time. Each change is judged alone, then on top of those
before it: two gate times, if they are judged side by side. One after the other it takes eleven.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from fleet.clock import SystemClock
from fleet.model import TaskState
from fleet.ports import Candidate
from fleet.verdict import Verdict
from tests.bench.harness import compare, report
from tests.far_end.repositories import make_bare
from tests.flying import passed, world
from tests.landing_queue import LandingHouse

GATE_S: Final = 20.0
CHANGES: Final = 10
BAR: Final = 2.2


async def _all_land(directory: Path) -> None:
    bare = make_bare(directory / "shop.git", {f"src/{n}.txt": f"{n}\n" for n in range(500)})
    there = world(directory, str(bare))
    there.services = replace(there.services, clock=SystemClock())

    async def judge(candidate: Candidate) -> Verdict:
        await asyncio.sleep(GATE_S)
        return passed(candidate)

    with there.store:
        queue = LandingHouse(there, bare)
        queued = [await queue.add(f"change-{n}", until=TaskState.JUDGING) for n in range(CHANGES)]
        there.judge.judging = judge
        started = time.perf_counter()
        queue.fly(*queued)
        await queue.over()
        print(f"{CHANGES} landed in {time.perf_counter() - started:.1f} s, a gate takes {GATE_S:.0f} s")
        assert sorted(queue.landed()) == sorted(f"change-{n}" for n in range(CHANGES))
        _took.append(time.perf_counter() - started)


_took: list[float] = []


def _ours() -> float:
    with tempfile.TemporaryDirectory(prefix="bench-landing-") as directory:
        asyncio.run(_all_land(Path(directory)))
    return _took[-1]


def main() -> int:
    """Prints the ratio; exits 1 when it is above what is promised."""
    gate = ("one gate", lambda: GATE_S)
    return report([compare("10 queued changes land", ("the queue", _ours), gate, bar=BAR, rounds=3, warm=1)])


if __name__ == "__main__":
    sys.exit(main())

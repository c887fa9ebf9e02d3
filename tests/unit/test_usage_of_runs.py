"""What a run's processes hold, while they end."""

from __future__ import annotations

import subprocess
import time

from fleet.machines.runner.limits import RunnerLimits
from fleet.machines.runner.usage import Member


class Ending(Member):
    """One of many that share pages: at the first reading the others still end."""

    def __init__(self, pid: int, readings: list[int]) -> None:
        super().__init__(pid, 9)
        self.readings = readings

    def held(self) -> int:
        return self.readings.pop(0)


def test_a_process_that_ended_holds_nothing() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        member = Member(child.pid, 0)
        while not member.resident:
            time.sleep(0.01)
            member = Member(child.pid, 0)
        assert member.held() > 0
        child.kill()
    assert member.resident > 0 and member.held() == 0


def test_one_reading_above_the_limit_ends_nothing() -> None:
    limits = RunnerLimits({"directories": ["/tmp"], "memory": 100, "processes": 10, "disk": 0})
    with subprocess.Popen(["sleep", "60"]) as child:
        assert not limits.shed([Ending(child.pid, [200, 50])], 0)
        assert child.poll() is None and limits.reached == []
        ending = Ending(child.pid, [200, 200, 200, 200])
        limits.shed([ending], 0)
        assert not limits.shed([ending], 0), "it has not ended yet, and holds all of it"
        assert child.wait(60) == -9 and len(limits.reached) == 1

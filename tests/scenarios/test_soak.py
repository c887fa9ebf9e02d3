"""A controller that runs for months: what tasks of every kind of end took from it, it gives back.

Twenty tasks fly always; ``AIRBOSS_CAMPAIGN=full`` flies 1,000.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import FULL
from tests.scenarios.house import House, house

_AGENT: Final = """
f=w-$(head -c 6 /dev/urandom | od -An -tx1 | tr -d ' \\n').txt; date > $f
case "$(cat)" in *red*) echo x > bad-$f;; *broken*) exit 3;; *killed*) kill -9 $$;; *nothing*) rm $f;; esac
"""
_GATE: Final = '[gates.check]\nrun = ["sh", "-c", "! ls bad-* 2>/dev/null"]\nrework_turns = 0\n'
_ENDS: Final = ("fine", "red", "broken", "killed", "nothing")
_ROUNDS: Final = 100 if FULL else 2
_AT_ONCE: Final = 5
_LOOKS: Final = 10
#: What a task more may cost in memory at the most: caches fill, none of them for ever.
_KIB_A_TASK: Final = 64


@pytest.mark.timeout(3_600 if FULL else 300)
def test_what_tasks_took_is_given_back() -> None:
    with house({"airboss.toml": _GATE}) as made:
        made.agents = {"quick": {"driver": "command", "program": ["sh", "-c", _AGENT]}}
        machines = {name: {**settings, "slots": _AT_ONCE} for name, settings in made.machines.items()}
        made.configure(repos={"shop": {"url": str(made.bare), "agent": "quick"}}, machines=machines)
        made.start()
        _fly(made, *_ENDS[:2])
        files, threads, memory = _at_rest(made)
        flown = sum(_fly(made, *_ENDS) for _ in range(_ROUNDS))
        made.until(lambda: _taken(made)[0] - files < flown // 2, "open files are closed")
        made.until(lambda: _taken(made)[1] - threads < flown // 2, "threads end")
        if FULL:  # a few tasks show nothing: the first ones fill caches
            assert _taken(made)[2] - memory < _KIB_A_TASK * flown


def _fly(made: House, *ends: str) -> int:
    """One task of each end on each machine, and a link that is cut under them. How many there were."""
    asked = [(machine, end) for end in ends for machine in ("evo-x2", "macbook")]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        flying = [pool.submit(partial(made.say, f"/run on={machine} {end}", wait=True)) for machine, end in asked]
        made.sshd.cut()
        assert all(each.result().task for each in flying)
    return len(asked)


def _at_rest(made: House) -> tuple[int, int, int]:
    """What it has taken once nothing of it changes any more."""
    seen = [_taken(made)]
    while len(seen) < _LOOKS or len({look[:2] for look in seen[-_LOOKS:]}) > 1:
        time.sleep(0.1)
        seen.append(_taken(made))
    return seen[-1]


def _taken(made: House) -> tuple[int, int, int]:
    """The controller's open files, threads and memory in KiB."""
    assert made.controller is not None
    process = Path(f"/proc/{made.controller.pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return len(list((process / "fd").iterdir())), int(status["Threads"]), int(status["VmRSS"].split()[0])

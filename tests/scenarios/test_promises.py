"""What the fleet promises under faults that are really injected, as long campaigns of ``make torture``.

Each choice comes from the run's seed, which is printed. The short forms of these are scenarios of ``make test``:
``test_crashes.py``, ``test_bad_input.py``, ``test_schedules.py``, ``tests/contracts/test_executor_links.py``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from fleet.model import ENDS
from tests.conftest import FULL, SEED, living_in
from tests.far_end.clocks import wall_clock
from tests.far_end.repositories import git
from tests.kill_points import NAMES
from tests.scenarios import fault_house
from tests.scenarios.house import House, house

KILLS, CANCELS, AT_ONCE = 200, 1_000, 50
DAY, HOUR = 86_400, 3_600
ENDED = frozenset(map(str, ENDS))
MOVES = """
SELECT json_extract(canonical, '$.body.new') FROM ledger WHERE task = ? AND kind = 'task.moved' ORDER BY seq
"""
LENGTH = "SELECT (max(time_us) - min(time_us)) / 1e6 AS seconds FROM ledger WHERE task = ?"


@pytest.fixture
def built() -> Iterator[House]:
    with house() as made:
        yield made


def rows(home: Path, query: str, *values: object) -> list[sqlite3.Row]:
    """Read without the product's store, which would open and check it each time."""
    with contextlib.closing(sqlite3.connect(f"file:{home / 'airboss.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def whole(built: House, lines: int) -> None:
    """One task, one landing, one receipt, one end; each line of each of its processes once, in order."""
    built.until(lambda: built.ledger("session.ended"), "its session is closed")
    events = built.ledger()
    assert [recorded.seq for recorded in events] == list(range(1, len(events) + 1))
    kinds = Counter(recorded.event.KIND for recorded in events)
    once = ("task.requested", "session.placed", "landing.done", "receipt.issued", "session.ended")
    assert {kind: kinds[kind] for kind in once} == dict.fromkeys(once, 1)
    assert kinds["turn.started"] == kinds["turn.closed"]
    said = "\n".join(body["text"] for body in built.bodies("agent.said"))
    numbers = [int(line.split()[1]) for line in said.splitlines() if line.startswith("line ")]
    assert numbers == list(range(lines)) * kinds["pipe.started"]
    assert len(built.commits()) == 2
    moves = [(body["old"], body["new"]) for body in built.bodies("task.moved")]
    assert all(after[0] == before[1] for before, after in pairwise(moves)), moves
    assert moves[-1][1] == "landed" and sum(new in ENDED for _, new in moves) == 1
    assert living_in(built.directory / "macbook" / ".airboss" / "work") == {}


def killed_where_the_seed_says(built: House, number: int) -> None:
    chance = Random(f"{SEED} kill {number}")
    lines, machine = chance.randrange(4, 60), chance.choice(("macbook", "evo-x2"))
    words = f"/run on={machine} chatter {lines}\nwrite BAD\nthen-write GOOD {number}"
    points = [f"{chance.choice(NAMES)}:{chance.choice((1, 1, 1, 2, 3, 5))}" for _ in range(chance.randrange(1, 5))]
    print(f"AIRBOSS_SEED={SEED} kill {number}: {machine}, {lines} lines, {', '.join(points)}")
    for point in (*points, ""):
        built.start(failpoint=point)
        with contextlib.suppress(OSError):  # it may die before it answers: the same message is sent again
            built.say(words, id_=f"kill-{number}")
        died(built) if point else built.wait("t1")
    assert built.main() == f"GOOD {number}"
    whole(built, lines)


def died(built: House) -> None:
    """Waits until the controller died, or the task went past the point without a visit; then it is killed all the
    same."""
    ended = "SELECT count(*) FROM ledger WHERE kind = 'session.ended'"
    assert built.controller is not None
    give_up = time.monotonic() + 90
    while built.controller.poll() is None and not rows(built.home, ended)[0][0]:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    built.kill()


def cancelled_at_any_moment(part: int) -> None:
    chance = Random(f"{SEED} cancel {part}")
    print(f"AIRBOSS_SEED={SEED} cancels {part * AT_ONCE} to {(part + 1) * AT_ONCE}")
    outcomes = Counter[str]()
    with fault_house.built() as there:
        there.start()
        took = 1.0
        for number in range(1, AT_ONCE + 1):
            task = f"t{number}"
            there.say(f"/run write GOOD {number}")
            if number > 1:  # one that lands says how long the whole way is
                time.sleep(chance.uniform(0.0, took * 1.25))
                there.tell(f"/stop {task}")
            there.until(partial(is_over, there, task), f"{task} is over")
            state = there.rows("SELECT state FROM tasks WHERE id = ?", task)[0]["state"]
            outcomes[state] += 1
            if state == "landed":  # the first one is slow: everything is loaded for it
                took = there.rows(LENGTH, task)[0]["seconds"]
        kinds = "SELECT kind, count(*) FROM ledger WHERE task = ? GROUP BY kind"
        for number in range(1, AT_ONCE + 1):
            task = f"t{number}"
            count = {row[0]: row[1] for row in there.rows(kinds, task)}
            moves = [row[0] for row in there.rows(MOVES, task)]
            assert [new for new in moves if new in ENDED] == moves[-1:], (task, moves)
            assert moves[-1] in ("landed", "stopped"), (task, moves)
            placed = count.get("session.placed", 0)  # none, where the stop came before
            assert placed == count.get("session.ended", 0) <= 1, told(there, task)
            assert count.get("turn.started") == count.get("turn.closed"), told(there, task)
            assert count.get("gate.opened") == count.get("gate.closed"), told(there, task)
            assert count.get("pipe.started") == count.get("pipe.ended"), told(there, task)
            assert count.get("landing.done", 0) == (moves[-1] == "landed"), (task, moves)
        trailers = git(there.bare, "log", "--format=%(trailers:key=Airboss-Task,valueonly)", "main").split()
        landed = there.rows("SELECT id FROM tasks WHERE state = 'landed'")
        assert sorted(trailers) == sorted(row["id"] for row in landed)
        work = there.directory / "evo-x2" / ".airboss" / "work"
        assert living_in(work) == {}
        begun = [Path(row["workspace"]).name for row in there.rows("SELECT workspace FROM sessions")]
        assert {path.name for path in work.iterdir()} - {".ready"} <= set(begun), "the others' are removed"
    print(dict(outcomes))
    assert set(outcomes) == {"landed", "stopped"}, "the race was none"


def is_over(there: fault_house.Controller, task: str) -> bool:
    """Whether a task has ended and has no session that is open."""
    state = there.rows("SELECT state FROM tasks WHERE id = ?", task)[0]["state"]
    return state in ENDED and not there.rows("SELECT id FROM sessions WHERE task = ? AND ended_us = 0", task)


def told(there: fault_house.Controller, task: str) -> str:
    """The events of a task: what came between cannot be repeated."""
    events = there.rows("SELECT canonical FROM ledger WHERE task = ? ORDER BY seq", task)
    return "\n".join([task, *(row[0].decode(errors="replace")[:300] for row in events)])


def with_python(built: House, script: str) -> None:
    """The machine over SSH runs our code by this script, which gets ``$PYTHON`` and its arguments."""
    python = built.directory / "python"
    python.write_text(f"#!/bin/sh\nPYTHON={shlex.quote(sys.executable)}\n{script}\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    built.configure(machines={"macbook": {**built.machines["macbook"], "python": str(python)}})


def a_clock_that_jumps(built: House, where: str, jump: int) -> None:
    """In mid-turn, on the controller or on the machine. No lease or gate ends by it, a schedule runs once."""
    clock = {**wall_clock("+0", built.directory), "FAKETIME_NO_CACHE": "1"}
    stamp = Path(clock["FAKETIME_TIMESTAMP_FILE"])
    if where == "machine":
        exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in clock.items())
        with_python(built, f'export {exports}\nexec "$PYTHON" "$@"')
    built.start(**(clock if where == "controller" else {}))
    pid = built.controller.pid if built.controller else 0
    built.say("/schedule in 2 h run write GOOD by schedule")
    answer = built.in_background("/run on=macbook chatter 60\nwrite GOOD after the jump")
    said(built, 10)
    stamp.write_text(f"{jump:+d}\n")
    ended = answer()
    assert ended.status == 0, ended.shown
    assert built.controller is not None and built.controller.pid == pid and built.controller.poll() is None
    numbers = [int(number) for number in re.findall(r"line (\d+)", "\n".join(text(built, "t1")))]
    assert numbers == list(range(60))
    if where == "controller" and jump == DAY:
        built.until(lambda: built.of("t2", "session.ended"), "the schedule that is due by now has run")
        stamp.write_text("+0\n")
        built.say("/status")
        stamp.write_text(f"{jump:+d}\n")
        assert [body["outcome"] for body in built.bodies("schedule.due")] == ["started"]
    requested = 2 if where == "controller" and jump == DAY else 1
    assert len(built.ledger("task.requested")) == requested


def text(built: House, task: str) -> list[str]:
    """What the agent of a task said."""
    return [recorded.event.body()["text"] for recorded in built.of(task, "agent.said")]


def said(built: House, number: int) -> None:
    """Waits for a line of the agent."""
    line = f"line {number}\n"
    built.until(lambda: any(line in f"{each}\n" for each in text(built, "t1")), f"{line} arrives")


def an_sshd_that_restarts(built: House) -> None:
    """While the agent speaks, and once more while its gate's verdict is on its way."""
    built.start()
    answer = built.in_background("/run on=macbook chatter 150\nwrite GOOD through a restart")
    command = [str(part) for part in built.sshd.process.args]  # type: ignore[union-attr]  # it was a list
    for line in (20, 90):
        said(built, line)
        built.sshd.process.kill()
        built.sshd.process.wait()
        built.sshd.cut()
        time.sleep(2.0)
        with (built.sshd.directory / "log").open("ab") as log:
            built.sshd = replace(built.sshd, process=subprocess.Popen(command, stdout=log, stderr=log))
    assert answer().status == 0
    whole(built, 150)


def a_peer_that_is_frozen(built: House) -> None:
    """Noticed, and the session goes on when it thaws; nothing of what it said meanwhile is lost."""
    built.start()
    answer = built.in_background("/run on=macbook chatter 100\nwrite GOOD after a frost")
    said(built, 10)
    frozen = time.monotonic()
    assert built.sshd.signal_sessions(signal.SIGSTOP) > 0
    built.until(lambda: [body["up"] for body in built.bodies("link.changed")] == [False], "it is noticed")
    print(f"noticed after {time.monotonic() - frozen:.1f} s")
    built.sshd.signal_sessions(signal.SIGCONT)
    assert answer().status == 0
    whole(built, 100)


def a_machine_that_restarts(built: House) -> None:
    """Its processes are gone and its boot is another one: the task says so, nothing passed, and it can go on."""
    boot = built.directory / "boot_id"
    boot.write_text("11111111-1111-1111-1111-111111111111\n")
    bind = f"mount --bind {boot} /proc/sys/kernel/random/boot_id"
    with_python(built, f"""exec unshare -m sh -c '{bind} && exec "$0" "$@"' "$PYTHON" "$@" """)
    built.start()
    answer = built.in_background("/run on=macbook write GOOD half\nshell test -e again || exec sleep 600")
    built.until(lambda: "wrote GOOD half" in "".join(text(built, "t1")), "the agent works")
    boot.write_text("22222222-2222-2222-2222-222222222222\n")
    processes = [pid for agent in living_in(built.workspace("t1")) for pid in (*reversed(above(agent)), agent)]
    for pid in dict.fromkeys(processes):  # the supervisors before what they would record the end of
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    built.sshd.cut()
    stalled = answer()
    assert stalled.status == 4, stalled.shown
    assert "its machine restarted" in built.why("t1")
    assert not built.ledger("gate.opened") and len(built.commits()) == 1
    (built.workspace("t1") / "again").touch()
    assert built.say("/go t1").status == 0
    assert built.wait("t1").status == 0
    assert built.main() == "GOOD half"


def above(pid: int) -> list[int]:
    """What started a process, and what started that, up to what the system adopted."""
    found: list[int] = []
    while (pid := int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])) > 1:
        found.append(pid)
    return found


MILLION = """\
import sys
sys.stdin.read()
out = sys.stdout.buffer
for n in range(1_000_000):
    out.write(b"line %d \\xff\\xfe\\n" % n)
out.flush()
open("work.txt", "w").write("GOOD after a million\\n")
"""
LONG = """\
import sys
sys.stdin.read()
for _ in range(100):
    sys.stdout.write("x" * 1_000_000)
print()
open("work.txt", "w").write("GOOD after a long one\\n")
"""


def an_agent_that_floods(built: House, code: str, size: int) -> None:
    """Memory stays bounded, and what is not kept is counted."""
    (built.directory / "flood.py").write_text(code)
    program = [sys.executable, str(built.directory / "flood.py")]
    built.agents["flood"] = {"driver": "command", "program": program}
    built.configure()
    built.start()
    built.say("/status")
    assert built.say("/run on=macbook write GOOD first", wait=True).status == 0  # everything is loaded once
    assert built.controller is not None
    before = peak(built.controller.pid)
    answer = built.in_background("/run on=macbook agent=flood flood")
    built.until(lambda: "t2" in built.say("/status").shown, "/status answers meanwhile")
    built.until(lambda: built.of("t2", "session.ended"), "it ends", seconds=600)
    assert answer().status == 0
    grown = peak(built.controller.pid) - before
    print(f"the controller's memory grew by {grown >> 20} MiB")
    assert grown < 64 << 20
    (ended,) = built.of("t2", "pipe.ended")
    assert ended.event.body()["spool_bytes"] == size
    kept = sum(len(each) for each in text(built, "t2"))
    assert kept < size and ("left out" in "".join(text(built, "t2")) or built.of("t2", "agent.unknown"))


def peak(pid: int) -> int:
    """The most memory that a process ever had, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _campaign(name: str, test: Callable[..., None]) -> None:
    globals()[f"test_{name}"] = test


if FULL:
    every = pytest.mark.parametrize
    _campaign("killed_anywhere", every("number", range(KILLS))(killed_where_the_seed_says))
    _campaign("cancelled_at_any_moment", every("part", range(CANCELS // AT_ONCE))(cancelled_at_any_moment))
    jumps = [(where, jump) for where in ("controller", "machine") for jump in (HOUR, -HOUR, DAY, -DAY)]
    _campaign("a_clock_that_jumps", every(("where", "jump"), jumps)(a_clock_that_jumps))
    _campaign("an_sshd_that_restarts", an_sshd_that_restarts)
    _campaign("a_peer_that_is_frozen", a_peer_that_is_frozen)
    _campaign("a_machine_that_restarts", pytest.mark.needs_root(a_machine_that_restarts))
    million = sum(len(b"line %d \xff\xfe\n" % n) for n in range(1_000_000))
    floods = [(MILLION, million), (LONG, 100_000_001)]
    _campaign("an_agent_that_floods", every(("code", "size"), floods, ids=["lines", "line"])(an_agent_that_floods))

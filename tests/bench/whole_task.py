"""A whole task, from `/run` to landed, beside a shell script that takes the same steps by hand.

The agent writes a file and the gate is `true`, so that what is left is ours: the store, the rights, the receipts
and the walls of a gate, against `git` and `ssh` alone. Both sides run one at a time on this machine (local), or
with the agent on a machine behind a real OpenSSH server, over a connection that is open already (SSH).

Then 64 tasks that mostly wait (an agent of two seconds, a gate of one) on 16 slots in 16 repositories, against the
same one after another, in tasks a minute; and what the controller's own process spends on a task.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.bench.harness import Comparison, Trial, compare, report, timed
from tests.far_end.repositories import make_bare
from tests.scenarios.house import House, house

LOCAL_BAR: Final = 3.0
SSH_BAR: Final = 1.25
AT_ONCE_BAR: Final = 1 / 6
CONTROLLER_CPU_BAR: Final = 1.0
CPU_A_TASK: Final = 0.1
SLOTS: Final = 16
TASKS: Final = 64
ALONE: Final = 6
AGENT: Final = "date +%s%N > work.txt; head -c 12 /dev/urandom | base64 >> work.txt"
GATE: Final = '[gates.check]\nrun = ["sh", "-c", "sleep {seconds}"]\ntimeout = "60s"\n'
SCRIPT: Final = r"""
set -eu
cd -- "$1"; bare=$2; far=$3; host=$4
run() { if [ -n "$host" ]; then ssh -F "$host" far "$1"; else sh -c "$1"; fi; }
git -C mirror.git fetch -q "$bare" +main:main
run "[ -e '$far/clone.git' ] || git init -q -b main --bare '$far/clone.git'"
there=$far/clone.git
if [ -n "$host" ]; then export GIT_SSH_COMMAND="ssh -F $host"; there="far:$there"; fi
git -C mirror.git push -q --force "$there" main:main
run "set -e; cd '$far'; git clone -q --shared clone.git work; cd work; $AGENT
    git -c user.name=a -c user.email=a@b commit -qam change; git push -q --force origin HEAD:refs/heads/change"
git -C mirror.git fetch -q "$there" +change:change
git clone -q mirror.git gate --branch change
(cd gate; true)
git -C mirror.git push -q "$bare" change:main
run "rm -rf '$far/work'"
rm -rf gate
"""


@contextlib.contextmanager
def served(directory: Path, repositories: int, *, seconds: int = 0, agent: str = AGENT) -> Iterator[House]:
    """A house with an agent of one line of ``sh``, a gate that sleeps, and so many repositories, served."""
    files: dict[str, str | bytes] = {"airboss.toml": GATE.format(seconds=seconds), "work.txt": "nothing\n"}
    with house(files) as made:
        made.agents = {"quick": {"driver": "command", "program": ["sh", "-c", agent]}}
        repos: dict[str, Any] = {"shop": {"url": str(made.bare), "agent": "quick"}}
        for number in range(1, repositories):
            bare = make_bare(directory / f"r{number}.git", files)
            repos[f"r{number}"] = {"url": str(bare), "agent": "quick"}
        machines = {name: {**settings, "slots": SLOTS} for name, settings in made.machines.items()}
        made.configure(repos=repos, machines=machines)
        made.start()
        yield made


def flown(made: House, machine: str, repository: str = "shop") -> None:
    """One task, which lands."""
    answer = made.say(f"/run on={machine} repo={repository} write", wait=True)
    if answer.status:
        sys.exit(f"bench: the task did not land:\n{answer.shown[-2000:]}")


def by_hand(made: House, machine: str) -> Trial:
    """The same by a shell script, over a connection that stays."""
    place = made.directory / f"by-hand-{machine}"
    far = place / "far"
    far.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main", "--bare", str(place / "mirror.git")], check=True)
    config = place / "ssh_config" if machine == "macbook" else None
    if config:
        known = place / "known_hosts"
        known.write_text(f"[127.0.0.1]:{made.sshd.port} {made.sshd.host_key}\n")
        config.write_text(
            f"Host far\n HostName 127.0.0.1\n Port {made.sshd.port}\n User {made.sshd.user}\n"
            f" IdentityFile {made.sshd.identity}\n UserKnownHostsFile {known}\n"
            f" ControlMaster auto\n ControlPath {made.directory}/cm\n ControlPersist 600\n"
        )
    argv = ["sh", "-c", SCRIPT, "by-hand", str(place), str(made.bare), str(far), str(config or "")]

    def work() -> None:
        done = subprocess.run(argv, env={**os.environ, "AGENT": AGENT}, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"bench: the script ended with {done.returncode}: {done.stderr[-1000:]}")

    return timed(work)


def own_cpu(made: House) -> float:
    """Seconds of CPU that the controller's own process has used."""
    assert made.controller is not None
    words = Path(f"/proc/{made.controller.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def alone() -> Iterator[Comparison]:
    """One task at a time, beside the script."""
    with tempfile.TemporaryDirectory(prefix="bench-task-") as directory, served(Path(directory), 1) as made:
        for name, machine, bar in (("local", "evo-x2", LOCAL_BAR), ("over SSH", "macbook", SSH_BAR)):
            ours = timed(partial(flown, made, machine))
            yield compare(
                f"a whole task, {name}",
                ("airboss", ours),
                ("a shell script", by_hand(made, machine)),
                bar=bar,
                rounds=9,
            )
        before = own_cpu(made)
        for _ in range(10):
            flown(made, "evo-x2")
        spent = (own_cpu(made) - before) / 10
        yield compare(
            "CPU of the controller's process a task",
            ("airboss", lambda: spent),
            (f"{CPU_A_TASK} s", lambda: CPU_A_TASK),
            bar=CONTROLLER_CPU_BAR,
            rounds=3,
            warm=0,
        )


def at_once() -> Iterator[Comparison]:
    """Many that wait, on many slots, against one after another: seconds a task."""
    agent = f"sleep 2; {AGENT}"
    scratch = tempfile.TemporaryDirectory(prefix="bench-task-")
    with scratch as directory, served(Path(directory), SLOTS, seconds=1, agent=agent) as made:
        names = ["shop", *(f"r{number}" for number in range(1, SLOTS))]
        for name in names:
            flown(made, "evo-x2", name)
        started = time.perf_counter()
        for name in names[:ALONE]:
            flown(made, "evo-x2", name)
        one = (time.perf_counter() - started) / ALONE
        before, started = own_cpu(made), time.perf_counter()
        with ThreadPoolExecutor(TASKS) as pool:
            list(pool.map(lambda number: flown(made, "evo-x2", names[number % SLOTS]), range(TASKS)))
        many = (time.perf_counter() - started) / TASKS
        print(
            f"alone {one:.2f} s a task; {TASKS} at once {many:.2f} s; CPU {(own_cpu(made) - before) / TASKS:.2f} s"
        )
        yield compare(
            f"{TASKS} tasks on {SLOTS} slots, seconds a task",
            ("all at once", lambda: many),
            ("one after another", lambda: one),
            bar=AT_ONCE_BAR,
            rounds=3,
            warm=0,
        )


def main() -> int:
    """Prints the ratios; exits 1 when one is above what is promised."""
    parts = sys.argv[1:] or ["alone", "at_once"]
    found = [each for name, part in (("alone", alone), ("at_once", at_once)) if name in parts for each in part()]
    return report(found)


if __name__ == "__main__":
    sys.exit(main())

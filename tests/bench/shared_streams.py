"""200 agents that say all that they have, into one PostgreSQL: led by four controllers, and by one.

A controller is a process with its Followers, as in ``agent_streams``, with the two fences of a shared store in each
write; only the machines are played. The clock stops when the last line is durable. Four processes need cores of
their own beside the server's: with fewer than eight, the figure is printed and no bar is held to it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from fleet.config import parse_fleet
from fleet.events import AgentSaid, Recorded
from fleet.flight.follower import Follower
from fleet.redact import Redactor
from fleet.store import leads, sessions
from fleet.store.core import Store, Tx
from tests.bench.agent_streams import FLEET, LINE, NUMBER, Speaker
from tests.bench.harness import Comparison, Side, report
from tests.empty_store import filled_database
from tests.far_end.postgres import running_postgres
from tests.flying import World

AGENTS = 200
LINES = 30
ROUNDS = 3
CORES = os.cpu_count() or 1
BAR = 1 / 3 if CORES >= 8 else float("inf")


async def lead(url: str, agents: int, directory: Path) -> None:
    """One controller: leads its agents until all that they say is durable."""
    me = f"bench:{directory}:{os.getpid()}:x"
    with Store.open(url, redact=Redactor()) as plain:
        plain.share(me)
        member = await plain.write(lambda tx: leads.join(tx, me))
        store = plain.under(member.fence)
        world = World(directory, store, parse_fleet(FLEET, "fleet.toml"))
        speakers, followers, running = [Speaker() for _ in range(agents)], list[Follower](), []
        for speaker in speakers:
            task = await world.running()
            session = await world.session(task)
            mine = await store.write(partial(leads.give, task=task.id, among=[me]))
            (turn,) = await store.read(partial(sessions.turns, session_id=session.id))
            followers.append(Follower(world.services.under(mine), speaker, task, session, turn))
            running.append(asyncio.ensure_future(followers[-1].turn_end(turn)))
        missing, durable = agents * LINES, asyncio.Event()

        def counted(text: str) -> None:
            nonlocal missing
            missing -= len(NUMBER.findall(text))
            if missing == 0:
                durable.set()

        def observe(tx: Tx, recorded: Recorded) -> None:
            if isinstance(recorded.event, AgentSaid):
                tx.after_commit(partial(counted, recorded.event.text))

        store.observe(observe)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for number in range(LINES):
            for speaker in speakers:
                speaker.speak(f"#{number}: {LINE}\n".encode())
            await asyncio.sleep(0)
        await durable.wait()
        print("durable", flush=True)
        for speaker in speakers:
            speaker.end()
        await asyncio.gather(*running)
        for follower in followers:
            await follower.close()


def together(url: str, controllers: int) -> float:
    """The seconds until every line of all agents is in the ledger."""
    argv = [sys.executable, "-m", "tests.bench.shared_streams", "lead", url, str(AGENTS // controllers)]
    started = [
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(controllers)
    ]
    assert {_heard(each) for each in started} == {"ready"}
    begun = time.perf_counter()
    for each in started:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    assert {_heard(each) for each in started} == {"durable"}
    took = time.perf_counter() - begun
    assert [each.wait(120) for each in started] == [0] * controllers
    return took


def _heard(controller: subprocess.Popen[str]) -> str:
    assert controller.stdout is not None
    return controller.stdout.readline().strip()


def main() -> int:
    """Prints the figure; 1 when it misses its bar, where there are the cores for it."""
    if sys.argv[1:2] == ["lead"]:
        with tempfile.TemporaryDirectory(prefix="airboss-bench-") as name, asyncio.Runner() as runner:
            runner.run(lead(sys.argv[2], int(sys.argv[3]), Path(name)))
        return 0
    four, one = list[float](), list[float]()
    with running_postgres(durable=True) as server:
        for _ in range(ROUNDS):
            for controllers, seconds in ((4, four), (1, one)):
                url = filled_database(server)
                seconds.append(together(url, controllers))
                print(f"{controllers}: {AGENTS * LINES / seconds[-1]:,.0f} lines a second", flush=True)
    if CORES < 8:
        print(f"{CORES} cores: no bar is held to this figure")
    sides = Side("four controllers", tuple(four)), Side("one controller", tuple(one))
    return report([Comparison(f"{AGENTS} agents, {LINES} lines each, in one PostgreSQL", *sides, BAR)])


if __name__ == "__main__":
    os.environ.setdefault("TMPDIR", "/var/tmp")
    sys.exit(main())

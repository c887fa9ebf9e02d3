"""Flights of two controllers past what an ordinary task does not meet: a schedule, work that did not land, a halted
turn, changes that wait to land in a line, a slot of a pool. One controller dies there, and the other leads on.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fleet.events import Recorded
from fleet.model import STOPPED_EARLY, TaskState
from fleet.store import leads, sessions
from fleet.store.core import Store
from tests.far_end.bot_api import TOKEN, BotApi
from tests.far_end.farm import Farm
from tests.far_end.held_gates import WAIT, HeldGates
from tests.far_end.repositories import advance
from tests.far_end.sshd import running_sshd
from tests.kill_points import OF_HALTS, OF_LANDINGS, OF_POOLS, OF_SCHEDULES, OF_TREES
from tests.scenarios.house import CHECK, GATE, House
from tests.scenarios.killed_controllers import KilledControllers, Play
from tests.scenarios.pair import pair
from tests.scenarios.telegram_house import ADA

_RUNS = 20
"""More gate runs than a flight has wait while they are held."""


@dataclass
class KilledFlights(KilledControllers):
    """``farm``: whose slots the pool has. ``gates``: what gate runs wait for while a flight holds them."""

    farm: Farm = field(kw_only=True)
    gates: HeldGates = field(kw_only=True)

    def fly(self, play: Play, victim: House, before: int) -> None:
        flights: dict[str, Callable[[Play, House, int], None]] = {
            **dict.fromkeys(OF_SCHEDULES, self._scheduled),
            **dict.fromkeys(OF_TREES, self._unlanded),
            **dict.fromkeys(OF_HALTS, self._halted),
            **dict.fromkeys(OF_LANDINGS, self._in_line),
            **dict.fromkeys(OF_POOLS, self._on_a_slot),
        }
        flights.get(play.point, super().fly)(play, victim, before)

    # --- a schedule ---------------------------------------------------------------------------------------

    def _scheduled(self, play: Play, victim: House, before: int) -> None:
        """Hours pass: its run begins once, whoever dies, and whatever clocks say."""
        number = self.asked()
        self.api.say(ADA, f"/schedule every hour UTC run shell echo {number} > {number}.txt")
        self.until(lambda: self._of(before, "schedule.set"), "the schedule is there")
        (made,) = self._of(before, "schedule.set")
        self.death(victim).write_text(play.dies)
        self.hours.write_text(str(int(self.hours.read_text()) + 3 * 3600))
        self.dies(play, victim)
        self._land(play, [f"t{number}"])
        self.api.say(ADA, f"/schedule delete {made.event.body()['schedule']}")
        self.until(lambda: self._of(before, "schedule.moved"), "it is deleted")
        self._land(play, [f"t{each}" for each in range(number, self.asked())])
        self.wakes(play, victim)
        events = self.check_all(play, before)
        dues = [each.event.body() for each in events if each.event.KIND == "schedule.due"]
        # Three hours may pass the hour of the daily digest, too.
        due = [body["outcome"] for body in dues if body["schedule"] == made.event.body()["schedule"]]
        asked = [each for each in events if each.event.KIND == "task.requested"]
        by_another_clock = [
            outcome for outcome in due if outcome == "skipped"
        ]  # its next hour, while the run is on
        assert sorted(due) == by_another_clock + ["started"] * len(asked), (play, due)
        assert self.both.first.main(f"{number}.txt").strip() == str(number), play

    # --- work that did not land ---------------------------------------------------------------------------

    def _unlanded(self, play: Play, victim: House, before: int) -> None:
        """A stopped task's worktree is reclaimed, made anew once a person goes on with it, and its work lands."""
        task, go = f"t{self.asked()}", self.both.first.directory / f"go-{self.asked()}"
        wait = f"while [ ! -e {go} ]; do sleep 0.1; done"
        self.api.say(ADA, f"/run shell echo {task} > {task}.txt; echo ran >> ran-{task}.txt; {wait}")
        self.until(lambda: self._worktree(task).joinpath(f"ran-{task}.txt").exists(), "its agent has worked")
        self.api.say(ADA, f"/stop {task}")
        self.until(lambda: self.ended([task]), "it has ended")
        self.until(lambda: not self.read(leads.every), "nobody leads it any more")
        go.touch()
        restores = play.point == "tree-restored"
        self.running[victim.home.name].kill()
        self.running[victim.home.name].wait(60)
        self.start(victim, dies="" if restores else play.dies)  # it leads again at once, and looks at old worktrees
        if not restores:
            self.dies(play, victim)
        self.until(lambda: self._about(before, task, "tree.removed"), "the worktree is reclaimed")
        assert not self._worktree(task).exists(), play
        if restores:
            self.divided()
            self.death(victim).write_text(play.dies)
        self.api.say(ADA, f"/unlanded go {task}")
        if restores:
            self.dies(play, victim)
        self._land(play, [task])
        self.wakes(play, victim)
        kinds = Counter(each.event.KIND for each in self.check_all(play, before) if each.refs.task == task)
        assert kinds["tree.decided"] == kinds["tree.removed"] == 1, (play, kinds)
        assert kinds["landing.done"] == kinds["receipt.issued"] == 1, (play, kinds)
        assert self.both.first.main(f"{task}.txt").strip() == task, play
        assert self.both.first.main(f"ran-{task}.txt").split() == ["ran", "ran"], "its work of before, and of after"

    def _worktree(self, task: str) -> Path:
        found = self.read(lambda tx: sessions.of_task(tx, task))
        return Path(found[-1].workspace) if found and found[-1].workspace else Path("/nowhere")

    # --- a budget that is used up -------------------------------------------------------------------------

    def _halted(self, play: Play, victim: House, before: int) -> None:
        """Two turns reach their budget: each is halted once, and a person is asked."""
        number = self.asked()
        self.death(victim).write_text(play.dies)
        for each in range(number, number + 2):
            self.api.say(ADA, f"/run budget=3s shell echo {each} > {each}.txt; sleep 600")
        wanted = [f"t{number}", f"t{number + 1}"]
        self.dies(play, victim)
        self.until(lambda: all(self._is(task, *STOPPED_EARLY) for task in wanted), "a person is asked")
        for task in wanted:
            self.api.say(ADA, f"/stop {task}")
        self.until(lambda: self.ended(wanted), "both are stopped")
        self.wakes(play, victim)
        events = self.check_all(play, before)
        for task in wanted:
            own = [each for each in events if each.refs.task == task]
            kinds = Counter(each.event.KIND for each in own)
            assert kinds["budget.reached"] == kinds["turn.started"] == 1, (play, kinds)
            assert self._bodies(own, "turn.closed", "outcome") == ["halted"], (play, kinds)
            assert kinds["gate.opened"] == 0, (play, kinds)

    # --- changes that wait to land ------------------------------------------------------------------------

    def _in_line(self, play: Play, victim: House, before: int) -> None:
        """One change is judged again on a newer base, another waits behind it: both land, in their order."""
        number, directory = self.asked(), self.both.first.directory
        wanted = [f"t{number}", f"t{number + 1}"]
        with self.gates.holding(_RUNS) as held:
            for task in wanted:
                wait = f"while [ ! -e {directory}/go-{task} ]; do sleep 0.1; done"
                self.api.say(ADA, f"/run shell {wait}; echo {task} > {task}.txt")
            self.until(lambda: self.all("turn.started", wanted), "both agents are at work")
            led = self.both.led()
            (behind,) = [task for task in wanted if led[task] == victim.home.name]
            (ahead,) = set(wanted) - {behind}
            self.death(victim).write_text(play.dies)
            for run, task in enumerate((ahead, behind), 1):
                (directory / f"go-{task}").touch()
                held.wait_for(run)
            advance(self.both.first.bare, {f"meanwhile-{number}.txt": "theirs\n"})
            held.let_go(1)
            held.wait_for(3)
            held.let_go(2)
            if play.point == "landing-foreseen":
                held.wait_for(4)
                held.let_go(4)
            self.dies(play, victim)
        self._land(play, wanted)
        self.wakes(play, victim)
        events = self.check_all(play, before)
        done = {task: [each.event.body() for each in events if self._landed(each, task)] for task in wanted}
        first, second = done[ahead], done[behind]
        assert len(first) == len(second) == 1, (play, first, second)
        assert second[0]["old"] == first[0]["new"], (play, "in their order")
        judged = {each.event.body()["tree"] for each in events if each.event.KIND == "gate.closed"}
        assert {first[0]["tree"], second[0]["tree"]} <= judged, play

    @staticmethod
    def _landed(recorded: Recorded, task: str) -> bool:
        return recorded.event.KIND == "landing.done" and recorded.refs.task == task

    # --- a slot of a pool ---------------------------------------------------------------------------------

    def _on_a_slot(self, play: Play, victim: House, before: int) -> None:
        """A slot is made for a task and given back, or taken away: made once, and nothing of it is left."""
        task, lost = f"t{self.asked()}", play.point == "pool-slot-lost"
        wait = "; sleep 600" if lost else ""
        place = self.both.first.directory / f"farm-{task}"
        place.mkdir()
        for key in ("client_key", "client_key.pub"):
            shutil.copy(self.both.first.sshd.directory / key, place / key)
        with running_sshd(place, startup_files=False) as server:
            self.farm.move(server)
            self.death(victim).write_text(play.dies)
            self.api.say(ADA, f"/run needs=big shell echo {task} > {task}.txt{wait}")
            if lost:
                self.until(lambda: self._is(task, TaskState.RUNNING), "it runs on a slot")
                server.process.send_signal(signal.SIGSTOP)  # nobody connects again
                server.cut()
                server.process.kill()
                (name,) = self.farm.slots
                (self.farm.directory / "slots" / name).unlink()
            self.dies(play, victim)
            if lost:
                self.until(lambda: self.ended([task]), "it has ended")
                assert self.state(task) is TaskState.LOST, play
            else:
                self._land(play, [task])
            self.until(lambda: self._given_back(before), "each slot is given back")
            self.wakes(play, victim)
            self.until(lambda: self._given_back(before), "and each that was made by one that woke up")
        given_up = ["asked", "releasing", "gone"]  # by the name that its row has, if whoever asked for it is gone
        used = ["asked", "up", *(["lost"] if lost else []), "releasing", "gone"]
        moves = self._moves(before)
        assert sorted(moves.values()) in ([used], [given_up, used]), (play, moves)
        self.check_all(play, before)

    def _given_back(self, before: int) -> bool:
        return not self.farm.slots and {states[-1] for states in self._moves(before).values()} == {"gone"}

    def _moves(self, before: int) -> dict[str, list[str]]:
        """The states of each slot."""
        found: dict[str, list[str]] = {}
        for body in (each.event.body() for each in self._of(before, "slot.moved")):
            found.setdefault(body["slot"], []).append(body["new"])
        return found

    # --- parts --------------------------------------------------------------------------------------------

    def _land(self, play: Play, wanted: list[str]) -> None:
        for task in wanted:
            self.until(partial(self._is, task, TaskState.LANDED), f"after {play}, {task} lands")
        self.until(lambda: not self.read(leads.every), f"after {play}, nothing is left to lead")

    def _is(self, task: str, *states: TaskState) -> bool:
        return bool(self.read(lambda tx: sessions.of_task(tx, task))) and self.state(task) in states

    def _of(self, before: int, kind: str) -> list[Recorded]:
        return [each for each in self._events(before) if kind == each.event.KIND]

    def _about(self, before: int, task: str, kind: str) -> list[Recorded]:
        return [each for each in self._of(before, kind) if each.refs.task == task]

    @staticmethod
    def _bodies(events: list[Recorded], kind: str, name: str) -> list[str]:
        return [str(each.event.body()[name]) for each in events if kind == each.event.KIND]


@contextlib.contextmanager
def killed_controllers() -> Iterator[KilledFlights]:
    """Both take part in one fleet, and Ada has a phone."""
    with contextlib.ExitStack() as stack:
        holds = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ab-holds-")))
        holds.chmod(0o755)
        gate = GATE.replace('"30s"', '"600s"')
        files = {
            "work.txt": "GOOD already\n",
            "airboss.toml": gate,
            "check.py": WAIT + CHECK,
            "holds": f"{holds}\n",
        }
        both = stack.enter_context(pair(apart=True, files=files))
        api, store = stack.enter_context(BotApi()), stack.enter_context(Store.open(both.url))
        farm = Farm.at(both.first.directory / "farm", both.first.sshd)
        identity = str(both.first.sshd.identity)
        soon = {"idle": "1s", "inventory_every": "1s"}
        pool = farm.pool(identity=identity, labels=["big"], most=2, session_walls=False, **soon)
        for world in both.homes[:2]:
            world.gate_read.append(str(holds))
            world.configure(
                people=[{"name": "Ada", "role": "admin", "ids": [f"telegram::{ADA}"]}],
                pools={"farm": pool},
                limits={"workspace_retention": "1s"},
            )
            with (world.home / ".env").open("a") as env:
                env.write(f"AIRBOSS_TELEGRAM_TOKEN={TOKEN}\nAIRBOSS_TELEGRAM_API={api.url}\n")
        hours = both.first.directory / "hours"
        hours.write_text("0")
        made = KilledFlights(both, api, store, stack, hours, farm=farm, gates=HeldGates(holds))
        one, other = both.homes[:2]
        made.start(one)
        one.until(one._answers, "the first coordinates")
        both.copy_keys()
        made.start(other)
        yield made

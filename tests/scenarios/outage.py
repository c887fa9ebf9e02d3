"""The store of two controllers is away for a minute: its connections are ended, its server is stopped and started.

Everything that a fleet does is on its way then, and its far ends go on: an agent works, a gate ends, a branch
moves, a provider gives a slot back, a person writes, and the time of a schedule and of the digest comes.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from functools import partial
from pathlib import Path

from fleet.store import leads, ledger, sessions, tasks
from tests.far_end.sshd import running_sshd
from tests.scenarios.killed_controllers import Play
from tests.scenarios.killed_flights import KilledFlights
from tests.scenarios.telegram_house import ADA

_SECONDS = 60.0
_DAY = 24 * 3600

#: A hook of the owner's that holds a landing while a file is there.
_HELD = """\
#!/bin/sh
[ -e {hold} ] && touch {reached}
while [ -e {hold} ]; do sleep 0.1; done
"""


def play_outage(fleet: KilledFlights) -> None:
    """Nobody is put out, nothing is lost or done twice, and a person is told."""
    place = fleet.both.first.directory / "farm-outage"
    place.mkdir()
    for key in ("client_key", "client_key.pub"):
        shutil.copy(fleet.both.first.sshd.directory / key, place / key)
    with running_sshd(place, startup_files=False) as server, fleet.explained():
        fleet.farm.move(server)
        _play(fleet)


def _play(fleet: KilledFlights) -> None:
    directory, say = fleet.both.first.directory, partial(fleet.api.say, ADA)
    leader, member = fleet.divided()
    before, first = fleet.read(ledger.size), fleet.asked()
    on_slot, landing, judged, works, waits = (f"t{number}" for number in range(first, first + 5))
    go, hold = directory / "go-outage", directory / "hold"

    say("/schedule every hour UTC run shell echo due > due.txt")
    fleet.until(lambda: fleet._of(before, "schedule.set"), "the schedule is there")
    fleet.farm.tell("hold", "a release")
    say(f"/run needs=big shell echo {on_slot} > {on_slot}.txt")
    fleet.until(lambda: any(call.startswith("release") for call in fleet.farm.calls), "its slot is given back")
    _hold_landings(fleet.both.first.bare, hold)
    say(f"/run shell echo {landing} > {landing}.txt")
    fleet.until((directory / "reached").exists, "a change lands")
    with fleet.gates.holding(1) as held:
        say(f"/run shell echo {judged} > {judged}.txt")
        held.wait_for(1)
        say(f"/run lock=zone/** shell mkdir zone; while [ ! -e {go} ]; do sleep 0.1; done; echo 1 > zone/1.txt")
        fleet.until(lambda: fleet._about(before, works, "turn.started"), "an agent works")
        say("/run lock=zone/** shell mkdir -p zone; echo 2 > zone/2.txt")
        fleet.until(lambda: fleet._about(before, waits, "task.requested"), "another task is asked")
        fleet.until(lambda: fleet.read(partial(tasks.task, task_id=waits)).why, f"it waits: {fleet._open_tasks()}")

        fleet.both.server.disconnect(fleet.both.url)
        fleet.both.server.stop()
        began = time.monotonic()
        refused = leader._ask({"do": "say", "text": "/status"})
        assert refused.status == 3 and "store" in refused.shown, refused
        held.let_go(1)
        go.touch()
        hold.unlink()
        fleet.farm.tell("hold", "")
        fleet.hours.write_text(str(int(fleet.hours.read_text()) + _DAY))
        say("/run shell echo said > said.txt")
        time.sleep(_SECONDS - (time.monotonic() - began))
        fleet.both.server.start()
        _ends(fleet, before, [landing, judged, works, waits])
    assert fleet.divided() == (leader, member), "whoever led goes on"


def _ends(fleet: KilledFlights, before: int, wanted: list[str]) -> None:
    """All of it ends as if the store had been there."""
    play = Play(0, "outage", False, 0, "", False, False)
    assert all(controller.poll() is None for controller in fleet.running.values()), "nobody is put out"
    fleet.until(lambda: fleet._of(before, "schedule.due"), "the schedule's run begins")
    (made,) = fleet._of(before, "schedule.set")
    fleet.api.say(ADA, f"/schedule delete {made.event.body()['schedule']}")
    fleet.until(lambda: fleet._of(before, "schedule.moved"), "it is deleted")
    fleet._land(play, wanted)
    fleet.until(fleet._told, "what was said meanwhile is heard")
    fleet.until(lambda: not fleet.read(leads.every), "nothing is left to lead")
    assert fleet.both.first.main("said.txt").strip() == "said"
    fleet.until(lambda: fleet._given_back(before), "the slot is given back")
    fleet.until(lambda: fleet._of(before, "day.issued"), "the digest is posted")
    fleet.until(fleet._told, "everything is told")
    events = fleet.check_all(play, before)
    of = Counter((each.refs.task, each.event.KIND) for each in events if each.refs.task)
    asked = {task for task, kind in of if kind == "task.requested"}
    for kind in ("session.placed", "turn.started", "landing.done", "receipt.issued", "session.ended"):
        assert {task: of[task, kind] for task in asked} == dict.fromkeys(asked, 1), kind
    assert all(len(fleet.read(partial(sessions.of_task, task=task))) == 1 for task in asked)
    kinds = Counter(each.event.KIND for each in events)
    assert kinds["day.issued"] == 1
    due = [
        each for each in fleet._bodies(events, "schedule.due", "schedule") if each == made.event.body()["schedule"]
    ]
    assert len(due) == len(asked) - len(wanted) - 2, "each time that it was due has its task, once"
    assert [states.count("up") for states in fleet._moves(before).values()] == [1]
    works, waits = wanted[-2:]
    granted = [each.refs.task for each in events if each.event.KIND == "locks.granted"]
    assert granted.index(works) < granted.index(waits)


def _hold_landings(bare: Path, hold: Path) -> None:
    hold.touch()
    hook = bare / "hooks" / "pre-receive"
    hook.write_text(_HELD.format(hold=hold, reached=hold.with_name("reached")))
    hook.chmod(0o755)

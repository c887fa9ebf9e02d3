"""``/status``: the fleet on one screen of a phone, from one snapshot of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from bot import words
from bot.cards import MAX_LINES, Action, Card, Line, capped, footed, line, one_line
from bot.controller_view import status_lines
from bot.health import Serving
from bot.landing_view import landing_summary
from bot.telling import sounds
from fleet.agents.resets import clock_of
from fleet.config import FleetConfig, MachineConfig
from fleet.events import AgentSaid, GateOpened, Recorded, ToolCallStarted, VerdictGiven
from fleet.figures import ACTIVE_US, ToolCalls
from fleet.machines.watch import DiskSeen, MachineSeen, MachineState
from fleet.model import ENDS, Session, Task, TaskState
from fleet.store import approvals, base_tips, controllers, hooked, landing_line, queue, recent, rollups, windows
from fleet.store.controllers import ControllerSeen
from fleet.store.core import Tx
from fleet.store.hooked import Hooked
from fleet.store.landing_line import LandingPlace
from fleet.store.overview import Overview, overview
from fleet.store.queue import Pause
from fleet.store.windows import AccountWindow
from fleet.verdict import Outcome

_DOING = (ToolCallStarted.KIND, AgentSaid.KIND, GateOpened.KIND)
_NAMED_MACHINES = 3
_OF_A_KIND = 3
"""Lines of one kind that a screen shows at most; fewer where much else deserves a look."""
_WINDOWS_SHOWN = 2
_ILL_SHOWN = 2
_KINDS = {"hold": "held: ", "stall": "stalled: "}
_QUEUED_SHOWN = 6
_WIDTH = 42  # characters: one line of a phone
_TITLE_WIDTH, _DOING_WIDTH, _SHORTEST_TITLE = 24, 20, 8  # characters: with the rest, two lines of a phone at most


@dataclass(frozen=True, slots=True)
class FleetView:
    """What ``/status`` shows, read at one moment. For each task: ``doing``, which is untrusted, and ``gates``, its
    gate results so far (``✗2`` after two failed verdicts, ``✓`` if the last verdict passed). ``pauses``: where
    nothing new starts; ``windows``: accounts of which little is left; ``landing``: the landing queue of each
    repository that has one; ``stopped``: where nothing lands, and why; ``hooked``: sessions started by hand;
    ``controllers``: who leads this store, and who stands by."""

    overview: Overview
    calls: ToolCalls
    doing: Mapping[str, str]
    gates: Mapping[str, str]
    pauses: Mapping[str, Pause]
    windows: Sequence[AccountWindow] = ()
    landing: Mapping[str, Sequence[LandingPlace]] = field(default_factory=dict)
    stopped: Mapping[str, str] = field(default_factory=dict)
    hooked: Sequence[Hooked] = ()
    controllers: Sequence[ControllerSeen] = ()

    @property
    def now_us(self) -> int:
        """When it was read."""
        return self.overview.now_us


def look(tx: Tx, skip: int = 0) -> FleetView:
    """Reads it: counts of everything, rows for one screen. ``skip``: how many sessions earlier pages showed."""
    found = overview(tx, MAX_LINES, ACTIVE_US, skip)
    doing = {task: _doing(newest) for task, newest in recent.newest_of_each(tx, found.tasks, _DOING).items()}
    gates = {task: _gates(given) for task, given in recent.of_each(tx, found.tasks, VerdictGiven.KIND).items()}
    calls, paused, low = rollups.window(tx, found.now_us), queue.pauses(tx), windows.low(tx)
    stopped, by_hand = base_tips.stopped(tx), hooked.open_ones(tx)
    seen = controllers.seen(tx)
    return FleetView(found, calls, doing, gates, paused, low, landing_line.lines(tx), stopped, by_hand, seen)


def _doing(newest: Recorded) -> str:
    match newest.event:
        case ToolCallStarted(tool=tool, summary=summary):
            return f"{tool} {summary}"
        case AgentSaid(text=text):
            return text.strip().splitlines()[-1] if text.strip() else ""
        case GateOpened(gate=gate):
            return f"gate {gate}"
        case _:
            return ""


def _gates(given: Sequence[Recorded]) -> str:
    outcomes = [each.event.outcome for each in given if isinstance(each.event, VerdictGiven)]
    if outcomes and Outcome(outcomes[-1]).opens:
        return "✓"
    reds = sum(Outcome(each).red for each in outcomes)
    return f"✗{reds}" if reds else ""


def headline(config: FleetConfig, view: FleetView) -> str:
    """``fleet: 6 agents active · evo-x2 ⇄ macbook · 0.0046% err``."""
    names = sorted(config.machines)
    where = " ⇄ ".join(names) if 0 < len(names) <= _NAMED_MACHINES else words.count(len(names), "machine")
    agents = words.count(view.overview.active, "agent")
    return f"fleet: {agents} active · {where} · {view.calls.error_rate()}"


def status_card(
    config: FleetConfig,
    view: FleetView,
    seen: Mapping[str, MachineSeen],
    troubles: Sequence[str] = (),
    *,
    serving: Serving | None = None,
    zone: tzinfo = UTC,
) -> Card:
    """The whole screen: the headline, what is wrong with the controller, what waits for a person, machines,
    sessions; at most twelve lines. In the times of ``zone``."""
    begun = [*_troubles(troubles), *status_lines(view.controllers, zone)]
    lines = [*begun, *_above(config, view, seen, _OF_A_KIND)]
    for fewer in range(_OF_A_KIND - 1, 0, -1):
        if len(lines) > MAX_LINES - _OF_A_KIND:
            lines = [*begun, *_above(config, view, seen, fewer)]
    room = MAX_LINES - 1 - len(lines)
    seen_all = view.overview
    if seen_all.queued_count:
        room -= 1
    by_hand = hooked_lines(view, min(_OF_A_KIND, room - 1))
    lines += [*_sessions(view, room - len(by_hand)), *by_hand]
    if seen_all.queued_count:
        lines.append(line(f"{words.count(seen_all.queued_count, 'task')} queued: ", _ids(seen_all)))
    actions = [Action("Waiting", "/waiting", once=False)] if seen_all.waiting else []
    actions += [Action("Sessions", "/sessions", once=False), Action("Machines", "/machines", once=False)]
    return Card(
        title=line(headline(config, view)),
        lines=tuple(lines),
        actions=tuple(actions),
        footer=footed(
            config.isolation,
            words.clock(view.now_us, zone),
            "err over 28 UTC days",
            serving.line(zone) if serving else "",
        ),
    )


def _above(config: FleetConfig, view: FleetView, seen: Mapping[str, MachineSeen], most: int) -> list[Line]:
    """What stands still, runs out or waits for a person, and machines. ``most``: lines of a kind."""
    return [
        *capped(paused_lines(config, view.pauses, view.now_us), "⏸ and {n} more: /queue", max(2, most)),
        *landing_summary(view.landing, view.stopped),
        *_windows(view)[:most],
        *_waiting(view, most),
        *_machines(config, view, seen, most),
    ]


def paused_lines(config: FleetConfig, pauses: Mapping[str, Pause], now_us: int) -> list[Line]:
    """Where nothing new starts, who said so, and for how long."""
    lines = []
    for pause in pauses.values():
        what = f"{pause.machine} drained" if pause.machine else "paused: nothing new starts"
        name = sounds.name_of(config, pause.by)
        why = (" · ", one_line(pause.reason, 60)) if pause.reason else ()
        lines.append(line(f"⏸ {what} · ", one_line(name, 30), f" · {words.about(now_us - pause.since_us)}", *why))
    return lines


def _windows(view: FleetView) -> list[Line]:
    """Accounts of which little is left; the lowest ones."""
    lines = []
    for low in view.windows[:_WINDOWS_SHOWN]:
        until = f" · resets {clock_of(low.resets_us)}" if low.resets_us else ""
        lines.append(
            line(
                f"⏳ {low.agent} on {low.machine}: {low.left_percent} % of ",
                one_line(low.name, 16),
                f" left{until}",
            )
        )
    return lines


def hooked_lines(view: FleetView, room: int) -> tuple[Line, ...]:
    """``✍ h3 claude · shop · evo-x2 · 5 min ago · hooked, not held``, a line for each that has room."""
    lines = [
        line(
            f"✍ {each.id} {each.agent} · {each.repo} · ",
            one_line(each.machine, 20),
            f" · {words.about(view.now_us - each.seen_us)} ago",
            *((" · gates: ", one_line(each.judged, 20)) if each.judged else ()),
            f" · {hooked.MARK}",
        )
        for each in view.hooked
    ]
    return capped(lines, f"✍ and {{n}} more by hand · {hooked.MARK}", room) if room > 0 else ()


def _ids(seen_all: Overview) -> str:
    return ", ".join(seen_all.queued[:_QUEUED_SHOWN]) + (", …" if seen_all.queued_count > _QUEUED_SHOWN else "")


def _troubles(troubles: Sequence[str]) -> list[Line]:
    """One line, for any number of troubles."""
    if not troubles:
        return []
    more = f" · {len(troubles) - 1} more: airboss doctor" if len(troubles) > 1 else ""
    return [line("⚠ ", one_line(troubles[0], 120), more)]


def _waiting(view: FleetView, most: int) -> list[Line]:
    lines = [
        line(
            f"✋ {asked.id} · {asked.task} ",
            _KINDS.get(asked.kind, "asks: "),
            one_line(_what(asked), 50),
        )
        for asked in view.overview.waiting[:most]
    ]
    more = view.overview.waiting_count - most
    if more > 0:
        rest = f"and {more + 1} more" if most > 1 else str(more + 1)
        lines[-1] = line(f"✋ {rest} waiting for a person")
    return lines


def _what(asked: approvals.Approval) -> str:
    return asked.command or asked.reason or asked.tool


def _machines(config: FleetConfig, view: FleetView, seen: Mapping[str, MachineSeen], most: int) -> list[Line]:
    busy = view.overview.busy
    if len(config.machines) <= _NAMED_MACHINES:
        return [
            machine_line(name, machine, busy.get(name, 0), seen.get(name), view.now_us)
            for name, machine in sorted(config.machines.items())
        ]
    ill_shown = min(_ILL_SHOWN, most)
    ill = [name for name in sorted(config.machines) if name in seen and seen[name].state.is_bad]
    lines = [
        machine_line(name, config.machines[name], busy.get(name, 0), seen[name], view.now_us)
        for name in ill[:ill_shown]
    ]
    if len(ill) > ill_shown:
        lines.append(line(f"and {len(ill) - ill_shown} more not responding"))
    slots = sum(machine.slots for machine in config.machines.values())
    well = sum(1 for name in config.machines if name in seen and seen[name].state is MachineState.WELL)
    unseen = len(config.machines) - len(ill) - well
    new = f"{unseen} not seen yet · " if unseen else ""
    lines.append(line(f"{well} well · {new}{sum(busy.values())}/{slots} slots"))
    return lines


def disk_line(disk: DiskSeen) -> str:
    """``disk: 1.2 GB ours, 20.1 GB free``."""
    ours = f"{words.size(disk.used)} ours, " if disk.measured_us else ""
    return f"disk: {ours}{words.size(disk.free)} free" + (", almost full: nothing new starts" if disk.full else "")


def machine_line(
    name: str, machine: MachineConfig, busy: int, seen: MachineSeen | None, now_us: int, *, disk: bool = False
) -> Line:
    """Name, labels, slots, load, and how long ago it last answered. ``disk``: also its disk, which is otherwise
    only named when it is full."""
    what = " ".join([name, *machine.labels, f"{busy}/{machine.slots}"])
    seen = seen or MachineSeen(MachineState.NEVER)
    ago = f"{words.about(now_us - seen.seen_us)} ago" if seen.seen_us else str(MachineState.NEVER.value)
    load = f" load {seen.load_milli / 1000:.1f}" if seen.state is MachineState.WELL else ""
    if not seen.state.is_bad:
        shown = seen.disk is not None and (disk or seen.disk.full)
        space = f" · {disk_line(seen.disk)}" if seen.disk is not None and shown else ""
        return line("⚠ " if seen.disk is not None and seen.disk.full else "● ", what, f"{load} · {ago}{space}")
    faulty = " faulty" if seen.state is MachineState.FAULTY else ""
    named = name if seen.seen_us else what
    woken = f" · tried to wake it {words.count(seen.wake.times, 'time')}" if seen.wake else ""
    return line("⚠ ", named, f"{faulty} · {ago}", " · ", one_line(seen.why, 60), woken)


def _sessions(view: FleetView, room: int) -> list[Line]:
    total = sum(view.overview.busy.values())
    if total <= room:
        return session_lines(view, total, room) or [line("No agent is working.")]
    kept = max(0, room - 1)
    return [*session_lines(view, total, room)[:kept], line(f"and {total - kept} more sessions")] if room > 0 else []


def session_lines(view: FleetView, count: int, room: int) -> list[Line]:
    """A line for each session that fits the screen; short ones unless ``count`` long ones fit into ``room``."""
    short = 2 * count > room
    return [session_line(session, view, short=short) for session in view.overview.sessions]


def session_line(session: Session, view: FleetView, *, short: bool = False) -> Line:
    """``▸ t12 shop · fix the discount · evo-x2 · 4 min ✗1 · Bash pytest``.

    The task, where it runs, for how long, its gate results (``…``: gates are running), and why it waits, else what
    it does. ``short``: one line of a phone, without the last.
    """
    task = view.overview.tasks[session.task]
    state = "ending" if task.state in ENDS else str(task.state)
    took = words.about(view.now_us - session.started_us)
    gates = view.gates.get(session.task, "") + ("…" if state == TaskState.JUDGING else "")
    where = f"{session.machine} · " + (took if state == TaskState.RUNNING else f"{state} {took}")
    where += f" {gates}" if gates else ""
    if short:
        room = _WIDTH - len(f"▸ {task.id} {task.repo} ·  · {where}")
        title = one_line(task.prompt, max(_SHORTEST_TITLE, room))
        return line(f"▸ {task.id} {task.repo} · ", title, f" · {where}")
    doing = (task.why if task.state not in ENDS else "") or view.doing.get(session.task, "")
    acts = (" · ", one_line(doing, _DOING_WIDTH)) if doing else ()
    return line(f"▸ {task.id} {task.repo} · ", one_line(task.prompt, _TITLE_WIDTH), f" · {where}", *acts)


def ended_line(task: Task) -> Line:
    """``t11 shop · landed · fix the discount``."""
    return line(f"{task.id} {task.repo} · {task.state} · ", one_line(task.prompt, 40))

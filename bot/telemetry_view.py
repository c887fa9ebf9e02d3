"""``/status``: the fleet on one screen of a phone, from one snapshot of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from bot import words
from bot.cards import MAX_LINES, Action, Card, Line, Tone, footed, line, one_line
from bot.registry import MachineSeen
from fleet.config import FleetConfig, MachineConfig
from fleet.events import AgentSaid, GateOpened, ToolCallStarted
from fleet.model import Session, Task, TaskState
from fleet.store import approvals, sessions, tasks
from fleet.store.core import Tx
from fleet.store.lately import last_events
from fleet.telemetry import ToolCallCounter, ToolCalls, active

_DOING = (ToolCallStarted.KIND, AgentSaid.KIND, GateOpened.KIND)
_NAMED_MACHINES = 3
_WAITING_SHOWN = 3
_WIDTH, _SHORTEST_DOING = 38, 16  # characters: one line of a phone, and what is left of a session's doing


@dataclass(frozen=True, slots=True)
class FleetView:
    """What ``/status`` shows, read at one moment. ``doing`` is untrusted, by task."""

    now_us: int
    calls: ToolCalls
    sessions: tuple[Session, ...]
    tasks: Mapping[str, Task]
    waiting: tuple[approvals.Approval, ...]
    doing: Mapping[str, str]


def look(tx: Tx, counter: ToolCallCounter) -> FleetView:
    """Reads it all; of the sessions' doings only as many as a screen can show."""
    counter.catch_up(tx)
    now = tx.now_us()
    live = tuple(sessions.active(tx))
    shown = list(islice((one.task for one in live), MAX_LINES))
    return FleetView(
        now_us=now,
        calls=counter.window(now),
        sessions=live,
        tasks={task.id: task for task in tasks.open_tasks(tx)},
        waiting=tuple(approvals.waiting(tx)),
        doing={task: _doing(tx, task) for task in shown},
    )


def _doing(tx: Tx, task: str) -> str:
    for recorded in last_events(tx, 1, kinds=_DOING, task=task):
        match recorded.event:
            case ToolCallStarted(tool=tool, summary=summary):
                return f"{tool} {summary}"
            case AgentSaid(text=text):
                return text.strip().splitlines()[-1] if text.strip() else ""
            case GateOpened(gate=gate):
                return f"gate {gate}"
            case _:
                return ""
    return ""


def headline(config: FleetConfig, view: FleetView) -> str:
    """``fleet: 6 agents active · evo-x2 ⇄ macbook · 0.0046% err``."""
    names = sorted(config.machines)
    where = " ⇄ ".join(names) if 0 < len(names) <= _NAMED_MACHINES else words.count(len(names), "machine")
    agents = words.count(active(view.sessions, view.now_us), "agent")
    return f"fleet: {agents} active · {where} · {view.calls.error_rate()}"


def status_card(config: FleetConfig, view: FleetView, seen: Mapping[str, MachineSeen]) -> Card:
    """The whole screen: the headline, what waits for a person, machines, sessions; never over twelve lines."""
    lines = [*_waiting(view), *_machines(config, view, seen)]
    room = MAX_LINES - 1 - len(lines)
    queued = [task for task in view.tasks.values() if task.state is TaskState.QUEUED]
    if queued:
        room -= 1
    lines += _sessions(view, room)
    if queued:
        lines.append(line(f"{words.count(len(queued), 'task')} queued: ", _ids(queued)))
    actions = [Action("Waiting", "/waiting", once=False)] if view.waiting else []
    actions.append(Action("Sessions", "/sessions", once=False))
    return Card(
        title=line(headline(config, view)),
        lines=tuple(lines),
        actions=tuple(actions),
        footer=footed(config.isolation, words.clock(view.now_us), "err over 28 UTC days"),
        tone=Tone.WAITING if view.waiting else Tone.PLAIN,
    )


def _ids(some: list[Task]) -> str:
    return ", ".join(task.id for task in some[:6]) + (", …" if len(some) > 6 else "")


def _waiting(view: FleetView) -> list[Line]:
    lines = [
        line(
            f"✋ {one.id} · {one.task} ",
            "asks: " if one.kind == "permission" else "held: ",
            one_line(_what(one), 50),
        )
        for one in view.waiting[:_WAITING_SHOWN]
    ]
    if len(view.waiting) > _WAITING_SHOWN:
        lines[-1] = line(f"✋ and {len(view.waiting) - _WAITING_SHOWN + 1} more wait for a person: /waiting")
    return lines


def _what(one: approvals.Approval) -> str:
    return one.command or one.reason or one.tool


def _machines(config: FleetConfig, view: FleetView, seen: Mapping[str, MachineSeen]) -> list[Line]:
    busy: dict[str, int] = {}
    for session in view.sessions:
        busy[session.machine] = busy.get(session.machine, 0) + 1
    if len(config.machines) <= _NAMED_MACHINES:
        return [
            machine_line(name, machine, busy.get(name, 0), seen.get(name), view.now_us)
            for name, machine in sorted(config.machines.items())
        ]
    ill = [name for name in sorted(config.machines) if name in seen and seen[name].why]
    lines = [
        machine_line(name, config.machines[name], busy.get(name, 0), seen[name], view.now_us) for name in ill[:2]
    ]
    if len(ill) > 2:
        lines.append(line(f"and {len(ill) - 2} more without an answer: /machines"))
    slots = sum(machine.slots for machine in config.machines.values())
    well = words.count(len(config.machines) - len(ill), "machine")
    lines.append(line(f"{well} well · {sum(busy.values())}/{slots} slots"))
    return lines


def machine_line(name: str, machine: MachineConfig, busy: int, seen: MachineSeen | None, now_us: int) -> Line:
    """Name, labels, slots, load, and how old the last evidence of it is."""
    what = " ".join([name, *machine.labels, f"{busy}/{machine.slots}"])
    if seen is None or not seen.seen_us:
        when = " · not seen yet"
    elif seen.why:
        when = f" · {words.about(now_us - seen.seen_us)} ago"
    else:
        when = f" load {seen.load_milli / 1000:.1f} · {words.about(now_us - seen.seen_us)} ago"
    why = (" · ", one_line(seen.why, 60)) if seen is not None and seen.why else ()
    return line("⚠ " if why else "● ", what, when, *why)


def _sessions(view: FleetView, room: int) -> list[Line]:
    lines = [session_line(one, view) for one in view.sessions]
    if len(lines) <= room:
        return lines or [line("No agent is at work.")] if room > 0 else []
    kept = max(0, room - 1)
    return [*lines[:kept], line(f"and {len(lines) - kept} more sessions: /sessions")]


def session_line(session: Session, view: FleetView) -> Line:
    """What one session is about, where, for how long, and what it does now."""
    task = view.tasks.get(session.task)
    state = str(task.state) if task is not None else "ending"
    took = words.about(view.now_us - session.started_us)
    what = f"▸ {session.id} {session.machine} · " + (took if state == TaskState.RUNNING else f"{state} {took}")
    doing = view.doing.get(session.task, "")
    room = max(_SHORTEST_DOING, _WIDTH - len(what))
    return line(what, *((" · ", one_line(doing, room)) if doing else ()))

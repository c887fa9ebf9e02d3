"""What ``--json`` prints of the things that several commands show: names, numbers and words, no layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

from bot import controller_view
from bot.cards import Card, Line, shown
from bot.telemetry_view import FleetView
from fleet.config import FleetConfig, MachineConfig
from fleet.figures import ToolCalls
from fleet.machines.watch import MachineSeen, MachineState
from fleet.model import Session, Task, Turn
from fleet.store.approvals import Approval
from fleet.store.hooked import Hooked
from fleet.store.queue import Pause

Plain = dict[str, object]


def task(given: Task) -> Plain:
    """A task."""
    return {
        "id": given.id,
        "repo": given.repo,
        "state": str(given.state),
        "why": given.why,
        "prompt": given.prompt,
        "mode": str(given.mode),
        "agent": given.agent,
        "machine": given.machine,
        "requester": given.requester,
        "created_us": given.created_us,
        "updated_us": given.updated_us,
        "retry_of": given.retry_of,
        "after": given.after,
        "needs": list(given.needs),
        "forked": asdict(given.forked) if given.forked else None,
    }


def session(given: Session) -> Plain:
    """One session of a task."""
    return {
        "id": given.id,
        "task": given.task,
        "machine": given.machine,
        "agent": given.agent,
        "base": given.base,
        "isolation": str(given.isolation),
        "started_us": given.started_us,
        "ended_us": given.ended_us,
    }


def turn(given: Turn) -> Plain:
    """One turn of a session."""
    return {
        "id": given.id,
        "number": given.number,
        "cause": str(given.cause),
        "outcome": str(given.outcome or ""),
        "claim": given.claim,
        "snapshot": given.snapshot,
        "started_us": given.started_us,
        "ended_us": given.ended_us,
    }


def approval(given: Approval) -> Plain:
    """A request that waits for a person."""
    return {
        "id": given.id,
        "kind": str(given.kind),
        "task": given.task,
        "tool": given.tool,
        "command": given.command,
        "reason": given.reason,
        "opened_us": given.opened_us,
        "expires_us": given.expires_us,
    }


def calls(given: ToolCalls) -> Plain:
    """How tool calls ended."""
    return {"ok": given.ok, "failed": given.failed, "denied": given.denied, "unfinished": given.unfinished}


def machine(name: str, config: MachineConfig, busy: int, seen: MachineSeen | None) -> Plain:
    """A machine as it was last seen."""
    found = seen or MachineSeen(MachineState.NEVER)
    return {
        "name": name,
        "state": found.state.name.lower(),
        "why": found.why,
        "labels": list(config.labels),
        "offers": dict(sorted((found.offers or {}).items())),
        "not_installed": sorted(found.absent),
        "cpus": found.cpus,
        "memory": found.facts.memory if found.facts else None,
        "memory_free": found.facts.memory_free if found.facts else None,
        "wake": asdict(found.wake) if found.wake else None,
        "slots": config.slots,
        "busy": busy,
        "seen_us": found.seen_us,
        "load_milli": found.load_milli,
        "disk_free": found.disk.free if found.disk else None,
        "disk_used": found.disk.used if found.disk and found.disk.measured_us else None,
        "disk_full": bool(found.disk and found.disk.full),
    }


def pause(given: Pause) -> Plain:
    """Where nothing new starts; an empty name is the whole fleet."""
    return {"machine": given.machine, "by": given.by, "since_us": given.since_us, "reason": given.reason}


def fleet(config: FleetConfig, view: FleetView, seen: Mapping[str, MachineSeen], troubles: Iterable[str]) -> Plain:
    """What ``/status`` shows; rows for one screen, counts of everything."""
    found = view.overview
    return {
        "now_us": view.now_us,
        "isolation": str(config.isolation),
        "active": found.active,
        "troubles": list(troubles),
        "controllers": [controller_view.plain(each) for each in view.controllers],
        "pauses": [pause(each) for each in view.pauses.values()],
        "machines": [
            machine(name, each, found.busy.get(name, 0), seen.get(name))
            for name, each in sorted(config.machines.items())
        ],
        "sessions": working(view),
        "sessions_count": sum(found.busy.values()),
        "hooked": [by_hand(each) for each in view.hooked],
        "waiting": [approval(each) for each in found.waiting],
        "waiting_count": found.waiting_count,
        "queued": list(found.queued),
        "queued_count": found.queued_count,
        "tool_calls": calls(view.calls),
    }


def by_hand(session: Hooked) -> Plain:
    """A session that a person started; its hooks are in that person's own hands, so it is never ``held``."""
    return {
        "id": session.id,
        "agent": session.agent,
        "conversation": session.conversation,
        "person": session.person,
        "machine": session.machine,
        "repo": session.repo,
        "doing": session.doing,
        "judged": session.judged,
        "held": False,
        "began_us": session.began_us,
        "seen_us": session.seen_us,
    }


def working(view: FleetView) -> list[Plain]:
    """The sessions at work that a screen shows, each with its task's state and what it does."""
    return [
        {
            **session(each),
            "repo": view.overview.tasks[each.task].repo,
            "prompt": view.overview.tasks[each.task].prompt,
            "state": str(view.overview.tasks[each.task].state),
            "doing": view.doing.get(each.task, ""),
        }
        for each in view.overview.sessions
    ]


def card(given: Card) -> Plain:
    """A card's words, for commands whose result is nothing but a message."""

    def text(pieces: Line) -> str:
        return shown(pieces, 4_000)

    return {
        "title": text(given.title),
        "lines": [text(row) for row in given.lines],
        "fields": {each.name: text(each.value) for each in given.fields},
        "body": str(given.body) if given.body else "",
        "tone": str(given.tone),
        "commands": [action.command for action in given.actions],
    }


def without_secrets(data: Plain | None, redact: Callable[[str], str] | None) -> Plain | None:
    """The same without secrets, as every card is without them."""
    return data if data is None or redact is None else {name: _clean(value, redact) for name, value in data.items()}


def _clean(value: object, redact: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: _clean(inner, redact) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner, redact) for inner in value]
    return value

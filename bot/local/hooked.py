"""What the hook client asks over the control socket (``fleet/machines/runner/hook.py``).

``hook`` with ``op`` and ``given``: know (the fleet's repositories), begin (a session; answers its secret), edit
(may these ``paths`` be edited?), note (something happened), stop (it says that it is done), end, journal (``rows``
of what happened while hooks were off). Every answer has ``data``; ``say`` in it is what the agent reads.
"""

from __future__ import annotations

from asyncio import StreamReader
from collections.abc import Callable
from socket import gethostname
from typing import Any, Final

from bot.local.wire import Peer, malformed
from fleet.config import FleetConfig
from fleet.errors import Misused
from fleet.events import Event
from fleet.machines.runner.hook import refusal
from fleet.store.hooked import MARK
from gates.hooked import Caller, Happened, HookedSessions, NotBegun, off_event, passed_event
from gates.people import Right, demand, who

_AGENTS: Final = ("claude", "codex")
_LONGEST: Final = 4_000
_MOST: Final = 500
_TEXTS: Final = {
    "session_id": "conversation",
    "hook_event_name": "name",
    "secret": "secret",
    "repo": "repo",
    "top": "top",
    "tool_use_id": "call",
    "tool_name": "tool",
    "agent_id": "subagent",
    "agent_type": "subagent_kind",
    "command": "command",
    "error": "error",
    "reason": "reason",
}


async def serve(
    sessions: HookedSessions,
    config: Callable[[], FleetConfig],
    request: dict[str, Any],
    _: StreamReader,
    peer: Peer,
) -> None:
    """The verb of the control socket: the login at its other end is the person."""
    await peer.end(0, data=await answer(sessions, config(), Caller(peer.person, gethostname()), request))


async def answer(
    sessions: HookedSessions, config: FleetConfig, caller: Caller, request: dict[str, Any]
) -> dict[str, Any]:
    """Does what one request asks for. Raises ``Misused`` for what is malformed, ``Refused`` for a stranger, and
    ``StoreUnavailable``."""
    demand(who(config, caller.person), Right.RUN, attempted="use hooks")
    agent, given = request.get("agent"), request.get("given")
    if agent not in _AGENTS or not isinstance(given, dict):
        raise _wrong("it names no agent, or gives nothing")
    try:
        return await _answer(sessions, caller, str(request.get("op")), agent, given)
    except NotBegun:
        return {"unknown": True}


async def _answer(
    sessions: HookedSessions, caller: Caller, op: str, agent: str, given: dict[str, Any]
) -> dict[str, Any]:
    match op:
        case "know":
            return {"known": [list(each) for each in sessions.known(caller)]}
        case "journal":
            await sessions.took_over(caller, _rows(given.get("rows")))
            return {"done": True}
        case "begin":
            session, secret = await sessions.begin(caller, _happened(agent, given))
            text = f"Airboss: this session is {session.id} in {session.repo}: {MARK}. Edits take locks."
            return {"secret": secret, "text": text}
        case "edit":
            why = await sessions.edit(caller, _happened(agent, given))
            return {"say": refusal(f"Airboss: {why}")} if why else {"done": True}
        case "note" | "stop":
            await sessions.note(caller, _happened(agent, given))
            return {"done": True}
        case "end":
            await sessions.end(caller, _happened(agent, given))
            return {"done": True}
        case _:
            raise _wrong(f"there is no {op[:40]!r}")


def _happened(agent: str, given: dict[str, Any]) -> Happened:
    texts: dict[str, str] = {}
    for wanted, name in _TEXTS.items():
        value = given.get(wanted, "")
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise _wrong(f"{wanted} is no text, or too long")
        texts[name] = value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if not texts["conversation"] or len(texts["conversation"]) > 200:
        raise _wrong("it names no session")
    paths = given.get("paths", [])
    if not isinstance(paths, list) or len(paths) > _MOST or not all(_fits(path) for path in paths):
        raise _wrong(f"paths are up to {_MOST} texts that lie in the working copy")
    return Happened(agent, **texts, paths=tuple(paths))


def _fits(path: object) -> bool:
    """A path relative to the top of a working copy, in normal form."""
    if not isinstance(path, str) or not path or "\0" in path or len(path) > _LONGEST:
        return False
    return set(path.split("/")).isdisjoint(("", ".", ".."))


def _rows(given: object) -> list[Event]:
    if not isinstance(given, list) or len(given) > _MOST:
        raise _wrong(f"rows are up to {_MOST} records")
    found: list[Event] = []
    for row in given:
        at = row.get("at") if isinstance(row, dict) else None
        if not isinstance(at, int) or not 0 <= at < 1 << 33:
            raise _wrong("a row has no time")
        if isinstance(row.get("off"), bool):
            found.append(off_event(row["off"], at * 1_000_000))
        else:
            session, repo, path = (str(row.get(name, ""))[:500] for name in ("session", "repo", "path"))
            found.append(passed_event(session, repo, path, at * 1_000_000))
    return found


def _wrong(cause: str) -> Misused:
    return malformed(f"a hook's request is malformed: {cause}", "Run `airboss hooks install` again.")

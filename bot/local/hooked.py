"""What the hook client asks over the control socket (``fleet/machines/runner/hook.py``).

``hook`` with ``op`` and ``given``: know (the fleet's repositories, and whom else to ask), begin (a session;
answers its secret), edit (may these ``paths`` be edited?), note (something happened), stop (it says that it is
done, and from which ``tips`` its work may begin: answers the ``base``), judge (a ``tree``, in a pack of so many
bytes that follows the line: what the gates make of it), adopt and adopted (a task goes on with its work and
conversation), end (``left``: it was to be adopted and could not hand over, for this ``reason``), journal (``rows``
of what happened while hooks were off). Every answer has ``data``; ``say`` in it is what the agent reads.
"""

from __future__ import annotations

from asyncio import StreamReader, to_thread
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import Any, Final

from bot.local.adopting import Adopter
from bot.local.wire import Peer, malformed
from bot.outbox.posting import Outbox
from bot.registry import Context
from fleet import files
from fleet.config import FleetConfig
from fleet.config.home import CONTROL_SOCKET
from fleet.errors import Misused
from fleet.events import Event
from fleet.flight.services import Services
from fleet.flight.testimony import USED_LIMIT
from fleet.machines.hook_streams import HookReader
from fleet.machines.runner.hook import refusal
from fleet.store import controllers
from fleet.store.core import Store
from fleet.store.hooked import MARK, Adoption, Hooked
from fleet.untrusted import clean
from gates.hooked import Caller, Happened, HookedSessions, NotBegun, off_event, passed_event
from gates.hooked_work import HookedWork, WorkJudged
from gates.people import Right, demand, who

_AGENTS: Final = ("claude", "codex")
_LONGEST: Final = 4_000
_MOST: Final = 500
_CONTROLLERS: Final = 8
_PACK: Final = 64 << 20
"""The largest pack that a hook may hand over."""

_NO_BASE: Final = "Airboss: the gates did not judge this: it begins at no commit of the fleet's base branch"
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


@dataclass(frozen=True, slots=True)
class HookDoor:
    """Answers hooks. ``home``: the controller's, for what is on its way."""

    sessions: HookedSessions
    work: HookedWork
    config: Callable[[], FleetConfig]
    home: Path
    adopter: Adopter | None = None

    @classmethod
    def of(cls, services: Services, context: Context, outbox: Outbox) -> HookDoor:
        """With the parts of a running controller."""
        store, config, repositories = services.store, services.config, services.repositories
        work = HookedWork(store, config, repositories, services.workspaces, services.gatekeeper)
        sessions = HookedSessions(store, context.locks, repositories, config)
        return cls(sessions, work, config, context.home, Adopter(context, outbox, sessions, work))

    async def serve(self, request: dict[str, Any], reader: StreamReader, peer: Peer) -> None:
        """The verb of the control socket: the login at its other end is the person."""
        caller = Caller(peer.person, gethostname())
        await peer.end(0, data=await self.answer(caller, request, reader))

    async def answer(self, caller: Caller, request: dict[str, Any], reader: HookReader) -> dict[str, Any]:
        """Does what one request asks for. Raises ``Misused`` for what is malformed, ``Refused`` for a stranger, and
        ``StoreUnavailable``."""
        demand(who(self.config(), caller.person), Right.RUN, attempted="use hooks")
        op, agent, given = str(request.get("op")), request.get("agent"), request.get("given")
        if agent not in _AGENTS or not isinstance(given, dict):
            raise _wrong("it names no agent, or gives nothing")
        match op:
            case "know":
                known = [list(each) for each in self.sessions.known(caller)]
                return {"known": known, "next": await _sockets(self.sessions.store, caller)}
            case "journal":
                await self.sessions.took_over(caller, _rows(given.get("rows")))
                return {"done": True}
            case "begin" | "edit" | "note" | "stop" | "judge" | "end" | "adopt" | "adopted":
                try:
                    return await self._of_session(caller, op, _happened(str(agent), given), given, reader)
                except NotBegun:
                    return {"unknown": True}
            case _:
                raise _wrong(f"there is no {op[:40]!r}")

    async def _of_session(
        self, caller: Caller, op: str, what: Happened, given: dict[str, Any], reader: HookReader
    ) -> dict[str, Any]:
        if op == "begin":
            begun, secret = await self.sessions.begin(caller, what)
            text = f"Airboss: this session is {begun.id} in {begun.repo}: {MARK}. Edits take locks."
            return {"secret": secret, "text": text}
        if op == "edit":
            if not what.paths:
                raise _wrong("an edit names no path")
            why = await self.sessions.edit(caller, what)
            return {"say": refusal(f"Airboss: {why}")} if why else {"done": True}
        session = await self.sessions.proved(caller, what)
        if op in ("note", "stop", "end") and Adoption.from_json(session.adopt) is not None:
            if not (op == "end" and given.get("left") and self.adopter):
                return {"adopt": True}
            await self.adopter.left(session, what.reason)
        match op:
            case "judge":
                return await self._judge(session, given, reader)
            case "adopt":
                return {"base": await self._base(session, given)}
            case "adopted":
                return await self._adopted(session, given, reader)
            case "stop":
                await self.sessions.note(caller, what)
                base = await self._base(session, given)
                return {"base": base} if base else {"say": {"systemMessage": _NO_BASE}}
            case "end":
                await self.sessions.end(caller, what)
                await self.work.close_left(session)
            case _:
                await self.sessions.note(caller, what)
        return {"done": True}

    async def _base(self, session: Hooked, given: dict[str, Any]) -> str:
        tips = given.get("tips")
        if not isinstance(tips, list) or len(tips) > _MOST:
            raise _wrong(f"tips are up to {_MOST} commits")
        return await self.work.base_for(session.repo, [str(tip) for tip in tips])

    async def _judge(self, session: Hooked, given: dict[str, Any], reader: HookReader) -> dict[str, Any]:
        data = await reader.readexactly(self._size(given, "pack", least=1))
        with files.scratch(self.home, "hooked-") as pack:
            await to_thread(files.replace, pack, data)
            judged = await self.work.judge(session, str(given.get("tree")), str(given.get("base")), pack)
        return {"say": _said(judged)}

    async def _adopted(self, session: Hooked, given: dict[str, Any], reader: HookReader) -> dict[str, Any]:
        size, words = self._size(given, "pack"), self._size(given, "said")
        if self.adopter is None:
            raise _wrong("nobody adopts here")
        data, said = await reader.readexactly(size), await reader.readexactly(words)
        tree, base = str(given.get("tree")), str(given.get("base"))
        with files.scratch(self.home, "hooked-") as pack:
            await to_thread(files.replace, pack, data)
            task = await self.adopter.adopt(session, tree, base, pack if size else None, said)
        return {"say": {"systemMessage": f"Airboss: {task} goes on with this, in the fleet. Close this session."}}

    def _size(self, given: dict[str, Any], name: str, least: int = 0) -> int:
        size = given.get(name)
        if not isinstance(size, int) or not least <= size <= min(_PACK, self.config().limits.snapshot_bytes):
            raise _wrong(f"{name} has {str(size)[:20]} bytes")
        return size


def _said(judged: WorkJudged) -> dict[str, Any]:
    """What the agent is told: to go on, or that it may stop."""
    if judged.again:
        return {"decision": "block", "reason": f"Airboss: {judged.again}"}
    verdict = judged.verdict
    why = f" ({clean(verdict.reasons[0], 200)})" if verdict.reasons and not verdict.outcome.opens else ""
    return {
        "systemMessage": f"Airboss: gates {verdict.outcome}{why}: {judged.task}. {MARK}: nothing lands from here."
    }


async def _sockets(store: Store, caller: Caller) -> list[str]:
    """Where controllers of this host answer while they coordinate."""
    found = await store.read(controllers.seen) if caller.here else []
    mine = (each.controller for each in found if each.controller.host == caller.machine)
    return [str(Path(controller.home) / CONTROL_SOCKET) for controller in mine][:_CONTROLLERS]


def _happened(agent: str, given: dict[str, Any]) -> Happened:
    texts: dict[str, str] = {}
    for wanted, name in _TEXTS.items():
        value = given.get(wanted, "")
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise _wrong(f"{wanted} is no text, or too long")
        texts[name] = value.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\0", "\ufffd")
    if not texts["conversation"] or len(texts["conversation"]) > 200:
        raise _wrong("it names no session")
    paths = given.get("paths", [])
    if not isinstance(paths, list) or len(paths) > _MOST or not all(_fits(path) for path in paths):
        raise _wrong(f"paths are up to {_MOST} texts that lie in the working copy")
    size = given.get("size")
    if size is not None and not (type(size) is int and 0 <= size <= USED_LIMIT):
        raise _wrong("the size of the output is no number")
    return Happened(agent, **texts, size=size, paths=tuple(paths))


def _fits(path: object) -> bool:
    """A path relative to the top of a working copy, in normal form. Bytes that are no UTF-8 are in it as Python has
    them."""
    if not isinstance(path, str) or not path or "\0" in path or len(path) > _LONGEST:
        return False
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
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

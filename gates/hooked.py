"""Sessions that people start by hand: their locks, what is recorded of them, and what may not be edited.

They are *hooked, not held*: the hook that asks runs in the person's own login, and a determined agent there can do
without it. So a lock is a brake here as everywhere, and nothing of such a session is evidence. The walls are where
they always are: only what lands through the landing queue was held.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fleet.agent_events import ToolOutcome
from fleet.agents.session_files import call_key
from fleet.config import FleetConfig
from fleet.errors import Refused
from fleet.events import (
    EditedWithoutHooks,
    Event,
    HookedBegan,
    HookedEnded,
    HookedSubagent,
    HooksOff,
    LocksRefused,
    Refs,
    Source,
    ToolCallEnded,
    ToolCallEndedV2,
    ToolCallStarted,
)
from fleet.git.repository import Repository
from fleet.imports import ImportedAgent
from fleet.locks import Blocked, HoldEnd, LockCause, Want
from fleet.machines.runner.hook_parts import plain
from fleet.model import AIRBOSS, PersonId
from fleet.store import hooked, imports, leases, ledger, locks
from fleet.store.core import Store, Tx
from fleet.store.hooked import Hooked
from gates.locks import book
from gates.locks.book import Request
from gates.locks.guard import TTL_US, said
from gates.locks.rules import BaseRules, printable, wants_of
from gates.locks.service import LockService
from gates.rulings.permissions import denied_by

_HOUR_US: Final = 3_600_000_000
_SILENT_US: Final = 7 * 24 * _HOUR_US
"""A session that nothing was heard of for so long is over."""

_BASE_S: Final = 60.0
"""For so long the base branch is not looked at again: an edit does not wait for git."""

_EXIT = re.compile(r"Exit code (\d{1,3})\b")
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose hook asks, and on which machine: by the kernel's word, or by whose login the socket is there."""

    person: PersonId
    machine: str
    here: bool = True


@dataclass(frozen=True, slots=True)
class Happened:
    """What a hook reports. ``paths`` are relative to ``top``; empty strings where the agent says nothing."""

    agent: str
    conversation: str
    name: str = ""
    secret: str = ""
    repo: str = ""
    top: str = ""
    call: str = ""
    tool: str = ""
    subagent: str = ""
    subagent_kind: str = ""
    command: str = ""
    error: str = ""
    reason: str = ""
    size: int | None = None
    paths: tuple[str, ...] = ()


class NotBegun(Exception):
    """The store knows no such session, or another secret is its: its hook begins it anew."""


class HookedSessions:
    """One for a controller."""

    def __init__(
        self,
        store: Store,
        service: LockService,
        repositories: Callable[[str], Repository],
        config: Callable[[], FleetConfig],
    ) -> None:
        self.store, self.service, self._config = store, service, config
        self._repositories, self._rules = repositories, BaseRules(repositories)
        self._bases: dict[str, tuple[str, float]] = {}

    def known(self, caller: Caller) -> list[tuple[str, str]]:
        """The fleet's repositories, each with its address. A path on this machine says nothing on another."""
        found = [(name, plain(repo.url)) for name, repo in sorted(self._config().repos.items())]
        return [(name, address) for name, address in found if caller.here or not address.startswith("/")]

    async def begin(self, caller: Caller, what: Happened) -> tuple[Hooked, str]:
        """The session with a secret that is good for it alone. Begun again by the same person, it gets a new one.

        Raises ``Refused`` for a repository that ``fleet.toml`` does not have, and for the session of somebody else.
        """
        await self._base(what.repo)
        secret = book.new_secret()

        def work(tx: Tx) -> Hooked:
            self._end_silent(tx)
            last = hooked.last_of(tx, what.agent, what.conversation)
            if last is not None and last.ended_us and last.taken_by:
                raise Refused(
                    attempted="go on by hand",
                    on=last.id,
                    cause=f"{last.taken_by} goes on with this conversation",
                    hint="Start a new one.",
                )
            found = hooked.of_conversation(tx, what.agent, what.conversation)
            if found is not None and (found.person, found.machine) != (str(caller.person), caller.machine):
                raise Refused(attempted="begin a session by hand", on=found.id, cause=f"{found.person} began it")
            if found is not None:
                hooked.change(tx, found, secret_sha256=book.digest(secret))
                return found
            words = (what.agent, what.conversation, str(caller.person), caller.machine, what.repo, what.top)
            found = hooked.begin(tx, *words, book.digest(secret))
            began = HookedBegan(what.agent, what.conversation, what.repo, what.top)
            _record(tx, found, began)
            return found

        return await self.store.write(work), secret

    async def edit(self, caller: Caller, what: Happened) -> str:
        """Locks what is about to be edited. Empty: it may be; else why not. Raises ``NotBegun``."""
        denied, wants = await self._wanted(what)
        keep_us, acquire = self._keep_us, self.service.at_once()
        started = ToolCallStarted(what.call, what.tool, _summary(what, ", ".join(what.paths[:_NAMED])))

        def work(tx: Tx) -> str:  # one commit for all of it: a person waits for this at each edit
            why, session = denied, _proved(tx, caller, what)
            _record(tx, session, started)
            session = self._with_hold(tx, session, keep_us, doing=printable(f"{what.tool} {what.paths[0]}")[:200])
            if wants:
                answer = acquire(tx, Request(session.holder, wants, keep_us, LockCause.TOUCHED, hold=session.hold))
                if isinstance(answer, Blocked):
                    why = f"{said(answer)}. Leave it as it is, and work on other files."
                    _record(tx, session, _refused(session, wants, answer), Source.CONTROLLER)
            if why:
                _record(tx, session, ToolCallEnded(what.call, str(ToolOutcome.DENIED), None, why[:500]))
            return why

        return await self.store.write(work)

    async def note(self, caller: Caller, what: Happened) -> None:
        """Records what happened. Raises ``NotBegun``."""

        def work(tx: Tx) -> None:
            session = _proved(tx, caller, what)
            event = _event(what)
            if event is not None:
                _record(tx, session, event)
            doing = f"{what.tool} {what.command}".strip() if isinstance(event, ToolCallStarted) else session.doing
            self._with_hold(tx, session, self._keep_us, doing=doing[:200])

        await self.store.write(work)

    async def proved(self, caller: Caller, what: Happened) -> Hooked:
        """The session that a request is about. Raises ``NotBegun``."""
        return await self.store.read(lambda tx: _proved(tx, caller, what))

    async def end(self, caller: Caller, what: Happened) -> None:
        """The session is over, and lets its locks go. Raises ``NotBegun``."""

        def work(tx: Tx) -> None:
            _end(tx, _proved(tx, caller, what), what.reason or "ended")
            self.service.serve(tx)

        await self.store.write(work)

    def adopted(self, tx: Tx, session: Hooked, task: str) -> None:
        """A task goes on with it, and has its locks before anybody in line; the session by hand is over."""
        hooked.change(tx, session, adopt=task)
        found = locks.hold(tx, session.hold) if session.hold else None
        had = locks.of_hold(tx, found.id) if found is not None and found.expires_us else ()
        _end(tx, session, f"adopted by {task}")
        if had:
            wants = tuple(Want(lock.resource, lock.mode) for lock in had)
            book.acquire(tx, Request(task, wants, TTL_US, LockCause.TOUCHED, task=task))
        self.service.serve(tx)

    async def took_over(self, caller: Caller, rows: Sequence[Event]) -> None:
        """What happened while hooks were off, told by a person's login."""

        def work(tx: Tx) -> None:
            refs = Refs(machine=caller.machine)
            for event in rows:
                ledger.append(tx, event, actor=str(caller.person), source=Source.AGENT, refs=refs)

        await self.store.write(work)

    # --- parts ------------------------------------------------------------------------------------------

    @property
    def _keep_us(self) -> int:
        return max(1, self._config().limits.keep_locks_hours) * _HOUR_US

    async def _base(self, repo: str) -> str:
        """The base branch's commit, as it was fetched last. Raises ``Refused`` for an unknown repository."""
        if repo not in self._config().repos:
            raise Refused(
                attempted="lock files of a repository", on=repr(repo)[:80], cause="fleet.toml does not have it"
            )
        now = asyncio.get_running_loop().time()
        known, looked = self._bases.get(repo, ("", 0.0))
        if not known or now - looked > _BASE_S:
            repository = self._repositories(repo)
            known = await repository.last_fetched() or await repository.fetch()
            self._bases[repo] = (known, now)
        return known

    async def _wanted(self, what: Happened) -> tuple[str, tuple[Want, ...]]:
        """Why the files may never be edited, and what is to be locked where they may."""
        base = await self._base(what.repo)
        denied = self._config().repos[what.repo].deny_edits
        for path in what.paths:
            if path == ".git" or path.casefold().startswith(".git/"):
                continue  # git's own, which is in no commit
            if pattern := denied_by(path, denied):
                return f"{printable(path)} may not be edited: the operator's rule {pattern!r} forbids it", ()
        paths = [path for path in what.paths if not path.casefold().startswith(".git/")]
        paths = await self._rules.without_unions(what.repo, base, paths)
        return "", wants_of(what.repo, paths, await self._rules.of(what.repo, base))

    def _with_hold(self, tx: Tx, session: Hooked, keep_us: int, *, doing: str) -> Hooked:
        """The session with a hold that lasts: renewed by each sign of life, a new one once that is over."""
        found = locks.hold(tx, session.hold) if session.hold else None
        live = found is not None and found.end is HoldEnd.NONE and leases.held(tx, found.lease)
        if live and found is not None and found.expires_us - tx.now_us() < keep_us * 3 // 4:
            book.renew(tx, found, keep_us)
        ended = found is not None and not live
        if ended and found is not None:
            book.release(tx, found, HoldEnd.EXPIRED)
        hold = locks.new_id() if ended or not session.hold else session.hold
        hooked.change(tx, session, hold=hold, doing=doing)
        return hooked.of_conversation(tx, session.agent, session.conversation) or session

    def _end_silent(self, tx: Tx) -> None:
        for each in hooked.open_ones(tx):
            if tx.now_us() - each.seen_us > _SILENT_US:
                _end(tx, each, "nothing was heard of it for a week")


def off_event(off: bool, at_us: int) -> Event:
    """Hooks were switched off or on."""
    return HooksOff(off, at_us)


def passed_event(conversation: str, repo: str, path: str, at_us: int) -> Event:
    """An edit while they were off."""
    return EditedWithoutHooks(conversation, repo, path, at_us)


def _proved(tx: Tx, caller: Caller, what: Happened) -> Hooked:
    """The session that a request is about. Raises ``NotBegun`` unless the request has its secret."""
    found = hooked.of_conversation(tx, what.agent, what.conversation)
    if (
        found is None
        or found.machine != caller.machine
        or not hmac.compare_digest(found.secret_sha256, book.digest(what.secret))
    ):
        raise NotBegun
    return found


def _end(tx: Tx, session: Hooked, why: str) -> None:
    found = locks.hold(tx, session.hold) if session.hold else None
    if found is not None:
        book.release(tx, found, HoldEnd.DONE)
    hooked.change(tx, session, ended_us=tx.now_us())
    _record(tx, session, HookedEnded(why[:200]))


def _record(tx: Tx, session: Hooked, event: Event, source: Source = Source.AGENT) -> None:
    actor = AIRBOSS if source is Source.CONTROLLER else session.person
    ledger.append(tx, event, actor=actor, source=source, refs=Refs(session=session.id, machine=session.machine))
    if isinstance(event, ToolCallStarted | ToolCallEnded):
        what = "start" if isinstance(event, ToolCallStarted) else "end"
        if key := call_key(ImportedAgent(session.agent), what, event.call):
            imports.recorded(tx, key)


def _refused(session: Hooked, wants: Sequence[Want], answer: Blocked) -> LocksRefused:
    return LocksRefused(
        holder=session.holder,
        resources=tuple(str(want.resource)[:500] for want in wants[:_NAMED]),
        by=answer.by[0].hold.holder if answer.by else answer.ahead,
        held=str(answer.by[0].lock.resource)[:500] if answer.by else "",
        cause=str(LockCause.TOUCHED),
    )


def _event(what: Happened) -> Event | None:
    match what.name:
        case "PreToolUse":
            return ToolCallStarted(what.call, what.tool, _summary(what, what.command.partition("\n")[0]))
        case "PostToolUse":
            return ToolCallEndedV2(what.call, str(ToolOutcome.OK), None, "", what.size)
        case "PostToolUseFailure":
            code = _EXIT.match(what.error)
            exit_code = int(code[1]) if code else None
            return ToolCallEndedV2(what.call, str(ToolOutcome.FAILED), exit_code, what.error[:500], what.size)
        case "SubagentStart" | "SubagentStop":
            return HookedSubagent(what.subagent, what.subagent_kind, what.name == "SubagentStop")
        case _:
            return None


def _summary(what: Happened, text: str) -> str:
    by = f"subagent {what.subagent}: " if what.subagent else ""
    return printable(f"{by}{text}")[:300]

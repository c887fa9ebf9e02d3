"""The control socket of a running controller: ``AIRBOSS_HOME/control.sock``.

One JSON object for each line, version 1. A request is ``{"v": 1, "do": VERB, ...}``; the answer is any number of
``{"v": 1, "out": TEXT}`` and one last ``{"v": 1, "end": STATUS, ...}``. Cards are drawn here, so that a client
needs a socket and nothing else.

- ``say`` (``text``; ``wait``: until the task ends; ``quiet``: no cards; ``id``: a key that makes repeats harmless)
- ``press`` (``number``), else like ``say``
- ``reset`` (``reason``): lets a store that was restored go on
- ``follow``: every card from now on, until the client disconnects
- ``wait`` (``task``): until the task ends or waits for a person
- ``call`` (``text``): like ``say``, and the last line carries ``data`` for scripts: the words of its cards, where
  the result is nothing but a message
- ``attach``: as ``bot/local/attaching.py`` says
- ``lock``: as ``bot/local/locking.py`` says; ``import``: as ``bot/local/import_intake.py`` says; ``hook``: as
  ``bot/local/hooked.py`` says
- ``status``: which controller serves here (``version``, ``since_us``, ``pid``), ``secrets``: the names that it
  has from ``.env``, and ``troubles``: what is not well with it, one line each

A client that lost its connection sends the same request with the same ``id`` again: it is handled once, and
answered as the first one was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bot import plain, words
from bot.cards import Card
from bot.chats.console.adapter import ConsoleAdapter
from bot.explain import explain
from bot.hearing import drafts
from bot.hearing.core import ChatCore
from bot.local import attaching, import_intake, locking
from bot.local.listening import Listening
from bot.local.wire import Asker, Peer, gone, in_time, malformed, number_of, read_line, read_request
from bot.message import Message
from bot.outbox.delivering import Deliverer
from bot.outbox.port import Outgoing
from bot.parse import Ignore, Reply, Spoken, parse
from bot.registry import Result
from bot.telling import news, waiting
from bot.telling.notify import Notifier
from fleet.clock import SystemClock
from fleet.errors import AirbossError, Misused, Refused, StoreUnavailable
from fleet.events import PermissionAsked, Recorded, TaskMoved
from fleet.model import ENDS, STATUS_OF_STATE, STOPPED_EARLY, ChatRef, PersonId, Task, TaskState, status_of
from fleet.store import approvals, tasks
from fleet.store.chat import outbox
from fleet.store.core import Tx
from fleet.supervise import OwnedTasks, alongside, first, retry_while_store_is_away
from fleet.untrusted import clean
from gates.people import Person, Right, console_owner, demand, who

log = logging.getLogger(__name__)

Verb = Callable[[dict[str, Any], asyncio.StreamReader, Peer], Awaitable[None]]

Reset = Callable[[str, str], Awaitable[int]]
"""Lets a store that was restored go on: who says so, and why; answers how many things were lost."""


class ControlServer:
    """Answers on the socket until closed: whom ``fleet.toml`` lists, as the login that the kernel names."""

    def __init__(
        self,
        home: Path,
        core: ChatCore,
        console: ConsoleAdapter,
        notifier: Notifier,
        deliverer: Deliverer,
        *,
        reset: Reset | None = None,
        more: Mapping[str, Verb] = MappingProxyType({}),
    ) -> None:
        self.listening = Listening(home)
        self._core, self._console, self._notifier, self._deliverer = core, console, notifier, deliverer
        self._store, self._locks = core.context.store, core.context.locks
        self._clock, self._reset_ledger = SystemClock(), reset
        self._clients = OwnedTasks()
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._verbs: dict[str, Verb] = {
            **more,
            "say": self._say,
            "press": self._say,
            "call": self._say,
            "wait": self._wait,
            "status": self._status,
            "follow": self._follow,
            "lock": self._lock,
            "import": self._import,
            "attach": self._attach,
            "reset": self._reset,
        }
        self._store.observe(self._observe)
        self._store.hear(lambda recorded: self._moved(recorded.refs.task))
        self._store.when_unsure(lambda: self._moved(*self._waiters))
        core.outbox.answers_to(console.name, console.answered)

    @property
    def path(self) -> Path:
        """Where the socket is."""
        return self.listening.path

    @property
    def trouble(self) -> str:
        """Why the group that fleet.toml names cannot open the socket; empty when it can."""
        return self.listening.trouble

    async def start(self) -> None:
        """Raises ``Unavailable`` when another controller answers here; a dead one's socket is replaced."""
        await self.listening.start(self._accept, self._core.context.config().console.group)

    def open(self) -> None:
        """Opens the socket to the group that fleet.toml names now, and to no other."""
        self.listening.open_to(self._core.context.config().console.group)

    async def close(self) -> None:
        """Takes no further clients, and lets every client go."""
        self.listening.close()
        await self._clients.end()

    def _observe(self, tx: Tx, recorded: Recorded) -> None:
        if isinstance(recorded.event, TaskMoved | PermissionAsked):
            tx.after_commit(partial(self._moved, recorded.refs.task))

    def _moved(self, *moved: str) -> None:
        for waiter in {each for task in moved for each in self._waiters.get(task, ())}:
            waiter.set()

    # --- a client ---------------------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.begin(self._client(reader, writer), "control client")

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(writer)
        try:
            while line := await read_line(reader):
                await self._serve(line, reader, peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except AirbossError as error:
            await peer.end(error.status, error=str(error))
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, line: bytes, reader: asyncio.StreamReader, peer: Peer) -> None:
        try:
            request = read_request(line)
            if not self._known(peer) and (request.get("do") != "status" or peer.person != console_owner()):
                await peer.end(Refused.status, error=_stranger(peer.person))
                return
            verb = self._verbs.get(str(request.get("do")))
            if verb is None:
                known = ", ".join(self._verbs)
                raise malformed(f"there is no verb {str(request.get('do'))[:40]!r}", f"Known: {known}")
            await verb(request, reader, peer)
        except AirbossError as error:
            explanation = explain(error)
            await peer.end(explanation.status, error=explanation.text())

    def _known(self, peer: Peer) -> bool:
        """Asked anew for each request and each card: rights may end in the middle of a conversation."""
        return self._person(peer) is not None

    def _person(self, peer: Peer) -> Person | None:
        """Whom ``fleet.toml`` has for a client; looked up once for each of its versions."""
        config = self._core.context.config()
        if peer.listed is None or peer.listed[0] is not config:
            peer.listed = (config, who(config, peer.person))
        return peer.listed[1]

    # --- verbs ------------------------------------------------------------------------------------------

    async def _say(self, request: dict[str, Any], _: asyncio.StreamReader, peer: Peer) -> None:
        text, key = str(request.get("text", "")), str(request.get("id") or uuid.uuid4().hex)[:100]
        text = await self._meant(text, peer) if request["do"] != "press" else text
        message = Message(
            adapter=self._console.name,
            update_id=key,
            sender=peer.person,
            chat=peer.chat,
            text=text,
            pressed=await self._pressed(request, key, peer) if request["do"] == "press" else "",
        )
        quiet, colour, wait = (request.get(name) is True for name in ("quiet", "colour", "wait"))
        # The terminal that shows the answer: one that follows, this connection, or all of this person's.
        terminal = str(request.get("terminal") or ("" if quiet else key))[:100]
        self._console.asks(key, terminal)
        asks_status = self._asks_status(text)
        away = self._core.context.control.troubles().store
        if asks_status and away:
            await self._status_without_store(peer, away, quiet=quiet)
            return
        with self._console.follow(peer.chat, key) as cards:
            try:
                result = await (in_time(self._core.call(message)) if asks_status else self._core.call(message))
            except StoreUnavailable as error:
                if not asks_status:
                    raise
                await self._status_without_store(peer, f"the store is unavailable: {error.cause}", quiet=quiet)
                return
            missing, status, shown = set(result.posted), result.status, set[int]()

            async def show(card: Outgoing) -> None:
                missing.discard(card.id)
                mine = card.id in result.posted or (wait and result.task and card.task == result.task)
                if mine and not quiet and card.id not in shown:
                    shown.add(card.id)
                    await peer.out(self._console.text(card, colour=colour))

            if terminal not in ("", key):
                missing.clear()
                await self._deliverer.drained(peer.chat)
            if result.repeated:
                missing.clear()
                for earlier in await self._earlier(peer.chat, result, wait=wait):
                    await show(earlier)
            while missing:
                await show(await cards.get())
            if wait and result.task and not status:
                async with alongside(self._ended(result.task), "wait for a task") as ended:
                    while not ended.done():
                        async with alongside(cards.get(), "next card") as card:
                            await first(ended, card)
                            if card.done():
                                await show(card.result())
                    status = await ended
                while not cards.empty():
                    await show(cards.get_nowait())
        data = None
        if request["do"] == "call":
            said = [] if result.data else await self._earlier(peer.chat, result, wait=False)
            data = result.data or {"cards": [plain.card(card.card) for card in said]}
        await peer.end(status, task=result.task, data=data, repeated=result.repeated)

    async def _meant(self, text: str, peer: Peer) -> str:
        """Words without a command answer the one question that waits here: a terminal has no replies."""
        said = parse(text, self._core.context.registry.names)
        if isinstance(said, Ignore):
            raise Misused(attempted="read the message", cause="it has no words", hint="/help lists the commands.")
        if not isinstance(said, Reply):
            return text
        asked = await self._store.read(lambda tx: _question(tx, peer))
        return f"/approve {asked} {text}" if asked else text

    async def _pressed(self, request: dict[str, Any], key: str, peer: Peer) -> str:
        """The token of the button that is pressed; empty when this press was received before."""
        token = self._console.token(number_of(request.get("number")))
        if not token and await self._core.result_of(self._console.name, peer.chat.chat, key) is None:
            raise Misused(
                attempted=f"press button {str(request.get('number'))[:20]}",
                cause="no card has shown it since this controller started",
                hint="Press a number shown in a card. /waiting lists requests.",
            )
        return token

    async def _earlier(self, chat: ChatRef, result: Result, *, wait: bool) -> list[Outgoing]:
        """What was said when the message came before; ``wait``: also what its task said since."""
        await self._deliverer.drained(chat)
        task = result.task if wait else ""
        rows = await self._store.read(lambda tx: outbox.said(tx, chat, result.posted, task))
        return [
            Outgoing(
                row.id, chat, Card.from_json(row.card_json), "", ping=False, again=False, task=row.task, key=""
            )
            for row in rows
        ]

    def _asks_status(self, text: str) -> bool:
        registry = self._core.context.registry
        said = parse(text, registry.names)
        command = registry.get(said.verb) if isinstance(said, Spoken) else None
        return command is not None and command.verb == "status"

    async def _status_without_store(self, peer: Peer, away: str, *, quiet: bool) -> None:
        """The status without the store: why it is unavailable, what else is wrong, and the machines."""
        control = self._core.context.control
        lines = [control.serving().line(), *(f"⚠ {trouble}" for trouble in (away, *control.troubles().others))]
        for name, seen in sorted(control.machines().items()):
            when = f"last seen {words.clock(seen.seen_us)}" if seen.seen_us else "not seen yet"
            lines.append(f"⚠ {name} · {when} · {seen.why}" if seen.why else f"● {name} · {when}")
        rows = [clean(row, 200) for row in lines]
        if not quiet:
            await peer.out("".join(f"{row}\n" for row in rows))
        await peer.end(StoreUnavailable.status, data={"troubles": rows})

    async def _ended(self, task_id: str) -> int:
        """The exit status of a task, once it has ended (or waits for a person) and all its cards are shown."""

        async def look() -> tuple[Task, int | None]:
            return await self._store.read(lambda tx: _at_rest(tx, task_id))

        waiter = asyncio.Event()
        self._waiters.setdefault(task_id, set()).add(waiter)
        try:
            while True:
                waiter.clear()
                task, status = await retry_while_store_is_away(look, self._clock)
                if status is not None:
                    break
                await waiter.wait()
        finally:
            self._waiters[task_id].discard(waiter)
            if not self._waiters[task_id]:
                del self._waiters[task_id]
        await self._notifier.caught_up(task_id)
        await self._deliverer.drained(task.origin)
        return status

    async def _wait(self, request: dict[str, Any], _: asyncio.StreamReader, peer: Peer) -> None:
        wanted = str(request.get("task", ""))
        task = await self._store.read(lambda tx: tasks.find(tx, wanted))
        await peer.end(await self._ended(task.id), task=task.id)

    async def _status(self, request: dict[str, Any], _: asyncio.StreamReader, peer: Peer) -> None:
        control = self._core.context.control
        serving = control.serving()
        who = {"version": serving.version, "since_us": serving.since_us, "home": str(self.path.parent)}
        names, troubles = list(serving.secrets), list(control.troubles().lines)
        await peer.end(0, **who, pid=os.getpid(), secrets=names, troubles=troubles)

    async def _lock(self, request: dict[str, Any], reader: asyncio.StreamReader, peer: Peer) -> None:
        right = Right.SEE if request.get("op") == "list" else Right.RUN
        demand(self._person(peer), right, attempted="use locks")
        repos = self._core.context.config().repos
        reply = await locking.answer(self._locks, self._store, request, Asker(reader), repos)
        await peer.end(reply.status, data=reply.data, text=reply.text)

    async def _import(self, request: dict[str, Any], _: asyncio.StreamReader, peer: Peer) -> None:
        demand(who(self._core.context.config(), peer.person), Right.RUN, attempted="import sessions")
        data = await import_intake.answer(self._store, request, str(peer.person))
        await peer.end(0, data=data or {"done": True})

    async def _attach(self, request: dict[str, Any], reader: asyncio.StreamReader, peer: Peer) -> None:
        await attaching.attach(self._core.context, request, reader, peer)

    async def _reset(self, request: dict[str, Any], _: asyncio.StreamReader, peer: Peer) -> None:
        attempted, reason = "reset the ledger", str(request.get("reason", "")).strip()
        demand(who(self._core.context.config(), peer.person), Right.MANAGE, attempted=attempted)
        if not reason or self._reset_ledger is None:
            raise Misused(attempted=attempted, cause="it takes a reason", hint="Say what happened: --reason '…'")
        lost = await self._reset_ledger(str(peer.person), reason[:500])
        await peer.out(f"The ledger goes on. Its next entry names {lost} lost and {peer.person}.\n")
        await peer.end(0)

    async def _follow(self, request: dict[str, Any], reader: asyncio.StreamReader, peer: Peer) -> None:
        async def show() -> None:
            with self._console.follow(peer.chat, str(request.get("terminal") or "")[:100]) as cards:
                await peer.out("")
                with contextlib.suppress(StoreUnavailable):  # then the next terminal shows it
                    await self._store.write(lambda tx: news.tell(self._core.outbox.open(tx), peer.chat))
                while True:
                    card = await cards.get()
                    if not self._known(peer):
                        await peer.end(Refused.status, error=_stranger(peer.person))
                        return
                    await peer.out(self._console.text(card, colour=request.get("colour") is True))

        async with alongside(show(), "show the cards") as showing:
            await first(showing, gone(reader))
            if showing.done():
                await showing


def _at_rest(tx: Tx, task_id: str) -> tuple[Task, int | None]:
    """The task, and its exit status once it has ended or waits for a person; ``None`` while it goes on or is being
    stopped."""
    task = tasks.task(tx, task_id)
    if task.state in ENDS:
        return task, status_of(task)
    if tasks.stop_requested(tx, task_id) or not approvals.waiting(tx, task_id):
        return task, None
    return task, status_of(task) if task.state in STOPPED_EARLY else STATUS_OF_STATE[TaskState.HELD]


def _question(tx: Tx, peer: Peer) -> str:
    """The only question of an agent that waits for words in this person's conversation; empty: none, or several."""
    if drafts.kept(tx, peer.chat, peer.person) is not None:
        return ""
    here = waiting.asked_in(tx, peer.chat, [asked for asked in approvals.waiting(tx) if asked.questions])
    return here[0].id if len(here) == 1 else ""


def _stranger(person: PersonId) -> str:
    how = f"airboss people add NAME --role ROLE --id {person}"
    return f"🚫 {person.user} is not registered here. An admin can add you: {how}"

"""A person's terminal over the control socket: what ``airboss attach`` asks for.

``attach`` with ``task``, ``then`` (go, judge, ask), ``term``, ``rows`` and ``columns``. The agent steps aside; then
``{"v": 1, "shown": BASE64}`` is what its own interface shows, from one empty one on, and the client sends
``{"typed": BASE64}`` and ``{"rows": N, "columns": N}``. A client that goes away ends nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64decode
from functools import partial
from typing import Any, Final

from bot.local.wire import Peer, malformed, number_of, read_line
from bot.registry import Context
from fleet.errors import Misused, Refused
from fleet.machines.hand_terminal import HandTerminal
from fleet.model import ENDS
from fleet.store import takeovers, tasks
from fleet.store.core import Tx
from fleet.store.states import AfterHand, TakeoverState
from fleet.store.takeovers import Takeover
from fleet.supervise import alongside, first
from gates.people import Person, Right, demand, who

_AGAIN_S: Final = 0.2
_TERM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,40}")
_USUAL: Final = "xterm-256color"


async def attach(context: Context, request: dict[str, Any], reader: asyncio.StreamReader, peer: Peer) -> None:
    """Until the person leaves, or the interface has ended. Raises ``Refused`` and ``Misused``."""
    person = _demand(context, peer)
    await context.control.demand(Right.STEER, "attach to an agent")
    takeover = await _take(context, request, peer, person)
    await peer.out(
        f"{takeover.task}: the agent steps aside. Its own interface opens here; Ctrl-] leaves it open.\n"
    )
    async with alongside(_opened(context, takeover), "wait for an agent to step aside") as opened:
        async with alongside(_typed(context, reader, peer, None), "wait for a person") as left:
            await first(opened, left)
            if not opened.done():
                return
        if not await opened:
            await peer.end(Refused.status, error=f"{takeover.task}: the work by hand is over")
            return
    terminal = await context.control.terminal(takeover.task)
    await peer.shown(b"")
    async with (
        alongside(_shown(terminal, peer), "show a terminal") as showing,
        alongside(_typed(context, reader, peer, terminal), "type in a terminal") as typing,
    ):
        await terminal.resize(*_size(request))
        await first(showing, typing)
        if not showing.done():
            return
        await showing
    await peer.end(0, task=takeover.task, data={"then": await context.store.read(partial(_then, takeover))})


def _then(takeover: Takeover, tx: Tx) -> str:
    task = tasks.task(tx, takeover.task)
    if task.state in ENDS or tasks.stop_requested(tx, task.id):
        return "stop"
    return str(takeovers.of_task(tx, task.id)[-1].then)


def _demand(context: Context, peer: Peer) -> Person:
    return demand(who(context.config(), peer.person), Right.STEER, attempted="attach to an agent")


async def _take(context: Context, request: dict[str, Any], peer: Peer, person: Person) -> Takeover:
    words, term = str(request.get("then", "")), str(request.get("term", ""))
    if words and words not in set(AfterHand):
        raise malformed(f"there is no {words[:20]!r}", f"What follows is one of: {', '.join(AfterHand)}.")

    def work(tx: Tx) -> Takeover:
        task = tasks.find(tx, str(request.get("task", "")))
        agent = context.config().agents.get(task.agent)
        if agent is not None and agent.driver not in {"claude", "codex"}:
            raise Refused(
                attempted=f"take {task.id} over",
                cause=f"{task.agent} has no interface of its own",
                hint=f"Write to it: a reply to the card of {task.id}.",
            )
        terminal = term if _TERM.fullmatch(term) else _USUAL
        taken = takeovers.take(
            tx,
            task,
            by=str(peer.person),
            name=person.name,
            terminal=terminal,
            then=AfterHand(words) if words else None,
        )
        tx.after_commit(partial(context.control.wake, task.id))
        return taken

    return await context.store.write(work)


async def _opened(context: Context, takeover: Takeover) -> bool:
    """Waits until the interface is there; False when it is over before."""
    while True:
        now = await context.store.read(lambda tx: takeovers.current(tx, takeover.task))
        if now is None or now.id != takeover.id or now.state is TakeoverState.ENDED:
            return False
        if now.state is TakeoverState.OPEN:
            return True
        await context.clock.sleep(_AGAIN_S)


async def _shown(terminal: HandTerminal, peer: Peer) -> None:
    async for data in terminal.shown():
        await peer.shown(data)


async def _typed(context: Context, reader: asyncio.StreamReader, peer: Peer, terminal: HandTerminal | None) -> None:
    """Until the client goes away. What is typed before the interface is there is dropped."""
    while line := await read_line(reader):
        _demand(context, peer)
        try:
            said = json.loads(line)
            typed = b64decode(said.get("typed", ""), validate=True)
        except (ValueError, TypeError, AttributeError) as error:
            raise Misused(attempted="read what was typed", cause="the line is malformed") from error
        if terminal is not None and typed:
            await terminal.type(typed)
        elif terminal is not None and "rows" in said:
            await terminal.resize(*_size(said))


def _size(said: dict[str, Any]) -> tuple[int, int]:
    return number_of(said.get("rows")) or 24, number_of(said.get("columns")) or 80

"""A login that one task's session has to itself: cleared before its first process and after its last."""

from __future__ import annotations

import secrets
from typing import Final

from fleet.agents.logins import KEEPINGS, login_of
from fleet.errors import Unavailable
from fleet.events import SessionEnded
from fleet.exits import succeeded
from fleet.flight.pipe_reader import end_of
from fleet.flight.services import Services
from fleet.flight.surroundings import room_of
from fleet.isolation import Alone
from fleet.model import Session
from fleet.ports import PipeSpec
from fleet.store import ledger, sessions
from fleet.store.core import Tx

_LEEWAY_US: Final = 1_000_000
"""The answer with the machine's time may be this old."""


async def lay_out(services: Services, session: Session) -> None:
    """Before its first process: nothing of an earlier task runs, and nothing of it is borrowed from."""
    executor = services.executors.agent(session.machine, session.login)
    since_us = await services.store.read(lambda tx: _uncleared_since(tx, session))
    await clear(services, session, since_us)
    await executor.remove_tree("repos")


def _uncleared_since(tx: Tx, session: Session) -> int:
    """When the session started, or the one before it in this login, if that one could not clear it."""
    before = sessions.before_in_login(tx, session)
    if before is None:
        return session.started_us
    ended = ledger.read(tx, kinds=(SessionEnded.KIND,), task=before.task)
    ends = [item.event for item in ended if item.refs.session == before.id]
    cleared = any(isinstance(event, SessionEnded) and not event.why for event in ends)
    return session.started_us if cleared else before.started_us


async def clear(services: Services, session: Session, since_us: int) -> tuple[str, ...]:
    """Ends every process of the login, and removes what was left in directories that others use and what changed in
    its home since then; the vendor's logins stay. Returns a line for each thing removed.

    Raises ``Unavailable`` when a process of the login cannot be ended.
    """
    executor = services.executors.agent(session.machine, session.login)
    facts = await executor.facts()
    agent = services.agent_of(session)
    kept: list[str] = []
    for driver in (*KEEPINGS, agent.driver):
        login = login_of(driver, agent.settings, agent.settings.get("HOME") or facts.home, tuple(agent.login))
        kept += [*login.files, *login.linked]
    spec = PipeSpec(
        id=f"{session.outside(services.store.instance)}-clear-{secrets.token_hex(8)}",
        nonce=services.new_nonce(),
        argv=("true",),
        cwd="/",
        env={},
        alone=Alone(
            f"{executor.root}/{room_of(services.store, session)}",
            since_us=since_us + facts.clock_us - services.clock.now_us() - _LEEWAY_US,
            kept=tuple(dict.fromkeys(kept)),
        ),
    )
    await executor.start(spec)
    ended = await end_of(executor, spec.id, spec.nonce)
    if not (succeeded(ended.exit) and ended.gone):
        raise Unavailable(
            attempted=f"clear the login {session.login}",
            on=session.machine,
            cause=ended.unavailable or "a process of an earlier task is still running",
            hint="end the processes of that login on that machine",
        )
    return ended.left

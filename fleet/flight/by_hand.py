"""A person works by hand in an agent's session: the agent steps aside, and the fleet takes over again after.

The agent's own interface runs behind a pipe like the agent itself, with the same walls, limits and key proxy, in a
terminal there. So it outlives links and controllers. What its agent does is not seen here: the turn is marked.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from fleet.agent_events import TurnOutcome
from fleet.agents.by_hand import interface
from fleet.errors import Misconfigured
from fleet.events import SessionHandedBack, SessionTaken, Source, TurnClosed, TurnStarted
from fleet.flight import prompts
from fleet.flight.agent_process import AgentProcess
from fleet.flight.moves import to_running
from fleet.flight.pipe_reader import end_of
from fleet.flight.services import Services
from fleet.flight.waits import StopWanted, Waits
from fleet.machines.hand_terminal import in_terminal
from fleet.model import PipeEnd, Session, Task, TurnCause
from fleet.ports import Ended, Launch
from fleet.store import sessions, stalls, takeovers
from fleet.store.core import Tx
from fleet.store.recording import record
from fleet.store.states import AfterHand, TakeoverState
from fleet.store.takeovers import Takeover
from fleet.supervise import alongside, first


class ByHand:
    """One task's work by hand."""

    def __init__(self, services: Services, agent: AgentProcess, waits: Waits) -> None:
        self._services, self._agent, self._waits = services, agent, waits

    async def current(self, task: Task) -> Takeover | None:
        """Who has the task in hand."""
        return await self._services.store.read(lambda tx: takeovers.current(tx, task.id))

    async def work(self, task: Task, session: Session, takeover: Takeover) -> None:
        """A step of a task that somebody has in hand and whose agent has stepped aside, until that ended."""
        if not takeover.pipe and takeover.state is TakeoverState.ENDING:
            await self._services.store.write(partial(takeovers.ended, takeover=takeover, then=AfterHand.ASK))
            return
        launch = self._launch(session, takeover)
        if not takeover.pipe:
            await self._open(session, takeover, launch)
            return
        executor = self._services.executors.agent(session.machine, session.login)
        await executor.start(await self._agent.process(_as_pipe(session, takeover), launch))
        await self._services.store.write(partial(takeovers.opened, takeover=takeover))
        async with alongside(end_of(executor, takeover.pipe, takeover.nonce), f"{task.id}: work by hand") as ending:
            while not ending.done():
                self._waits.begin()
                if await self._waits.stopped():
                    raise StopWanted
                known = await self.current(task)
                if known is not None and known.state is TakeoverState.ENDING:
                    await executor.stop(takeover.pipe)
                await first(ending, self._waits.news())
            ended = await ending
        await self._services.store.write(partial(_close, session=session, takeover=takeover, ended=ended))
        await executor.remove_tree(f"pipes/{takeover.pipe}")  # it has what was typed

    async def go_on(self, task: Task, session: Session, takeover: Takeover) -> None:
        """What follows the work by hand, unless a person is to be asked. Raises ``NoSlot``."""

        def also(tx: Tx) -> None:
            takeovers.over(tx, takeover)
            stalls.withdraw(tx, task.id, by=takeover.by, why="worked on by hand")
            to_running(tx, task.id, self._services.config())

        if takeover.then is AfterHand.GO:
            await self._agent.go_on(session, TurnCause.GO_ON, prompts.after_hand(), also)
        else:
            await self._services.store.write(also)

    def _launch(self, session: Session, takeover: Takeover) -> Launch:
        """The interface in a terminal. Raises ``Misconfigured``."""
        agent = self._services.agent_of(session)
        launch = interface(agent.driver, self._agent.brief(session, ""))
        if launch is None:
            raise Misconfigured(
                attempted="open the agent's own interface",
                on=session.agent,
                cause=f"an agent with the driver {agent.driver} has none",
                hint=f"/attach {session.task} end lets the fleet take over.",
            )
        argv = in_terminal(self._services.machine_of(session).python, launch.argv)
        return Launch(argv, {**launch.env, "TERM": takeover.terminal}, one_turn=True)

    async def _open(self, session: Session, takeover: Takeover, launch: Launch) -> None:
        """Commits the process before it is started."""

        def work(tx: Tx) -> None:
            pipe = sessions.next_pipe(tx, session.id)
            takeovers.starting(tx, takeover, pipe, self._services.new_nonce())
            event = SessionTaken(pipe, launch.argv[5], str(takeover.then))
            record(tx, event, session, source=Source.PERSON, actor=takeover.by)

        await self._services.store.write(work)


async def close(services: Services, session: Session) -> Session:
    """Ends the work by hand in a session of a task that has ended; the session as it is then."""
    takeover = await services.store.read(lambda tx: takeovers.current(tx, session.task))
    if takeover is None or takeover.session != session.id:
        return session
    if not takeover.pipe or takeover.state is TakeoverState.ENDED:
        await services.store.write(partial(takeovers.over, takeover=takeover))
        return session
    executor = services.executors.agent(session.machine, session.login)
    await executor.stop(takeover.pipe)
    ended = await end_of(executor, takeover.pipe, takeover.nonce)

    def work(tx: Tx) -> Session:
        closed = _close(tx, session, takeover, ended)
        takeovers.over(tx, takeover)
        return closed

    closed = await services.store.write(work)
    await executor.remove_tree(f"pipes/{takeover.pipe}")
    return closed


def _as_pipe(session: Session, takeover: Takeover) -> Session:
    """The session with the interface as its process."""
    return replace(session, pipe=takeover.pipe, nonce=takeover.nonce)


def _close(tx: Tx, session: Session, takeover: Takeover, ended: Ended) -> Session:
    """What was done by hand is a turn of its own, and says so."""
    turn = sessions.create_turn(tx, session, TurnCause.BY_HAND, takeover.words)
    how = f"did not start: {ended.unavailable}" if ended.unavailable else str(ended.exit)
    record(tx, TurnStarted(turn.number, str(TurnCause.BY_HAND), takeover.words), session, turn=turn.id)
    outcome = TurnOutcome.COMPLETED
    sessions.update_turn(tx, turn.id, outcome=outcome, exit=how, ended_us=tx.now_us())
    record(tx, TurnClosed("", str(outcome), "", how), session, turn=turn.id)
    back = SessionHandedBack(takeover.pipe, how, ended.gone, takeover.since_us)
    record(tx, back, session, turn=turn.id, source=Source.PERSON, actor=takeover.by)
    # Not before the turn is closed: a person's time is none that a budget counts.
    sessions.update_turn(tx, turn.id, started_us=takeover.since_us)
    then = AfterHand.ASK if ended.unavailable else takeovers.of_task(tx, takeover.task)[-1].then
    takeovers.ended(tx, takeover, then)
    return sessions.update(tx, session.id, pipe_end=PipeEnd.GONE if ended.gone else PipeEnd.ENDED)

"""Follows one process of one session: writes its output to the ledger, and people's decisions and messages to its
input.

Output, driver state, and the input that follows from them are committed together with the spool offset. A
controller that dies at any point continues there: nothing is lost, nothing is duplicated.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Final

from fleet.agent_events import Allow, Asked, AskPerson, TurnEnded
from fleet.agents.framing import Line, LineFramer, Oversized
from fleet.errors import Unavailable, Unreachable
from fleet.events import SPOOL_STALLED, LinkChanged
from fleet.failpoints import failpoint
from fleet.flight import attachments, commits, last_words, tampering
from fleet.flight.background import BackgroundWork
from fleet.flight.commits import Ruled
from fleet.flight.halting import Halting
from fleet.flight.line_batch import LineBatch
from fleet.flight.pipe_reader import LinkDown, LinkUp, PipeReader, Read, Woken
from fleet.flight.services import Services, state_of
from fleet.flight.silence import Silence
from fleet.flight.turn_wait import TurnWait
from fleet.model import Session, Task, Turn
from fleet.ports import Accepted, Ended, Executor, Output, Pulse, Stalled, Step
from fleet.store import inputs, kept_answers, sessions, stalls, tasks
from fleet.store.core import Tx
from fleet.store.recording import record

WRITES_S: Final = 2.0
"""How long an agent that does not end by itself has after a turn to write its conversation down."""

_SEEN_EVERY_US: Final = 20_000_000
_QUIET: Final = 0.2
_SILENT: Final = 7.0
_IDLE: Final = 5.0
_AGAIN: Final = 0.5  # before input that a machine did not accept is sent again

_AT_ONCE: Final = 1 << 18
"""Bytes of output after which a commit takes no more of the waiting output."""

_STREAM_SECONDS: Final = 0.1
"""Output this soon after the last commit is a stream: it is committed once in this time, and that commit waits
briefly to be shared with other sessions."""


class Follower:
    """One attached pipe. Await ``turn_end`` once for each turn; ``interrupt`` ends the process.

    It knows the open ``turn`` from its beginning, and each one that it starts: the end of the process closes that
    turn, whether or not anybody came to wait for it.

    Its memory is updated after a commit, never before. When a commit fails, drop the follower and make a new one:
    it starts at the committed offset.
    """

    def __init__(
        self, services: Services, executor: Executor, task: Task, session: Session, turn: Turn | None
    ) -> None:
        self._services, self._executor, self._task = services, executor, task
        self._driver = services.driver_of(session)
        self._stopping = self._news = self._anew = False
        self._silence, self._halting = Silence(services), Halting(services, task)
        self.session = session
        self._turn = turn
        self._over = False  # the turn has ended: messages from now on are for the next one
        self._framer = LineFramer(services.config().limits.decode_cap, session.spool_offset)
        self._lines: deque[Line | Oversized] = deque()
        self._accepted = 0
        self._sent = 0
        self._unsent = False
        self._ended: Ended | None = None
        self._linked = True
        self._heard_of = False  # whether the process or its link reported anything yet
        self._stalled = False
        self._background = BackgroundWork(services, task)
        self._asks, self._output_at = True, asyncio.get_running_loop().time()
        self._batch: LineBatch | None = None
        self._committed = 0.0  # when output was last committed, by the loop's clock
        self._reader = PipeReader(
            executor, session.pipe, session.nonce, session.spool_offset, services.clock, boot=session.boot
        )

    # --- what the flight calls ----------------------------------------------------------------------

    def wake(self) -> None:
        """Something may have changed in the store. A full queue means it is awake and will look soon."""
        self._news = True
        self._reader.wake()

    @property
    def ended(self) -> Ended | None:
        """How the process ended, once known."""
        return self._ended

    async def turn_end(self, turn: Turn) -> TurnWait:
        """Works until the turn is over, a person's stop is seen, the agent waits too long for an answer, or was
        silent and is wanted to go on anew."""
        self._turn, self._over = turn, False
        self._background.begin()
        self._halting.begin()
        await self._silence.begin(self.session)
        await self._take_from_people()
        while True:
            if await self._read_lines(lazily=True):
                return TurnWait.OVER
            if self._stopping:
                return TurnWait.STOPPED
            if self._anew:
                return TurnWait.ANEW
            if self._ended is not None:
                return TurnWait.OVER
            if await self._unanswered():
                return TurnWait.UNANSWERED
            if await self._halting.due(self.session, turn):
                return TurnWait.HALTED
            due = self._due()
            event = await self._reader.next(min(_AGAIN if self._unsent else _IDLE, due))
            if isinstance(event, Woken) and due < math.inf and not self._news:
                continue
            await self._handle(event)
            if (step := await self._background.due(self.session, self._driver)) is not None:
                await self._apply(step)
                await self._send_inputs()
            if self._linked:
                await self._silence.look(self.session, turn)
            if self._news:
                await self._take_from_people()

    async def catch_up(self) -> None:
        """Handles what arrived in the meantime, so that no message goes to a process that has already ended.

        A newly attached process reports within a few seconds, or its link does.
        """
        clock = asyncio.get_running_loop()
        give_up = clock.time() + _SILENT
        while self._ended is None and clock.time() < give_up:
            patience, since = (_QUIET if self._heard_of else _SILENT), clock.time()
            event = await self._reader.next(patience)
            if not isinstance(event, Woken):
                await self._handle(event)
                while await self._read_lines():
                    pass
            elif clock.time() - since >= patience:
                return

    async def say(self, text: str, commit: Callable[[Tx], Turn]) -> Turn:
        """Starts the next turn in the living process, in the transaction that ``commit`` completes."""
        step = self._driver.say(state_of(self.session), text)

        def work(tx: Tx) -> tuple[Turn, Session]:
            turn = commit(tx)
            return turn, commits.save(tx, self.session, step)

        turn, self.session = await self._services.store.write(work)
        self._turn, self._over = turn, False
        return turn

    async def gone(self, patience: float = 10.0) -> bool:
        """Waits for the process to end, then kills it; True once its whole tree has ended."""
        if self._ended is None:
            await self._apply(self._driver.finish(state_of(self.session)))
            await self._send_inputs()
            await self._until_ended(patience if self._driver.ends_itself else min(patience, WRITES_S))
        if self._ended is None:
            await self._kill(60, though=Unreachable)
        return self._ended is not None and self._ended.gone

    async def interrupt(self, patience: float = 30) -> None:
        """Asks the agent to end its turn, then ends its process and waits ``patience`` seconds for that."""
        await self._apply(self._driver.interrupt(state_of(self.session)))
        await self._send_inputs()
        await self._kill(patience, though=Unavailable)

    async def _kill(self, patience: float, *, though: type[Unavailable]) -> None:
        """Ends the process, with a machine that is away as soon as it is back, and waits ``patience`` seconds."""
        clock = asyncio.get_running_loop()
        give_up = clock.time() + patience
        while self._ended is None:
            try:
                await self._executor.stop(self.session.pipe)
            except though:
                await self._until_ended(min(_IDLE, give_up - clock.time()))
                await self._send_inputs()
                await self._until_ended(0.0 if self._unsent else WRITES_S)  # it hears that it is to end
            else:
                await self._until_ended(give_up - clock.time())
            if clock.time() >= give_up:
                return

    async def end_turn(self, patience: float = 30) -> None:
        """Asks the agent to end its turn; ends its process if it does not, or cannot be asked."""
        if not self.session.one_turn:
            await self._apply(self._driver.interrupt(state_of(self.session)))
            await self._send_inputs()
            await self._until_ended(patience, turn=True)
        if not self._over and self._ended is None:
            await self.interrupt(patience)

    async def close(self) -> None:
        """Stops following. The process continues."""
        await self._reader.close()

    async def _unanswered(self) -> bool:
        """Whether the agent has asked and said nothing since, for longer than a question keeps its slot."""
        patience = self._services.config().limits.question_seconds
        if not self._asks or asyncio.get_running_loop().time() - self._output_at < patience:
            return False
        self._asks = bool(await self._services.store.read(lambda tx: kept_answers.unanswered(tx, self.session.id)))
        return self._asks

    # --- reading --------------------------------------------------------------------------------------

    async def _until_ended(self, seconds: float, *, turn: bool = False) -> None:
        """Bounds only the waiting: a commit in progress is never interrupted. ``turn``: its end is enough."""
        clock = asyncio.get_running_loop()
        give_up = clock.time() + seconds
        while self._ended is None and not (turn and self._over) and (left := give_up - clock.time()) > 0:
            await self._handle(await self._reader.next(min(left, 5.0)))
            while await self._read_lines():
                pass

    async def _handle(self, event: Read) -> None:
        self._heard_of = self._heard_of or not isinstance(event, Woken)
        match event:
            case Output(_, data):
                failpoint("output-read")
                self._output_at = asyncio.get_running_loop().time()
                self._silence.heard()
                self._lines.extend(self._framer.feed(data))
                size = len(data)
                while size < _AT_ONCE and (more := self._reader.output()) is not None:
                    self._lines.extend(self._framer.feed(more.data))
                    size += len(more.data)
                if self._stalled:
                    await self._link(up=True, why="")
                    self._stalled = False
            case Accepted(position):
                self._accepted = max(self._accepted, position)
            case Pulse(at_us):
                await self._seen(at_us)
            case Stalled(why):
                await self._link(up=False, why=f"{SPOOL_STALLED}{why}")
                self._stalled = True
            case LinkDown(why):
                self._sent = self._accepted
                await self._link(up=False, why=why)
            case LinkUp():
                await self._link(up=True, why="")
                await self._send_inputs()
            case Woken():
                await self._take_from_people()
            case Ended():
                await self._end(event)

    async def _read_lines(self, *, lazily: bool = False) -> bool:
        """Commits complete lines, up to the end of a turn; True when a turn ended.

        ``lazily``: of a stream, only every ``_STREAM_SECONDS``. What is read in between is not lost: it stays among
        the lines until it is committed. What somebody waits for is committed at once: an answer, an input, the end.
        """
        if not self._lines:
            return False
        kept, self._batch = self._batch, None
        batch = kept if kept and kept.session is self.session else LineBatch(self.session)
        for line in islice(self._lines, batch.read, None):
            for asked in batch.add(self._driver, line):
                await self._rule(batch, asked)
            if batch.over:
                break
        now = asyncio.get_running_loop().time()
        streaming = not batch.urgent and now - self._committed < _STREAM_SECONDS
        if streaming and lazily and batch.size < _AT_ONCE:
            self._batch = batch
            return False
        patient = streaming or (kept is not None and not batch.urgent)
        await self._apply(batch.step(), ruled=batch.ruled, offset=batch.offset, patient=patient)
        self._committed = now
        for _ in range(batch.read):
            self._lines.popleft()
        failpoint("output-committed")
        if batch.send or batch.eof or self._unsent:
            await self._send_inputs()
        return batch.over

    async def _rule(self, batch: LineBatch, asked: Asked) -> None:
        ruled = await self._ruled(asked, batch.for_people)
        batch.ruled.append(ruled)
        if (decision := ruled.decision) is not None:
            batch.take(self._driver.decide(batch.state, asked.ask, decision))

    def _due(self) -> float:
        """Seconds until what was read lazily is to be committed; ``inf`` when there is none."""
        if not self._lines:
            return math.inf
        return max(0.0, self._committed + _STREAM_SECONDS - asyncio.get_running_loop().time())

    async def _ruled(self, asked: Asked, more: int) -> Ruled:
        """The ruling. ``more``: questions of the same batch that go to a person."""
        ruling = self._services.gatekeeper.rule(self.session, self._task, asked)
        if isinstance(ruling, Allow) and asked.paths:
            ruling = await self._services.locks.edit(self.session, self._task, asked)
        if not isinstance(ruling, AskPerson):
            return Ruled(asked, ruling)
        ruled = await self._services.store.read(lambda tx: commits.to_ask(tx, self.session, asked, ruling, more))
        self._asks = self._asks or ruled.decision is None
        return ruled

    # --- committing -----------------------------------------------------------------------------------

    async def _apply(
        self,
        step: Step,
        *,
        ruled: Sequence[Ruled] = (),
        offset: int | None = None,
        also: Callable[[Tx], None] | None = None,
        patient: bool = False,
    ) -> None:
        def work(tx: Tx) -> Session:
            if also:
                also(tx)
            hours = self._services.config().limits.approval_hours
            return commits.take_step(
                tx, self.session, self._turn, step, ruled=ruled, offset=offset, approval_hours=hours
            )

        self.session = await self._services.store.write(work, patient=patient)
        self._halting.took(step)
        if any(isinstance(item, TurnEnded) for item in step.happened):
            self._over = True
            failpoint("turn-closed")

    async def _take_from_people(self) -> None:
        """Takes people's decisions and messages from the store, each exactly once; checks for a stop."""
        self._news, self._anew, store = False, False, self._services.store
        nothing, self._stopping = await store.read(lambda tx: commits.nothing_to_take(tx, self.session))
        if nothing:  # as at the start of nearly every turn: a commit costs more than a look
            await self._send_inputs()
            return
        # A note's files are sent to the machine before its text is taken, so that the agent finds them.
        newest, files = await attachments.of_notes(store, self._executor, self.session)

        def work(tx: Tx) -> tuple[Session, bool, bool]:
            if kept_answers.outlives_its_process(tx, self.session):
                return self.session, tasks.stop_requested(tx, self._task.id), False  # it is being ended
            session = commits.take_answers(tx, self.session, self._turn, self._driver)
            if self._turn is not None and not self._over and not session.one_turn:
                session = commits.take_words(tx, session, self._turn, self._driver, newest=newest, files=files)
            anew = self._turn is not None and not self._over and stalls.decision(tx, self._task.id) is not None
            return session, tasks.stop_requested(tx, self._task.id), anew

        self.session, self._stopping, self._anew = await store.write(work)
        await self._send_inputs()

    async def _send_inputs(self) -> None:
        """Sends every committed input byte that the runner does not have; safe to repeat."""
        pipe, sent = self.session.pipe, self._sent
        for item in await self._services.store.read(lambda tx: inputs.after(tx, pipe, sent)):
            try:
                await self._executor.send(pipe, item.position, item.data, eof=item.eof)
            except Unavailable:
                self._unsent = True
                return  # the link is down or the disk full, which the pipe reports; sent again soon
            self._sent = item.position + len(item.data)
            failpoint("input-sent")
        self._unsent = False

    async def _seen(self, at_us: int) -> None:
        if at_us - self.session.seen_us > _SEEN_EVERY_US:
            seen = partial(sessions.update, session_id=self.session.id, seen_us=at_us)
            self.session = await self._services.store.write(seen)

    async def _link(self, *, up: bool, why: str) -> None:
        if up == self._linked:
            return
        await self._services.store.write(lambda tx: record(tx, LinkChanged(up, why[:500]), self.session))
        self._linked = up

    async def _end(self, ended: Ended) -> None:
        if not ended.unavailable and (rest := self._framer.rest()) is not None:
            self._lines.append(rest)
        while await self._read_lines():
            pass
        ended = await tampering.input_checked(self._services.store, self.session.pipe, ended)
        step = self._driver.ended(state_of(self.session), ended.exit)
        open_turn = self._turn is not None and self._turn.ended_us == 0
        told = [await last_words.added(self._executor, self.session.pipe, item, ended) for item in step.happened]
        size, last = self._reader.offset, Step(step.state, tuple(told) if open_turn else ())
        await self._apply(last, also=lambda tx: commits.note_end(tx, self.session, ended, size))
        self._ended = ended

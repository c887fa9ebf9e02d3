"""Follows one process of one session: its output into the ledger, decisions and words into its input.

Output, the driver's state, and the input that follows from them are committed together with the spool offset,
so that a controller that dies anywhere reads on where it stood: nothing lost, nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final

from fleet import questions
from fleet.agent_events import Allow, Answered, Asked, AskPerson, Decision, Deny, Happening, TurnEnded
from fleet.agents.framing import Line, LineFramer, Oversized
from fleet.agents.lines import with_attachments
from fleet.errors import Unavailable, Unreachable
from fleet.events import (
    SPOOL_STALLED,
    Event,
    LinkChanged,
    PermissionDecided,
    PersonSaid,
    PipeEnded,
)
from fleet.events import Source as Said
from fleet.exits import Lost
from fleet.failpoints import failpoint
from fleet.flight import attachments
from fleet.flight.pipe_reader import LinkDown, LinkUp, PipeReader, Read, Woken
from fleet.flight.services import AIRBOSS, Services, record, state_of
from fleet.flight.testimony import claim_of, error_of, events_of, permission_asked, sha256_of
from fleet.model import Session, Task, Turn
from fleet.ports import Accepted, Ended, Executor, Output, Pulse, Stalled, Step
from fleet.store import approvals, sessions, tasks
from fleet.store.core import Tx

_SEEN_EVERY_US: Final = 20_000_000
_QUIET: Final = 0.2
_SILENT: Final = 7.0


class Follower:
    """One attached pipe. ``turn_end`` may be awaited once for each turn; ``stop`` ends the process."""

    def __init__(self, services: Services, executor: Executor, task: Task, session: Session) -> None:
        self._services, self._executor, self._task = services, executor, task
        self._driver = services.driver_of(session)
        self._stopping = self._news = False
        self.session = session
        self._turn: Turn | None = None
        self._over = False  # the turn has ended: what is said from now on is for the next one
        self._framer = LineFramer(services.config().limits.decode_cap, session.spool_offset)
        self._lines: deque[Line | Oversized] = deque()
        self._accepted = 0
        self._sent = 0
        self._ended: Ended | None = None
        self._linked = True
        self._heard_of = False  # whether the process or its link was heard of at all
        self._stalled = False
        self._reader = PipeReader(executor, session.pipe, session.nonce, session.spool_offset, services.clock)

    # --- what the flight asks -----------------------------------------------------------------------

    def wake(self) -> None:
        """Says that something may have changed in the store. A full queue means it is awake, and looks soon."""
        self._news = True
        self._reader.wake()

    @property
    def ended(self) -> Ended | None:
        """How the process ended, once that is known."""
        return self._ended

    async def turn_end(self, turn: Turn) -> bool:
        """Works until the agent says its turn is over (True), or a person's stop is seen (False).

        A process that ends, ends its turn. What the turn's end was stands in the store.
        """
        self._turn, self._over = turn, False
        await self._hear_people()
        while True:
            if await self._read_lines():
                return True
            if self._stopping:
                return False
            if self._ended is not None:
                return True
            await self._handle(await self._reader.next())
            if self._news:
                await self._hear_people()

    async def catch_up(self) -> None:
        """Works off what came while nobody looked, so that no words go to a process that has ended meanwhile.

        A process that was only just attached to tells of itself within a few seconds, or its link does.
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
        """Begins the next turn on the living process, in the transaction that ``commit`` completes."""
        step = self._driver.say(state_of(self.session), text)

        def work(tx: Tx) -> tuple[Turn, Session]:
            turn = commit(tx)
            return turn, self._save(tx, step)

        turn, self.session = await self._services.store.write(work)
        return turn

    async def gone(self, patience: float = 10.0) -> bool:
        """Lets the process end, then makes it; True once its whole tree was seen gone."""
        if self._ended is None:
            await self._apply(self._driver.finish(state_of(self.session)))
            await self._send_inputs()
            await self._until_ended(patience)
        if self._ended is None:
            with contextlib.suppress(Unreachable):
                await self._executor.stop(self.session.pipe)
            await self._until_ended(60)
        return self._ended is not None and self._ended.gone

    async def interrupt(self) -> None:
        """Asks the agent to leave its turn, then ends its process."""
        await self._apply(self._driver.interrupt(state_of(self.session)))
        await self._send_inputs()
        with contextlib.suppress(Unavailable):
            await self._executor.stop(self.session.pipe)
        await self._until_ended(30)

    async def close(self) -> None:
        """Stops following. The process goes on."""
        await self._reader.close()

    # --- reading --------------------------------------------------------------------------------------

    async def _until_ended(self, seconds: float) -> None:
        """Only the waiting is bounded: a commit that is under way is never left in the middle."""
        clock = asyncio.get_running_loop()
        give_up = clock.time() + seconds
        while self._ended is None and (left := give_up - clock.time()) > 0:
            await self._handle(await self._reader.next(min(left, 5.0)))
            while await self._read_lines():
                pass

    async def _handle(self, event: Read) -> None:
        self._heard_of = self._heard_of or not isinstance(event, Woken)
        match event:
            case Output(_, data):
                failpoint("output-read")
                self._lines.extend(self._framer.feed(data))
                if self._stalled:
                    self._stalled = False
                    await self._link(up=True, why="")
            case Accepted(position):
                self._accepted = max(self._accepted, position)
            case Pulse(at_us):
                await self._seen(at_us)
            case Stalled(why):
                self._stalled = True
                await self._link(up=False, why=f"{SPOOL_STALLED}{why}")
            case LinkDown(why):
                self._sent = self._accepted
                await self._link(up=False, why=why)
            case LinkUp():
                await self._link(up=True, why="")
                await self._send_inputs()
            case Woken():
                await self._hear_people()
            case Ended():
                await self._end(event)

    async def _read_lines(self) -> bool:
        """Commits what is framed, up to the end of a turn; True when a turn ended."""
        if not self._lines:
            return False
        state, offset = state_of(self.session), self.session.spool_offset
        happened: list[Happening] = []
        send, eof, over = b"", False, False
        rulings: list[tuple[Asked, Allow | Deny | AskPerson]] = []
        while self._lines and not over:
            line = self._lines.popleft()
            if isinstance(line, Oversized):
                step = self._driver.oversized(state, line.size)
            else:
                step = self._driver.feed(state, line.data)
            offset, state = line.end, step.state
            send, eof = send + step.send, eof or step.eof
            happened += step.happened
            over = any(isinstance(item, TurnEnded) for item in step.happened)
            for asked in step.happened:
                if not isinstance(asked, Asked):
                    continue
                ruling = self._services.gatekeeper.rule(self.session, self._task, asked)
                rulings.append((asked, ruling))
                if not isinstance(ruling, AskPerson):
                    answer = self._driver.decide(state, asked.ask, ruling)
                    state, send = answer.state, send + answer.send
        await self._apply(Step(state, tuple(happened), send, eof), rulings=rulings, offset=offset)
        failpoint("output-committed")
        await self._send_inputs()
        return over

    # --- committing ---------------------------------------------------------------------------------------

    async def _apply(
        self,
        step: Step,
        *,
        rulings: list[tuple[Asked, Allow | Deny | AskPerson]] | None = None,
        offset: int | None = None,
        also: Callable[[Tx], None] | None = None,
    ) -> None:
        turn = self._turn.id if self._turn else ""

        def work(tx: Tx) -> Session:
            if also:
                also(tx)
            redact = tx.store.redact
            for event in events_of(step.happened, redact):
                self._note(tx, event, turn, Said.AGENT)
            for item in step.happened:
                if isinstance(item, TurnEnded) and self._turn is not None:
                    sessions.update_turn(
                        tx,
                        self._turn.id,
                        claim=claim_of(item, redact),
                        ended_us=tx.now_us(),
                        outcome=str(item.outcome),
                        error=error_of(item, redact),
                        exit=str(item.exit) if item.exit else "",
                    )
                    approvals.withdraw(tx, session=self.session.id, why="the turn ended without an answer")
            for asked, ruling in rulings or ():
                self._rule(tx, turn, asked, ruling)
            return self._save(tx, step, offset)

        self.session = await self._services.store.write(work)
        if any(isinstance(item, TurnEnded) for item in step.happened):
            self._over = True
            failpoint("turn-closed")

    def _save(self, tx: Tx, step: Step, offset: int | None = None) -> Session:
        if step.send or step.eof:
            sessions.queue_input(tx, self.session.pipe, step.send, eof=step.eof)
        resume = next((item.resume for item in step.happened if hasattr(item, "resume")), self.session.resume)
        return sessions.update(
            tx,
            self.session.id,
            driver_state=sessions.dump_state(step.state),
            spool_offset=self.session.spool_offset if offset is None else offset,
            resume=resume,
        )

    def _note(self, tx: Tx, event: Event, turn: str, source: Said) -> None:
        record(tx, event, self.session, turn=turn, source=source)

    def _rule(self, tx: Tx, turn: str, asked: Asked, ruling: Allow | Deny | AskPerson) -> None:
        reason = "" if isinstance(ruling, Allow) else ruling.reason
        self._note(tx, permission_asked(asked, reason), turn, Said.AGENT)
        if isinstance(ruling, AskPerson):
            hours = self._services.config().limits.approval_hours
            approvals.open_ask(
                tx,
                session=self.session,
                ask=asked.ask,
                tool=asked.tool,
                request=asked.request,
                command=asked.command,
                paths=asked.paths,
                reason=reason,
                expires_us=tx.now_us() + hours * 3_600_000_000,
                directory=asked.directory or self.session.workspace,
                questions=questions.to_json(asked.questions),
            )
            return
        decision = "allow" if isinstance(ruling, Allow) else "deny"
        decided = PermissionDecided(asked.ask, asked.tool, decision, reason, sha256_of(asked.request))
        self._note(tx, decided, turn, Said.CONTROLLER)

    async def _hear_people(self) -> None:
        """Takes decisions and words that people left in the store, each exactly once; sees whether to stop.

        A note's files are on the machine before its words are taken, so that the agent finds what it reads of.
        """
        self._news = False
        newest, enclosed = await attachments.of_notes(self._services.store, self._executor, self.session)

        def work(tx: Tx) -> Session:
            session = self.session
            self._stopping = tasks.stop_requested(tx, self._task.id)
            approvals.expire(tx, session.id)
            for answer in approvals.take_decided(tx, session.id):
                asked = approvals.approval(tx, answer.id)
                decided = PermissionDecided(
                    answer.ask,
                    asked.tool,
                    answer.decision,
                    answer.reason,
                    sha256_of(asked.request),
                )
                source = Said.CONTROLLER if answer.by == AIRBOSS else Said.PERSON
                record(
                    tx, decided, session, turn=self._turn.id if self._turn else "", source=source, actor=answer.by
                )
                step = self._driver.decide(state_of(session), answer.ask, _decision(answer))
                self.session = session = self._save(tx, step)
            if self._turn is not None and not self._over and not self.session.one_turn:
                for note in sessions.take_notes(tx, session.id, newest):
                    text = with_attachments(note.text, enclosed.get(note.id, ()))
                    step = self._driver.say(state_of(session), text)
                    said = PersonSaid(note.text, "steered")
                    record(tx, said, session, turn=self._turn.id, source=Said.PERSON, actor=note.actor)
                    self.session = session = self._save(tx, step)
            return session

        self.session = await self._services.store.write(work)
        await self._send_inputs()

    async def _send_inputs(self) -> None:
        """Hands over every committed input byte the runner has not been given; safe to repeat."""
        pipe, sent = self.session.pipe, self._sent
        for item in await self._services.store.read(lambda tx: sessions.inputs_from(tx, pipe, sent)):
            try:
                await self._executor.send(pipe, item.position, item.data, eof=item.eof)
            except Unavailable:
                return  # the link is down or the disk full, which what we read tells; sent again soon
            self._sent = item.position + len(item.data)
            failpoint("input-sent")

    async def _seen(self, at_us: int) -> None:
        if at_us - self.session.seen_us > _SEEN_EVERY_US:
            session_id = self.session.id
            self.session = await self._services.store.write(
                lambda tx: sessions.update(tx, session_id, seen_us=at_us)
            )

    async def _link(self, *, up: bool, why: str) -> None:
        if up == self._linked:
            return
        self._linked = up
        await self._services.store.write(lambda tx: record(tx, LinkChanged(up, why[:500]), self.session))

    async def _end(self, ended: Ended) -> None:
        if not ended.unavailable and (rest := self._framer.rest()) is not None:
            self._lines.append(rest)
        while await self._read_lines():
            pass
        step = self._driver.ended(state_of(self.session), ended.exit)
        open_turn = self._turn is not None and self._turn.ended_us == 0
        body = PipeEnded(
            pipe=self.session.pipe,
            exit=ended.exit,
            raw_wait_status=ended.raw_wait_status,
            gone=ended.gone,
            spool_bytes=self._reader.offset,
        )

        def also(tx: Tx) -> None:
            if self.session.pipe_end:
                return
            record(tx, body, self.session, source=Said.SUPERVISOR)
            sessions.update(tx, self.session.id, pipe_end=_end_of(ended))
            approvals.withdraw(tx, session=self.session.id, why="the process that asked is gone")

        happened = step.happened if open_turn else ()
        await self._apply(Step(step.state, happened), also=also)
        self._ended = ended


def _decision(answer: approvals.Answer) -> Decision:
    if answer.decision == "answer":
        return Answered(answer.reason)
    return Allow() if answer.allowed else Deny(answer.reason or "a person said no")


def _end_of(ended: Ended) -> str:
    if ended.unavailable:
        return "unavailable"
    if isinstance(ended.exit, Lost):
        return "lost"
    return "gone" if ended.gone else "ended"

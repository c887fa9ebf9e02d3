"""Plays the dispatcher's part of one task: the events of its flight, and what waits for a person in it."""

from __future__ import annotations

from functools import partial

from sqlalchemy import update

from bot.cards import Card, shown
from fleet.agent_events import TurnOutcome
from fleet.events import (
    Event,
    GateClosed,
    GateOpened,
    PermissionAsked,
    PermissionDecided,
    Refs,
    SessionPlaced,
    Source,
    VerdictGiven,
)
from fleet.exits import Exited
from fleet.flight.moves import settle_stall
from fleet.model import Isolation, Session, TaskState, TurnCause
from fleet.questions import Question, to_json
from fleet.store import approvals, ledger, sessions, tables, tasks
from fleet.store.core import Tx
from fleet.verdict import JUnitCounts
from tests.chat_house import House

COMMIT, TREE = "c" * 40, "d" * 40
RUN = "t1.1.1-tests"


class Flight:
    """Plays the dispatcher's events of one task, one transaction at a time."""

    def __init__(self, there: House, session: Session) -> None:
        self.there, self.session = there, session

    @classmethod
    async def begin(cls, there: House, *, begun: bool = False) -> Flight:
        """``begun``: the test has asked for the task itself."""
        if not begun:
            await there.say("/run mend it")
        flight = await cls.of(there)
        await flight.start()
        return flight

    @classmethod
    async def of(cls, there: House) -> Flight:
        """The flight of ``t1``, which somebody has asked for; it has a session and nothing else yet."""

        def work(tx: Tx) -> Session:
            return sessions.create_session(
                tx, task="t1", machine="macbook", agent="demo", base="b" * 40, isolation=Isolation.UNSAFE_SAME_USER
            )

        return cls(there, await there.store.write(work))

    async def start(self) -> None:
        """The agent is placed and at work."""
        await self.note(SessionPlaced("macbook", "demo", "b" * 40, "unsafe-same-user", ()))
        await self.move(TaskState.PREPARING, TaskState.RUNNING)

    async def note(self, *events: Event) -> None:
        refs = Refs(task="t1", session="t1.1", gate_run=RUN, machine="evo-x2")

        def work(tx: Tx) -> None:
            for event in events:
                ledger.append(tx, event, actor="airboss", source=Source.CONTROLLER, refs=refs)

        await self.there.store.write(work)
        await self.there.settle()

    async def ago(self, *, minutes: float) -> None:
        """As if every question had been asked, and every card posted, so much earlier."""
        back, table = int(minutes * 60_000_000), tables.approvals
        earlier = {"opened_us": table.c.opened_us - back, "expires_us": table.c.expires_us - back}
        posted = update(tables.outbox).values(created_us=tables.outbox.c.created_us - back)

        def work(tx: Tx) -> None:
            tx.connection.execute(update(table).values(earlier))
            tx.connection.execute(posted)

        await self.there.store.write(work)

    def append(self, tx: Tx, event: Event) -> None:
        """One event of the session, in a transaction of the test's own."""
        refs = Refs(task="t1", session="t1.1")
        ledger.append(tx, event, actor="airboss", source=Source.CONTROLLER, refs=refs)

    async def held(self) -> None:
        """A change of the task waits for an admin too."""

        def work(tx: Tx) -> None:
            approvals.open_hold(tx, session=self.session, commit=COMMIT, tree=TREE, reason="touches tests/**")

        await self.there.store.write(work)

    async def hold(self, *, by_hours: float = 0) -> None:
        """The gates passed, and a person must release the change. ``by_hours``: when the question ends."""
        await self.move(TaskState.JUDGING)

        def work(tx: Tx) -> None:
            expires = tx.now_us() + int(by_hours * 3_600_000_000) if by_hours else 0
            approvals.open_hold(
                tx, session=self.session, commit=COMMIT, tree=TREE, reason="touches tests/**", expires_us=expires
            )
            tasks.move(tx, "t1", TaskState.HELD, "touches tests/**", "airboss")

        await self.there.store.write(work)
        await self.there.settle()

    async def stall(
        self,
        outcome: TurnOutcome,
        error: str,
        *,
        exit_: str = "",
        commit: str = COMMIT,
        claim: str = "",
        state: TaskState = TaskState.STALLED,
    ) -> None:
        """The turn stops short, as the flight puts it into the store."""

        def work(tx: Tx) -> None:
            turn = sessions.create_turn(tx, self.session, TurnCause.REQUEST, "mend it")
            sessions.update_turn(
                tx, turn.id, ended_us=tx.now_us(), outcome=outcome, claim=claim, error=error, exit=exit_
            )
            tree = TREE if commit else ""
            approvals.open_stall(tx, session=self.session, commit=commit, tree=tree, reason=error)
            tasks.move(tx, "t1", state, error, "airboss")

        await self.there.store.write(work)
        await self.there.settle()

    async def went_on(self, state: TaskState) -> None:
        """The flight acts on what a person decided about the stall."""

        def work(tx: Tx) -> None:
            settle_stall(tx, "t1")
            tasks.move(tx, "t1", state, "", "airboss")

        await self.there.store.write(work)
        await self.there.settle()

    async def decided(self, ask: str) -> None:
        """The follower tells the agent what became of its request."""
        await self.there.store.write(lambda tx: self.append(tx, PermissionDecided(ask, "Bash", "deny", "", "")))
        await self.there.settle()

    async def move(self, *states: TaskState, why: str = "") -> None:
        for state in states:
            await self.there.store.write(partial(tasks.move, task_id="t1", new=state, why=why, actor="airboss"))
        await self.there.settle()

    async def red(self, tail: str = "E   assert 1 == 2", *, code: int = 1, reason: str = "") -> None:
        argv, counts = ("python3", "-m", "pytest"), JUnitCounts(tests=3, failures=1, errors=0, skipped=0)
        closed = GateClosed(
            "tests", "failed", reason, Exited(code), code << 8, TREE, "gate", True, "", 9, 1, 2, counts
        )
        reasons = ("tests: exit status 1",)
        await self.note(
            GateOpened("tests", COMMIT, TREE, "b" * 40, argv, "", 1),
            closed,
            VerdictGiven(COMMIT, TREE, "b" * 40, "failed", reasons, (RUN,), "unsafe-same-user", 3, tail),
        )

    async def green(self) -> None:
        """The task's gate says yes."""
        closed = GateClosed("tests", "passed", "", Exited(0), 0, TREE, "gate", True, "", 9, 1, 2, None)
        verdict = VerdictGiven(COMMIT, TREE, "b" * 40, "passed", (), (RUN,), "unsafe-same-user", 3, "")
        await self.note(GateOpened("tests", COMMIT, TREE, "b" * 40, ("make",), "", 1), closed, verdict)

    async def ask(
        self,
        command: str = "rm -rf build",
        *,
        hours: float = 8,
        questions: tuple[Question, ...] = (),
        directory: str = "/w/t1",
        name: str = "q1",
    ) -> approvals.Approval:
        """The agent asks, as the follower puts it into the store."""

        def work(tx: Tx) -> approvals.Approval:
            refs = Refs(task="t1", session="t1.1")
            asked = PermissionAsked(name, "Bash", command[:4000], (), "", "Bash needs a yes")
            ledger.append(tx, asked, actor="agent:demo", source=Source.AGENT, refs=refs)
            return approvals.open_ask(
                tx,
                session=self.session,
                ask=name,
                tool="Bash",
                request=command,
                command=command,
                paths=(),
                reason="Bash needs a yes",
                expires_us=tx.now_us() + int(hours * 3_600_000_000),
                directory=directory,
                questions=to_json(questions),
            )

        opened = await self.there.store.write(work)
        await self.there.settle()
        return opened

    def pinged(self) -> list[Card]:
        return [post.card for post in self.there.phone.sent if post.ping]

    def pings(self) -> list[str]:
        return [shown(card.title) for card in self.pinged()]

    def edits(self, key: str) -> list[Card]:
        return [post.card for post in self.there.phone.sent if post.key == key and post.edits]


def everything(card: Card) -> str:
    rows = [card.title, *card.lines, *(field.value for field in card.fields)]
    return "\n".join([*(shown(row) for row in rows), str(card.body or ""), card.footer])

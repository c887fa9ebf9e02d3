"""The agent's process of a task: starts it, follows it, gives it its next turn, ends it. One at a time.

A process is committed before it is started, and starting it again finds it. So it starts even if the controller
dies in between.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

from fleet.agents.endpoints import ENDPOINTS
from fleet.config import AgentConfig
from fleet.errors import Misconfigured, Unavailable
from fleet.events import PersonSaid, PipeStarted, Source, Taken, TurnStarted
from fleet.failpoints import failpoint
from fleet.flight import attachments, commits, installing, own_rules, prompts, surroundings
from fleet.flight.follower import Follower
from fleet.flight.notes import Words
from fleet.flight.services import Services
from fleet.model import PipeEnd, Session, Task, TaskMode, Turn, TurnCause
from fleet.ports import Brief, Launch, PipeSpec
from fleet.store import inputs, merges, sessions
from fleet.store.core import Tx
from fleet.store.merges import Merge
from fleet.store.recording import record

Also = Callable[[Tx], None]
"""More work for the transaction that starts a turn."""


class AgentProcess:
    """The processes of one task's session."""

    def __init__(self, services: Services, task: Task) -> None:
        self._services, self._task = services, task
        self._follower: Follower | None = None
        self._cut_short = ""  # the pipe that was interrupted last

    @property
    def why_unavailable(self) -> str:
        """Why the process did not start, in the machine's words."""
        ended = self._follower.ended if self._follower else None
        return (ended.unavailable if ended else "") or "no such program"

    @property
    def could_not_end(self) -> tuple[str, ...]:
        """A line for each process that still runs although it was ended, in the machine's words."""
        ended = self._follower.ended if self._follower else None
        return ended.left if ended else ()

    def wake(self) -> None:
        """A person did something that may concern the process."""
        if self._follower is not None:
            self._follower.wake()

    async def begin(
        self, session: Session, cause: TurnCause, prompt: str, also: Also, words: Words | None = None
    ) -> None:
        """Commits a new process and its first turn; ``follow`` starts it. ``words`` are read in that turn."""
        await self.close()
        driver = self._services.driver_of(session)
        brief = self.brief(session, prompt)
        if cause is TurnCause.REQUEST or not session.resume:
            executor = self._services.executors.agent(session.machine, session.login)
            enclosed = await attachments.of_request(self._services.store, executor, session)
            brief = replace(brief, attachments=enclosed.paths, images=enclosed.images)
        launch, step, boot = driver.launch(brief), driver.open(brief), await self._boot(session)

        def work(tx: Tx) -> None:
            pipe = sessions.next_pipe(tx, session.id)
            opened = sessions.update(
                tx,
                session.id,
                conversation=session.conversation,
                resume=session.resume,
                workspace=session.workspace,
                pipe=pipe,
                pipe_end=PipeEnd.NONE,
                one_turn=launch.one_turn,
                nonce=self._services.new_nonce(),
                spool_offset=0,
                boot=boot,
                driver_state=sessions.dump_state(step.state),
            )
            inputs.queue(tx, pipe, step.send, eof=step.eof)
            _open_turn(tx, opened, cause, prompt, words)
            record(tx, PipeStarted(pipe, launch.argv[0]), opened)
            also(tx)

        await self._services.store.write(work)
        failpoint("pipe-committed")

    async def _boot(self, session: Session) -> str:
        """The machine's boot; empty while it is away: then nobody will know that it restarted."""
        try:
            return (await self._services.executors.agent(session.machine, session.login).facts()).boot
        except Unavailable:
            return ""

    async def go_on(
        self, session: Session, cause: TurnCause, text: str, also: Also, words: Words | None = None
    ) -> None:
        """Starts the agent's next turn: in its living process if there is one, otherwise in a new process.

        ``words`` are people's messages contained in ``text``; they are read in that turn. If its worktree was moved
        onto a newer base, the agent reads about that first.
        """
        merge = await self._services.store.read(lambda tx: merges.pending(tx, session.id))
        if merge is not None:
            text, also = f"{merge.words}\n\n{text}".rstrip(), _telling(merge, also)
        follower = self._follower
        if follower is None and session.pipe_end is PipeEnd.NONE:
            follower = await self.follow(session)
        if follower is not None:
            await follower.catch_up()
            if follower.session.pipe_end.lost:
                raise Unavailable(
                    attempted="continue the agent",
                    on=session.machine,
                    cause="no trusted exit record of its process",
                )
        if follower is None or follower.ended is not None or session.one_turn:
            session, text = await self._conversation(session, text)
            await self.begin(session, cause, text, also, words)
            return

        def commit(tx: Tx) -> Turn:
            turn = _open_turn(tx, session, cause, text, words)
            also(tx)
            return turn

        await follower.say(text, commit)

    async def _conversation(self, session: Session, text: str) -> tuple[Session, str]:
        """What a new process continues: the same conversation, or a new one if that is not possible."""
        turns = await self._services.store.read(lambda tx: sessions.turns(tx, session.id))
        lost = turns[-1].outcome is not None and turns[-1].outcome.ends_conversation
        if session.resume and not lost:
            return session, text
        prompt, session = self._task.prompt, replace(session, conversation=str(uuid.uuid4()), resume="")
        return session, prompts.for_new_conversation(prompt, turns, text) if lost else prompts.with_first_prompt(
            prompt, text
        )

    async def follow(self, session: Session) -> Follower:
        """Starts the session's process, or finds it running, and follows it."""
        if self._follower is not None and self._follower.session.pipe == session.pipe:
            return self._follower
        await self.close()
        executor = self._services.executors.agent(session.machine, session.login)
        first, turn = await self._services.store.read(
            lambda tx: (sessions.first_turn_of_pipe(tx, session.id), commits.open_turn(tx, session.id))
        )
        launch = self._services.driver_of(session).launch(self.brief(session, first.prompt))
        await executor.start(await self.process(session, launch))
        failpoint("pipe-started")
        self._follower = Follower(self._services, executor, self._task, session, turn)
        return self._follower

    async def process(self, session: Session, launch: Launch) -> PipeSpec:
        """The process of the session's pipe, with all that stands around it."""
        executor = self._services.executors.agent(session.machine, session.login)
        agent = self._services.agent_of(session)
        given = {name: self._services.secrets.get(name) for name in agent.env}
        env = {**agent.settings, **{name: value for name, value in given.items() if value}}
        machine = self._services.machine_of(session)
        proxy = surroundings.proxy_of(agent, self._services.secrets, session.agent)
        facts = await executor.facts()
        site = surroundings.Site(self._services.store, agent, machine, executor, facts, proxy)
        seen = await installing.mounts(self._services, self._task, session, facts)
        spec = surroundings.process_of(site, session, self._task.repo, launch, env, seen)
        room = f"{executor.root}/{surroundings.room_of(self._services.store, session)}"
        return await own_rules.left_out(executor, agent.driver, spec, facts.home, room)

    async def gone(self, session: Session) -> bool:
        """Ends the session's process if it lives; True once its whole tree has ended."""
        if session.pipe_end is not PipeEnd.NONE:
            return session.pipe_end is PipeEnd.GONE
        return await (await self.follow(session)).gone()

    async def cut_short(self, session: Session, patience: float = 30) -> None:
        """Ends the session's process in the middle of its turn, whoever followed it before."""
        follower = await self.follow(session)
        if self._cut_short == session.pipe:  # its machine was away: one interrupt is enough
            await follower.gone(0)
        else:
            self._cut_short = session.pipe
            await follower.interrupt(patience)

    async def interrupt(self) -> None:
        """Ends the process in the middle of its turn, if one is followed."""
        if self._follower is not None and self._follower.ended is None:
            await self._follower.interrupt()

    async def close(self) -> None:
        """Stops following; the process continues."""
        if self._follower is not None:
            follower, self._follower = self._follower, None
            await follower.close()

    def _model(self, agent: AgentConfig) -> str:
        """The model to ask for. Raises ``Misconfigured`` when ``fleet.toml`` no longer allows the chosen one."""
        wanted = self._task.model
        if wanted and wanted not in agent.choices:
            raise Misconfigured(
                attempted="start the agent",
                on=self._task.agent,
                cause=f"fleet.toml no longer allows model {wanted} for {self._task.agent}",
                hint="Put it back into `models`, or stop the task.",
            )
        return wanted or agent.model

    def brief(self, session: Session, prompt: str) -> Brief:
        """What the agent's driver must know."""
        agent = self._services.agent_of(session)
        arguments = ENDPOINTS[agent.driver].arguments if agent.key else ()
        return Brief(
            conversation=session.conversation,
            prompt=prompt,
            workspace=session.workspace,
            program=(*agent.program, *arguments),
            model=self._model(agent),
            resume=session.resume,
            read_only=self._task.mode is TaskMode.ASK,
            ask=tuple(agent.ask),
        )


def _telling(merge: Merge, also: Also) -> Also:
    def work(tx: Tx) -> None:
        also(tx)
        merges.told(tx, merge)

    return work


def _open_turn(tx: Tx, session: Session, cause: TurnCause, text: str, words: Words | None) -> Turn:
    turn = sessions.create_turn(tx, session, cause, text)
    if words is not None:
        words.take(tx, session)
        for note in words.notes:
            said = PersonSaid(note.text, Taken.QUEUED)
            record(tx, said, session, turn=turn.id, source=Source.PERSON, actor=note.actor)
    record(tx, TurnStarted(turn.number, str(cause), text), session, turn=turn.id)
    return turn

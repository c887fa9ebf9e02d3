"""Runs a driver against its real program over plain pipes, as the dispatcher does over a runner's pipe.

The driver's state goes through JSON between any two lines, as it does when the controller restarts there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self, TypeVar

from fleet.agent_events import Allow, Asked, Decision, Happening, ToolEnded, ToolStarted, TurnEnded
from fleet.agents.framing import Line, LineFramer
from fleet.agents.lines import left_open
from fleet.agents.registry import driver
from fleet.exits import Exit, Exited, Signalled
from fleet.flight.follower import WRITES_S
from fleet.ports import Brief, DriverState, Step

_Kind = TypeVar("_Kind")

Judge = Callable[[Asked], Decision | None]


def allow(_: Asked) -> Decision | None:
    """Yes to everything."""
    return Allow()


class AgentSession:
    """One process of an agent. ``judge`` answers what it asks; ``None`` leaves it waiting."""

    def __init__(self, name: str, brief: Brief, env: Mapping[str, str], judge: Judge = allow) -> None:
        self.driver = driver(name)
        self.brief = brief
        self.judge = judge
        self.happened: list[Happening] = []
        self._env = {**env, **self.driver.launch(brief).env}
        self._state: DriverState = {}
        self._framer = LineFramer()
        self._fresh: asyncio.Queue[Happening] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self.driver.launch(self.brief).argv,
            cwd=self.brief.workspace,
            env=self._env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=(Path(self.brief.workspace).parent / "stderr").open("ab"),
            start_new_session=True,
        )
        self._take(self.driver.open(self.brief))
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # the agent's tools too
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._reading

    def _take(self, step: Step) -> None:
        self._state = json.loads(json.dumps(step.state))
        assert self._process.stdin is not None
        if step.send:
            self._process.stdin.write(step.send)
        if step.eof:
            self._process.stdin.close()
        for happening in step.happened:
            self.happened.append(happening)
            self._fresh.put_nowait(happening)
            if isinstance(happening, Asked) and (decision := self.judge(happening)) is not None:
                self.decide(happening, decision)

    async def _read(self) -> Exit:
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(1 << 16):
            for line in self._framer.feed(chunk):
                assert isinstance(line, Line)
                self._take(self.driver.feed(self._state, line.data))
        if isinstance(rest := self._framer.rest(), Line):
            self._take(self.driver.feed(self._state, rest.data))
        code = await self._process.wait()
        exit_ = Exited(code) if code >= 0 else Signalled(f"SIG{-code}")
        self._take(self.driver.ended(self._state, exit_))
        return exit_

    async def until(self, wanted: Callable[[Happening], bool]) -> Happening:
        """The next happening that is wanted; those before it are passed over."""
        while True:
            happening = await asyncio.wait_for(self._fresh.get(), 60)
            if wanted(happening):
                return happening

    async def turn(self) -> TurnEnded:
        """The next end of a turn."""
        ended = await self.until(lambda happening: isinstance(happening, TurnEnded))
        assert isinstance(ended, TurnEnded)
        return ended

    async def asked(self) -> Asked:
        """The next question."""
        asked = await self.until(lambda happening: isinstance(happening, Asked))
        assert isinstance(asked, Asked)
        return asked

    async def left_open(self) -> tuple[str, ...]:
        """What keeps a turn open whose agent is done; waits for it."""
        async with asyncio.timeout(60):
            while not (work := left_open(self._state)):
                await asyncio.sleep(0.02)
        return work

    def say(self, text: str) -> None:
        """A person's words."""
        self._take(self.driver.say(self._state, text))

    def decide(self, asked: Asked, decision: Decision) -> None:
        """A person's answer."""
        self._take(self.driver.decide(self._state, asked.ask, decision))

    def interrupt(self) -> None:
        """A person's stop."""
        self._take(self.driver.interrupt(self._state))

    async def end(self) -> Exit:
        """Finishes, and how the process ended."""
        self._take(self.driver.finish(self._state))
        if not self.driver.ends_itself:  # as a follower does, which lets it write its conversation down
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(self._reading), WRITES_S)
            os.killpg(self._process.pid, signal.SIGTERM)
        return await asyncio.wait_for(asyncio.shield(self._reading), 60)

    def of(self, kind: type[_Kind]) -> list[_Kind]:
        """All happenings of a kind."""
        return [happening for happening in self.happened if isinstance(happening, kind)]

    def tools(self) -> list[tuple[str, ToolEnded | None]]:
        """Each tool call by its tool, with its end where it has one."""
        ends = {end.call: end for end in self.of(ToolEnded)}
        return [(start.tool, ends.get(start.call)) for start in self.of(ToolStarted)]

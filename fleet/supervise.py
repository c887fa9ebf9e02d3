"""Background work whose failure is always seen: the only place that makes asyncio tasks.

There are two kinds of work:

- A *component* runs for as long as the controller does (the deliverer, the notifier, a flight).
  :meth:`Supervisor.run` names it, logs each death with its traceback, reports it (``/status``, ``doctor``), and
  restarts it with backoff, or ends the controller if restarting is not safe.
- *Owned* work ends with the block or object that started it (a judgement, a pipe's reader): :func:`alongside` and
  :func:`own`. Its owner awaits its result or ends it with :func:`end`; no task is left behind.

An unavailable store is not a death: the work is restarted from the store until the store answers.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fleet.errors import LeadershipLost, StoreUnavailable

if TYPE_CHECKING:
    from fleet.ports import Clock  # its other ports take longer to import than all of this

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, None]]

_log = logging.getLogger(__name__)

_BACKOFF: Final = (0.2, 1.0, 5.0, 15.0, 30.0)
_STEADY_US: Final = 60_000_000
"""A component that ran this long before it died restarts without the backoff of earlier deaths."""


class OnDeath(Enum):
    """What follows when a component raises, or returns unexpectedly."""

    RESTART = "restart"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class Health:
    """A component's state. ``deaths`` counts since the controller started; ``error`` is the last one's, in one
    line.

    ``running`` is false while it waits to restart. ``died_us`` is by the controller's clock, 0: never.
    ``store_away``: it waits for the store, which does not count as a death.
    """

    name: str
    running: bool = True
    deaths: int = 0
    died_us: int = 0
    error: str = ""
    store_away: bool = False


class Component:
    """A running component, returned by :meth:`Supervisor.run`."""

    def __init__(self, task: asyncio.Task[None], name: str) -> None:
        self._task, self.name = task, name

    @property
    def done(self) -> bool:
        """Whether it was ended, or returned where that is allowed."""
        return self._task.done()

    async def end(self) -> None:
        """Cancels it and waits until it has ended. Safe to call twice."""
        await end(self._task)


class Supervisor:
    """Runs the components. ``failed`` gets the error of a death that ends the controller."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._health: dict[str, Health] = {}
        self._components: list[Component] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failed.add_done_callback(_retrieved)

    def run(self, name: str, work: Work, on_death: OnDeath = OnDeath.RESTART, *, ends: bool = False) -> Component:
        """Starts ``work()`` and keeps it running. ``ends``: it may return, and is then done.

        ``LeadershipLost`` always ends the controller; ``StoreUnavailable`` never does.
        """
        self._components = [component for component in self._components if not component.done]
        self._health[name] = Health(name)
        component = Component(asyncio.create_task(self._keep(name, work, on_death, ends), name=name), name)
        self._components.append(component)
        return component

    def health(self) -> tuple[Health, ...]:
        """Every component that runs or waits to restart, by name."""
        return tuple(self._health[name] for name in sorted(self._health))

    async def close(self) -> None:
        """Ends every component, the newest first."""
        while self._components:
            await self._components.pop().end()

    async def _keep(self, name: str, work: Work, on_death: OnDeath, ends: bool) -> None:
        failures = 0
        try:
            while True:
                began = self.clock.now_us()
                error = await self._once(name, work)
                if error is None and ends:
                    return
                steady = self.clock.now_us() - began >= _STEADY_US
                failures = 0 if steady else failures
                if self._ends_all(name, error, on_death):
                    return
                await self.clock.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
                failures += 1
        finally:
            self._health.pop(name, None)

    async def _once(self, name: str, work: Work) -> Exception | None:
        """Runs a component once; returns what ended it, ``None`` when it returned."""
        self._health[name] = replace(self._known(name), running=True)
        try:
            await work()
        except Exception as error:  # a cancel is not an Exception and propagates
            return error
        return None

    def _known(self, name: str) -> Health:
        """Its health. Another one of its name may have ended, which took that along."""
        return self._health.get(name) or Health(name)

    def _ends_all(self, name: str, error: Exception | None, on_death: OnDeath) -> bool:
        before = self._known(name)
        if isinstance(error, StoreUnavailable):
            _log.warning("%s is waiting for the store: %s", name, error)
            self._health[name] = replace(before, running=False, store_away=True)
            return False
        error = error or RuntimeError(f"{name} ended unexpectedly")
        _log.error("%s died: %s", name, error, exc_info=error)
        line = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        self._health[name] = replace(
            before, running=False, deaths=before.deaths + 1, died_us=self.clock.now_us(), error=line,
            store_away=False,
        )  # fmt: skip
        if on_death is OnDeath.FATAL or isinstance(error, LeadershipLost):
            if not self.failed.done():
                self.failed.set_exception(error)
            return True
        return False


def own(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """A task that its caller owns: the caller awaits it, or ends it with :func:`end`."""
    return asyncio.create_task(work, name=name)


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels these and waits until they have ended; an error that nobody awaited is logged.

    Unlike awaiting them, it does not raise their errors or confuse their cancel with the caller's own.
    """
    waited = [task for task in tasks if task is not asyncio.current_task()]
    for task in waited:
        task.cancel()
    if waited:
        await asyncio.wait(waited)
    for task in waited:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("%s ended with an error: %s", task.get_name(), error, exc_info=error)


class OwnedTasks:
    """Any number of tasks that one object owns: errors are logged with the task's name, and no task is left
    behind."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Starts ``work``; nobody awaits its end."""
        task = own(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    async def end(self) -> None:
        """Cancels what still runs, and waits until it has ended."""
        while self._tasks:
            await end(*self._tasks)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s ended with an error: %s", task.get_name(), error, exc_info=error)


async def retry_while_store_is_away(work: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """The result of ``work()``; repeated with backoff while the store is unavailable."""
    for failures in itertools.count():
        try:
            return await work()
        except StoreUnavailable as error:
            _log.warning("waiting for the store: %s", error)
            await clock.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
    raise AssertionError("unreachable: itertools.count is endless")


@asynccontextmanager
async def alongside(work: Coroutine[Any, Any, T], name: str) -> AsyncIterator[asyncio.Task[T]]:
    """Runs ``work`` beside the block. The block may await the task; if it still runs at the block's end, it is
    cancelled and has ended before the block is left."""
    task = own(work, name)
    try:
        yield task
    finally:
        if task.done():
            _retrieved(task)
        else:
            await end(task)


async def side_by_side(works: Sequence[Coroutine[Any, Any, T]], name: str, *, most: int = 0) -> list[T]:
    """The results of all, in order; at most ``most`` run at once, 0: all. All end before the first error is
    raised."""
    turns = asyncio.Semaphore(most or len(works) or 1)

    async def in_turn(work: Coroutine[Any, Any, T]) -> T:
        try:
            async with turns:
                return await work
        finally:
            work.close()  # of one that was cancelled before its turn

    tasks = [own(in_turn(work), f"{name} {number}") for number, work in enumerate(works, 1)]
    try:
        if tasks:
            await asyncio.wait(tasks)
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            if task.done():
                _retrieved(task)
        await end(*(task for task in tasks if not task.done()))


async def first(*awaited: Awaitable[Any]) -> set[int]:
    """Waits until one of these is done; returns the positions of those that are done. Unfinished coroutines are
    cancelled, and the error of one is raised here; futures and tasks of the caller are left alone, and so is
    what came of them."""
    tasks: list[asyncio.Future[Any]] = []
    ours: list[asyncio.Task[Any]] = []
    for work in awaited:
        if isinstance(work, asyncio.Future):
            tasks.append(work)
        else:
            ours.append(asyncio.create_task(_awaited(work), name="first"))
            tasks.append(ours[-1])
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        done = {position for position, task in enumerate(tasks) if task.done()}
        for task in ours:
            if task.done() and not task.cancelled():
                task.result()
        return done
    finally:
        for task in ours:
            if task.done():
                _retrieved(task)
        await end(*(task for task in ours if not task.done()))


async def _awaited(work: Awaitable[Any]) -> None:
    await work


def _retrieved(done: asyncio.Future[Any]) -> None:
    """Marks an error as seen, so that asyncio does not report it again."""
    if not done.cancelled():
        done.exception()

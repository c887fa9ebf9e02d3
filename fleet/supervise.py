"""Background work that cannot die unseen: the only place that makes asyncio tasks.

Two kinds of work, and nothing between them:

- A *component* runs for as long as the controller does (the deliverer, the notifier, a flight).
  :meth:`Supervisor.run` names it, logs each death with its traceback, shows it (``/status``, ``doctor``), and
  begins it again with backoff, or ends the controller where beginning again is not safe.
- *Owned* work ends with the block or the object that began it (a judgement under way, a reader of one pipe):
  :func:`alongside` and :func:`own`. Its owner awaits its result or ends it with :func:`end`; no task stays behind.

The store being away is nobody's death: whatever it hits is begun again from the store until that answers.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, TypeVar

from fleet.errors import LeadershipLost, StoreUnavailable
from fleet.ports import Clock

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, None]]

_log = logging.getLogger(__name__)

_BACKOFF: Final = (0.2, 1.0, 5.0, 15.0, 30.0)
_STEADY_US: Final = 60_000_000
"""A component that ran for so long before it died begins again without the backoff of earlier deaths."""


class OnDeath(Enum):
    """What follows when a component raises, or returns although it should not."""

    RESTART = "restart"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class Health:
    """How a component is. ``deaths`` counts since the controller started; ``error`` is the last one's, one line.

    ``running`` is false while it waits to be begun again. ``died_us`` is the controller's clock, 0: never.
    ``store_away``: it waits for the store, which is no death.
    """

    name: str
    running: bool = True
    deaths: int = 0
    died_us: int = 0
    error: str = ""
    store_away: bool = False


class Component:
    """A running component, as :meth:`Supervisor.run` gives it out."""

    def __init__(self, task: asyncio.Task[None], name: str) -> None:
        self._task, self.name = task, name

    @property
    def done(self) -> bool:
        """True once it was ended, or ended by itself where that is allowed."""
        return self._task.done()

    async def end(self) -> None:
        """Cancels it and waits until it is over. Safe to call twice."""
        await end(self._task)


class Supervisor:
    """Runs the components. ``failed`` ends with the error of a death that ends the controller."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._health: dict[str, Health] = {}
        self._components: list[Component] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failed.add_done_callback(_retrieved)

    def run(self, name: str, work: Work, on_death: OnDeath = OnDeath.RESTART, *, ends: bool = False) -> Component:
        """Begins ``work()`` and keeps it running. ``ends``: it may return, and is then done.

        ``LeadershipLost`` ends the controller whatever ``on_death`` says; ``StoreUnavailable`` never does.
        """
        self._components = [component for component in self._components if not component.done]
        self._health[name] = Health(name)
        component = Component(asyncio.create_task(self._keep(name, work, on_death, ends), name=name), name)
        self._components.append(component)
        return component

    def health(self) -> tuple[Health, ...]:
        """Every component that runs or waits to be begun again, by name."""
        return tuple(self._health[name] for name in sorted(self._health))

    async def close(self) -> None:
        """Ends every component, the last begun first."""
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
        """One life of a component; answers what ended it, ``None`` when it returned."""
        self._health[name] = replace(self._health[name], running=True)
        try:
            await work()
        except Exception as error:  # a cancel is no Exception, and passes
            return error
        return None

    def _ends_all(self, name: str, error: Exception | None, on_death: OnDeath) -> bool:
        before = self._health[name]
        if isinstance(error, StoreUnavailable):
            _log.warning("%s waits for the store: %s", name, error)
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
    """A task that its caller owns: awaits it, or ends it with :func:`end`, before letting go of it."""
    return asyncio.create_task(work, name=name)


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancels these and waits until they are over; an error that nobody awaited is logged.

    Unlike awaiting them, it neither raises what they raised nor mistakes their cancel for the caller's own.
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
    """Any number of tasks that one object owns: an error is logged with its name, and none is left behind."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Begins ``work``; nobody awaits its end."""
        task = own(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    async def end(self) -> None:
        """Cancels what still runs, and waits until it is over."""
        while self._tasks:
            await end(*self._tasks)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s ended with an error: %s", task.get_name(), error, exc_info=error)


async def through_outages(work: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """What ``work()`` answers; done again, with backoff, for as long as the store is away."""
    for failures in itertools.count():
        try:
            return await work()
        except StoreUnavailable as error:
            _log.warning("waiting for the store: %s", error)
            await clock.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
    raise AssertionError("a count has no end")


@asynccontextmanager
async def alongside(work: Coroutine[Any, Any, T], name: str) -> AsyncIterator[asyncio.Task[T]]:
    """Runs ``work`` beside the block. The block awaits the task for its result; what still runs at the block's end
    is cancelled, and over before the block is left."""
    task = own(work, name)
    try:
        yield task
    finally:
        if task.done():
            _retrieved(task)
        else:
            await end(task)


async def first(*awaited: Awaitable[Any]) -> set[int]:
    """Waits until one of these is done; answers the positions of those that are. Coroutines that are not done are
    ended; futures and tasks of the caller's are left as they are."""
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
        return {position for position, task in enumerate(tasks) if task.done()}
    finally:
        await end(*ours)


async def _awaited(work: Awaitable[Any]) -> None:
    await work


def _retrieved(done: asyncio.Future[Any]) -> None:
    """Marks an error as seen, so that asyncio does not report it a second time."""
    if not done.cancelled():
        done.exception()

"""What the placer knows of the flights. In memory, because it grants nothing: the store does."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

_KEPT_S: Final = 60.0
"""How long another controller's word about its tasks counts; it says it again every 30 seconds."""


class SlotLine:
    """``changed`` is set when another look at the placements may find something new."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.aside: set[str] = set()
        self._starting: dict[str, Callable[[], None]] = {}
        self._returning: dict[str, tuple[str, Callable[[], None]]] = {}
        self._elsewhere: dict[str, tuple[float, Mapping[str, int]]] = {}
        self._tell: Callable[[Mapping[str, int]], None] = lambda counts: None

    def tells(self, tell: Callable[[Mapping[str, int]], None]) -> None:
        """``tell`` is called when other tasks than before want to return."""
        self._tell = tell

    def elsewhere(self, controller: str, returning: Mapping[str, int]) -> None:
        """How many tasks of another controller want to return, by machine."""
        self._elsewhere[controller] = (time.monotonic(), returning)
        self.changed.set()

    @contextmanager
    def standing(self, task_id: str, wake: Callable[[], None]) -> Iterator[None]:
        """A task that has not started waits for its slot. ``wake`` is called when it can go on."""
        self._starting[task_id] = wake
        try:
            yield
        finally:
            del self._starting[task_id]

    @property
    def standing_now(self) -> tuple[str, ...]:
        """The tasks whose flights wait here to be woken."""
        return tuple(self._starting)

    def wake(self, task_id: str) -> None:
        """A task can go on. One whose flight does not stand here looks for its slot by itself."""
        if (wake := self._starting.get(task_id)) is not None:
            wake()

    def step_aside(self, task_id: str) -> None:
        """A task cannot use a slot now: it waits for something else first, until :meth:`step_back`."""
        self.aside.add(task_id)
        self.changed.set()

    def step_back(self, task_id: str) -> None:
        """The task can use a slot, or has ended."""
        if task_id in self.aside:
            self.aside.remove(task_id)
            self.changed.set()

    def wait_to_return(self, task_id: str, machine: str, wake: Callable[[], None]) -> None:
        """A task that gave its slot back wants one of this machine again: it comes before those that have not
        started, until :meth:`returned`."""
        self._returning[task_id] = (machine, wake)
        self._tell(self._own())

    def returned(self, task_id: str) -> None:
        """It has its slot, or wants none any more."""
        if self._returning.pop(task_id, None) is not None:
            self.changed.set()
            self._tell(self._own())

    def returning(self) -> Mapping[str, int]:
        """How many tasks want to return, by machine."""
        counts = self._own()
        for told, returning in self._elsewhere.values():
            if time.monotonic() - told < _KEPT_S:
                counts.update(returning)
        return counts

    def _own(self) -> Counter[str]:
        return Counter(machine for machine, _ in self._returning.values())

    def slot_free(self) -> None:
        """A slot may be free."""
        for _, wake in self._returning.values():
            wake()
        self.changed.set()

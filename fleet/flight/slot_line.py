"""The flights that try to get a slot right now. Only these keep one from flights behind them in the queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile

from fleet.model import Task


class SlotLine:
    """Orders the flights of this controller. In memory, because it grants nothing: the store does."""

    def __init__(self) -> None:
        self._trying: dict[str, Callable[[], None]] = {}

    @contextmanager
    def trying(self, task_id: str, wake: Callable[[], None]) -> Iterator[None]:
        """Stands in line. ``wake`` is called when another flight leaves it, with or without a slot."""
        self._trying[task_id] = wake
        try:
            yield
        finally:
            del self._trying[task_id]
            for each in self._trying.values():
                each()

    def ahead(self, queued: Sequence[Task], task_id: str) -> list[Task]:
        """Those of ``queued`` (in order) that are before this task and try to get a slot, too."""
        before = takewhile(lambda task: task.id != task_id, queued)
        return [task for task in before if task.id in self._trying]

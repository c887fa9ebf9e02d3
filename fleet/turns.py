"""Whose turn it is to get a slot. Pure.

Within one rank each person gets a slot in turn, within a person each repository, within a repository whoever asked
first. Nobody starves: a task with n others of its person and repository before it waits for at most n + 1 rounds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from fleet.model import Task

_Lines = dict[str, dict[str, deque[Task]]]


class Turns:
    """The tasks that wait, handed out one by one. ``served``: when each person's tasks in each repository last got
    a slot; the highest is the latest. ``whose``: the one id by which a person is known here, for each of theirs."""

    def __init__(
        self,
        waiting: Sequence[Task],
        served: Mapping[tuple[str, str], int],
        whose: Callable[[str], str] = str,
    ) -> None:
        self._whose = whose
        self._served: dict[tuple[str, str], int] = {}
        self._last = 0
        self._persons: dict[str, int] = {}
        for (id_, repo), turn in served.items():
            person = whose(id_)
            self._served[person, repo] = max(turn, self._served.get((person, repo), 0))
            self._persons[person] = max(turn, self._persons.get(person, 0))
            self._last = max(turn, self._last)
        self._ranks: dict[int, _Lines] = {}
        for task in sorted(waiting, key=lambda task: (task.rank, _number(task))):
            lines = self._ranks.setdefault(task.rank, {}).setdefault(whose(task.requester), {})
            lines.setdefault(task.repo, deque()).append(task)

    def pick(self) -> Task | None:
        """The next task; ``None`` when all were handed out."""
        for rank, persons in self._ranks.items():
            person = min(persons, key=lambda name: (self._persons.get(name, 0), _oldest(persons[name])))
            repos = persons[person]
            repo = min(repos, key=lambda name: (self._served.get((person, name), 0), _number(repos[name][0])))
            task = repos[repo].popleft()
            if not repos[repo]:
                del repos[repo]
            if not repos:
                del persons[person]
            if not persons:
                del self._ranks[rank]
            return task
        return None

    def serve(self, task: Task) -> None:
        """The task gets a slot: the others come before the next one of its person and repository."""
        self._last += 1
        person = self._whose(task.requester)
        self._persons[person] = self._served[person, task.repo] = self._last


def in_turn(
    waiting: Sequence[Task], served: Mapping[tuple[str, str], int], whose: Callable[[str], str] = str
) -> list[Task]:
    """The order in which they start if each can start anywhere."""
    turns, order = Turns(waiting, served, whose), list[Task]()
    while (task := turns.pick()) is not None:
        turns.serve(task)
        order.append(task)
    return order


def _oldest(repos: Mapping[str, deque[Task]]) -> int:
    return min(_number(line[0]) for line in repos.values())


def _number(task: Task) -> int:
    return int(task.id[1:])

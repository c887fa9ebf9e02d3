"""Who waits for whom in a line of locks, where nobody has to look at the book."""

from __future__ import annotations

import asyncio

import pytest

from fleet.locks import Blocked, LockCause, LockMode, Resource, Want
from gates.locks.book import Request
from gates.locks.line import Waiter, circle

WANTS = (Want(Resource("simulator"), LockMode.EXCLUSIVE),)


@pytest.mark.parametrize(
    ("waits", "found"),
    [
        ({"a": "b", "b": "a"}, ("a", "b")),
        ({"a": "b", "b": "c", "c": "a"}, ("a", "b", "c")),
        ({"a": "b", "b": "c"}, ()),
        ({"a": "a"}, ()),  # another command of the same name: that one may still end
        ({"a": "b", "b": "b"}, ()),
    ],
)
async def test_a_circle_goes_over_others_and_through_who_waited_longer(
    waits: dict[str, str], found: tuple[str, ...]
) -> None:
    answer = asyncio.get_running_loop().create_future
    line = [
        Waiter(number, Request(holder, WANTS, 1, LockCause.COMMAND), 0, answer(), Blocked((), ahead))
        for number, (holder, ahead) in enumerate(waits.items())
    ]
    assert circle(line[0], line) == found

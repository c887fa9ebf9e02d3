"""Callers are told on their loops what became of their writes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from fleet.store.told import AT_ONCE, OnTheirLoops


@dataclass(frozen=True)
class Written:
    number: int
    loop: asyncio.AbstractEventLoop


async def test_an_error_in_telling_some_leaves_nobody_waiting() -> None:
    loop, told, errors = asyncio.get_running_loop(), list[int](), list[Any]()
    loop.set_exception_handler(lambda loop, context: errors.append(context["exception"]))

    def tell(some: list[Written]) -> None:
        told.extend(each.number for each in some)
        if 0 in told[-AT_ONCE:]:
            raise RuntimeError("a fault of ours")

    callers = OnTheirLoops(tell)
    callers.put([Written(number, loop) for number in range(2 * AT_ONCE + 1)])
    while len(told) < 2 * AT_ONCE + 1:
        await asyncio.sleep(0)
    callers.put([Written(99, loop)])
    while told[-1] != 99:
        await asyncio.sleep(0)
    assert told == [*range(2 * AT_ONCE + 1), 99]
    assert [str(error) for error in errors] == ["a fault of ours"]

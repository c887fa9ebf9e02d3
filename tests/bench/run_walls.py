"""A run that does nothing, with its walls and with a PID namespace alone: what the walls cost a gate's start.

Both sides go through the same executor, supervisor and exit record. The promise is in milliseconds (30 more at
most), so the base is a run with a PID namespace plus those 30 ms.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Callable

from fleet.isolation import Walls
from fleet.machines.local import LocalExecutor
from fleet.ports import Ended, PipeSpec
from tests.bench.harness import compare, report

ALLOWANCE_S = 0.030


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-walls-") as directory, asyncio.Runner() as runner:
        executor = LocalExecutor("here", root=directory)
        room = f"{directory}/gates/run"

        async def open_() -> None:
            if not (await executor.facts()).walled:
                sys.exit("bench: this machine cannot build walls around a run")
            await executor.write_file(f"{room}/scratch/.keep", b"")

        async def run(walls: Walls | None) -> None:
            spec = PipeSpec(
                secrets.token_hex(8), "0f" * 16, ("/bin/true",), "/", bare_env=True, contain=True, walls=walls
            )
            await executor.start(spec)
            async for event in executor.attach(spec.id, spec.nonce, 0):
                if isinstance(event, Ended):
                    assert event.isolation.walled is (walls is not None)

        def trial(walls: Walls | None, extra: float = 0.0) -> Callable[[], float]:
            def work() -> float:
                started = time.perf_counter()
                runner.run(run(walls))
                return time.perf_counter() - started + extra

            return work

        runner.run(open_())
        try:
            found = compare(
                "a run of /bin/true",
                ("with walls", trial(Walls(room))),
                ("PID namespace alone, plus 30 ms", trial(None, ALLOWANCE_S)),
                bar=1.0,
                rounds=41,
            )
        finally:
            runner.run(executor.close())
    return report([found])


if __name__ == "__main__":
    sys.exit(main())

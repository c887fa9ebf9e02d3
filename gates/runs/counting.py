"""What a JUnit report says against a change whose gate ended with 0: no test ran, or one failed.

The report is the judged code's own claim, so a good one proves nothing. A bad one speaks against the change, unless
the base's own is as bad. Only then is the base's own run made, in a directory of its own.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fleet.errors import DiskFull, Misused, Refused, Unavailable
from fleet.exits import Exited
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.ports import Executor
from fleet.verdict import GateResult, HeldPlace, Outcome
from gates.runs import in_place, junit
from gates.runs.place import AWAY, Run, retry_unreachable
from gates.runs.plan import GateEnvironment
from gates.runs.surroundings import process_of
from gates.runs.watch import watch

NO_TEST = "no test ran, and the base has"


@dataclass(frozen=True, slots=True)
class BaseRun:
    """Runs a gate on the base of a change, and counts the tests in its report."""

    workspaces: Workspaces
    repository: Repository
    home: Path
    patience: float
    abandoned: Callable[[], bool]

    async def checked(self, run: Run, result: GateResult, report: junit.Report | None) -> GateResult:
        """The result, unless the gate passed without a test where the base has some, or with one that failed."""
        if result.outcome is not Outcome.PASSED or not run.definition.reports:
            return result
        red = set(report.failed) if report is not None else set()
        if report is not None and report.ran and not red:
            return result
        try:
            base = await self._report(run)
        except AWAY:
            raise
        except (Refused, Misused, Unavailable) as error:
            if isinstance(error, DiskFull):
                raise
            return _unknown(result, str(error), red)
        if isinstance(base, str):
            return result if report is None else _unknown(result, base, red)
        new = sorted(red.difference(base.failed))
        if not new if red else not base.ran:
            return result
        why = f"{NO_TEST} {base.ran}" if not red else f"its own report says that {', '.join(new[:5])} failed"
        return replace(
            result, outcome=Outcome.FAILED, reason=f"{result.reason}; {why}", tail=f"{why}\n{result.tail}"
        )

    async def _report(self, run: Run) -> junit.Report | str:
        """What the base's own run reports; or why there is no report."""
        candidate = run.candidate
        tree = await self.repository.tree_of(candidate.base)
        base = replace(
            run,
            pipe=f"{run.pipe}-{secrets.token_hex(4)}",
            nonce=secrets.token_hex(16),
            candidate=replace(candidate, commit=candidate.base, tree=tree),
            environment=GateEnvironment(run.environment.base),
            large=(),
            submodules=(),
            kept="",
        )
        executor = run.place.executor
        try:
            await retry_unreachable(
                lambda: self.workspaces.checkout(executor, self.repository, candidate.base, base.pipe)
            )
            base = await in_place.put(self.workspaces, self.repository, base, candidate.base)
            for folder in ("home", "scratch", "report"):
                await retry_unreachable(partial(executor.write_file, f"{base.room}/{folder}/.keep", b""))
            if run.place.supervising is not None:
                await executor.close()  # nothing else runs as the run's own login
            log = self.home / "gates" / f"{run.id}.base.log"
            spec = process_of(base)
            ended, _ = await watch(
                run.place.runner, spec, log, started=False, patience=self.patience, abandoned=self.abandoned
            )
            log.unlink(missing_ok=True)
            if not isinstance(ended.exit, Exited) or ended.tree != tree:
                return f"the base's own run ended otherwise ({ended.unavailable or ended.exit})"
            return (
                await read_report(executor, f"{base.room}/report/junit.xml") or "the base's own run left no report"
            )
        finally:
            with contextlib.suppress(Unavailable):
                await self.workspaces.discard(executor, f"{executor.root}/gates/{base.pipe}")


async def read_report(
    executor: Executor, path: str, redact: Callable[[str], str] | None = None
) -> junit.Report | None:
    """The JUnit report at a path; ``None`` when there is none that can be read. Raises what ``left_at`` raises."""
    data = await left_at(executor, path, junit.SIZE_LIMIT + 1)
    return None if data is None else junit.read(data, redact)


async def left_at(executor: Executor, path: str, limit: int) -> bytes | None:
    """The first bytes of a file that a run left; ``None``: there is none. Raises ``Unreachable`` or
    ``MachineFaulty`` where the machine does not say: what it would have said is not to be guessed."""
    try:
        return await retry_unreachable(lambda: executor.read_file(path, limit))
    except AWAY:
        raise
    except Unavailable:
        return None


def _unknown(result: GateResult, why: str, red: Collection[str]) -> GateResult:
    said = f"its own report says that {', '.join(sorted(red)[:5])} failed, and what the base's says" if red else ""
    place = HeldPlace("", 0, f"{said or 'no test ran, and how many the base has'} is not known: {why}")
    return replace(result, held=(*result.held, place))

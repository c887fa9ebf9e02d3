"""What agents claimed against what the gates found, and how often a person was needed; said as figures.

A claim is a completed turn on whose change a verdict was given. The gates agreed when it passed or was held for a
person. An agent's own test run counts by the words of its command, an edit by its tool: what a shell edits is not
seen. Those of the whole session count, also from before the digest's period.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from fleet.agent_events import TurnOutcome
from fleet.events import (
    HoldReleased,
    PermissionDecided,
    Recorded,
    Source,
    StallDecided,
    ToolCallStarted,
    TurnClosed,
    VerdictGiven,
)
from fleet.store.core import Store, Tx
from fleet.store.recent import calls_before
from fleet.verdict import Outcome

KINDS: Final = (TurnClosed.KIND, VerdictGiven.KIND, HoldReleased.KIND, StallDecided.KIND)
OF_PEOPLE: Final = PermissionDecided.KIND
"""What counts only where a person decided it: the controller decides it at each call."""
_NEEDED: Final = (HoldReleased, StallDecided, PermissionDecided)
_EDITS: Final = frozenset({"Edit", "MultiEdit", "Write", "NotebookEdit", "apply_patch"})
_TESTS: Final = re.compile(
    r"\b(?:pytest|unittest|tox|nox|jest|vitest|mocha|rspec|phpunit|ctest|go test|cargo (?:test|nextest)|dotnet test"
    r"|swift test|(?:npm|pnpm|yarn|bun)(?: run)? test|make [\w-]*(?:test|check)|(?:mvn|gradle|gradlew)\b.*\btest)\b"
)
_PAGE: Final = 100
_AGREED: Final = frozenset({str(Outcome.PASSED), str(Outcome.HELD)})


@dataclass(frozen=True, slots=True)
class Claim:
    """A turn that was claimed done, and ended with this event."""

    task: str
    session: str
    seq: int


@dataclass(slots=True)
class Claims:
    """``stale`` are claims whose last own test run was before the last edit, ``untested`` those without any run;
    :func:`look_up` counts both. ``judged`` are the claims on which the gates said something."""

    agreed: int = 0
    refuted: int = 0
    stale: int = 0
    untested: int = 0
    needed: int = 0
    judged: list[Claim] = field(default_factory=list)
    _open: dict[str, Claim] = field(default_factory=dict)

    def fold(self, recorded: Recorded) -> None:
        """Takes in one event, in order."""
        task, session = recorded.refs.task, recorded.refs.session
        match recorded.event:
            case TurnClosed(outcome=outcome) if outcome == TurnOutcome.COMPLETED:
                self._open[task] = Claim(task, session, recorded.seq)
            case VerdictGiven(outcome=outcome):
                self._judge(task, outcome)
            case event if isinstance(event, _NEEDED) and recorded.source is Source.PERSON:
                self.needed += 1
            case _:
                pass

    def _judge(self, task: str, outcome: str) -> None:
        claim = self._open.pop(task, None)
        agreed, refuted = outcome in _AGREED, outcome == Outcome.FAILED
        if claim is not None and (agreed or refuted):
            self.judged.append(claim)
            self.agreed += agreed
            self.refuted += refuted

    @property
    def made(self) -> int:
        """How many there were."""
        return len(self.judged)

    def to_json(self) -> dict[str, int]:
        """For scripts."""
        return {
            "made": self.made,
            "agreed": self.agreed,
            "refuted": self.refuted,
            "own_tests_before_last_edit": self.stale,
            "without_own_tests": self.untested,
        }

    @property
    def line(self) -> str:
        """For a card; empty without a claim."""
        if not self.made:
            return ""
        parts = [
            f"{self.made} × done; gates agreed {self.agreed}, not {self.refuted}",
            f"own tests older than the last edit: {self.stale}" if self.stale else "",
            f"no own tests: {self.untested}" if self.untested else "",
        ]
        return " · ".join(filter(None, parts))


async def look_up(store: Store, claims: Claims) -> None:
    """Counts which claims had no own test run behind their last edit."""
    for claim in claims.judged:
        edited, tested = await store.read(partial(_own, claim=claim), long=True)
        claims.stale += 0 < tested < edited
        claims.untested += not tested


def _own(tx: Tx, claim: Claim) -> tuple[int, int]:
    """The events of the last edit and the last own test run before a claim, 0 where there is none. An edit before
    the test run that was found is not looked for."""
    edited, before = 0, claim.seq
    while found := calls_before(tx, claim.task, before, _PAGE):
        for recorded in found:
            event = recorded.event
            if not isinstance(event, ToolCallStarted) or recorded.refs.session != claim.session:
                continue
            if event.tool in _EDITS:
                edited = edited or recorded.seq
            elif _TESTS.search(event.summary):
                return edited, recorded.seq
        before = found[-1].seq
    return edited, 0

"""What agents claimed against what the gates found, and how often a person was needed; said as figures.

A claim is a completed turn on whose change a verdict was given. The gates agreed when it passed or was held for a
person. An agent's own test run counts by the words of its command, an edit by its tool: what a shell edits is not
seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
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
from fleet.verdict import Outcome

KINDS: Final = (TurnClosed.KIND, VerdictGiven.KIND, HoldReleased.KIND, StallDecided.KIND, PermissionDecided.KIND)
_NEEDED: Final = (HoldReleased, StallDecided, PermissionDecided)
_EDITS: Final = frozenset({"Edit", "MultiEdit", "Write", "NotebookEdit", "apply_patch"})
_TESTS: Final = re.compile(
    r"\b(?:pytest|unittest|tox|nox|jest|vitest|mocha|rspec|phpunit|ctest|go test|cargo (?:test|nextest)|dotnet test"
    r"|swift test|(?:npm|pnpm|yarn|bun)(?: run)? test|make [\w-]*(?:test|check)|(?:mvn|gradle|gradlew)\b.*\btest)\b"
)
_AGREED: Final = frozenset({str(Outcome.PASSED), str(Outcome.HELD)})


@dataclass(slots=True)
class Claims:
    """``stale`` are claims whose last own test run was before the last edit, ``untested`` those without any run."""

    made: int = 0
    agreed: int = 0
    refuted: int = 0
    stale: int = 0
    untested: int = 0
    needed: int = 0
    _edited: dict[str, int] = field(default_factory=dict)
    _tested: dict[str, int] = field(default_factory=dict)
    _open: dict[str, tuple[bool, bool]] = field(default_factory=dict)

    def fold(self, recorded: Recorded) -> None:
        """Takes in one event, in order."""
        task, session = recorded.refs.task, recorded.refs.session
        match recorded.event:
            case ToolCallStarted(tool=tool, summary=summary):
                if tool in _EDITS:
                    self._edited[session] = recorded.seq
                elif _TESTS.search(summary):
                    self._tested[session] = recorded.seq
            case TurnClosed(outcome=outcome) if outcome == TurnOutcome.COMPLETED:
                edited, tested = self._edited.get(session, 0), self._tested.get(session, 0)
                self._open[task] = (bool(tested) and tested < edited, not tested)
            case VerdictGiven(outcome=outcome):
                self._judge(task, outcome)
            case event if isinstance(event, _NEEDED) and recorded.source is Source.PERSON:
                self.needed += 1
            case _:
                pass

    def _judge(self, task: str, outcome: str) -> None:
        claim = self._open.pop(task, None)
        agreed, refuted = outcome in _AGREED, outcome == Outcome.FAILED
        if claim is None or not (agreed or refuted):
            return
        self.made += 1
        self.agreed += agreed
        self.refuted += refuted
        self.stale += claim[0]
        self.untested += claim[1]

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

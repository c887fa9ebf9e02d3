"""What the launcher saw of a gate run's phases: decoded once, from sealed bytes."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import msgspec

Outcomes = dict[str, tuple[str, float]]

PASSED: Final = frozenset({"passed", "xpassed"})
FAILED: Final = frozenset({"failed", "error"})


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the command. ``tests`` are the outcome and the milliseconds of each test, by its name.

    ``hello``: our plugin was loaded; ``end``: the status with which the test runner says it ended. ``rewritten``
    are files of the checkout that changed meanwhile; ``bodies`` the inverted tests that were passed by themselves.
    ``hidden``: those of them that could not see that they are tests. ``commands`` are places in the source that let
    a command read files, ``replaced`` names of the tests' modules that changed while tests ran; ``at`` says of each
    test from where its function is, and what it is compiled to. ``callers`` are places in the source that look at
    what others run, ``processes`` those that start code of the tree in a process that is not watched. ``data`` are
    files of the tree, sources aside, that tests read by themselves. ``swallowed`` are lines of hidden tests that
    failed, while the test passed; ``outside`` are those that fail in a program that no test runner started.
    ``report``: what another runner than pytest reported, as JUnit; canaries have ``token`` in their names.
    """

    missing: str = ""
    status: int | None = None
    late: bool = False
    seconds: float = 0.0
    hello: bool = False
    end: int | None = None
    forked: bool = False
    tests: Outcomes = {}
    canaries: Outcomes = {}
    equal: list[tuple[str, int, str]] = []
    reads: list[tuple[str, int]] = []
    stand_ins: list[str] = []
    commands: list[tuple[str, int]] = []
    callers: list[tuple[str, int]] = []
    processes: list[tuple[str, int]] = []
    data: list[str] = []
    swallowed: list[tuple[str, int]] = []
    outside: list[str] = []
    replaced: list[tuple[str, str]] = []
    at: dict[str, str] = {}
    bodies: list[str] = []
    broken: list[str] = []
    rewritten: list[str] = []
    inverted: list[str] = []
    hidden: list[str] = []
    every: bool = False
    report: str = ""
    token: str = ""

    @property
    def whole(self) -> bool:
        """Whether it ended on its own, and the test runner with it."""
        ended = self.end is not None if self.hello else (self.status or 0) >= 0
        return ended and not self.late

    def named(self, *outcomes: str) -> set[str]:
        """The tests with one of these outcomes."""
        return {name for name, (outcome, _) in self.tests.items() if outcome in outcomes}


class Baseline(msgspec.Struct, frozen=True):
    """The base's own run: its names and outcomes, and the names that differ from run to run.

    ``watched``: our plugin was loaded, so that names are known. ``canaries``: they failed, as they must.
    ``agrees``: the exit status was not 0 where something failed. ``broken``: what could not be loaded.
    """

    watched: bool
    canaries: bool
    agrees: bool
    tests: Outcomes
    unstable: list[str]
    equal: list[tuple[str, int, str]]
    reads: list[tuple[str, int]]
    rewritten: list[str]
    commands: list[tuple[str, int]] = []
    callers: list[tuple[str, int]] = []
    processes: list[tuple[str, int]] = []
    data: list[str] = []
    replaced: list[tuple[str, str]] = []
    at: dict[str, str] = {}
    broken: list[str] = []

    def named(self, *outcomes: str) -> set[str]:
        """The tests with one of these outcomes, whose outcome is stable."""
        found = {name for name, (outcome, _) in self.tests.items() if outcome in outcomes}
        return found - set(self.unstable)


class PhaseReport(msgspec.Struct, frozen=True):
    """All phases of a run; the base's are there only when they were not known before. ``alone``: the change's
    source with the base's tests only, where the run with canaries does not show that."""

    head: Phase
    base: Phase | None = None
    again: Phase | None = None
    check: Phase | None = None
    alone: Phase | None = None


def unseal(data: bytes, key: str) -> PhaseReport | None:
    """The report, when the launcher with this key wrote it."""
    seal, _, body = data.partition(b"\n")
    ours = hmac.new(key.encode(), body, hashlib.sha256).hexdigest().encode()
    if not hmac.compare_digest(seal, ours):
        return None
    try:
        return msgspec.json.decode(body, type=PhaseReport)
    except (msgspec.DecodeError, RecursionError):
        return None


def baseline_of(base: Phase, again: Phase | None) -> Baseline:
    """The baseline from the base's runs."""
    second = again.tests if again and again.whole else base.tests
    unstable = [
        name
        for name in sorted(base.tests.keys() | second.keys())
        if base.tests.get(name, ("", 0))[0] != second.get(name, ("", 0))[0]
    ]
    rewritten = {*base.rewritten, *(again.rewritten if again else ())}
    return Baseline(
        watched=base.hello and base.end is not None and not base.late,
        canaries=bool(again and again.canaries) and not unharmed(again),
        agrees=base.status != 0 or not (base.end or base.broken or base.named(*FAILED)),
        tests=base.tests,
        unstable=unstable,
        equal=[*base.equal, *(again.equal if again else ())],
        reads=base.reads,
        rewritten=sorted(rewritten),
        commands=base.commands,
        callers=base.callers,
        processes=base.processes,
        data=base.data,
        replaced=base.replaced,
        at=base.at,
        broken=base.broken,
    )


def unharmed(phase: Phase | None) -> list[str]:
    """The canaries that did not fail."""
    return [] if phase is None else sorted(n for n, (outcome, _) in phase.canaries.items() if outcome not in FAILED)

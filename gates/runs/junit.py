"""Counts and failures from a JUnit report. The judged code wrote it, so it is only shown and decides nothing."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from junitparser import Error, Failure, JUnitXml, JUnitXmlError, Skipped, TestCase, TestSuite

from fleet.untrusted import clean, tail_that_matters
from fleet.verdict import JUnitCounts

SIZE_LIMIT = 8 << 20
_MOST = 10_000_000
_OUTCOMES: Final = {Failure: "failed", Error: "error", Skipped: "skipped"}
_RED: Final = ("failed", "error")
_NAMES, _NAME = 50, 200
_WORST: Final = ("passed", "skipped", "failed", "error")
_FAILURES, _REASON_LINES, _WORDS = 5, 6, 20_000


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says. ``failures`` is text: each failing test with the first lines of its reason. ``ran``
    counts the tests that it lists as not skipped; ``failed`` has the first names of those that failed."""

    counts: JUnitCounts
    failures: str
    ran: int
    failed: tuple[str, ...] = ()


def read(data: bytes, redact: Callable[[str], str] | None = None) -> Report | None:
    """What a report says; ``None`` when it is not a JUnit report of at most ``SIZE_LIMIT`` bytes."""
    report = _parsed(data)
    if report is None:
        return None
    try:
        ran = _ran(report)
    except RecursionError:
        return None
    suites = [report] if isinstance(report, TestSuite) else list(report)
    totals = []
    for field in ("tests", "failures", "errors", "skipped"):
        numbers = [getattr(suite, field) for suite in suites]
        if not all(isinstance(number, int) and 0 <= number <= _MOST for number in numbers):
            return None
        totals.append(sum(numbers) + _loose(report, field))
    named = by_name(data)
    failed = shown_names((name for name, (outcome, _) in named.items() if outcome in _RED), redact)
    cases = itertools.chain(_without_a_suite(report), *suites)
    return Report(JUnitCounts(*totals), _failures(cases, redact or str), ran, failed)


def _without_a_suite(report: Any) -> list[TestCase]:
    """The tests that are in no suite, as node writes them."""
    return [] if isinstance(report, TestSuite) else list(report.iterchildren(TestCase))


def _loose(report: Any, field: str) -> int:
    """How many of these a field counts; a suite counts its own."""
    kind = {"failures": Failure, "errors": Error, "skipped": Skipped}.get(field)
    found = _without_a_suite(report)
    return sum(kind is None or any(isinstance(result, kind) for result in case.result) for case in found)


def shown_names(names: Iterable[str], redact: Callable[[str], str] | None = None) -> tuple[str, ...]:
    """The first of these names of tests, as they can be shown."""
    return tuple((redact or str)(clean(name, _NAME)) for name in sorted(names)[:_NAMES])


def by_name(data: bytes) -> dict[str, tuple[str, float]]:
    """The outcome and the milliseconds of each test that a report lists, by its name and those of its suites. Of
    several tests with one name, the worst counts. Empty when it is no report."""
    report, found = _parsed(data), dict[str, tuple[str, float]]()
    with contextlib.suppress(RecursionError):
        if report is not None:
            _collect(report, (), found)
            return found
    return {}


def _collect(element: Any, above: tuple[str, ...], found: dict[str, tuple[str, float]]) -> None:
    for suite in element.iterchildren(TestSuite):
        _collect(suite, (*above, str(suite.name or "")), found)
    for case in element.iterchildren(TestCase):
        name = " > ".join((*above, str(case.name or "")))
        kinds = [_OUTCOMES.get(type(result), "passed") for result in case.result]
        outcome = max(kinds, key=_WORST.index, default="passed")
        worst = max(outcome, found.get(name, (outcome, 0.0))[0], key=_WORST.index)
        found[name] = (worst, float(case.time or 0) * 1000)


def _parsed(data: bytes) -> Any:
    """The report as a tree; ``None`` when it is none of at most ``SIZE_LIMIT`` bytes."""
    # No tool's report declares a document type; one would only serve entity expansion attacks.
    if len(data) > SIZE_LIMIT or b"<!" in data.replace(b"<![CDATA[", b"").replace(b"<!--", b""):
        return None
    try:
        data.decode("utf-8")
        return JUnitXml.fromstring(data)
    except (JUnitXmlError, SyntaxError, ValueError, LookupError, RecursionError):
        return None


def _ran(element: Any) -> int:
    """The tests in a report or suite that were not skipped, those of suites inside it included."""
    cases = sum(not case.is_skipped for case in element.iterchildren(TestCase))
    return cases + sum(map(_ran, element.iterchildren(TestSuite)))


def _failures(cases: Iterable[TestCase], redact: Callable[[str], str]) -> str:
    told: list[str] = []
    for case in cases:
        for result in case.result:
            if not isinstance(result, Failure | Error):
                continue
            if len(told) == _FAILURES:
                return "\n".join([*told, "… and more failures"])
            name = ".".join(part for part in (case.classname, case.name) if part)
            words = f"{name}\n{result.message or ''}\n{result.text or ''}"
            name, _, reason = redact(clean(words, _WORDS)).partition("\n")
            reason = tail_that_matters(reason, _REASON_LINES)
            told.append(
                "\n".join([f"FAILED {name}", *(f"    {line}" for line in dict.fromkeys(reason.split("\n")))])
            )
    return "\n".join(told)

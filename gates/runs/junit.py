"""Counts from a JUnit report. The judged code wrote it, so it is only shown and decides nothing."""

from __future__ import annotations

from typing import Any

from junitparser import JUnitXml, JUnitXmlError, TestSuite

from fleet.verdict import JUnitCounts

SIZE_LIMIT = 8 << 20
_MOST = 10_000_000


def counts(data: bytes) -> JUnitCounts | None:
    """The totals of a report; ``None`` when it is not a JUnit report of at most ``SIZE_LIMIT`` bytes."""
    # No tool's report declares a document type; one would only serve entity expansion attacks.
    if len(data) > SIZE_LIMIT or b"<!" in data.replace(b"<![CDATA[", b"").replace(b"<!--", b""):
        return None
    try:
        data.decode("utf-8")
        report: Any = JUnitXml.fromstring(data)
    except (JUnitXmlError, SyntaxError, ValueError, LookupError, RecursionError):
        return None
    suites = [report] if isinstance(report, TestSuite) else list(report)
    totals = []
    for field in ("tests", "failures", "errors", "skipped"):
        numbers = [getattr(suite, field) for suite in suites]
        if not all(isinstance(number, int) and 0 <= number <= _MOST for number in numbers):
            return None
        totals.append(sum(numbers))
    return JUnitCounts(*totals)

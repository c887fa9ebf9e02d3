"""What makes a gate that ends with 0 no pass, whatever its test runner: no test at all, and other configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.verdict import Outcome
from tests.scenarios.gate_house import House, airboss_toml

SH = "/bin/sh"
_COUNTED = "printf '%s' \"$(cat report.xml 2>/dev/null)\" > '{junit}'"
_SUITE = '<testsuite name="s">{}</testsuite>'
_RED = '<testcase name="b"><failure/></testcase>'
_CASE, _SKIPPED = '<testcase name="a"/>', '<testcase name="a"><skipped/></testcase>'


@pytest.mark.parametrize(
    ("base", "head", "outcome"),
    [
        (_CASE * 3, _SKIPPED * 3, Outcome.FAILED),
        (_CASE, None, Outcome.FAILED),
        ("", "", Outcome.PASSED),
        (None, "", Outcome.HELD),
    ],
)
async def test_no_test_at_all_is_never_a_pass_where_the_base_has_some(
    tmp_path: Path, base: str | None, head: str | None, outcome: Outcome
) -> None:
    """Whatever the test runner: its own report counts against the change, never for it."""
    before = {} if base is None else {"report.xml": _SUITE.format(base)}
    house = House(tmp_path, {"airboss.toml": airboss_toml(SH, "-c", _COUNTED), **before})
    async with house.open() as judge:
        change = {} if head is None else {"report.xml": _SUITE.format(head)}
        candidate = await judge.candidate({"a": "1", **change}, remove=("report.xml",) if head is None else ())
        verdict = await judge.pipeline.judge(candidate)
        assert verdict.outcome is outcome
        if outcome is Outcome.FAILED:
            assert "no test ran, and the base has" in verdict.reasons[0]
            assert verdict.gates[0].tail.startswith("no test ran")
        kinds = [item.event.KIND for item in await judge.events("gate.opened", "gate.closed")]
        assert kinds == ["gate.opened", "gate.closed"]
        assert not list((tmp_path / "machine").glob(".airboss*/gates/*")), "both checkouts are discarded"


@pytest.mark.parametrize(
    ("base", "outcome"), [(_CASE, Outcome.FAILED), (_CASE + _RED, Outcome.PASSED), (None, Outcome.HELD)]
)
async def test_a_test_that_failed_by_its_own_report_is_no_pass_where_the_base_has_none(
    tmp_path: Path, base: str | None, outcome: Outcome
) -> None:
    """As a command does that loses the status of its tests: ``make test | tee log``."""
    before = {} if base is None else {"report.xml": _SUITE.format(base)}
    async with House(tmp_path, {"airboss.toml": airboss_toml(SH, "-c", _COUNTED), **before}).open() as judge:
        verdict = await judge.pipeline.judge(
            await judge.candidate({"report.xml": _SUITE.format(_CASE + _RED), "a": "1"})
        )
    assert verdict.outcome is outcome
    assert any("its own report says that s > b failed" in each for each in verdict.reasons) is (
        outcome is not Outcome.PASSED
    )


async def test_what_configures_tests_is_held_even_where_no_layer_is_on(tmp_path: Path) -> None:
    house = House(tmp_path, {"airboss.toml": airboss_toml("true", more='layers = []\nprotected = ["pytest.ini"]')})
    async with house.open() as judge:
        change = await judge.candidate({"tox.ini": "[pytest]\naddopts = --collect-only\n"})
        verdict = await judge.pipeline.judge(change)
    assert verdict.outcome is Outcome.HELD
    assert verdict.reasons[0].startswith("changes tox.ini")

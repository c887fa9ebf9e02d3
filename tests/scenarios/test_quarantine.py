"""A test in quarantine runs, and its failure does not count until its last day; nothing else gets through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet.config import GateConfig, RepoConfig, RepoFile, merge_gates, parse_fleet, parse_repo_file
from fleet.errors import Misused
from fleet.events import GateClosedV6
from fleet.verdict import Outcome
from gates.layers.examination import course_of, inspect, quarantined_on
from gates.layers.protocol import Change
from gates.runs.definitions import define
from tests.scenarios.gate_house import Files, House
from tests.tampering.corpus import BASE, FIXED, attempts

TODAY = datetime.now(UTC).date()
FLAKY = "import os\n\n\ndef test_net():\n    assert not os.path.exists('change.txt')\n"
NAME = "tests/test_net.py::test_net"
pytestmark = pytest.mark.timeout(300)


def held(until: str) -> str:
    return (
        f'[[gates.tests.quarantine]]\ntest = "{NAME}"\nreason = "drops packets"\nperson = "Ann"\n'
        f'until = "{until}"\n'
    )


def base(until: str) -> Files:
    return {**BASE, "airboss.toml": f"{BASE['airboss.toml']!s}{held(until)}", "tests/test_net.py": FLAKY}


async def test_its_failure_is_told_and_does_not_count(tmp_path: Path) -> None:
    tomorrow = (TODAY + timedelta(days=1)).isoformat()
    async with House(tmp_path, base(tomorrow)).open() as judge:
        failing: Files = {"change.txt": "1", "shop/cart.py": FIXED}
        verdict = await judge.pipeline.judge(await judge.candidate(failing))
        assert verdict.outcome is Outcome.PASSED, verdict.reasons
        assert f"tests: in quarantine, and failed: {NAME} (drops packets; Ann, until {tomorrow})" in verdict.reasons
        (closed,) = [each.event for each in await judge.events("gate.closed")]
        assert isinstance(closed, GateClosedV6) and closed.quarantined == (NAME,) and closed.failed == ()
        red = await judge.pipeline.judge(await judge.candidate({"change.txt": "1"}))
        assert red.outcome is Outcome.FAILED, "another test fails, too"
        named = {each.name: each for each in attempts()}
        for name in ("os._exit at import", "patched TestReport for known names only"):
            attempt = await judge.pipeline.judge(await judge.candidate({**named[name].files, "change.txt": "1"}))
            assert attempt.outcome in (Outcome.FAILED, Outcome.HELD), (name, attempt.reasons)


async def test_after_its_last_day_it_counts(tmp_path: Path) -> None:
    yesterday = (TODAY - timedelta(days=1)).isoformat()
    async with House(tmp_path, base(yesterday)).open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate({"change.txt": "1", "shop/cart.py": FIXED}))
    assert verdict.outcome is Outcome.FAILED
    (result,) = verdict.gates
    assert f"quarantine is over, so failures count: {NAME}" in result.notes


def gate(run: str, until: str) -> GateConfig:
    text = f"[gates.tests]\nrun = {run}\n{held(until)}"
    return parse_repo_file(text.encode(), "airboss.toml").gates["tests"]


async def test_the_last_day_counts_whole_and_other_runners_say_that_they_cannot() -> None:
    definition = define("tests", gate('["pytest"]', "2026-11-29"))
    last = datetime(2026, 11, 29, tzinfo=UTC).date()
    assert quarantined_on(definition, last) == {NAME}
    assert quarantined_on(definition, last + timedelta(days=1)) == frozenset()
    assert define("tests", GateConfig(run=["pytest"])).sha256 != definition.sha256
    change = Change((), {}, {})
    notes = (await inspect(define("tests", gate('["go", "test"]', "2026-11-29")), change, last)).notes
    assert "quarantine: not available for this test runner" in notes
    course = course_of(definition, change, "a" * 40, Path("/nowhere"), last)
    assert course is not None


@pytest.mark.parametrize("missing", ["test", "reason", "person", "until"])
def test_each_part_is_needed(missing: str) -> None:
    lines = [row for row in held("2026-11-29").splitlines() if not row.startswith(missing)]
    with pytest.raises(Misused, match=missing):
        parse_repo_file("\n".join(["[gates.tests]", 'run = ["pytest"]', *lines]).encode(), "airboss.toml")


def test_the_operator_can_end_it_and_not_begin_one() -> None:
    def operator(words: str) -> RepoConfig:
        text = (
            f'isolation = "unsafe-same-user"\n[repos.shop]\nurl = "/srv/shop"\n[repos.shop.gates.tests]\n{words}\n'
        )
        return parse_fleet(text, "fleet.toml").repos["shop"]

    given = RepoFile(gates={"tests": gate('["pytest"]', "2026-11-29")})
    assert merge_gates(given, operator(""), repo="shop")["tests"].quarantine
    assert merge_gates(given, operator("quarantine = []"), repo="shop")["tests"].quarantine == []
    with pytest.raises(Misused, match="never loosen"):
        merge_gates(given, operator(held("2026-11-29").replace("[[gates", "[[repos.shop.gates")), repo="shop")

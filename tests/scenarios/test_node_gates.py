"""A gate of ``node --test``: what its runs show of attempts to talk past it, and of honest changes."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fleet.verdict import Outcome
from gates.layers.node import runs_node_tests
from gates.runs.junit import by_name
from tests.scenarios.gate_house import Files, House, airboss_toml

FULL = os.environ.get("AIRBOSS_CAMPAIGN") == "full"
#: What only runs can show, mostly; the scan has tests of its own.
SAMPLE = {
    "exit at import",
    "patched strictEqual",
    "uncaught errors swallowed",
    "tests deleted",
    "a test skipped",
    "node:test patched to register nothing",
    "the caller decides",
    "the tests are rewritten by the source",
}
CORPUS = Path(__file__).resolve().parents[1] / "tampering"
NODE = shutil.which("node") or "node"
SHOP = """
exports.sum = (prices) => prices.reduce((total, price) => total + price, 0);
exports.discount = (total, percent) => total - percent;
"""
FIXED = SHOP.replace("total - percent", "total - (total * percent) / 100")
TEST = """const test = require('node:test');
const assert = require('node:assert');
const shop = require('../shop.js');
test('adds', () => assert.strictEqual(shop.sum([1, 2]), 3));
test('discounts', () => assert.strictEqual(shop.discount(200, 10), 180));
"""
BASE: Files = {"airboss.toml": airboss_toml(NODE, "--test"), "shop.js": SHOP, "test/shop.test.js": TEST}
pytestmark = pytest.mark.timeout(3_600 if FULL else 300)


def attempts() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((CORPUS / "node_attempts.toml").read_text())["attempt"]
    return found


def honest() -> list[dict[str, Any]]:
    """More of them in a whole campaign."""
    found: list[dict[str, Any]] = tomllib.loads((CORPUS / "node_honest.toml").read_text())["change"]
    return found if FULL else []


async def test_no_attempt_passes_and_the_honest_change_does(tmp_path: Path) -> None:
    async with House(tmp_path, dict(BASE)).open() as judge:
        for attempt in [each for each in attempts() if FULL or each["name"] in SAMPLE]:
            files: Files = dict(attempt.get("files", {}))
            if attempt.get("top"):
                files["shop.js"] = attempt["top"] + SHOP
            candidate = await judge.candidate(files or {"other.txt": "1"}, remove=tuple(attempt.get("remove", ())))
            verdict = await judge.pipeline.judge(candidate)
            told = " ".join([*verdict.reasons, *(result.tail for result in verdict.gates)])
            told += " ".join(place.why for result in verdict.gates for place in result.held)
            assert verdict.outcome in (Outcome.FAILED, Outcome.HELD), (attempt["name"], verdict.reasons)
            assert attempt["seen"] in told, (attempt["name"], verdict.reasons)
        fixed = await judge.pipeline.judge(await judge.candidate({"shop.js": FIXED}))
        assert fixed.outcome is Outcome.PASSED, fixed.reasons
        assert not any("not available" in reason for reason in fixed.reasons)
        (result,) = fixed.gates
        assert result.junit is not None and (result.junit.tests, result.junit.failures) == (2, 0)
        for change in honest():
            verdict = await judge.pipeline.judge(await judge.candidate({"shop.js": FIXED, **change["files"]}))
            assert verdict.outcome is Outcome.PASSED, (change["name"], verdict.reasons)
        red = await judge.pipeline.judge(await judge.candidate({"shop.js": SHOP + "\n"}))
        assert red.gates[0].failed == ("discounts",)


async def test_no_test_at_all_is_no_pass(tmp_path: Path) -> None:
    quiet: Files = {
        "airboss.toml": airboss_toml(NODE, "--test", "test/"),
        "test/shop.test.js": TEST,
        "shop.js": FIXED,
    }
    async with House(tmp_path, quiet).open() as judge:
        verdict = await judge.pipeline.judge(await judge.candidate({"shop.js": FIXED + "process.exit(0);\n"}))
    assert verdict.outcome is not Outcome.PASSED
    assert "gone" in " ".join(verdict.reasons) or "no test ran" in " ".join(verdict.reasons)


def test_which_commands_are_known() -> None:
    assert runs_node_tests(("node", "--test")) and runs_node_tests(("/usr/bin/node", "--test", "x.js"))
    assert not runs_node_tests(("npm", "test")) and not runs_node_tests(("node", "test.js"))
    both = ("--test-reporter=junit", "--test-reporter-destination={junit}")
    assert runs_node_tests(("node", "--test", *both))
    assert not runs_node_tests(("node", "--test", both[0])), "a second reporter would need a place for the first"


def test_results_by_name_from_a_report() -> None:
    report = b"""<testsuites><testsuite name="cart"><testcase name="adds" time="0.5"/>
    <testcase name="adds" time="0.5"><failure message="no"/></testcase></testsuite>
    <testcase name="skips"><skipped/></testcase><!-- tests 3 --></testsuites>"""
    assert by_name(report) == {"cart > adds": ("failed", 500.0), "skips": ("skipped", 0.0)}
    assert by_name(b"<!DOCTYPE x><testsuites/>") == {} == by_name(b"no report") == by_name(b"\xff")

"""A gate of ``go test``: what its runs show of attempts to talk past it, and of honest changes."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fleet.verdict import Outcome
from gates.layers.go import asked_for, runs_go_tests
from tests.conftest import sampled
from tests.far_end.go_tools import GO, go_gate, go_machine, warm_cache
from tests.scenarios.gate_house import Files, House

FULL = os.environ.get("AIRBOSS_CAMPAIGN") == "full"
CORPUS = Path(__file__).resolve().parents[1] / "tampering"
SAMPLE = (
    "results that are printed",
    "machine code of Fail patched in memory",
    "the caller decides",
    "the binary runs itself, and edits the results of known names",
)
SHOP = """package shop

func Sum(prices []int) int {
	total := 0
	for _, price := range prices {
		total += price
	}
	return total
}

func Discount(total, percent int) int { return total - percent }
"""
FIXED = SHOP.replace("total - percent", "total - total*percent/100")
TEST = """package shop

import "testing"

func TestSum(t *testing.T) {
	if Sum([]int{1, 2}) != 3 {
		t.Error("no sum")
	}
}

func TestDiscount(t *testing.T) {
	if got := Discount(200, 10); got != 180 {
		t.Errorf("got %d", got)
	}
}
"""
MORE = """package shop

import "testing"

func TestMore(t *testing.T) {
	for _, name := range []string{"one", "two"} {
		t.Run(name, func(t *testing.T) {
			if Discount(100, 0) != 100 {
				t.Fatal(name)
			}
		})
	}
}
"""
pytestmark = pytest.mark.timeout(3_600 if FULL else 300)


def attempts() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((CORPUS / "go_attempts.toml").read_text())["attempt"]
    names = sampled(SAMPLE, 1)
    return [each for each in found if FULL or each["name"] in names]


def honest() -> list[dict[str, Any]]:
    """More of them in a whole campaign."""
    found: list[dict[str, Any]] = tomllib.loads((CORPUS / "go_honest.toml").read_text())["change"]
    return found if FULL else []


async def test_no_attempt_passes_and_honest_changes_do(tmp_path: Path) -> None:
    cache = warm_cache()
    base: Files = {
        "airboss.toml": go_gate(cache),
        "go.mod": "module example.com/demo\n\ngo 1.22\n",
        "shop/shop.go": SHOP,
        "shop/shop_test.go": TEST,
        "notes/notes.go": "package notes\n",
    }
    house = House(tmp_path, base, machines={"here": go_machine(tmp_path / "machine", cache)})
    async with house.open() as judge:
        for attempt in attempts():
            files: Files = {path: text.lstrip("\n") for path, text in attempt.get("files", {}).items()}
            candidate = await judge.candidate(files or {"other.txt": "1"}, remove=tuple(attempt.get("remove", ())))
            verdict = await judge.pipeline.judge(candidate)
            told = " ".join([*verdict.reasons, *(result.tail for result in verdict.gates)])
            told += " ".join(str(place) for result in verdict.gates for place in result.held)
            assert verdict.outcome in (Outcome.FAILED, Outcome.HELD), (attempt["name"], verdict.reasons)
            assert attempt["seen"] in told, (attempt["name"], told)
        fixed = await judge.pipeline.judge(await judge.candidate({"shop/shop.go": FIXED}))
        assert fixed.outcome is Outcome.PASSED, fixed.reasons
        assert "tests: 2 runs: the change, 8 canaries and 2 inverted" in fixed.reasons
        assert not any("not available" in reason for reason in fixed.reasons)
        (result,) = fixed.gates
        assert result.junit is not None and (result.junit.tests, result.junit.failures) == (2, 0)
        for change in honest():
            files = {path: text.lstrip("\n") for path, text in change["files"].items()}
            verdict = await judge.pipeline.judge(await judge.candidate({"shop/shop.go": FIXED, **files}))
            assert verdict.outcome is Outcome.PASSED, (change["name"], verdict.reasons)
        more: Files = {"shop/shop.go": FIXED, "shop/more_test.go": MORE, "tax/tax.go": "package tax\n"}
        new = await judge.pipeline.judge(await judge.candidate(more))
        assert new.outcome is Outcome.PASSED, new.reasons
        assert new.gates[0].junit is not None and new.gates[0].junit.tests == 5
        red = await judge.pipeline.judge(await judge.candidate({"shop/shop.go": SHOP + "\n"}))
        assert red.gates[0].failed == ("example.com/demo/shop TestDiscount",)
        assert "got 190" in red.gates[0].tail and '"Action"' not in red.gates[0].tail
        broken = await judge.pipeline.judge(await judge.candidate({"shop/shop.go": SHOP + "func"}))
        assert broken.outcome is Outcome.FAILED and "syntax error" in broken.gates[0].tail


def test_which_commands_are_known() -> None:
    assert runs_go_tests(("go", "test", "./...")) and runs_go_tests((str(GO), "test"))
    assert not runs_go_tests(("go", "vet")) and not runs_go_tests(("gotestsum", "./..."))
    line = "GOPROXY=off exec go test ./..."
    assert asked_for(("sh", "-c", line), ("-json",)) == ("sh", "-c", "GOPROXY=off exec go test -json ./...")
    assert not runs_go_tests(("sh", "-c", "go test ./a && go test ./b")), "which of them would report?"
    assert not runs_go_tests(("sh", "-c", "go vet ./... && echo testing"))

"""Of a failed gate's output the reason reaches the agent and the card, whichever runner wrote it.

``tests/fixtures/outputs`` has one output per runner. Those of the tools that run here are real, the others follow
the formats of their documentation.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from bot.telling.outcome_cards import CARD_LINES
from fleet.files import Sink
from fleet.ports import Output
from fleet.untrusted import tail_that_matters
from gates.runs import junit
from gates.runs.watch import GateOutput

OUTPUTS = Path(__file__).parents[1] / "fixtures" / "outputs"
#: What a person must be able to read, and a line that the runner writes for each test that passed.
REASONS: dict[str, tuple[str, str]] = {
    "bats": ("total was 100", "ok {} adds"),
    "bun": ("Expected: 121", "(pass) adds {} [0.10ms]"),
    "cargo-build": ("expected `i32`, found `&str`", "   Compiling part{} v0.1.0"),
    "cargo-test": ("price must include tax", "test tests::adds{} ... ok"),
    "ctest": ("total(100) is 100, want 121", "{0}/9 Test #{0}: adds ......   Passed    0.00 sec"),
    "deno": ("Values are not equal", "adds {} ... ok (1ms)"),
    "dotnet": ("Expected: 121", "  Passed Shop.PriceTests.Adds{} [1 ms]"),
    "eslint": ("'foo' is not defined", "checked file{}.js"),
    "exunit": ("assert total(100) == 121", "."),
    "gcc": ("undeclared (first use in this function)", "[{}%] Building C object part.c.o"),
    "go-build": ("cannot use \"x\"", "building part{}"),
    "go-test": ("total(100) = 100, want 121", "=== RUN   TestAdds{0}\n--- PASS: TestAdds{0} (0.00s)"),
    "googletest": ("Which is: 100", "[ RUN      ] Price.Adds{0}\n[       OK ] Price.Adds{0} (0 ms)"),
    "gradle": ("expected: <121> but was: <100>", "PriceTest > adds{}() PASSED"),
    "javac": ("String cannot be converted to int", "[loading Part{}.class]"),
    "jest": ("Expected: 121", "    ✓ adds {} (2 ms)"),
    "maven": ("expected: <121> but was: <100>", "[INFO] Running org.example.Part{}Test"),
    "minitest": ("Expected: 121", "."),
    "mocha": ("Expected values to be strictly equal", "    ✔ adds {}"),
    "mypy": ("Incompatible return value type", "LOG: checked part{}.py"),
    "node-spec": ("price must include tax of 21 %", "✔ adds {} (1.028356ms)"),
    "node-tap": ("price must include tax of 21 %", "ok {} - adds\n  ---\n  duration_ms: 1.2\n  ..."),
    "phpunit": ("Failed asserting that 100 matches expected 121", "..............  {} / 900"),
    "playwright": ('Expected string: "121"', "  ✓  {} price.spec.ts:3:1 › adds (213ms)"),
    "prove": ("expected: '121'", "t/part{}.t .. ok"),
    "pytest": ("AssertionError: 100 != 121", "tests/test_part{}.py ........                  [ 10%]"),
    "rspec": ("got: 100", "  adds {}"),
    "traceback": ("No module named 'shop.price'", "checked part{}"),
    "sbt": ("100 did not equal 121", "[info] - adds {} (1 millisecond)"),
    "tsc": ("Type 'string' is not assignable to type 'number'", "part{}.ts"),
    "unittest": ("100 != 121", "test_adds{} (test_price.T.test_adds) ... ok"),
    "vitest": ("expected 100 to be 121", "   ✓ adds {} 1ms"),
    "xctest": ('("100") is not equal to ("121")', "Test Case 'PriceTests.testAdds{}' passed (0.001 seconds)"),
}  # fmt: skip


def _output(name: str) -> str:
    return (OUTPUTS / f"{name}.txt").read_text()


def test_each_output_is_in_the_table() -> None:
    assert sorted(path.stem for path in OUTPUTS.glob("*.txt")) == sorted(REASONS)


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_among_the_lines_of_a_card(name: str) -> None:
    assert REASONS[name][0] in tail_that_matters(_output(name), CARD_LINES)


@pytest.mark.parametrize(("before", "after"), [(100, 0), (600, 200)])
@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_found_among_many_tests_that_passed(name: str, before: int, after: int) -> None:
    reason, passed = REASONS[name]
    noise = [passed.format(number) for number in range(before + after)]
    text = "\n".join([*noise[:before], _output(name), *noise[before:]])
    told = tail_that_matters(text)
    assert reason in told
    assert reason in tail_that_matters(told, CARD_LINES), "the card is cut from what the agent reads"


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_found_below_an_application_that_logs_errors(name: str) -> None:
    log = "".join(f"2026-11-28 ERROR worker {n}: connection error: refused\n" for n in range(150))
    assert REASONS[name][0] in tail_that_matters(log + _output(name))


PREFIXES = ("web:test: ", "apps/web test: ", "@shop/web:test: ", "web-1  | ", "[0] ", "2026-11-28T12:00:00.000Z ")


@pytest.mark.parametrize(("name", "prefix"), list(zip(REASONS, itertools.cycle(PREFIXES), strict=False)))
def test_the_reason_is_found_behind_the_prefix_of_a_program_that_runs_others(name: str, prefix: str) -> None:
    reason, passed = REASONS[name]
    lines = [*(passed.format(number) for number in range(300)), *_output(name).splitlines()]
    text = "\n".join([prefix + line for line in lines] + [f"{prefix}checked part{n}" for n in range(100)])
    told = tail_that_matters(text)
    assert reason in told
    assert reason in tail_that_matters(told, CARD_LINES)


@pytest.mark.parametrize("name", REASONS)
def test_of_many_failures_the_first_keeps_its_reason(name: str) -> None:
    told = tail_that_matters(_output(name) + "".join(_output(name).replace("tax", f"tax{n}") for n in range(60)))
    assert REASONS[name][0] in told
    assert len(told.splitlines()) <= 60


def test_short_output_is_kept_whole() -> None:
    text = "".join(f"line {number}\n" for number in range(60))
    assert tail_that_matters(text) == text.rstrip()


REPORT = b"""<?xml version="1.0"?><testsuites><testsuite name="price" tests="2" failures="1" errors="0" skipped="0">
<testcase classname="shop.price" name="adds"/>
<testcase classname="shop.price" name="includes tax"><failure message="expected 121, got 100 with s3cret">
at price.py:14
AssertionError: expected 121, got 100</failure></testcase></testsuite></testsuites>"""


def test_a_report_names_its_failures_and_their_reasons() -> None:
    read = junit.read(REPORT, lambda text: text.replace("s3cret", "***"))
    assert read is not None
    assert read.counts.failures == 1
    assert read.failures.splitlines() == [
        "FAILED shop.price.includes tax",
        "    expected 121, got 100 with ***",
        "    at price.py:14",
        "    AssertionError: expected 121, got 100",
    ]
    told = tail_that_matters(f"{read.failures}\n\n" + "noise\n" * 900, CARD_LINES)
    assert told.splitlines()[:2] == read.failures.splitlines()[:2]


def test_of_long_output_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    with Sink(tmp_path / "log") as log:
        seen = GateOutput(log, tmp_path / "log")
        for at, data in enumerate([b"error: first\n", *[b"noise\n" * 10_000] * 30, b"last\n"]):
            seen.take(Output(seen.size, data))
            if at == 0:
                assert seen.text() == "error: first\n"
    assert seen.text().startswith("error: first\nnoise\n")
    assert seen.text().endswith("noise\nlast\n")
    assert len(seen.text()) < seen.size
    assert "error: first" in tail_that_matters(seen.text())

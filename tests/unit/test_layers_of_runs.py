"""What the layers make of a gate's runs, and that nothing but the launcher's sealed report counts."""

from __future__ import annotations

import ast
import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from fleet.config import GateConfig, LayerName
from gates.layers import kit
from gates.layers.examination import LAYERS
from gates.layers.kit.pytest_plugin import _written
from gates.layers.protected import Protected
from gates.layers.protocol import Case, LayerFinding, Runs, Toolchain, total
from gates.layers.report import Phase, PhaseReport, baseline_of, unseal
from gates.runs.definitions import define
from tests.scenarios.gate_house import Files
from tests.unit.test_layers import change

TESTS = {"t::a": ("passed", 1.0), "t::b": ("passed", 1.0), "t::c": ("failed", 1.0)}
CANARIES = {"c::1": ("failed", 1.0), "c::2": ("error", 1.0)}
BASE = Phase(status=1, hello=True, end=1, tests=TESTS, at={"t::a": "kept.py:1:00000001"})
AGAIN = Phase(status=1, hello=True, end=1, tests=TESTS, canaries=CANARIES)
GREEN = dict.fromkeys(TESTS, ("passed", 1.0))
HEAD = Phase(status=0, hello=True, end=0, tests=GREEN)
CHECK = Phase(
    status=1,
    hello=True,
    end=1,
    tests={"t::a": ("failed", 1.0)},
    canaries=CANARIES,
    inverted=["t::a"],
    bodies=["t::a"],
)


def judged(
    head: Phase,
    check: Phase | None = CHECK,
    *,
    base: Phase = BASE,
    again: Phase = AGAIN,
    without: LayerName | None = None,
    quarantined: frozenset[str] = frozenset(),
) -> LayerFinding:
    made = change({"kept.py": ""}, {"kept.py": "", "plain.py": ""})
    case = Case(define("tests", GateConfig(run=["pytest"])), Toolchain.PYTEST, made, quarantined)
    runs = Runs(baseline_of(base, again), PhaseReport(head=head, check=check))
    return total(layer.judge(case, runs) for layer in LAYERS if layer.name is not without)


def but(phase: Phase, **fields: object) -> Phase:
    return msgspec.structs.replace(phase, **fields)


@pytest.mark.parametrize(("passed", "words"), [(("t::a", "t::b", "t::c"), ""), (("t::a", "t::b"), "t::c")])
def test_what_the_bases_tests_say_alone_counts_where_they_ran_so(passed: tuple[str, ...], words: str) -> None:
    alone = Phase(status=0, hello=True, end=0, tests=dict.fromkeys(passed, ("passed", 1.0)))
    case = Case(define("tests", GateConfig(run=["go", "test"])), Toolchain.GO, change({}, {"a_test.go": ""}))
    found = Protected().judge(case, Runs(baseline_of(BASE, None), PhaseReport(head=HEAD, check=CHECK, alone=alone)))
    assert [place.why for place in found.held] == (
        [f"fails with the base's tests and their data, passes with the changed ones: {words}"] if words else []
    )


DOCTEST = '"""Adds.\n\n>>> add(1, 2)\n3\n"""\n'


@pytest.mark.parametrize(
    ("path", "before", "after", "words"),
    [
        ("rates.json", "1", "2", "changes data that tests of the base read"),
        ("rates.json", None, "2", "adds data that tests of the base looked for"),
        ("rates.py", "X = 1\n", "X = 2\n", ""),
        ("other.json", "1", "2", ""),
        ("docs/use.md", ">>> add(1, 2)\n3\n", ">>> add(1, 2)\n4\n", "changes examples"),
        ("docs/use.md", ">>> add(1, 2)\n3\n", "More.\n\n>>> add(1, 2)\n3\n", ""),
        ("shop.py", DOCTEST, DOCTEST.replace("3", "4"), "changes examples"),
        ("shop.py", DOCTEST, DOCTEST + "\n\ndef add(a, b):\n    return a + b\n", ""),
        (
            "check_it.py",
            "def check_a():\n    assert f() == 1\n",
            "def check_a():\n    assert f()\n",
            "changes a test",
        ),
        ("check_it.py", "def check_a():\n    pass\n", "import json\n\n\ndef check_a():\n    pass\n", ""),
    ],
)
def test_what_tests_of_the_base_depend_on_is_held(path: str, before: str | None, after: str, words: str) -> None:
    old: Files = {} if before is None else {path: before}
    tests = dict.fromkeys(("docs/use.md::use.md", "shop.py::shop", "check_it.py::check_a[1]"), ("passed", 1.0))
    base = Phase(status=0, hello=True, end=0, tests=tests, data=["rates.json", "rates.py"])
    case = Case(define("tests", GateConfig(run=["pytest"])), Toolchain.PYTEST, change(old, {path: after}))
    found = Protected().judge(case, Runs(baseline_of(base, None), PhaseReport(head=but(HEAD, tests=tests)))).held
    assert [words in place.why for place in found] == ([True] if words else [])


def test_a_test_in_quarantine_may_fail_and_not_be_skipped() -> None:
    spared = frozenset({"t::a"})
    for outcome, words in (("xfailed", ""), ("skipped", "is skipped now: t::a")):
        head = but(HEAD, tests=GREEN | {"t::a": (outcome, 1.0)})
        assert (words in str(judged(head, quarantined=spared).held)) is True
        assert bool(judged(head, quarantined=spared).held) is bool(words)
        assert judged(head).held, "out of quarantine both are held"


def test_a_file_that_the_base_could_not_load_has_tests_that_run_now() -> None:
    base = but(BASE, broken=["test_new.py"])
    ran = but(HEAD, tests=GREEN | {"test_new.py::test_a": ("passed", 1.0)})
    skipped = but(HEAD, tests=GREEN | {"test_new.py::test_a": ("skipped", 1.0)})
    for head, words in ((ran, ""), (HEAD, "test_new.py"), (skipped, "test_new.py")):
        why = f"could not be loaded on the base, and has no test that runs now: {words}"
        assert [place.why for place in judged(head, base=base).held] == ([why] if words else [])


def test_what_a_new_file_of_tests_replaces_is_its_own_affair() -> None:
    replaced = [("tests/test_new.py", "the directory where tests work")]
    assert judged(but(HEAD, replaced=replaced)) == LayerFinding()
    assert judged(but(HEAD, replaced=[("", "json.loads")])).held


def test_an_honest_run_gives_nothing_to_say() -> None:
    assert judged(HEAD) == LayerFinding()
    more = but(HEAD, tests=GREEN | {"t::new": ("passed", 1.0)})
    every = but(CHECK, every=True, tests=GREEN | {"t::a": ("failed", 1.0)})
    assert judged(more, every) == LayerFinding()


@pytest.mark.parametrize(
    ("head", "layer"),
    [
        (but(HEAD, hello=False), LayerName.BASELINE),
        (but(HEAD, end=None), LayerName.BASELINE),
        (but(HEAD, end=1), LayerName.BASELINE),
        (but(HEAD, forked=True), LayerName.BASELINE),
        (but(HEAD, broken=["t"]), LayerName.BASELINE),
        (but(HEAD, tests={}), LayerName.BASELINE),
        (but(HEAD, tests=GREEN | {"t::a": ("failed", 1.0)}), LayerName.BASELINE),
        (but(HEAD, tests=dict.fromkeys(TESTS, ("skipped", 1.0))), LayerName.BASELINE),
    ],
)
def test_a_run_that_contradicts_its_exit_status_fails(head: Phase, layer: LayerName) -> None:
    assert judged(head).failed
    assert not judged(head, without=layer).failed


@pytest.mark.parametrize(
    "check",
    [
        but(CHECK, hello=False),
        but(CHECK, end=None),
        but(CHECK, canaries={}),
        but(CHECK, canaries=CANARIES | {"c::1": ("passed", 1.0)}),
        but(CHECK, canaries=CANARIES | {"c::1": ("skipped", 1.0)}),
        but(CHECK, tests={"t::a": ("passed", 1.0)}),
        but(CHECK, status=0),
    ],
)
def test_a_test_that_must_fail_and_does_not_fails_the_gate(check: Phase) -> None:
    assert judged(HEAD, check).failed
    assert not judged(HEAD, check, without=LayerName.CANARIES).failed


@pytest.mark.parametrize(
    ("head", "layer"),
    [
        (but(HEAD, tests={"t::a": ("passed", 1.0), "t::b": ("passed", 1.0)}), LayerName.BASELINE),
        (but(HEAD, tests=GREEN | {"t::c": ("skipped", 1.0)}), LayerName.BASELINE),
        (but(HEAD, tests=GREEN | {"t::a": ("xfailed", 1.0)}), LayerName.BASELINE),
        (but(HEAD, rewritten=["tests/test_a.py"]), LayerName.PROTECTED),
        (but(HEAD, stand_ins=["plain"]), LayerName.TOOLS),
        (but(HEAD, equal=[("a.py", 3, "Answer")]), LayerName.SCAN),
        (but(HEAD, reads=[("a.py", 3)]), LayerName.SCAN),
        (but(HEAD, commands=[("a.py", 3)]), LayerName.SCAN),
        (but(HEAD, replaced=[("t.py", "total")]), LayerName.PROTECTED),
        (but(HEAD, at={"t::a": "other.py:1:00000002 kept.py:1:00000001"}), LayerName.PROTECTED),
    ],
)
def test_what_a_person_must_see_is_held(head: Phase, layer: LayerName) -> None:
    assert judged(head).held
    assert not judged(head).failed
    assert not judged(head, without=layer).held


@pytest.mark.parametrize(
    ("before", "after", "sure"),
    [
        ({}, {"tests/test_new.py": ""}, True),
        ({"tests/golden.txt": "a"}, {"tests/golden.txt": "b", "tests/test_new.py": ""}, False),
        ({"tests/conftest.py": "a = 1"}, {"tests/conftest.py": "b = 1"}, False),
        ({"api/tests/test_a.py": "a = 1"}, {"api/tests/test_a.py": "b = 1"}, False),
        ({}, {"spec/rules.json": "{}"}, False),
        ({"tests/test_a.py": ""}, {}, False),
    ],
)
def test_only_what_new_test_modules_alone_can_explain_fails_the_gate(
    before: dict[str, str | bytes], after: dict[str, str | bytes], sure: bool
) -> None:
    case = Case(define("tests", GateConfig(run=["pytest"])), Toolchain.PYTEST, change(before, after))
    red = but(CHECK, every=True, tests={"t::a": ("failed", 1.0), "t::b": ("failed", 1.0), "t::c": ("passed", 1.0)})
    runs = Runs(baseline_of(BASE, AGAIN), PhaseReport(head=HEAD, check=red))
    found = Protected().judge(case, runs)
    assert (bool(found.failed), bool(found.held)) == (sure, not sure)


def test_tests_that_need_the_new_ones_to_pass_fail_the_gate() -> None:
    """A new test file that patches the source or the framework: without it, a test of the base is red."""
    check = but(
        CHECK, every=True, tests={"t::a": ("failed", 1.0), "t::b": ("failed", 1.0), "t::c": ("passed", 1.0)}
    )
    assert "t::b" in judged(HEAD, check).failed[0]
    assert not judged(HEAD, check, without=LayerName.PROTECTED).failed
    inverted = but(check, inverted=["t::a", "t::b"], bodies=["t::a", "t::b"])
    assert not judged(HEAD, inverted).failed


def test_a_run_with_canaries_that_takes_too_long_is_held() -> None:
    late = judged(HEAD, but(CHECK, late=True, seconds=40.0, end=None, canaries={}, tests={}))
    assert late.failed == ()
    assert late.held[0].why == "the run with canaries took longer than 40 s, and was ended"


def test_what_passes_only_while_it_is_seen_to_be_a_test_is_held() -> None:
    check = but(CHECK, hidden=["t::c"], inverted=["t::a", "t::c"], tests=TESTS | {"t::a": ("failed", 1.0)})
    found = judged(HEAD, check)
    assert found.failed == () and "only while it can be seen" in found.held[0].why
    assert not judged(HEAD, but(check, bodies=["t::a", "t::c"])).held
    assert not judged(HEAD, check, without=LayerName.CANARIES).held
    every = judged(HEAD, but(check, every=True, tests={**check.tests, "t::b": ("passed", 1.0)}))
    assert every.failed == (), "alone, it may miss what is hidden"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"swallowed": [("kept.py", 7), ("kept.py", 7)]}, "keeps the failure to itself"),
        ({"outside": ["t::a"]}, "fails in a program that no test runner started: t::a"),
    ],
)
def test_what_only_a_hidden_run_hears_is_held(more: dict[str, object], words: str) -> None:
    (place,) = judged(HEAD, but(CHECK, **more)).held
    assert words in place.why
    unharmed = but(CHECK, **more, canaries={"c::1": ("passed", 1.0)})
    assert judged(HEAD, unharmed).held == ()


@pytest.mark.parametrize(
    ("before", "now", "is_held"),
    [("1 2", "1 2", False), ("1 2", "2 1 3", False), ("1 2", "1 3", True), ("1", "", True)],
)
def test_a_test_keeps_the_values_that_it_gets(before: str, now: str, is_held: bool) -> None:
    base = but(BASE, at={"t::a": f"kept.py:1:00000001|{before}"})
    held = judged(but(HEAD, at={"t::a": f"kept.py:1:00000001|{now}"}), base=base).held
    assert bool(held) is is_held


@dataclass
class Row:
    total: int
    left: list[int]


def test_what_a_parameter_is_made_of_is_known_by_its_parts() -> None:
    assert _written({"row": Row(200, [180, 75])}) == [".row.total=200", ".row.left.0=180", ".row.left.1=75"]
    assert _written({"row": Row(200, []), "f": len}) == [] == _written({"made": object()})


def test_what_differs_between_two_runs_of_the_base_is_left_out_and_named() -> None:
    again = but(AGAIN, tests=TESTS | {"t::b": ("failed", 1.0)})
    found = judged(but(HEAD, tests={"t::a": ("passed", 1.0), "t::c": ("passed", 1.0)}), again=again)
    assert (found.failed, found.held) == ((), ())
    assert "t::b" in found.notes[0]


def test_what_the_base_does_itself_is_not_held_against_the_change() -> None:
    known = but(BASE, equal=[("a.py", 3, "Any")], reads=[("a.py", 3)], rewritten=["tests/snap.py"], status=0)
    known = but(known, commands=[("a.py", 7)], replaced=[("t.py", "total")])
    head = but(
        HEAD,
        commands=[("a.py", 8)],
        replaced=[("t.py", "total")],
        equal=[("a.py", 9, "Any")],
        reads=[("a.py", 4)],
        rewritten=["tests/snap.py"],
        tests=GREEN | {"t::c": ("failed", 1.0)},
    )
    assert judged(head, base=known) == LayerFinding()


def test_a_base_without_names_leaves_the_layers_not_available() -> None:
    found = judged(but(HEAD, hello=False, end=None), None, base=Phase(status=1))
    assert found.failed == ()
    assert [note.split(":")[0] for note in found.notes] == ["baseline", "canaries"]


def test_canaries_that_pass_on_the_base_are_not_available() -> None:
    found = judged(HEAD, but(CHECK, canaries={}), again=but(AGAIN, canaries=CANARIES | {"c::1": ("passed", 1.0)}))
    assert (found.failed, len(found.notes)) == ((), 1)


def sealed(body: bytes, key: str) -> bytes:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest().encode() + b"\n" + body


def test_only_a_sealed_report_counts() -> None:
    body = msgspec.json.encode(PhaseReport(head=HEAD))
    assert unseal(sealed(body, "key"), "key") == PhaseReport(head=HEAD)
    for forged in (b"", body, sealed(body, "other"), sealed(body, "key") + b" ", sealed(b"{}", "key"), b"x" * 100):
        assert unseal(forged, "key") is None


@pytest.mark.parametrize(
    "name",
    [
        "launcher.py",
        "pytest_plugin.py",
        "pytest_watching.py",
        "pytest_equality.py",
        "pytest_hiding.py",
        "pytest_swallowing.py",
        "pytest_outside.py",
        "go_results.py",
    ],
)
def test_what_is_sent_to_machines_is_python_3_9(name: str) -> None:
    ast.parse((Path(kit.__path__[0]) / name).read_text(), feature_version=(3, 9))

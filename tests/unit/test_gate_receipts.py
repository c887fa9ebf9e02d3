"""Receipts of gate runs, in-toto's own predicate of each receipt, and receipts of earlier versions."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import rfc8785

from fleet.errors import Refused
from fleet.events import GateOpened, GateOverridden, LandingDone, LocksGranted, LocksReleased, merkle
from gates.receipts import gate_run, results, statement
from gates.receipts.verify import check_shape
from tests.schema import load, problems
from tests.unit.test_receipts import BASE, SNAPSHOT, TREE, Story, began, changed, landed

#: Of the receipt that the last version without ``attempt`` and ``locks`` made of the same story.
OLD_SHA256 = "f76621c622c34d68b397dae0087e9093489de4f81fc778a063e46a198672496f"


def _gate_receipt(story: Story, run: str) -> bytes:
    size = gate_run.close_of(run, story.events).seq
    return gate_run.build(run, story.events, merkle.root(item.leaf for item in story.events[:size]))


def test_a_receipt_has_each_field_that_a_policy_asks_for() -> None:
    story = landed()
    granted = LocksGranted("h1", "t1", ("demo:src/**", "demo:docs/**"), (7, 8), ("write", "write"), "change", 9)
    released = LocksReleased("h1", "t1", ("demo:docs/**",), "done")
    lands = story.events.pop()
    story.tell(granted)
    story.tell(released)
    story.tell(lands.event)
    said = json.loads(story.statement())["predicate"]
    assert said["locks"] == [{"resource": "demo:src/**", "mode": "write", "token": 7}]
    (gate,) = said["gates"]
    asked = ("argv", "raw_wait_status", "tree", "base", "definition_sha256", "machine", "attempt", "output_sha256")
    assert [gate[name] for name in asked] == [["pytest"], 0, TREE, BASE, "a" * 64, "m", 2, "0" * 64]
    assert problems(json.loads(story.statement()), load("receipt.json")) == []


def test_a_receipt_of_the_first_version_still_verifies_and_is_computed_again() -> None:
    story = landed()
    old = statement.build("t1", story.events, story.head(), statement.OLD_PREDICATE_TYPE)
    check, said = check_shape(old)
    assert check.ok and problems(said, load("receipt.json")) == []
    assert "locks" not in said["predicate"] and "attempt" not in said["predicate"]["gates"][0]
    assert hashlib.sha256(old).hexdigest() == OLD_SHA256, "its bytes changed: no receipt of before would verify"


def test_a_gate_run_has_a_receipt_however_it_ended() -> None:
    story = landed()
    story.tell(GateOpened("tests", SNAPSHOT, TREE, BASE, ("pytest",), "a" * 64, 2), gate_run="t1.1.2-tests-2")
    for run, outcome, attempt in (("t1.1.1-tests", "failed", 1), ("t1.1.2-tests", "passed", 2)):
        check, said = check_shape(_gate_receipt(story, run))
        assert check.ok and said["predicate"]["outcome"] == outcome and outcome in check.detail
        assert said["predicate"]["attempt"] == attempt
        assert said["subject"] == [{"name": "demo:tests", "digest": {"gitCommit": said["predicate"]["commit"]}}]
        assert problems(said, load("receipt-gate.json")) == []
    with pytest.raises(Refused, match="its close"):
        _gate_receipt(story, "t1.1.2-tests-2")


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("_type",), "https://in-toto.io/Statement/v0.1"),
        (("subject", 0, "digest", "gitCommit"), "0" * 40),
        (("predicate", "attempt"), 0),
        (("predicate", "attempt"), "1"),
        (("predicate", "ledger", "size"), 1),
        (("predicate", "argv"), None),
    ],
)
def test_a_gate_runs_statement_that_shows_less_is_not_one(path: Any, to: Any) -> None:
    data = _gate_receipt(landed(), "t1.1.2-tests")
    assert check_shape(data)[0].ok
    assert not check_shape(changed(data, *path, to=to))[0].ok


def test_in_totos_own_predicate_says_the_same_of_a_receipt() -> None:
    """The names of the fields are those of https://in-toto.io/attestation/test-result/v0.1."""
    story = landed()
    receipt = story.statement()
    check, said = check_shape(results.result_of(receipt))
    assert check.ok and check.detail == "PASSED: urn:airboss:task:t1"
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert said["subject"] == json.loads(receipt)["subject"]
    assert said["predicate"] == {
        "result": "PASSED",
        "configuration": [
            {"name": "tests", "digest": {"sha256": "a" * 64}},
            {
                "name": "t1.json",
                "mediaType": "application/vnd.in-toto+json",
                "digest": {"sha256": hashlib.sha256(receipt).hexdigest()},
            },
        ],
        "url": "urn:airboss:task:t1",
        "passedTests": ["tests"],
        "warnedTests": [],
        "failedTests": [],
    }
    red = json.loads(results.result_of(_gate_receipt(story, "t1.1.1-tests")))
    assert (red["predicate"]["result"], red["predicate"]["failedTests"]) == ("FAILED", ["tests"])
    assert not check_shape(changed(rfc8785.dumps(red), "predicate", "result", to="PASSED"))[0].ok


def test_an_overridden_gate_is_a_warning() -> None:
    story = began()
    story.gate("t1.1.1-tests", SNAPSHOT, TREE, "failed")
    word = GateOverridden("tests", SNAPSHOT, TREE, "a" * 64, "failed", "ada", "flaky net", 9, False)
    story.tell(word, actor="slack:T1:U2")
    story.verdict(SNAPSHOT, TREE, "passed", "t1.1.1-tests")
    story.tell(LandingDone("refs/heads/main", BASE, SNAPSHOT, TREE, 1))
    said = json.loads(results.result_of(story.statement()))["predicate"]
    assert (said["result"], said["warnedTests"], said["passedTests"]) == ("WARNED", ["tests"], [])

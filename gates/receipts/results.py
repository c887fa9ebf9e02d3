"""The same as in-toto's ``test-result``: which gates passed, for tools that know that predicate and not ours.

It is computed from a receipt of ours alone, and names that by its hash. A gate is a test of it; what a gate's own
tests said is testimony, and is not repeated here.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Any, Final

import rfc8785

from fleet.verdict import Outcome
from gates.receipts.statement import STATEMENT_TYPE

RESULT_TYPE: Final = "https://in-toto.io/attestation/test-result/v0.1"
_STATEMENT: Final = "application/vnd.in-toto+json"


class ResultWord(StrEnum):
    """Of all gates. A gate that did not pass, and that a person overrode, is a warning."""

    PASSED = "PASSED"
    WARNED = "WARNED"
    FAILED = "FAILED"


def result_of(receipt: bytes) -> bytes:
    """The RFC 8785 bytes of the statement that goes with a receipt of a landing or of a gate run."""
    statement = json.loads(receipt)
    said = statement["predicate"]
    landed = "landed" in said
    runs: list[dict[str, Any]] = [*said["gates"], *said.get("reviews", ())] if landed else [said]
    overridden = [run for run in runs if "overridden" in run]
    failed = [run for run in runs if not _passed(run) and run not in overridden]
    result = ResultWord.FAILED if failed else ResultWord.WARNED if overridden else ResultWord.PASSED
    name = said["task"]["id"] if landed else said["run"]
    ours: dict[str, Any] = {
        "name": f"{name}.json",
        "mediaType": _STATEMENT,
        "digest": {"sha256": hashlib.sha256(receipt).hexdigest()},
    }
    return rfc8785.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": statement["subject"],
            "predicateType": RESULT_TYPE,
            "predicate": {
                "result": str(result),
                "configuration": [*map(_definition, runs), ours],
                "url": f"urn:airboss:{'task' if landed else 'run'}:{name}",
                "passedTests": [run["gate"] for run in runs if _passed(run)],
                "warnedTests": [run["gate"] for run in overridden],
                "failedTests": [run["gate"] for run in failed],
            },
        }
    )


def _definition(run: dict[str, Any]) -> dict[str, Any]:
    return {"name": run["gate"], "digest": {"sha256": run["definition_sha256"]}}


def _passed(run: dict[str, Any]) -> bool:
    """Only reviews without objection are in a receipt of a landing."""
    return run["outcome"] in (str(Outcome.PASSED), "no objection")


def problem(statement: Any) -> str:
    """What is missing in such a statement; empty: nothing."""
    match statement:
        case {
            "_type": str(kind),
            "subject": [{"digest": {"gitCommit": str()}}],
            "predicate": {
                "result": str(result),
                "configuration": [*_, {"digest": {"sha256": str()}, "mediaType": str()}],
                "url": str(url),
                "passedTests": list(),
                "warnedTests": list(),
                "failedTests": list(failed),
            },
        }:
            pass
        case _:
            return "it lacks a field that every result has"
    if kind != STATEMENT_TYPE or result not in set(ResultWord) or not named(url):
        return "it is of another type, or names neither a task nor a run"
    return "its result is not that of its tests" if bool(failed) != (result == ResultWord.FAILED) else ""


def named(url: str) -> tuple[str, str] | None:
    """``task`` or ``run``, and its name, as the URL of a result has it."""
    match url.split(":", 3):
        case ["urn", "airboss", ("task" | "run") as kind, str(name)] if name:
            return kind, name
        case _:
            return None

"""A pytest gate's course: what it sends to the machine, what it keeps of the base, what no report means."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from fleet.config import GateConfig, MachineConfig
from fleet.exits import Exit, Exited, Signalled
from fleet.model import Session, Task, Turn
from fleet.ports import Candidate, LoginFacts
from fleet.setup.site import ProvidedDirectory
from fleet.verdict import Evidence, GateResult, Outcome
from gates.layers.course import PytestCourse
from gates.layers.kept import MOST, KeptBaselines
from gates.layers.protocol import Case, Toolchain
from gates.layers.report import Baseline, Phase, PhaseReport, baseline_of
from gates.runs.definitions import define
from gates.runs.place import Place, Run
from gates.runs.plan import GateEnvironment
from gates.runs.surroundings import process_of
from tests.far_end.machine import Machine
from tests.unit.test_layers import change
from tests.unit.test_layers_of_runs import AGAIN, BASE, CHECK, HEAD, but, sealed

TREE, BASE_TREE, BASE_COMMIT = "1" * 40, "2" * 40, "3" * 40
GATE = define("tests", GateConfig(run=["python3", "-m", "pytest"], timeout="10s"))
FACTS = LoginFacts(
    "gates", 1001, "/home/gates", "here", "b", "linux", "3.12.1", 2, 0, 1 << 40, 0, contained=True, walled=True
)


def run(facts: LoginFacts = FACTS, **machine: Any) -> Run:
    config = MachineConfig.model_validate({"executor": "local", **machine})
    asked = (cast(Task, None), cast(Session, None), cast(Turn, None))  # a course does not look at them
    candidate = Candidate(*asked, "4" * 40, TREE, BASE_COMMIT, 1)
    return Run("r1", "nonce", "p1", GATE, candidate, Place("here", Machine(), facts, config))


def course(kept: Path) -> PytestCourse:
    return PytestCourse(Case(GATE, Toolchain.PYTEST, change({}, {"a.py": ""})), (), BASE_TREE, kept)


def ended(exit_: Exit) -> GateResult:
    evidence = Evidence(exit_, 0, TREE, "here", "gates", True, "", 0, 1, 2)
    outcome = Outcome.PASSED if exit_ == Exited(0) else Outcome.FAILED
    return GateResult("r1", "tests", GATE.argv, outcome, str(exit_), evidence, None, "")


def report(kept: Path, of: Run, phases: PhaseReport) -> bytes:
    """What a launcher with this run's key leaves."""
    key = course(kept).equip(of, process_of(of)).spec.env["AIRBOSS_LAYERS_KEY"]
    return sealed(msgspec.json.encode(phases), key)


def test_code_plan_and_base_come_from_the_controller(tmp_path: Path) -> None:
    of = run()
    equipped = course(tmp_path).equip(of, process_of(of))
    *_, flag, code, plan, digest = equipped.spec.argv
    assert (flag, plan) == ("-c", "/airboss/plan.json")
    assert "def take_key" in code
    assert digest == hashlib.sha256(equipped.files["plan.json"]).hexdigest()
    assert list(equipped.files) == ["plan.json"]  # nothing that runs is read from the login
    assert equipped.base == BASE_COMMIT
    assert equipped.spec.expect_trees == ((f"{of.room}/tree", TREE), (f"{of.room}/base/tree", BASE_TREE))
    assert equipped.spec.timeout_us == 100_000_000  # two runs, and two that may take four times as long


def test_what_a_change_installs_is_never_what_watches_it(tmp_path: Path) -> None:
    """The launcher finds the machine's Python; only the command that it runs finds what setups made."""
    made = GateEnvironment((ProvidedDirectory(".venv", "/x/new"),), (ProvidedDirectory(".venv", "/x/base"),))
    of = replace(run(), environment=made)
    equipped = course(tmp_path).equip(of, process_of(of))
    assert "/airboss/tree" not in equipped.spec.env["PATH"]
    plan = json.loads(equipped.files["plan.json"])
    assert plan["path"] == "/airboss/tree/.venv/bin:/airboss/tree/.venv/.bin:"
    walls = equipped.spec.walls
    assert walls is not None
    assert walls.given == (("/x/new", "/airboss/tree/.venv"), ("/x/base", "/airboss/base/tree/.venv"))


async def test_a_base_is_run_once_for_what_it_depends_on(tmp_path: Path) -> None:
    of, seen = run(), PhaseReport(head=HEAD, base=BASE, again=AGAIN, check=CHECK)
    judged = await course(tmp_path).judge(of, ended(Exited(0)), report(tmp_path, of, seen))
    assert judged.notes[0] == "4 runs: the base twice, the change, 2 canaries and 1 inverted"
    equipped = course(tmp_path).equip(of, process_of(of))
    assert equipped.base == "" and len(equipped.spec.expect_trees) == 1
    assert json.loads(equipped.files["plan.json"])["baseline"]["t::c"] == ["failed", 1.0]
    for other in (
        run(replace(FACTS, python="3.13.0")),
        run(gate_path=["/srv/tools"]),
        run(replace(FACTS, walled=False)),
    ):
        assert course(tmp_path).equip(other, process_of(other)).base == BASE_COMMIT


@pytest.mark.parametrize(
    ("base", "again"),
    [
        (but(BASE, late=True), None),
        (but(BASE, end=None), AGAIN),
        (Phase(status=-9), None),
        (BASE, but(AGAIN, late=True)),
        (BASE, but(AGAIN, end=None, tests={})),
    ],
)
async def test_a_base_whose_run_was_cut_short_is_asked_again(
    tmp_path: Path, base: Phase, again: Phase | None
) -> None:
    of = run()
    await course(tmp_path).judge(
        of, ended(Exited(0)), report(tmp_path, of, PhaseReport(head=HEAD, base=base, again=again, check=CHECK))
    )
    assert course(tmp_path).equip(of, process_of(of)).base == BASE_COMMIT
    assert not baseline_of(base, again).unstable


@pytest.mark.parametrize(
    ("exit_", "outcome"),
    [
        (Exited(0), Outcome.LOST),
        (Exited(125), Outcome.LOST),
        (Exited(1), Outcome.FAILED),
        (Signalled("SIGKILL"), Outcome.FAILED),
    ],
)
async def test_without_a_trusted_report_nothing_passes(tmp_path: Path, exit_: Exit, outcome: Outcome) -> None:
    forged = sealed(msgspec.json.encode(PhaseReport(head=HEAD, base=BASE, check=CHECK)), "another key")
    for found in (None, b"", forged):
        judged = await course(tmp_path).judge(run(), ended(exit_), found)
        assert judged.outcome is outcome
        assert "no trusted report of the test results" in judged.reason
    assert not list(tmp_path.iterdir())


def test_only_the_baselines_that_were_used_last_are_kept(tmp_path: Path) -> None:
    kept = KeptBaselines(tmp_path / "baselines")
    baseline: Baseline = baseline_of(BASE, AGAIN)
    for number in range(MOST):
        kept.put([str(number)], baseline)
        os.utime(max(kept.folder.iterdir(), key=lambda path: path.stat().st_mtime_ns), (number, number))
    assert kept.get(["0"]) == baseline
    kept.put(["new"], baseline)
    assert len(list(kept.folder.iterdir())) == MOST
    assert (kept.get(["0"]), kept.get(["1"])) == (baseline, None)

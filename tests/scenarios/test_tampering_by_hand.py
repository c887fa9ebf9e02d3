"""Attempts and honest changes of the corpus through the command line, as somebody types it to try a gate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from bot.local.verdicts import STATUS
from fleet.verdict import Outcome
from tests.conftest import FULL
from tests.far_end.repositories import commit, git, make_work
from tests.tampering.corpus import BASE, Change, attempts, edits, honest

#: Without a whole campaign.
SAMPLE = "numbers of the caller's code, by a dictionary"
pytestmark = pytest.mark.timeout(10_800 if FULL else 300)


def tried(work: Path, change: Change) -> Outcome:
    """The verdict on a change to ``main``."""
    git(work, "checkout", "--quiet", "-B", "change", "main")
    for path in change.remove:
        git(work, "rm", "--quiet", path)
    commit(work, change.files, change.name)
    command = [sys.executable, "-m", "bot.cli", "gate", "try", "--repo", str(work), "--base", "main"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "AIRBOSS_HOME": str(work.parent / "none"), "PATH": path}
    ended = subprocess.run([*command, "--head", "change", "--json"], env=env, capture_output=True, check=False)
    assert ended.stdout, ended.stderr.decode()
    outcome = Outcome(json.loads(ended.stdout)["verdict"])
    assert ended.returncode == STATUS[outcome]
    return outcome


def test_no_attempt_passes_and_no_honest_change_fails_by_hand(tmp_path: Path) -> None:
    changes = [each for each in [*attempts(), *honest(), *edits()] if FULL or each.name == SAMPLE]
    found = []
    for number, (base, those) in enumerate(groupby(changes, key=lambda change: change.base)):
        files = {**BASE, **base}
        files["airboss.toml"] = str(files["airboss.toml"]).replace(sys.executable, "python3")
        work = make_work(tmp_path / str(number) / "work", files)
        found += [(change, tried(work, change)) for change in those]
    wrong = [
        (change.name, str(outcome))
        for change, outcome in found
        if outcome not in ((Outcome.FAILED, Outcome.HELD) if not change.honest else _wanted(change))
    ]
    assert wrong == []


def _wanted(change: Change) -> tuple[Outcome, ...]:
    return (Outcome.HELD,) if change.held else (Outcome.PASSED,)

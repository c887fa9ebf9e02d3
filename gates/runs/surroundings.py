"""What surrounds a gate run: its environment, its walls, and the paths of its directories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from fleet.excerpts import lacks_network
from fleet.isolation import INSIDE, Alone, Walls
from fleet.limits import InForce, amount_of
from fleet.ports import PipeSpec
from gates.runs.place import Run, bare_path

NO_NETWORK: Final = "this gate has no network"
_TOO_LARGE: Final = re.compile(r"File size limit exceeded|File too large|EFBIG")
_NO_PROCESS: Final = re.compile(r"[Cc]annot fork|fork: (retry|Resource)|can't start new thread")


def process_of(run: Run) -> PipeSpec:
    """The process of a run, with walls where its machine can build them. Inside walls its directories have one
    fixed path, the same for every run."""
    place, definition = run.place, run.definition
    walled = place.facts.walled
    seen_as = INSIDE if walled else run.room
    read = (*place.config.gate_path, *place.config.gate_read)
    report = f"{seen_as}/report/junit.xml"
    walls = Walls(run.room, read, definition.network, given=run.environment.mounts, kept=run.kept)
    return PipeSpec(
        id=run.pipe,
        nonce=run.nonce,
        argv=tuple(word.replace("{junit}", report) for word in definition.argv),
        cwd=f"{seen_as}/tree",
        env={
            "PATH": run.environment.path(f"{seen_as}/tree") + bare_path(place.config),
            "HOME": f"{seen_as}/home",
            "TMPDIR": "/tmp" if walled else f"{run.room}/scratch",  # noqa: S108 - the run's own, inside its walls
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "AIRBOSS_GATE": definition.name,
            **dict(definition.env),
        },
        bare_env=True,
        merge=True,
        contain=True,
        walls=walls if walled else None,
        alone=Alone(run.room, place.own if place.supervisor else "") if place.own else None,
        limits=place.config.run_limits(
            run.room, *([f"{run.kept}/upper"] if run.kept else []), memory=definition.memory
        ),
        timeout_us=definition.timeout_us,
        keep_awake=place.config.keep_awake,
        expect_trees=((run.tree, run.candidate.tree),),
        beside=() if walled else tuple(each.path for each in run.environment.tree),
        large=run.large,
        submodules=run.submodules,
    )


def network_hint(run: Run, output: Sequence[str]) -> str:
    """A line for people and the agent when a run without network printed network errors; otherwise empty."""
    if run.definition.network or not run.place.facts.walled:
        return ""
    return f"{NO_NETWORK}; `network = true` in its definition allows it" if lacks_network(output) else ""


def limit_hint(limits: InForce | None, output: str) -> str:
    """The limit that a command's own words are about, where the kernel held it before anyone looked; otherwise
    empty."""
    if limits is None:
        return ""
    if limits.disk and _TOO_LARGE.search(output):
        return f"its machine's `run_disk` lets a run write {amount_of(limits.disk)}"
    if limits.processes and _NO_PROCESS.search(output):
        return f"its machine's `run_processes` lets a run have {limits.processes}"
    return ""

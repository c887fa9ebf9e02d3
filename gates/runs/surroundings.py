"""What surrounds a gate run: its environment, its walls, and the paths of its directories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fleet.isolation import INSIDE, Alone, Walls
from fleet.ports import PipeSpec
from gates.runs.place import Run

#: System directories only: programs that an agent's login can write must not be found first.
_PATH: Final = "/opt/homebrew/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

NO_NETWORK: Final = "this gate has no network"

#: What programs print without a network: messages of C libraries, git, curl, pip, npm and Go.
_SIGNS: Final = (
    "Temporary failure in name resolution",
    "Name or service not known",
    "Could not resolve host",
    "Network is unreachable",
    "ENETUNREACH",
    "EAI_AGAIN",
    "ENOTFOUND",
    "dial tcp: lookup",
    "getaddrinfo failed",
)


def process_of(run: Run) -> PipeSpec:
    """The process of a run, with walls where its machine can build them. Inside walls its directories have one
    fixed path, the same for every run."""
    place, definition = run.place, run.definition
    walled = place.facts.walled
    seen_as = INSIDE if walled else run.room
    read = (*place.config.gate_path, *place.config.gate_read)
    report = f"{seen_as}/report/junit.xml"
    return PipeSpec(
        id=run.pipe,
        nonce=run.nonce,
        argv=tuple(word.replace("{junit}", report) for word in definition.argv),
        cwd=f"{seen_as}/tree",
        env={
            "PATH": ":".join([*place.config.gate_path, _PATH]),
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
        walls=Walls(run.room, read, definition.network) if walled else None,
        alone=Alone(run.room, place.own if place.supervisor else "") if place.own else None,
        limits=place.config.run_limits(run.room, memory=definition.memory),
        timeout_us=definition.timeout_us,
        expect_trees=((f"{run.room}/tree", run.candidate.tree),),
    )


def network_hint(run: Run, output: Sequence[str]) -> str:
    """A line for people and the agent when a run without network printed network errors; otherwise empty."""
    if run.definition.network or not run.place.facts.walled:
        return ""
    missed = any(sign in line for line in output for sign in _SIGNS)
    return f"{NO_NETWORK}; `network = true` in its definition allows it" if missed else ""

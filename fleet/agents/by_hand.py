"""An agent's own interface for a person at a terminal, in the conversation of a session."""

from __future__ import annotations

import json

from fleet.ports import Brief, Launch


def interface(driver: str, brief: Brief) -> Launch | None:
    """The command that opens the conversation ``brief.resume`` there; ``None``: an agent of this driver has none.

    As in a session of the fleet, neither reads settings of the repository: Codex opens a folder that is not trusted
    as restricted. Its interface would leave a daemon that keeps the conversation open.
    """
    model = ("--model", brief.model) if brief.model else ()
    match driver:
        case "claude":
            argv = (*brief.program, "--resume", brief.resume, "--setting-sources", "user", *model)
        case "codex":
            known = f'projects={{{json.dumps(brief.workspace)}={{trust_level="untrusted"}}}}'
            argv = (*brief.program, "--no-daemon", "-c", known, "resume", *model, brief.resume)
        case _:
            return None
    return Launch(argv, {}, one_turn=True)

"""Hooks of the login's own, beside ours, with the real Claude Code."""

from __future__ import annotations

import json
import os

import pytest

from fleet.agent_events import Allow, Deny
from tests.conftest import sampled
from tests.contracts.agent_stand import Stand
from tests.far_end.scripted_model import say


@pytest.mark.parametrize("stand", ["claude"], indirect=True)
@pytest.mark.parametrize("decision", sampled(("allow", "ask", ""), 1))
async def test_what_another_hook_makes_of_an_allowed_call_is_asked_about(stand: Stand, decision: str) -> None:
    other = {"hookEventName": "PreToolUse", "updatedInput": {"command": "touch swapped", "description": "x"}}
    said = json.dumps({"hookSpecificOutput": other | ({"permissionDecision": decision} if decision else {})})
    hooks = {"PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": f"echo '{said}'"}]}]}
    settings = stand.home / ".claude" / "settings.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps({"hooks": hooks}))
    stand.model.script([stand.shell("touch made"), say("done")])
    allowed = "touch made"
    async with stand.session("do it", lambda a: Allow() if a.command == allowed else Deny("no")) as session:
        await session.turn()
    assert "swapped" not in os.listdir(stand.workspace)

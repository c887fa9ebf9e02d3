"""What every driver promises, seen with its real program: Claude Code and Codex against scripted models."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Sequence

import pytest

from fleet.agent_events import (
    Allow,
    Answered,
    Asked,
    Decision,
    Deny,
    Ready,
    Said,
    ToolOutcome,
    ToolStarted,
    TurnOutcome,
    Unknown,
    Used,
)
from fleet.exits import Signalled
from tests.conftest import sampled
from tests.contracts.agent_stand import AGENTS, Stand
from tests.far_end.scripted_model import Answer, Asking, Refusal, Reply, Words, call, say

#: On every agent; the other tests run on one that speaks the Agent Client Protocol in `make torture` only.
on_all = pytest.mark.parametrize("stand", AGENTS, indirect=True)
steered = pytest.mark.parametrize("stand", ["claude", "codex"], indirect=True)


@on_all
async def test_a_turn_with_tools_that_work_and_fail(stand: Stand) -> None:
    stand.model.script(
        [stand.shell("echo fine > made"), stand.shell("echo broken; exit 3"), say("All tests pass.")]
    )
    async with stand.session("do it") as session:
        ended = await session.turn()
        assert (ended.outcome, ended.claim, ended.error) == (TurnOutcome.COMPLETED, "All tests pass.", "")
        assert await session.end() == stand.good_end
    (first, fine), (second, broken) = session.tools()
    assert first == second == stand.shell_tool
    assert fine is not None and fine.outcome is ToolOutcome.OK
    assert broken is not None and (broken.outcome, broken.exit_code) == (ToolOutcome.FAILED, 3)
    assert "broken" in broken.detail
    assert stand.workspace.joinpath("made").read_text() == "fine\n"
    assert [said.text for said in session.of(Said)] == ["All tests pass."]
    assert len(session.of(Ready)) == 1


async def test_every_tool_is_asked_once_with_what_it_would_do(stand: Stand) -> None:
    stand.model.script([stand.shell("touch made; true"), stand.write("new.txt"), say("done")])
    async with stand.session("do it") as session:
        await session.turn()
    command, edit = session.of(Asked)
    assert command.tool == stand.shell_tool and "touch made; true" in command.command
    assert edit.tool == stand.edit_tool and edit.paths == (stand.path("new.txt"),)
    assert stand.workspace.joinpath("new.txt").read_text() == "hello\n"
    assert "hello" in edit.request


async def test_a_denied_edit_is_not_made_and_its_reason_is_told(stand: Stand) -> None:
    stand.model.script([stand.write("locked.txt"), stand.write("free.txt"), say("done")])

    def judge(asked: Asked) -> Decision | None:
        return Deny("locked.txt is held by t7") if "locked.txt" in asked.paths[0] else Allow()

    async with stand.session("do it", judge) as session:
        ended = await session.turn()
    assert ended.completed
    assert sorted(os.listdir(stand.workspace)) == ["free.txt"]
    outcomes = [end and end.outcome for _, end in session.tools()]
    assert outcomes == [ToolOutcome.DENIED, ToolOutcome.OK]
    told = stand.model.asked[-1]
    assert "locked.txt is held by t7" in told.heard + "".join(told.results)


async def test_a_denied_command_is_not_run(stand: Stand) -> None:
    stand.model.script([stand.shell("touch made"), say("done")])
    async with stand.session("do it", lambda _: Deny("no")) as session:
        assert (await session.turn()).completed
    assert os.listdir(stand.workspace) == []
    assert [end and end.outcome for _, end in session.tools()] == [ToolOutcome.DENIED]


@on_all
async def test_an_unanswered_question_holds_the_agent_and_a_late_yes_lets_it_go_on(stand: Stand) -> None:
    stand.model.script([stand.shell("touch made"), say("done")])
    async with stand.session("do it", lambda _: None) as session:
        asked = await session.asked()
        assert os.listdir(stand.workspace) == []
        session.decide(asked, Allow())
        session.decide(asked, Deny("a second press changes nothing"))
        assert (await session.turn()).completed
    assert os.listdir(stand.workspace) == ["made"]


def _spent(used: Sequence[Used]) -> tuple[int, int]:
    """Tokens in and out: some agents tell them bit by bit."""
    return sum(each.input_tokens for each in used), sum(each.output_tokens for each in used)


@on_all
async def test_a_second_turn_runs_on_the_same_process_and_reports_only_its_own_spending(stand: Stand) -> None:
    stand.model.script([Reply((Words("first"),), 1000, 50), Reply((Words("second"),), 200, 7)])
    async with stand.session("begin") as session:
        assert (await session.turn()).claim == "first"
        first = session.of(Used)
        session.say("gate tests: exit status 1\nfix 'it'")
        assert (await session.turn()).claim == "second"
        assert await session.end() == stand.good_end
    assert "gate tests: exit status 1\nfix 'it'" in stand.model.asked[-1].heard
    used = session.of(Used)
    assert [_spent(turn) for turn in (first, used[len(first) :])] == [(1000, 50), (200, 7)]
    assert any(each.cost_udollar > 0 for each in used) == (stand.name != "codex")


@on_all
async def test_a_later_process_goes_on_with_the_conversation(stand: Stand) -> None:
    stand.model.script([say("first"), say("second")])
    async with stand.session("begin") as session:
        await session.turn()
        await session.end()
    (ready,) = session.of(Ready)
    async with stand.session("go on", resume=ready.resume) as later:
        assert (await later.turn()).claim == "second"
    assert "begin" in stand.model.asked[-1].heard and "go on" in stand.model.asked[-1].heard
    assert [each.resume for each in later.of(Ready)] == [ready.resume]
    assert _spent(later.of(Used))[0] == 100


@on_all
async def test_words_during_a_turn_steer_it(stand: Stand) -> None:
    stand.model.script([stand.shell("touch one"), stand.shell("touch two"), say("done")])
    async with stand.session("do it", lambda _: None) as session:
        first = await session.asked()
        session.say("please also see to two")
        session.decide(first, Allow())
        second = await session.asked()
        heard = stand.model.asked[-1].body
        assert "please also see to two" in str(heard), "the model did not hear it before its next step"
        session.decide(second, Allow())
        assert (await session.turn()).claim == "done"
        session.say("next")
        assert (await session.turn()).claim == "done"


async def test_words_while_the_model_closes_its_turn_are_answered_before_the_turn_ends(stand: Stand) -> None:
    asking, answer = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def script(asked: Asking) -> Answer:
        if "late words" in asked.heard:
            return say("late words heard")
        loop.call_soon_threadsafe(asking.set)
        answer.wait(60)
        return say("first")

    stand.model.script(script)
    async with stand.session("do it") as session:
        await asyncio.wait_for(asking.wait(), 60)
        session.say("late words")
        answer.set()
        assert (await session.turn()).claim.endswith("late words heard")
        session.say("and next")
        assert (await session.turn()).claim == "late words heard"


@steered
async def test_steering_words_survive_an_interrupt(stand: Stand) -> None:
    stand.model.script([stand.shell("touch made"), say("after all")])
    async with stand.session("do it", lambda _: None) as session:
        await session.asked()
        session.say("words for later")
        session.interrupt()
        if stand.name == "codex":  # Claude Code begins a turn with them by itself
            assert not (await session.turn()).completed
            session.say("go on")
        assert (await session.turn()).claim == "after all"
    assert "words for later" in stand.model.asked[-1].heard
    assert os.listdir(stand.workspace) == []


@on_all
async def test_an_interrupted_turn_ends_and_another_can_follow(stand: Stand) -> None:
    stand.model.script([stand.shell("touch made"), say("on again")])
    async with stand.session("do it", lambda _: None) as session:
        asked = await session.asked()
        session.interrupt()
        ended = await session.turn()
        assert not ended.completed and "interrupted" in ended.error
        session.decide(asked, Allow())
        session.say("go on")
        if stand.name == "acp":  # this agent answers the first prompt after a cancel with nothing
            assert not (await session.turn()).completed
            session.say("go on")
        assert (await session.turn()).claim.endswith("on again")
        assert await session.end() == stand.good_end
    assert os.listdir(stand.workspace) == []


async def test_read_only_work_reads_and_changes_nothing(stand: Stand) -> None:
    stand.workspace.joinpath("README").write_text("the answer is 42\n")
    look = stand.shell("cat README")
    if stand.name != "codex":
        look = call("Read", file_path=stand.path("README"))
    stand.model.script([look, stand.write("new.txt"), stand.shell("touch made"), say("42")])
    async with stand.session("what is the answer?", read_only=True) as session:
        assert (await session.turn()).claim == "42"
    assert os.listdir(stand.workspace) == ["README"]
    assert "the answer is 42" in stand.model.asked[1].results[0]


REFUSALS = {
    "credit": (Refusal(400, "credit is used up"), TurnOutcome.FAILED, "credit is used up"),
    "529": (Refusal(529, "Overloaded"), TurnOutcome.OVERLOADED, "529"),
    "503": (Refusal(503, "Unavailable"), TurnOutcome.OVERLOADED, "503"),
    "429": (Refusal(429, "You've hit your session limit · resets 5:10pm"), TurnOutcome.LIMITED, "429"),
    "401": (Refusal(401, "OAuth token has expired. Please run /login"), TurnOutcome.NOT_LOGGED_IN, "401"),
    "too long": (
        Refusal(400, "prompt is too long: 210000 tokens > 200000 maximum"),
        TurnOutcome.CONTEXT_FULL,
        "rompt is too long",
    ),
}


@pytest.mark.parametrize("what", sampled(REFUSALS, 3))
async def test_a_refusal_of_the_model_is_the_outcome_of_the_turn(stand: Stand, what: str) -> None:
    refusal, outcome, words = REFUSALS[what]
    stand.model.script([stand.shell("echo half > made"), refusal])
    async with stand.session("do it") as session:
        ended = await session.turn()
    assert ended.outcome is outcome
    assert words in ended.error or (stand.name, what) == ("acp", "401")
    assert os.listdir(stand.workspace) == ["made"]


async def test_a_conversation_that_is_gone_is_said_to_be_lost(stand: Stand) -> None:
    stand.model.script([say("done")])
    async with stand.session("go on", resume="11111111-52e4-4d2e-9a55-6f57a9e0a001") as session:
        ended = await session.turn()
    assert ended.outcome is TurnOutcome.CONVERSATION_LOST
    assert "11111111-52e4-4d2e-9a55-6f57a9e0a001" in ended.error
    assert stand.model.asked == []


async def test_an_agent_that_dies_leaves_its_turn_ended_and_its_tool_unfinished(stand: Stand) -> None:
    stand.model.script([stand.shell("kill -9 $PPID; sleep 1"), say("done")])
    async with stand.session("do it") as session:
        ended = await session.turn()
    assert ended.outcome is TurnOutcome.FAILED
    if stand.name == "acp":  # what died is a process of its own
        assert "exited unexpectedly" in ended.error
    else:
        assert ended.exit == Signalled("SIG9") and "SIG9" in ended.error
    assert [end for _, end in session.tools()] == [None]


async def test_a_prompt_arrives_as_it_was_written(stand: Stand) -> None:
    prompt = "--help 'quoted' \"twice\" $HOME `id`\n\tnext line \\n ünïcødé 🛫"
    stand.model.script([say("done")])
    async with stand.session(prompt) as session:
        await session.turn()
    assert prompt in stand.model.asked[0].words


async def test_nothing_a_real_agent_says_in_an_ordinary_turn_is_unknown(stand: Stand) -> None:
    stand.model.script([stand.shell("true && true"), stand.write("new.txt"), say("done")])
    async with stand.session("do it") as session:
        await session.turn()
    notices = ("configWarning", '"warning"')  # kept for people: codex tells of a model it has no data on
    unknown = [each.raw for each in session.of(Unknown) if not any(word in each.raw for word in notices)]
    assert unknown == []


# --- Claude Code alone -----------------------------------------------------------------------------------

claude_only = pytest.mark.parametrize("stand", ["claude"], indirect=True)


@claude_only
async def test_edits_and_commands_are_asked_when_permissions_are_bypassed_and_hooks_disabled(stand: Stand) -> None:
    stand.flags = ("--permission-mode", "bypassPermissions")
    settings = stand.workspace / ".claude/settings.json"
    settings.parent.mkdir()
    settings.write_text('{"disableAllHooks": true, "permissions": {"allow": ["Bash", "Write"]}}')
    stand.model.script([stand.write("new.txt"), stand.shell("touch made"), say("done")])
    async with stand.session("do it", lambda _: Deny("no")) as session:
        await session.turn()
    assert [asked.tool for asked in session.of(Asked)] == ["Write", "Bash"]
    assert os.listdir(stand.workspace) == [".claude"]


_YES = {"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "allow"}}
_YES_HOOK = {
    "PreToolUse": [{"matcher": "*", "hooks": [{"type": "command", "command": f"echo '{json.dumps(_YES)}'"}]}]
}
_ALL = ["Bash", "Bash(*)", "Write", "Edit", "mcp__*"]
WIDE = {
    "bypassPermissions": {
        "permissions": {"defaultMode": "bypassPermissions"},
        "skipDangerousModePermissionPrompt": True,
    },
    "acceptEdits": {"permissions": {"defaultMode": "acceptEdits", "allow": _ALL}},
    "dontAsk": {"permissions": {"defaultMode": "dontAsk", "allow": _ALL}, "disableAllHooks": True},
    "allowHook": {"permissions": {"allow": _ALL}, "hooks": _YES_HOOK},
    "auto": {"permissions": {"defaultMode": "auto", "allow": _ALL}, "autoMode": {"allow": ["everything"]}},
    "sandbox": {
        "sandbox": {"enabled": True, "autoAllowBashIfSandboxed": True},
        "permissions": {"additionalDirectories": ["/"]},
    },
}


@claude_only
@pytest.mark.parametrize("what", WIDE)
async def test_the_logins_own_settings_allow_nothing_that_is_not_asked(stand: Stand, what: str) -> None:
    settings = stand.home / ".claude" / "settings.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps(WIDE[what]))
    stand.model.script([stand.write("new.txt"), stand.shell("touch made"), say("done")])
    async with stand.session("do it", lambda _: Deny("no")) as session:
        await session.turn()
    assert [asked.tool for asked in session.of(Asked)] == ["Write", "Bash"]
    assert os.listdir(stand.workspace) == []


@claude_only
async def test_a_plan_is_asked_about_where_the_login_plans_by_default(stand: Stand) -> None:
    settings = stand.home / ".claude" / "settings.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps({"permissions": {"defaultMode": "plan", "allow": ["ExitPlanMode", *_ALL]}}))
    stand.model.script([call("ExitPlanMode", plan="1. make it"), say("done")])
    async with stand.session("do it", lambda _: Deny("no")) as session:
        await session.turn()
    assert [asked.tool for asked in session.of(Asked)] == ["ExitPlanMode"]


@pytest.mark.parametrize("stand", ["codex"], indirect=True)
async def test_codexs_settings_and_a_trusted_repositorys_rules_allow_nothing_that_is_not_asked(
    stand: Stand,
) -> None:
    """The login's own ``rules`` are not there behind a session's walls."""
    config = 'approval_policy = "never"\nsandbox_mode = "danger-full-access"\n'
    home = stand.home / ".codex"
    own = (home / "config.toml").read_text()
    (home / "config.toml").write_text(f'{config}{own}\n[projects."{stand.workspace}"]\ntrust_level = "trusted"\n')
    theirs = stand.workspace / ".codex" / "rules"
    theirs.mkdir(parents=True)
    (theirs / "default.rules").write_text('prefix_rule(pattern=["touch"], decision="allow")\n')
    stand.model.script([stand.write("new.txt"), stand.shell("touch made"), say("done")])
    async with stand.session("do it", lambda _: Deny("no")) as session:
        await session.turn()
    assert [asked.tool for asked in session.of(Asked)] == [stand.edit_tool, stand.shell_tool]
    assert os.listdir(stand.workspace) == [".codex"]


@claude_only
async def test_a_question_to_the_person_waits_for_the_persons_words(stand: Stand) -> None:
    options = [{"label": each, "description": each} for each in ("tabs", "spaces")]
    asks = [{"question": "Which indent?", "header": "indent", "multiSelect": False, "options": options}]
    stand.model.script([call("AskUserQuestion", questions=asks), say("done")])
    async with stand.session("do it", lambda _: None) as session:
        asked = await session.asked()
        assert asked.tool == "AskUserQuestion" and "Which indent?" in asked.request
        session.decide(asked, Answered("spaces"))
        await session.turn()
    assert '"Which indent?"="spaces"' in stand.model.asked[-1].results[0]
    ((_, ended),) = session.tools()
    assert ended is not None and ended.outcome is ToolOutcome.OK


@claude_only
async def test_words_that_begin_with_a_slash_reach_the_model(stand: Stand) -> None:
    stand.model.script([say("done")])
    async with stand.session("/help me with /src") as session:
        assert (await session.turn()).claim == "done"
    assert "/help me with /src" in stand.model.asked[-1].heard


@claude_only
async def test_a_subagents_tool_is_asked_about_and_its_words_are_not_the_turns(stand: Stand) -> None:
    stand.model.script(
        [call("Task", description="look", prompt="inner work", subagent_type="general-purpose"), say("done")]
    )
    stand.model.script([stand.shell("touch inner"), say("inner words")], when="inner work")
    async with stand.session("do it") as session:
        assert (await session.turn()).claim == "done"
    assert "inner words" not in [said.text for said in session.of(Said)]
    assert ("Bash", "touch inner") in [(asked.tool, asked.command) for asked in session.of(Asked)]
    outer, inner = session.of(ToolStarted)
    assert (outer.parent, inner.parent) == ("", outer.call)

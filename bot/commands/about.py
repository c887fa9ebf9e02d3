"""Commands about the installation: who you are, what runs, which repositories, what is wrong, how to log in."""

from __future__ import annotations

from typing import Final

from bot.cards import MAX_LINES, Card, Line, Tone, footed, line, one_line
from bot.commands.common import reply
from bot.commands.usual import usual_of
from bot.doctor.findings import Severity, to_json
from bot.logins import LogIn, log_ins
from bot.pages import Page, wanted
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group
from bot.repositories import RepoSeen
from bot.telling import sounds
from bot.words import count, day, short
from fleet.model import LandingMode
from fleet.store.core import Tx
from fleet.supervise import side_by_side
from gates.people import RIGHTS, Right

_REPOS: Final = 5
_FINDINGS: Final = 4
_STEPS: Final = 5
_SIGN: Final = {Severity.WARN: "! ", Severity.BAD: "✗ "}


async def version(context: Context, call: Call) -> Effect:
    """Which version runs, and since when."""
    serving = context.control.serving()
    data = {"version": serving.version, "since_us": serving.since_us}
    return reply(
        call, Card(line(f"airboss {serving.version}"), (line(f"running since {day(serving.since_us)}"),)), data=data
    )


async def whoami(context: Context, call: Call) -> Effect:
    """The caller's id, role, rights, zone, and this chat's repository."""
    config, rights = context.config(), sorted(RIGHTS[call.person.role])

    def read(tx: Tx) -> tuple[str, str]:
        return sounds.zone_of(tx, config, call.actor).key, usual_of(tx, call.message.chat)

    zone, usual = await context.store.read(read)
    data = {
        "id": call.actor,
        "name": call.person.name,
        "role": str(call.person.role),
        "rights": rights,
        "zone": zone,
        "repo": usual,
    }
    lines = [
        line("Your id: ", one_line(call.actor)),
        line(f"You may: {', '.join(rights)}"),
        line(f"Your time zone: {zone}"),
        *([line(f"This chat uses {usual}")] if usual else []),
    ]
    return reply(call, Card(line(f"{call.person.name} · {call.person.role}"), tuple(lines)), data=data)


async def repos(context: Context, call: Call) -> Effect:
    """A page of the repositories: base branch, agent, gates, and what is wrong."""
    names = sorted(context.config().repos)
    page = Page.of(wanted(call.args), len(names), _REPOS)
    looks = [context.control.repository(name) for name in names[page.first : page.upto]]
    seen = await side_by_side(looks, "look at a repository")
    usual = await context.store.read(lambda tx: usual_of(tx, call.message.chat))
    data = {"repos": [repo.to_json() for repo in seen], "count": len(names)}
    lines = [row for repo in seen for row in _repo_lines(repo, usual)]
    if len(names) > 1 and not usual:
        lines.append(line("/use NAME makes one this chat's own."))
    card = Card(
        line(count(len(names), "repository", "repositories") + page.span),
        tuple(lines) or (line("None yet: add [repos.NAME] to fleet.toml."),),
        actions=page.actions("/repos "),
        footer=footed(context.config().isolation),
    )
    return reply(call, card, data=data)


def _repo_lines(repo: RepoSeen, usual: str) -> tuple[Line, Line]:
    at = f" at {short(repo.commit)}" if repo.commit else ""
    agent = f" · {repo.config.agent}" if repo.config.agent else ""
    mode = " · pushed as branches" if repo.config.mode is LandingMode.BRANCH else ""
    first = line(f"{repo.name} · {repo.config.base}{at}{agent}{mode}{' · used here' if repo.name == usual else ''}")
    if repo.trouble:
        return first, line("⚠ ", one_line(repo.trouble, 80))
    gates = [gate.name + (f" ({', '.join(gate.needs)})" if gate.needs else "") for gate in repo.gates]
    return first, line("gates: ", one_line(", ".join(gates), 80))


async def doctor(context: Context, call: Call) -> Effect:
    """What is wrong, most serious first."""
    findings = [found for found in await context.control.examine() if found.level is not Severity.OK]
    findings.sort(key=lambda found: found.level is not Severity.BAD)
    data = to_json(findings)
    lines = list[Line]()
    for found in findings[:_FINDINGS]:
        lines.append(line(_SIGN[found.level], one_line(f"{found.subject}: {found.what}", 80)))
        if found.remedy:
            lines.append(line("  ", one_line(found.remedy, 80)))
    if len(findings) > _FINDINGS:
        lines.append(line(f"and {len(findings) - _FINDINGS} more"))
    bad = any(found.level is Severity.BAD for found in findings)
    title = f"{count(len(findings), 'finding')}" if findings else "Nothing is wrong"
    card = Card(
        line(title),
        tuple(lines[:MAX_LINES]),
        footer="`airboss doctor` on the controller also tries to cross every wall",
        tone=Tone.BAD if bad else Tone.WAITING if findings else Tone.GOOD,
    )
    return reply(call, card, data=data)


async def login(context: Context, call: Call) -> Effect:
    """What to type on which machine to log an agent in there. No code or password ever passes through a chat."""
    config, given = context.config(), {word.lower() for word in split(call.args)}
    every = log_ins(config)
    named = {name.lower() for step in every for name in (step.agent, step.machine)}
    chosen = [step for step in every if given & named <= {step.agent.lower(), step.machine.lower()}]
    data = {"steps": [step.to_json() for step in chosen]}
    rows = [row for step in chosen[:_STEPS] for row in _step_lines(step)]
    if len(chosen) > _STEPS:
        rows.append(line(f"and {len(chosen) - _STEPS} more: /login MACHINE"))
    lines = (
        (*rows, line("Never send a code or a password here."))
        if rows
        else (line("No agent here has a vendor's login."),)
    )
    return reply(call, Card(line("Log in on the machine itself"), lines), data=data)


def _step_lines(step: LogIn) -> tuple[Line, Line]:
    note = f" ({step.note})" if step.note else ""
    return line(f"{step.agent} on {step.machine}{note}:"), line("  ", one_line(step.command, 120))


COMMANDS = (
    Command("repos", "gates", "repositories: base branch, gates", "[PAGE]", Right.SEE, repos, Group.LOOK),
    Command("doctor", "problems", "what is wrong, in short", "", Right.SEE, doctor, Group.LOOK),
    Command("whoami", "", "your id, role, rights, time zone", "", Right.SEE, whoami, Group.LOOK),
    Command("version", "", "which version runs, since when", "", Right.SEE, version, Group.LOOK),
    Command("login", "", "what to type to log an agent in", "[MACHINE] [AGENT]", Right.SEE, login, Group.SET_UP),
)

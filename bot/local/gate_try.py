"""``airboss gate try``: runs a repository's gates on a commit, on this machine, without a controller."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from bot.gatekeeping import gates_alone
from bot.local import pythons
from fleet import exits, files
from fleet.config import FleetConfig, MachineConfig, RepoConfig, load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import Misused, RepositoryUnusable
from fleet.git.command import Git, is_object_id
from fleet.git.repository import Repository
from fleet.model import ChatRef, Isolation, PipeEnd, Session, Task, TaskMode, TaskState, Turn, TurnCause
from fleet.ports import Candidate
from fleet.setup.definitions import load as load_setups
from fleet.supervise import side_by_side
from fleet.untrusted import Untrusted, clean
from fleet.verdict import GateResult, Outcome, Verdict
from gates.people import console_owner
from gates.policy import not_judged
from gates.runs.definitions import load

#: The command's exit status for each verdict.
STATUS: dict[Outcome, int] = {
    Outcome.PASSED: 0,
    Outcome.APPROVED: 0,
    Outcome.OVERRIDDEN: 0,
    Outcome.FAILED: 1,
    Outcome.TIMED_OUT: 1,
    Outcome.REFUSED: 2,
    Outcome.UNAVAILABLE: 3,
    Outcome.LOST: 3,
    Outcome.ABORTED: 3,
    Outcome.MISSING: 3,
    Outcome.STALE: 3,
    Outcome.HELD: 4,
}
_MACHINE = "here"
_SYSTEM_PATH = ("/opt/homebrew/bin", "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")


async def gate_try(repo: Path, base: str, head: str, as_json: bool, home: Path | None) -> int:
    """Judges ``head`` by the gates of ``base`` and prints the result. Returns the exit status.

    Only commits are judged, never uncommitted files. A ``home`` with a ``fleet.toml`` that names this repository
    adds the operator's gates and the local machines' labels; its store and ledger are not used.
    Raises ``Misused`` for a ref that does not exist.
    """
    verdict = await judge(repo, base, head, home)
    sys.stdout.write(json.dumps(as_plain(verdict), indent=2) + "\n" if as_json else as_table(verdict))
    return STATUS[verdict.outcome]


async def judge(repo: Path, base: str, head: str, home: Path | None) -> Verdict:
    """The verdict on ``head`` by the gates of ``base``."""
    where = existing(repo, "try the gates")
    with _directory(home) as directory:
        return await _judge(where, base, head, home, Path(directory))


def existing(repo: Path, attempted: str) -> Path:
    """The directory's full path. Raises ``Misused`` when there is none."""
    if not repo.is_dir():
        raise Misused(
            attempted=attempted,
            on=str(repo),
            cause="there is no such directory",
            hint="Name a repository.",
        )
    return repo.resolve()


def _directory(home: Path | None) -> tempfile.TemporaryDirectory[str]:
    if home is not None:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="gate-try-", dir=home)


async def _judge(repo: Path, base: str, head: str, home: Path | None, directory: Path) -> Verdict:
    mirror = directory / "mirror.git"
    found: list[str] = []
    tools: list[tuple[list[str], list[str]]] = []

    async def look_up() -> None:
        found.extend(await _objects_and_commits(repo, base, head))

    async def look_around() -> None:
        tools.append(await asyncio.to_thread(pythons.tools))

    await side_by_side([look_up(), look_around()], "begin a try", most=2)
    objects, base_commit, head_commit = found
    _borrow(objects, mirror)
    name, config = _config(repo, home, directory, tools[0])
    repository = Repository(name, str(repo), "main", mirror)
    config = _with_programs(config, await _first_words(repository, base_commit, config.repos[name]))
    tree = await repository.tree_of(head_commit)

    task, session, turn = _asked(name, base_commit, config.isolation)
    candidate = Candidate(task, session, turn, head_commit, tree, base_commit, round=1)
    async with gates_alone(config, repository, directory) as gatekeeper:
        try:
            return await gatekeeper.judge(candidate)
        except RepositoryUnusable as error:
            return not_judged(candidate, error)


async def _objects_and_commits(repo: Path, *refs: str) -> list[str]:
    """Where the repository has its objects, and the commits that refs name. Raises ``Misused`` for one that names
    none."""
    git, where = Git(), ("rev-parse", "--path-format=absolute", "--git-path", "objects")
    wanted = ("--end-of-options", *(f"{ref}^{{commit}}" for ref in refs))
    read = partial(git.run, *where, attempted="read the repository", on=str(repo), cwd=repo)
    asked = await read(*wanted, expect=(0, 128))
    objects, *commits = [line for line in os.fsdecode(asked.out).splitlines() if line != wanted[0]] or [""]
    if asked.code == 0 and len(commits) == len(refs) and all(map(is_object_id, commits)):
        return [objects, *commits]
    commits = [await commit_of(git, repo, ref) for ref in refs]  # which says what is wrong
    return [(await read()).line, *commits]


def _borrow(objects: str, mirror: Path) -> None:
    """A mirror that borrows all objects: nothing is copied, and nothing that this writes reaches the repository."""
    with files.writing("make a mirror", mirror):
        for folder in ("refs", "objects/info"):
            (mirror / folder).mkdir(parents=True)
        for name, text in (
            ("HEAD", "ref: refs/heads/main\n"),
            ("config", "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"),
            ("objects/info/alternates", f"{objects}\n"),
        ):
            files.replace(mirror / name, os.fsencode(text))


def _asked(repo: str, base: str, isolation: Isolation) -> tuple[Task, Session, Turn]:
    """A task as the one at this machine would ask for it, whose session had no agent."""
    task = Task(
        id="t1",
        repo=repo,
        agent="",
        machine=_MACHINE,
        prompt="gate try",
        mode=TaskMode.CHANGE,
        state=TaskState.JUDGING,
        why="",
        requester=str(console_owner()),
        origin=ChatRef("console", ""),
        created_us=0,
        updated_us=0,
    )
    session = Session(
        id="t1.1",
        task=task.id,
        machine=_MACHINE,
        agent="",
        base=base,
        workspace="",
        isolation=isolation,
        conversation="",
        pipe="",
        pipe_end=PipeEnd.NONE,
        one_turn=False,
        nonce="",
        spool_offset=0,
        driver_state="{}",
        resume="",
        started_us=0,
        ended_us=0,
        seen_us=0,
    )
    turn = Turn(
        id="t1.1.1",
        session=session.id,
        number=1,
        cause=TurnCause.REQUEST,
        prompt="",
        claim="",
        snapshot="",
        tree="",
        started_us=0,
        ended_us=0,
    )
    return task, session, turn


async def commit_of(git: Git, repo: Path, ref: str, attempted: str = "try the gates") -> str:
    """The commit that a ref of this repository names. Raises ``Misused`` when there is none."""
    found = await git.run(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}",
        attempted="read a ref", on=f"{ref} in {repo}", cwd=repo, expect=(0, 1, 128),
    )  # fmt: skip
    if found.code or not is_object_id(found.line):
        cause = found.err or "there is no such commit"
        raise Misused(attempted=attempted, on=f"{ref} in {repo}", cause=cause, hint="git log lists the commits.")
    return found.line


def _config(
    repo: Path, home: Path | None, directory: Path, tools: tuple[list[str], list[str]]
) -> tuple[str, FleetConfig]:
    """The repository's name, and a fleet of this machine alone, where everything runs as one login. ``tools``: see
    ``pythons.tools``."""
    name, wanted = "repository", RepoConfig(url=str(repo))
    path, read = tools
    labels = {sys.platform, platform.machine().lower(), *(["macos"] if sys.platform == "darwin" else [])}
    if home is not None and (home / FLEET_FILE).exists():
        fleet = load_fleet(home / FLEET_FILE)
        for machine in fleet.machines.values():
            if machine.executor == "local":
                labels |= set(machine.labels)
                path, read = [*machine.gate_path, *path], [*machine.gate_read, *read]
        for known, settings in fleet.repos.items():
            if Path(settings.url).expanduser().resolve() == repo:
                name, wanted = known, settings
    here = MachineConfig(
        executor="local",
        labels=sorted(labels),
        home=str(directory),
        python=sys.executable,
        gate_path=list(dict.fromkeys(path)),
        gate_read=list(dict.fromkeys(read)),
    )
    config = FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines={_MACHINE: here}, repos={name: wanted})
    return name, config


async def _first_words(repository: Repository, base: str, config: RepoConfig) -> list[str]:
    """The programs that gates and setups name; none where the definitions are wrong, which the verdict says."""
    try:
        gates, setups = await load(repository, base, config), await load_setups(repository, base, config)
    except RepositoryUnusable:
        return []
    words = [gate.argv[0] for gate in gates if gate.argv] + [step[0] for each in setups for step in each.steps]
    return [word for word in dict.fromkeys(words) if "/" not in word]


def _with_programs(config: FleetConfig, words: list[str]) -> FleetConfig:
    """With the directories in which the shell finds these programs, where the system has none."""
    here = config.machines[_MACHINE]
    path, read = list(here.gate_path), list(here.gate_read)
    for word in words:
        known = shutil.which(word, path=":".join([*path, *_SYSTEM_PATH]))
        found = None if known else shutil.which(word)
        if found is not None:
            path.append(str(Path(found).parent))
            real = Path(found).resolve().parent
            read.append(str(real.parent if real.name == "bin" and real.parent != Path.home() else real))
    machine = here.model_copy(update={"gate_path": path, "gate_read": read})
    return config.model_copy(update={"machines": {_MACHINE: machine}})


def as_plain(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON of the shape in ``docs/schema/gate-try.json``."""
    return {
        "v": 3,
        "verdict": str(verdict.outcome),
        "outcome": str(verdict.outcome),
        "status": STATUS[verdict.outcome],
        "reasons": list(verdict.reasons),
        "commit": verdict.commit,
        "tree": verdict.tree,
        "base": verdict.base,
        "isolation": str(verdict.isolation),
        "gates": [_gate(result, verdict.isolation) for result in verdict.gates],
    }


def _gate(result: GateResult, login: Isolation) -> dict[str, Any]:
    seen = result.evidence
    return {
        "name": result.gate,
        "state": str(result.outcome),
        "wait_status": seen.raw_wait_status if seen else None,
        "reasons": [result.reason, *result.notes],
        "held": [asdict(place) for place in result.held],
        "isolation": {
            "login": str(login),
            "processes": str(seen.isolation.processes),
            "files": str(seen.isolation.files),
            "network": str(seen.isolation.network),
        }
        if seen
        else None,
        "evidence": {
            "wait_status": "outside",
            "tests": "inside" if result.junit else None,
            "tree": seen.tree,
            "machine": seen.machine,
            "output_sha256": seen.output_sha256,
            "output_bytes": seen.output_bytes,
            "duration_us": seen.ended_us - seen.started_us,
        }
        if seen
        else None,
        "earlier": [{"state": str(each.outcome), "reason": each.reason} for each in result.earlier],
        "gate": result.gate,
        "argv": list(result.argv),
        "outcome": str(result.outcome),
        "reason": result.reason,
        "exit": exits.to_json(seen.exit) if seen else None,
        "raw_wait_status": seen.raw_wait_status if seen else None,
        "duration_us": seen.ended_us - seen.started_us if seen else None,
        "contained": seen.contained if seen else None,
        "output_sha256": seen.output_sha256 if seen else None,
        "output_bytes": seen.output_bytes if seen else None,
        "junit": asdict(result.junit) if result.junit else None,
        "tail": result.tail,
    }


def as_table(verdict: Verdict) -> str:
    """The verdict for a terminal."""
    rows = [("gate", "outcome", "exit", "seconds")]
    for result in verdict.gates:
        seen = result.evidence
        took = f"{(seen.ended_us - seen.started_us) / 1e6:.1f}" if seen else "-"
        rows.append(
            (result.gate, str(result.outcome), Untrusted(str(seen.exit)).one_line(60) if seen else "not run", took)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if not verdict.gates:
        lines = []
    for result in verdict.gates:
        if result.tail and not result.outcome.opens:
            lines += ["", f"{result.gate}:", *(f"  {line}" for line in clean(result.tail).split("\n"))]
    lines += ["", f"{verdict.outcome}: {verdict.commit[:12]} on {verdict.base[:12]}"]
    lines += [f"  {clean(reason)}" for reason in verdict.reasons]
    if verdict.isolation is Isolation.UNSAFE_SAME_USER:
        lines.append("  (run as your own login: unsafe-same-user)")
    return "\n".join(lines).lstrip("\n") + "\n"

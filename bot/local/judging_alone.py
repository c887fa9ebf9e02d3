"""Judges one commit on this machine, without a controller, once it is known which one it is."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from bot.gatekeeping import gates_alone
from fleet.config import FleetConfig, MachineConfig, RepoConfig, load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import RepositoryUnusable
from fleet.git.repository import Repository
from fleet.machines.local import LocalExecutor
from fleet.model import ChatRef, Isolation, PipeEnd, Session, Task, TaskMode, TaskState, Turn, TurnCause
from fleet.ports import Candidate, Executor
from fleet.setup.definitions import load as load_setups
from fleet.verdict import Verdict
from gates.people import console_owner
from gates.policy import not_judged
from gates.runs.definitions import load

_SYSTEM_PATH = ("/opt/homebrew/bin", "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")


class ThisMachine:
    """Every gate runs here, by the same login."""

    def __init__(self, here: Executor) -> None:
        self._here = here

    def gate(self, machine: str, login: str = "") -> Executor:
        """That login."""
        return self._here


@dataclass(frozen=True, slots=True)
class TriedCommit:
    """What is judged: a commit by the gates of its base. ``mirror`` has both. ``tools``: as ``pythons.tools`` found
    them."""

    repo: Path
    mirror: Path
    base: str
    head: str
    tools: tuple[list[str], list[str]]


async def judged(tried: TriedCommit, machine: LocalExecutor, home: Path | None, directory: Path) -> Verdict:
    """The verdict. ``machine`` is this one. ``directory`` is for this alone."""
    name, config = _config(tried.repo, machine.machine, home, directory, tried.tools)
    repository = Repository(name, str(tried.repo), "main", tried.mirror)
    config = _with_programs(config, await _first_words(repository, tried.base, config.repos[name]))
    tree = await repository.tree_of(tried.head)

    task, session, turn = _asked(name, machine.machine, tried.base, config.isolation)
    candidate = Candidate(task, session, turn, tried.head, tree, tried.base, round=1)
    gatekeeper = gates_alone(config, repository, ThisMachine(machine), directory)
    try:
        return await gatekeeper.judge(candidate)
    except RepositoryUnusable as error:
        return not_judged(candidate, error)
    except asyncio.CancelledError:
        await gatekeeper.abandon(task.id)  # nobody else would end what it runs
        raise


def _asked(repo: str, machine: str, base: str, isolation: Isolation) -> tuple[Task, Session, Turn]:
    """A task as the one at this machine would ask for it, whose session had no agent."""
    task = Task(
        id="t1",
        repo=repo,
        agent="",
        machine=machine,
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
        machine=machine,
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


def _config(
    repo: Path, machine: str, home: Path | None, directory: Path, tools: tuple[list[str], list[str]]
) -> tuple[str, FleetConfig]:
    """The repository's name, and a fleet of this machine alone, where everything runs as one login. ``tools``: see
    ``pythons.tools``."""
    name, wanted = "repository", RepoConfig(url=str(repo))
    path, read = tools
    labels = {sys.platform, platform.machine().lower(), *(["macos"] if sys.platform == "darwin" else [])}
    if home is not None and (home / FLEET_FILE).exists():
        fleet = load_fleet(home / FLEET_FILE)
        for local in fleet.machines.values():
            if local.executor == "local":
                labels |= set(local.labels)
                path, read = [*local.gate_path, *path], [*local.gate_read, *read]
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
    config = FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines={machine: here}, repos={name: wanted})
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
    [(machine, here)] = config.machines.items()
    path, read = list(here.gate_path), list(here.gate_read)
    for word in words:
        known = shutil.which(word, path=":".join([*path, *_SYSTEM_PATH]))
        found = None if known else shutil.which(word)
        if found is not None:
            path.append(str(Path(found).parent))
            real = Path(found).resolve().parent
            read.append(str(real.parent if real.name == "bin" and real.parent != Path.home() else real))
    widened = here.model_copy(update={"gate_path": path, "gate_read": read})
    return config.model_copy(update={"machines": {machine: widened}})

"""``airboss gate try``: runs a repository's gates on a commit, on this machine, without a controller.

Half of its time loads modules, and half of what follows waits for other processes. So little is imported here: the
search for secrets loads its rules, git and Python are asked, and the runner starts, while the judge is imported.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bot.local import pythons
from fleet import files
from fleet.errors import AirbossError, Misused
from fleet.git.command import Git, is_object_id
from fleet.kept_classes import kept_classes, place_of
from fleet.supervise import alongside
from gates.leaks.rules import SEARCHES, worth_searching

if TYPE_CHECKING:
    from fleet.machines.local import LocalExecutor
    from fleet.verdict import Verdict

_FIRST = 1 << 20  # bytes of a change


def run(repo: Path, base: str, head: str, as_json: bool, home: Path | None) -> int:
    """The command. It ends what it runs, and removes what it made, also when it is ended by TERM or HUP."""

    ended_by: list[int] = []

    async def tried() -> int:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def end(number: int) -> None:
            ended_by.append(number)
            if task is not None:
                task.cancel()

        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as ``nohup`` wants it
                loop.add_signal_handler(number, end, number)
        return await gate_try(repo, base, head, as_json, home)

    try:
        return asyncio.run(tried())
    except asyncio.CancelledError:
        return 128 + ended_by[0]


async def gate_try(repo: Path, base: str, head: str, as_json: bool, home: Path | None) -> int:
    """Judges ``head`` by the gates of ``base`` and prints the result. Returns the exit status.

    Only commits are judged, never uncommitted files. A ``home`` with a ``fleet.toml`` that names this repository
    adds the operator's gates and the local machines' labels; its store and ledger are not used.
    Raises ``Misused`` for a ref that does not exist.
    """
    verdict = await judge(repo, base, head, home)
    from bot.local.verdicts import STATUS, as_plain, as_table

    sys.stdout.write(json.dumps(as_plain(verdict), indent=2) + "\n" if as_json else as_table(verdict))
    return STATUS[verdict.outcome]


async def judge(repo: Path, base: str, head: str, home: Path | None) -> Verdict:
    """The verdict on ``head`` by the gates of ``base``."""
    where = existing(repo, "try the gates")
    with _directory(home) as directory:
        return await _judge(where, base, head, home, Path(directory))


async def _judge(repo: Path, base: str, head: str, home: Path | None, directory: Path) -> Verdict:
    mirror = directory / "mirror.git"

    async def look_up() -> list[str]:
        objects, *commits = await _objects_and_commits(repo, base, head)
        _borrow(objects, mirror)
        if worth_searching(await _added(mirror, *commits)):
            SEARCHES.prepare()
        return commits

    try:
        async with (
            alongside(look_up(), "look the commits up") as commits,
            alongside(asyncio.to_thread(pythons.tools), "look for Python") as tools,
            _this_machine(directory) as machine,
            alongside(_meet(machine), "meet the machine"),
        ):
            await asyncio.to_thread(load_judge)
            from bot.local.judging_alone import TriedCommit, judged

            base_commit, head_commit = await commits
            tried = TriedCommit(repo, mirror, base_commit, head_commit, await tools)
            return await judged(tried, machine, home, directory)
    finally:
        await SEARCHES.close()


@asynccontextmanager
async def _this_machine(directory: Path) -> AsyncIterator[LocalExecutor]:
    """The gates' login: our own, with its files in ``directory``."""
    local = await asyncio.to_thread(import_module, "fleet.machines.local")
    machine: LocalExecutor = local.LocalExecutor("here", root=str(directory / ".airboss"), python=sys.executable)
    try:
        yield machine
    finally:
        await machine.close()


async def _meet(machine: LocalExecutor) -> None:
    """Starts the runner, and learns the facts. An error is the gate's to tell."""
    with suppress(AirbossError):
        await machine.facts()


def load_judge() -> None:
    """Imports the judge. What its imports make is no garbage, and is not looked through for some."""
    gc.disable()
    with kept_classes(place_of("try")):
        import_module("bot.local.judging_alone")
    gc.freeze()
    gc.enable()


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


async def _added(mirror: Path, base: str, head: str) -> str:
    """The first lines that a change adds, to foresee whether they will be searched for secrets."""
    plain = ("diff", "--unified=0", "--no-color", "--no-ext-diff", "--no-textconv", base, head)
    patch = await Git().run(*plain, attempted="read the change", git_dir=mirror, limit=_FIRST, expect=(0, 128))
    lines = patch.out.decode("utf-8", "replace").splitlines()
    return "\n".join(line[1:] for line in lines if line.startswith("+") and not line.startswith("+++"))


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

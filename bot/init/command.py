"""``airboss init``: looks at a repository, writes its ``airboss.toml``, and tries it on the last commit."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.explain import explain
from bot.init.detect import Proposal, Proposed, propose
from bot.init.render import render
from bot.local.gate_try import existing, judge
from bot.local.options import print_json, with_fleet
from bot.local.pythons import SYSTEM
from bot.local.verdicts import STATUS, as_plain, as_table
from fleet import files
from fleet.config import parse_repo_file
from fleet.errors import AirbossError, Misused
from fleet.git.command import Git
from fleet.setup.repo_file import REPO_FILE
from fleet.untrusted import Untrusted
from fleet.verdict import GateResult, Verdict

_ATTEMPTED = "set up the repository"
_READ_LIMIT = 1 << 20
_NOTHING = """\
Nothing was recognised that says how this repository is tested. Write airboss.toml by hand:

[gates.tests]
run = ["sh", "check.sh"]    # any command; exit status 0 passes
"""
_SIGNS = (
    (
        "rustup could not choose",
        "list the directory of `rustup which cargo` in gate_path, its toolchain in gate_read",
    ),
    ("No module named", "the Python that gates find lacks a module"),
    ("command not found", "a program is missing where the gate runs"),
    ("not found", "something that the gate needs is not there"),
)


@dataclass(frozen=True, slots=True)
class _Asked:
    repo: Path
    force: bool
    dry_run: bool
    as_json: bool
    home: Path | None


def run(options: argparse.Namespace, home: Path) -> int:
    """The command."""
    return asyncio.run(
        init(
            Path(options.repo),
            force=options.force,
            dry_run=options.dry_run,
            as_json=options.json,
            home=with_fleet(home),
        )
    )


async def init(repo: Path, *, force: bool, dry_run: bool, as_json: bool, home: Path | None) -> int:
    """Writes ``airboss.toml`` and tries it; returns the exit status of the trial.

    Nothing is overwritten without ``force``; with ``dry_run`` nothing is written or tried. Only what is committed
    is tried. Raises ``Misused`` for a directory that is no repository, or that has the file.
    """
    git = Git()
    top = await _top(git, repo)
    target = top / REPO_FILE
    if not force and not dry_run:
        _refuse_to_overwrite(target)
    proposal = propose(await _paths(git, top), _reader(top))
    text = render(proposal) if proposal.gates else ""
    asked = _Asked(top, force, dry_run, as_json, home)
    if not text:
        return _shown(asked, proposal, text, None, [])
    parse_repo_file(text.encode(), REPO_FILE)
    if dry_run:
        return _shown(asked, proposal, text, None, [])
    with files.writing("write the gates", target):
        files.replace(target, text.encode(), mode=0o644)
    if not as_json:
        sys.stdout.write(f"{target}\n\n{_indented(text)}\nTrying it on the last commit …\n")
        sys.stdout.flush()
    try:
        verdict, why = await _tried(git, top, text, home)
    except AirbossError as error:
        why_not = f"nothing was tried: {' '.join(str(error).split())}"
        return _shown(asked, proposal, text, None, [why_not], explain(error).status)
    return _shown(asked, proposal, text, verdict, why)


def _refuse_to_overwrite(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise Misused(
            attempted=_ATTEMPTED,
            on=str(target),
            cause="the file is there",
            hint="`airboss init --dry-run` shows what would be written, `--force` overwrites it",
        )


async def _top(git: Git, repo: Path) -> Path:
    existing(repo, _ATTEMPTED)
    ended = await git.run(
        "rev-parse", "--show-toplevel", attempted=_ATTEMPTED, on=str(repo), cwd=repo, expect=(0, 128)
    )
    if ended.code:
        raise Misused(
            attempted=_ATTEMPTED,
            on=str(repo),
            cause=ended.err or "it is no git repository with files",
            hint="git init",
        )
    return Path(ended.line)


async def _paths(git: Git, top: Path) -> list[str]:
    ended = await git.run(
        "ls-files", "-z", "--cached", "--others", "--exclude-standard",
        attempted=_ATTEMPTED, on=str(top), cwd=top, limit=256 << 20,
    )  # fmt: skip
    return [path for path in ended.out.decode("utf-8", "surrogateescape").split("\0") if path]


def _reader(top: Path) -> Any:
    def read(path: str) -> str:
        place = top / path
        if place.is_symlink() or not place.is_file() or place.stat().st_size > _READ_LIMIT:
            return ""
        return place.read_bytes().decode("utf-8", "replace")

    return read


async def _tried(git: Git, top: Path, text: str, home: Path | None) -> tuple[Verdict | None, list[str]]:
    """The verdict on the last commit, by the proposed file, in a copy; and in words what is missing."""
    head = await git.run(
        "rev-parse", "--verify", "HEAD", attempted=_ATTEMPTED, on=str(top), cwd=top, expect=(0, 128)
    )
    if head.code:
        return None, ["nothing is committed yet, so nothing was tried"]
    with tempfile.TemporaryDirectory(prefix="airboss-init-") as directory:
        copy = Path(directory) / "copy"
        await git.run(
            "clone",
            "--quiet",
            "--no-local",
            "--no-tags",
            "--",
            str(top),
            str(copy),
            attempted=_ATTEMPTED,
            on=str(top),
        )
        await _same_submodules(git, top, copy)
        (copy / REPO_FILE).unlink(missing_ok=True)
        files.replace(copy / REPO_FILE, text.encode(), mode=0o644)
        person = ("-c", "user.name=airboss init", "-c", "user.email=airboss@localhost")
        for command in (
            ("add", "--force", "--", REPO_FILE),
            (*person, "commit", "--quiet", "--allow-empty", "-m", "gates"),
            (*person, "commit", "--quiet", "--allow-empty", "-m", "nothing"),
        ):
            await git.run(*command, attempted=_ATTEMPTED, on=str(copy), cwd=copy)
        verdict = await judge(copy, "HEAD~1", "HEAD", home)
    return verdict, [words for result in verdict.gates for words in _lacks(result)]


async def _same_submodules(git: Git, top: Path, copy: Path) -> None:
    """The copy finds its submodules where the repository does, or has checked them out."""
    cloned = ("config", "--local", "--default", str(top), "--get", "remote.origin.url")
    origin = await git.run(*cloned, attempted=_ATTEMPTED, on=str(top), cwd=top)
    await git.run("config", "remote.origin.url", origin.line, attempted=_ATTEMPTED, on=str(copy), cwd=copy)
    asked = ("rev-parse", "--path-format=absolute", "--git-path", "modules", "--git-common-dir")
    told = await git.run(*asked, attempted=_ATTEMPTED, on=str(top), cwd=top)
    own, common = map(Path, os.fsdecode(told.out).splitlines()[:2])
    for inside in (own, common / "modules"):  # a linked worktree may have its own, and sees those of the first one
        if inside.is_dir():
            (copy / ".git" / "modules").symlink_to(inside)
            return


def _lacks(result: GateResult) -> list[str]:
    if result.outcome.opens:
        return []
    told = f"{result.reason}\n{result.tail}"
    line = next(
        (f"{why}: {row.strip()}" for row in told.splitlines() for sign, why in _SIGNS if sign in row), result.reason
    )
    return [f"gate {result.gate}: {Untrusted(line).one_line(200)}"]


def _shown(  # noqa: PLR0917 - all that there is to show
    asked: _Asked, proposal: Proposal, text: str, verdict: Verdict | None, why: list[str], untried: int = 0
) -> int:
    missing = [*proposal.missing, *filter(None, map(_program, proposal.tools)), *why]
    written = bool(text) and not asked.dry_run
    status = STATUS[verdict.outcome] if verdict else untried if text else 1
    if asked.as_json:
        print_json(
            {
                "v": 1,
                "path": str(asked.repo / REPO_FILE),
                "written": written,
                "file": text,
                "gates": [_plain(gate) for gate in proposal.gates],
                "setup": [_plain(setup) for setup in proposal.setups],
                "missing": missing,
                "tried": as_plain(verdict) if verdict else None,
                "status": status,
            }
        )
        return status
    if not text:
        sys.stdout.write(_NOTHING)
    elif verdict is not None:
        sys.stdout.write(f"\n{as_table(verdict)}")
    elif asked.dry_run:
        sys.stdout.write(text)
    if missing:
        sys.stdout.write("\nMissing, or good to know:\n" + "".join(f"- {words}\n" for words in missing))
    if written and verdict is not None and verdict.outcome.opens:
        sys.stdout.write(f"\nCommit {REPO_FILE} to the base branch: gates are read from there.\n")
    return status


def _program(tool: str) -> str:
    """What to do about a program that gates would not find; empty: they find it."""
    at = shutil.which(tool)
    if at is None:
        return f"{tool} is not installed here; machines that run the gate need it"
    if at.startswith(SYSTEM) or tool == "python3":
        return ""
    return f"{tool} is in {Path(at).parent}, where gates do not look: list that in gate_path of their machines"


def _plain(proposed: Proposed) -> dict[str, Any]:
    run: Any = [list(argv) for argv in proposed.argv]
    found = {
        "name": proposed.name,
        "ecosystem": proposed.ecosystem,
        "directory": proposed.directory,
        "run": run,
        "env": dict(proposed.env),
        "network": proposed.network,
    }
    if proposed.provides:
        found |= {"inputs": list(proposed.inputs), "provides": list(proposed.provides)}
    return found


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in text.splitlines())

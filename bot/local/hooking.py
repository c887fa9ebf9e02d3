"""``airboss hook``: puts the hook that checks fencing tokens into the operator's bare repository, or prints it."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

from fleet.config import load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import Misused, Unavailable
from fleet.git import origin
from fleet.git.command import own_environment
from fleet.landing import fence_hook

_SETTINGS: Final = (("receive.advertisePushOptions", "true"), ("core.fsync", "committed"))
_BY_HAND: Final = (
    "On its own host: airboss hook show > hooks/pre-receive; chmod +x hooks/pre-receive; "
    "git config receive.advertisePushOptions true"
)


def show(options: argparse.Namespace, home: Path) -> int:
    """Prints the hook, for a repository on another host."""
    del options, home
    sys.stdout.write(fence_hook.SCRIPT)
    return 0


def install(options: argparse.Namespace, home: Path) -> int:
    """Writes the hook into a bare repository on this machine that fleet.toml names."""
    config, attempted = load_fleet(home / FLEET_FILE), "install the hook"
    if options.repo not in config.repos:
        known = f"Known: {', '.join(sorted(config.repos)) or 'none'}"
        raise Misused(attempted=attempted, on=options.repo, cause="fleet.toml does not name it", hint=known)
    bare = origin.local_path(config.repos[options.repo].url)
    if bare is None or _git(bare, "rev-parse", "--is-bare-repository") != "true":
        cause = "it is not a bare repository on this machine"
        raise Misused(attempted=attempted, on=options.repo, cause=cause, hint=_BY_HAND)
    if fence_hook.occupied(bare):
        raise Misused(
            attempted=attempted,
            on=options.repo,
            cause=f"{bare} has another hooks/pre-receive",
            hint="Call this one from there: airboss hook show > hooks/airboss-fence",
        )
    for name, value in _SETTINGS:
        _git(bare, "config", name, value)
    if options.reset:
        fence_hook.forget(bare)
    fence_hook.write(bare)
    sys.stdout.write(f"{bare} now refuses a landing whose fencing token is not the newest.\n")
    return 0


def _git(bare: Path, *words: str) -> str:
    # Named outright where it is bare: git looks for no other, and asks nobody whether it may use a bare one.
    where = {"GIT_DIR": str(bare)} if (bare / "HEAD").is_file() else {}
    done = subprocess.run(
        ["git", "-C", str(bare), *words],
        env={**own_environment(), **where},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise Unavailable(attempted="install the hook", on=str(bare), cause=done.stderr.strip()[-300:])
    return done.stdout.strip()

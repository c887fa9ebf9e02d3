"""Commands that edit or read a home belong to the login that owns it; they go there through sudo, with the caller's
name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fleet.errors import Misused
from fleet.logins import login_name
from fleet.model import PersonId
from gates.people import console_person


def caller() -> PersonId:
    """Who gave this command: the login that sudo names, else our own."""
    return console_person(os.environ.get("SUDO_USER") or login_name(os.getuid()))


def as_owner(home: Path) -> None:
    """Runs this very command anew as the login that owns ``home``, unless that is ours, or there is no home yet.

    Raises ``Misused`` without sudo.
    """
    try:
        owner = home.stat().st_uid
    except OSError:
        return
    if owner == os.geteuid():
        return
    login = login_name(owner)
    words = command(login, home, sys.argv[1:])
    sys.stderr.write(f"airboss: {home} belongs to {login}; asking sudo\n")
    sys.stderr.flush()
    try:
        os.execvp(words[0], words)  # noqa: S606 - a list of words, no shell
    except OSError as error:
        raise Misused(
            attempted="use the home", on=str(home), cause=f"it belongs to {login}, and sudo is not here",
            hint=f"Run this command as {login}.",
        ) from error  # fmt: skip


def command(login: str, home: Path, given: list[str]) -> list[str]:
    """The command line for sudo. ``-I``: nothing of the directory that the caller stands in is loaded."""
    words = iter(given)
    kept = []
    for word in words:
        if word == "--home":
            next(words, "")
        elif not word.startswith("--home="):
            kept.append(word)
    return ["sudo", "-u", login, "--", sys.executable, "-I", "-m", "bot.cli", "--home", str(home), *kept]

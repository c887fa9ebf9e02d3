"""Where each vendor's agent keeps its login: never copied, because vendors rotate what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keeping:
    """``folder`` under the home holds an agent's settings and ``file`` its login, unless ``variable`` names another
    folder. ``vault_variable`` tells the agent where the file and the lock around its renewal are. ``linked``: it
    follows a link to the file, and renews the login by a rename there. ``log_in``: its arguments to log in.
    ``rules``: a folder in ``folder`` whose files could allow commands that nobody is asked about."""

    folder: str
    file: str
    variable: str
    vault_variable: str = ""
    linked: bool = False
    log_in: tuple[str, ...] = ()
    rules: str = ""

    def directory(self, env: Mapping[str, str], home: str) -> str:
        """The folder, absolute."""
        return env.get(self.variable) or f"{home}/{self.folder}"


#: By driver.
KEEPINGS = {
    "claude": Keeping(".claude", ".credentials.json", "CLAUDE_CONFIG_DIR", "CLAUDE_SECURESTORAGE_CONFIG_DIR"),
    "codex": Keeping(".codex", "auth.json", "CODEX_HOME", linked=True, log_in=("login",), rules="rules"),
}


@dataclass(frozen=True, slots=True)
class VendorLogin:
    """What one agent's sessions share, and what they must not see. ``directories``: of the agent's settings;
    ``emptied``: those in which nothing of the login's counts."""

    files: tuple[str, ...]
    linked: tuple[str, ...]
    others: tuple[str, ...]
    directories: tuple[str, ...]
    vault_variable: str
    emptied: tuple[str, ...] = ()


def login_of(driver: str, env: Mapping[str, str], home: str, more: tuple[str, ...] = ()) -> VendorLogin:
    """The login of an agent with this environment. ``more``: further files of it, relative to the home."""
    mine = KEEPINGS.get(driver)
    named = [f"{home}/{path}" for path in more]
    files = [f"{mine.directory(env, home)}/{mine.file}"] if mine else []
    others = [
        f"{keeping.directory(env, home)}/{keeping.file}" for keeping in KEEPINGS.values() if keeping is not mine
    ]
    return VendorLogin(
        files=(*(files if mine and not mine.linked else ()), *named),
        linked=tuple(files if mine and mine.linked else ()),
        others=tuple(path for path in others if mine and path not in named),
        directories=(mine.directory(env, home),) if mine else (),
        vault_variable=mine.vault_variable if mine else "",
        emptied=(f"{mine.directory(env, home)}/{mine.rules}",) if mine and mine.rules else (),
    )

"""``airboss hooks``: adds the hook client to a person's agents, switches it off and on, and takes it away again.

Everything but the list of repositories works without a controller.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from bot.local.options import print_json
from fleet import files
from fleet.agents.hooked import OURS, SETTINGS, HookedAgent, merged, removed
from fleet.config import load_fleet
from fleet.config.home import CONTROL_SOCKET, FLEET_FILE
from fleet.errors import Misused, Refused, Unavailable
from fleet.machines.runner import hook, hook_parts

DIRECTORY: Final = ".airboss-hooks"
_PATIENCE_S: Final = 5.0
_HOURS: Final = hook.OFF_SECONDS // 3600


def install(options: argparse.Namespace, home: Path) -> int:
    """Writes the client, and adds it to the agents' settings of this login or of one working copy."""
    base = _base(options)
    directory = _directory()
    at = Path(options.socket).expanduser() if options.socket else home / CONTROL_SOCKET
    socket = os.path.abspath(at)  # noqa: PTH100 - resolve() would follow symlinks
    copies = [*_copies(), str(base)] if options.scope != "user" else _copies()
    settings = {"socket": socket, **_known(home, socket, elsewhere=bool(options.socket))}
    settings["copies"] = sorted(set(copies))
    edits = [
        _edit(base / SETTINGS[agent][0 if options.scope == "user" else 1], partial(_with_hooks, agent))
        for agent in _agents(options)
    ]  # nothing is written before all of them can be read
    client = directory / "client" / "airboss_hook"
    with files.writing("install hooks", directory):
        for folder in (directory, client.parent, client, directory / "sessions"):
            folder.mkdir(mode=0o700, exist_ok=True)
        files.replace(directory / "settings.json", json.dumps(settings).encode())
        runner = Path(str(hook.__file__)).parent
        for source in ("hook.py", "hook_parts.py", "hook_stop.py"):
            name = "__init__.py" if source == "hook.py" else source
            files.replace(client / name, (runner / source).read_bytes())
    for agent, edit in zip(_agents(options), edits, strict=True):
        edit.write()
        sys.stdout.write(f"{agent}: hooks are in {edit.path}\n")
        if agent is HookedAgent.CODEX:
            sys.stdout.write("codex: it asks you to trust new hooks at its next start: /hooks there\n")
    names = ", ".join(name for name, _ in settings["known"]) or "none yet"
    sys.stdout.write(f"They act in the fleet's repositories ({names}) and allow everything elsewhere.\n")
    return 0


def uninstall(options: argparse.Namespace, home: Path) -> int:
    """Takes the hooks out of the settings; with the login's own, also those of working copies, and the client."""
    del home
    base = _base(options)
    user = options.scope == "user"
    paths = [base / SETTINGS[agent][0 if user else 1] for agent in HookedAgent]
    if user:
        paths += [Path(copy) / SETTINGS[agent][1] for copy in _copies() for agent in HookedAgent]
    edits = [_edit(path, removed) for path in paths if path.exists()]
    for edit in edits:
        edit.write()
        sys.stdout.write(f"No hooks of Airboss are left in {edit.path}\n")
    directory = _directory()
    if not user or not directory.is_dir():
        if not edits:
            sys.stdout.write("No hooks of Airboss are here.\n")
        return 0
    with files.writing("remove the hook client", directory):
        for path in directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif not path.name.startswith("journal"):
                path.unlink()
        if any(directory.iterdir()):
            sys.stdout.write(
                f"{directory} stays: no controller was told yet what happened while hooks were off. It is told "
                "when hooks are installed again and a session begins; delete the directory to forget it.\n"
            )
            return 0
        directory.rmdir()
    sys.stdout.write(f"{directory} is removed\n")
    return 0


def off(options: argparse.Namespace, home: Path) -> int:
    """Lets this login's agents edit without Airboss, for eight hours at most."""
    del options, home
    directory, now = _installed("switch hooks off"), int(time.time())
    if not hook.off_since(str(directory)):
        hook.journal(str(directory), {"off": True, "at": now})
    files.replace(directory / "off", json.dumps({"since": now}).encode())
    until = time.strftime("%H:%M", time.localtime(now + hook.OFF_SECONDS))
    sys.stdout.write(f"Hooks are off until {until} ({_HOURS} h), or until: airboss hooks on\n")
    return 0


def on(options: argparse.Namespace, home: Path) -> int:
    """Ends that."""
    del options, home
    directory = _installed("switch hooks on")
    if hook.off_since(str(directory)):
        hook.journal(str(directory), {"off": False, "at": int(time.time())})
    (directory / "off").unlink(missing_ok=True)
    sys.stdout.write("Hooks are on.\n")
    return 0


def show(options: argparse.Namespace, home: Path) -> int:
    """Where hooks are installed, whether they are on, and whether a controller answers them."""
    del home
    directory = _installed("show hooks")
    try:
        settings = json.loads((directory / "settings.json").read_bytes())
        answering = _answering(settings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Misused(
            attempted="show hooks",
            on=str(directory / "settings.json"),
            cause=f"it is damaged, so edits are refused: {error}",
            hint="airboss hooks install writes it again",
        ) from error
    since, places = hook.off_since(str(directory)), _places()
    data = {
        "v": 1,
        "directory": str(directory),
        "settings": places,
        "socket": settings["socket"],
        "controller": bool(answering),
        "off_since": int(since),
        "repositories": [name for name, _ in settings["known"]],
    }
    if options.json:
        print_json(data)
        return 0
    clock = [time.strftime("%H:%M", time.localtime(at)) for at in (since, since + hook.OFF_SECONDS)]
    state = f"off since {clock[0]}, until {clock[1]} or airboss hooks on" if since else "on"
    if not places:
        state = "in NO agent's settings, so nothing is asked: airboss hooks install"
    where = f"{'a' if answering else 'NO'} controller answers at {answering or settings['socket']}"
    refused = "" if answering or since or not places else ": edits are refused"
    sys.stdout.write("".join([f"hooks: {state} · {where}{refused}\n", *(f"  {place}\n" for place in places)]))
    return 0


# --- parts ------------------------------------------------------------------------------------------------


def socket_of() -> str:
    """Whom this login's hooks ask; empty when that is not written down."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return str(json.loads((_directory() / "settings.json").read_bytes())["socket"])
    return ""


def _directory() -> Path:
    return Path.home() / DIRECTORY


def _copies() -> list[str]:
    """The working copies that have hooks of their own."""
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        return list(map(str, json.loads((_directory() / "settings.json").read_bytes()).get("copies", ())))
    return []


def _places() -> list[str]:
    """The settings that have our hooks now."""
    wanted = [Path.home() / user for user, _ in SETTINGS.values()]
    wanted += [Path(copy) / repo for copy in _copies() for _, repo in SETTINGS.values()]
    return [str(path) for path in wanted if path.is_file() and OURS.encode() in path.read_bytes()]


def _installed(attempted: str) -> Path:
    directory = _directory()
    if not (directory / "settings.json").exists():
        raise Misused(
            attempted=attempted,
            cause="no hooks are installed in this login",
            hint="airboss hooks install. A working copy that still has some: airboss hooks uninstall --repo, there",
        )
    return directory


def _base(options: argparse.Namespace) -> Path:
    if options.scope == "user":
        return Path.home()
    top, _ = hook_parts.top_of(os.getcwd())  # noqa: PTH109 - the client takes text
    if not top:
        raise Misused(
            attempted="find the working copy", cause="this is none", hint="Use --user, or change into a repository."
        )
    return Path(top)


def _agents(options: argparse.Namespace) -> list[HookedAgent]:
    return [HookedAgent(options.agent)] if options.agent else list(HookedAgent)


def _with_hooks(agent: HookedAgent, given: dict[str, Any]) -> dict[str, Any]:
    return merged(given, agent, _python(), str(_directory()))


def _python() -> str:
    """The system's Python if it is there: an environment of ours may be removed. The client needs 3.9."""
    return "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else os.path.realpath(sys.executable)


def _answering(settings: dict[str, Any]) -> str:
    """The socket where a controller answers; empty: nobody does."""
    asks = hook_parts.encode({"v": 1, "do": "status"}) + b"\n"
    found = hook_parts.names(hook_parts.addresses(settings))
    return next((path for path in found if hook_parts.answers(path, asks, _PATIENCE_S)), "")


def _known(home: Path, socket: str, *, elsewhere: bool) -> dict[str, Any]:
    """The fleet's repositories, and other controllers' sockets, from the controller, or from ``fleet.toml`` where
    that is readable."""
    request = {"v": 1, "do": "hook", "op": "know", "agent": "claude", "given": {}}
    answer, stands, why = dict[str, Any](), Path.cwd(), "no controller answers"
    hook_parts.limit(_PATIENCE_S)
    try:
        line, _ = hook_parts.exchange([socket], hook_parts.encode(request) + b"\n", _PATIENCE_S)
        answer = hook_parts.decode(line)
    except OSError:
        pass
    except hook_parts.EditRefused as error:
        why = str(error)
    finally:
        hook_parts.limit(0)
        with contextlib.suppress(OSError):
            os.chdir(stands)
    if answer.get("end") == 0:
        data = answer["data"]
        return {
            "known": [list(map(str, row)) for row in data["known"]],
            "next": list(map(str, data.get("next", ()))),
        }
    if answer.get("error"):
        raise Refused(attempted="install hooks", on=socket, cause=str(answer["error"]))
    if not elsewhere and os.access(home / FLEET_FILE, os.R_OK):
        repos = load_fleet(home / FLEET_FILE).repos
        return {"known": [[name, hook_parts.plain(repo.url)] for name, repo in repos.items()]}
    raise Unavailable(
        attempted="ask for the fleet's repositories",
        on=socket,
        cause=why,
        hint="Start it first: the hooks must know in which repositories they act.",
    )


@dataclass(frozen=True, slots=True)
class _Edit:
    """What an agent's settings are to become. A link to them stays a link."""

    path: Path
    target: Path
    data: bytes
    mode: int

    def write(self) -> None:
        """Raises ``Unavailable`` where it cannot be written."""
        with files.writing("change the agent's settings", self.path):
            if not self.data and not self.path.is_symlink():
                self.path.unlink(missing_ok=True)  # nothing but ours was in it
                return
            self.target.parent.mkdir(parents=True, exist_ok=True)
            files.replace(self.target, self.data or b"{}\n", mode=self.mode)


def _edit(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> _Edit:
    """Reads a settings file of JSON. Raises ``Misused`` for what cannot be read."""
    try:
        target, mode, given = path.resolve(), 0o600, dict[str, Any]()
        if target.exists():
            if not target.is_file():
                raise ValueError("it is no file")
            mode = target.stat().st_mode & 0o777
            given = json.loads(target.read_bytes() or b"{}", object_pairs_hook=_each_once)
        if not isinstance(given, dict):
            raise ValueError("it is no JSON object")
        made = change(given)
        data = (json.dumps(made, indent=2, ensure_ascii=False) + "\n").encode() if made else b""
    except (OSError, RuntimeError, ValueError) as error:  # a RuntimeError: a loop of links, or nested too deeply
        why = str(error)
        if isinstance(error, json.JSONDecodeError):
            why = f"line {error.lineno}, column {error.colno}: {error.msg} (JSON has no comments)"
        hint = "Correct it first; nothing was changed."
        raise Misused(attempted="change the agent's settings", on=str(path), cause=why, hint=hint) from error
    return _Edit(path, target, data, mode)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("it has a name twice, and only one of them would stay")
    return made

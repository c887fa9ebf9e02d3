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
from pathlib import Path
from typing import Any, Final

from bot.local.options import print_json
from fleet import files
from fleet.agents.hooked import SETTINGS, HookedAgent, merged, removed
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
    if "'" in str(directory) or '"' in str(directory):
        raise Misused(attempted="install hooks", on=str(directory), cause="the path has a quote in it")
    at = Path(options.socket).expanduser() if options.socket else home / CONTROL_SOCKET
    socket = os.path.abspath(at)  # noqa: PTH100 - resolve() would follow symlinks
    client = directory / "client" / "airboss_hook"
    for folder in (directory, client.parent, client, directory / "sessions"):
        folder.mkdir(mode=0o700, exist_ok=True)
    settings = {"socket": socket, **_known(home, socket, elsewhere=bool(options.socket))}
    files.replace(directory / "settings.json", json.dumps(settings).encode())
    runner = Path(str(hook.__file__)).parent
    for source in ("hook.py", "hook_parts.py", "hook_stop.py"):
        name = "__init__.py" if source == "hook.py" else source
        files.replace(client / name, (runner / source).read_bytes())
    for agent in _agents(options):
        path = base / SETTINGS[agent][0 if options.scope == "user" else 1]
        _edit(path, lambda given, agent=agent: merged(given, agent, _python(), str(directory)))
        sys.stdout.write(f"{agent}: hooks are in {path}\n")
        if agent is HookedAgent.CODEX:
            sys.stdout.write("codex: it asks you to trust new hooks at its next start: /hooks there\n")
    names = ", ".join(name for name, _ in settings["known"]) or "none yet"
    sys.stdout.write(f"They act in the fleet's repositories ({names}) and allow everything elsewhere.\n")
    return 0


def uninstall(options: argparse.Namespace, home: Path) -> int:
    """Takes the hooks out of the settings; with the login's own, also the client and its folder."""
    del home
    base = _base(options)
    for agent in HookedAgent:
        path = base / SETTINGS[agent][0 if options.scope == "user" else 1]
        if path.exists():
            _edit(path, removed)
            sys.stdout.write(f"{agent}: no hooks of Airboss are left in {path}\n")
    directory = _directory()
    if options.scope != "user" or not directory.is_dir():
        return 0
    if (directory / "journal").exists() or (directory / "journal.told").exists():
        sys.stdout.write(
            f"{directory} stays: no controller was told yet what happened while hooks were off. It is told at the "
            "start of the next session with hooks; delete the directory to forget it.\n"
        )
        return 0
    shutil.rmtree(directory)
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
    settings = json.loads((directory / "settings.json").read_bytes())
    since = hook.off_since(str(directory))
    answering = _answering(settings)
    data = {
        "v": 1,
        "directory": str(directory),
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
    where = f"{'a' if answering else 'NO'} controller answers at {answering or settings['socket']}"
    refused = "" if answering or since else ": edits are refused"
    sys.stdout.write(f"hooks: {state} · {where}{refused}\n")
    return 0


# --- parts ------------------------------------------------------------------------------------------------


def socket_of() -> str:
    """Whom this login's hooks ask; empty when that is not written down."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return str(json.loads((_directory() / "settings.json").read_bytes())["socket"])
    return ""


def _directory() -> Path:
    return Path.home() / DIRECTORY


def _installed(attempted: str) -> Path:
    directory = _directory()
    if not (directory / "settings.json").exists():
        raise Misused(
            attempted=attempted, cause="no hooks are installed in this login", hint="airboss hooks install"
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


def _edit(path: Path, change: Any) -> None:
    """Rewrites a settings file of JSON; a link to one stays a link. What cannot be read is left as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
    try:
        given = json.loads(target.read_bytes() or b"{}") if target.exists() else {}
        if not isinstance(given, dict):
            raise ValueError("it is no JSON object")
        made = change(given)
    except ValueError as error:
        raise Misused(
            attempted="change the agent's settings", on=str(path), cause=str(error), hint="Correct the file first."
        ) from error
    if not made:  # nothing but ours was in it
        path.unlink(missing_ok=True)
        return
    files.replace(target, (json.dumps(made, indent=2, ensure_ascii=False) + "\n").encode(), mode=mode)

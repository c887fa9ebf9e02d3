"""``airboss service``: a unit of systemd, or a property list of launchd, for this very installation and home."""

from __future__ import annotations

import argparse
import html
import os
import platform
import plistlib
import re
import shutil
import sys
from pathlib import Path
from typing import Final

from fleet import files
from fleet.errors import Misused

LABEL: Final = "com.airboss"
_UNIT: Final = """\
# Written by airboss service install. Runs the controller of {home} for its login.
[Unit]
Description=Airboss: a fleet of coding agents, run from chat
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={words} serve
UMask=0077
# Agents belong to their runner, not to the controller. A restart must not end them.
KillMode=process
OOMPolicy=continue
Restart=always
RestartSec=2
# Exit status 2: the configuration is wrong, and the journal says where.
RestartPreventExitStatus=2
TimeoutStopSec=30
LimitCORE=0

[Install]
WantedBy={wanted_by}
"""

_SERVES: Final = re.compile(
    r'^ExecStart=(?:"(?:[^"\\]|\\.)*"|\S+) --home ("(?:[^"\\]|\\.)*"|\S+) serve$'
    r"|<string>--home</string>\s*<string>([^<]*)</string>",
    re.MULTILINE,
)
_QUOTED: Final = re.compile(r"""[\s"'\\;%$]""")


def place(*, mac: bool) -> Path:
    """Where the login's own service file is."""
    return Path.home() / (
        "Library/LaunchAgents/com.airboss.plist" if mac else ".config/systemd/user/airboss.service"
    )


def show(options: argparse.Namespace, home: Path) -> int:
    """Prints it: of the login, or for ``/etc/systemd/system`` with a login's name."""
    sys.stdout.buffer.write(text_of(home, mac=on_mac(), login=options.system))
    return 0


def install(options: argparse.Namespace, home: Path) -> int:
    """Writes the login's own, and says how to start it."""
    del options
    mac = on_mac()
    path = place(mac=mac)
    if (other := serves(path)) not in (None, home):
        raise Misused(
            attempted="install the service",
            on=str(path),
            cause=f"it runs the controller of {other}, and a login has one",
            hint="Take that file away first; or give this home a unit of another name: airboss service show",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, text_of(home, mac=mac, login=""), mode=0o644)
    start = (
        f"launchctl bootstrap gui/{os.getuid()} {path}"
        if mac
        else "systemctl --user daemon-reload && systemctl --user enable --now airboss\n"
        "loginctl enable-linger    # it then also runs while you are logged out"
    )
    sys.stdout.write(f"{path} is written. Start it:\n{start}\n")
    return 0


def serves(path: Path) -> Path | None:
    """The home whose controller a service file runs; ``None`` where there is no file of ours."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return None
    found = _SERVES.search(text)
    if found is None:
        return None
    return Path(_path_of(found[1]) if found[1] else html.unescape(found[2]))


def on_mac() -> bool:
    """Whether launchd starts services here."""
    return platform.system() == "Darwin"


def _program() -> str:
    """The command that runs now; another installation may come first in PATH."""
    own = Path(sys.argv[0]).absolute()
    if own.name == "airboss" and os.access(own, os.X_OK):
        return str(own)
    return shutil.which("airboss") or str(own)


def text_of(home: Path, *, mac: bool, login: str) -> bytes:
    """The file's content; ``login``: for a system unit. Raises ``Misused`` for a path that it could not hold."""
    program = _program()
    printable = f"{program}{home}".isprintable() and (mac or not set(program) & set("\"'\\$"))
    if not printable or not re.fullmatch(r"[\w.@-]*", login):
        raise Misused(
            attempted="write a service file",
            on=f"{program}, {home}, {login}",
            cause="a path has a quote, a $ or what is not printable in it, or the login is none",
            hint="Install Airboss in a directory with a simpler name.",
        )
    if mac:
        return plistlib.dumps(
            {
                "Label": LABEL,
                "ProgramArguments": [program, "--home", str(home), "serve"],
                "EnvironmentVariables": {"PATH": "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"},
                "Umask": 0o077,
                "RunAtLoad": True,
                "KeepAlive": {"SuccessfulExit": False},
                "ThrottleInterval": 10,
                "AbandonProcessGroup": True,
            }
        )
    wanted_by = "multi-user.target" if login else "default.target"
    text = _UNIT.format(home=home, words=f"{_word(program)} --home {_word(str(home))}", wanted_by=wanted_by)
    return text.replace("Type=exec\n", f"Type=exec\nUser={login}\n" if login else "Type=exec\n").encode()


def _word(path: str) -> str:
    """A path as a word of systemd's command line."""
    if not _QUOTED.search(path):
        return path
    for plain, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        path = path.replace(plain, written)
    return f'"{path}"'


def _path_of(word: str) -> str:
    """What :func:`_word` wrote."""
    if not word.startswith('"'):
        return word
    return re.sub(r"\\(.)", r"\1", word[1:-1].replace("%%", "%").replace("$$", "$"))

"""What this machine offers to tasks and gates, apart from what changes every second (``facts``)."""

from __future__ import annotations

import os
import sys

from . import light_json as json
from .files import read_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .files import Json

PATIENCE = 10.0  # seconds for each program to say its version
SAYS = 200  # characters of what a program says that are kept
MOST_SIMULATORS = 200


def release() -> str:
    """The version of macOS, or of the kernel."""
    if sys.platform == "darwin":
        import platform

        return platform.mac_ver()[0]
    return os.uname().release


def memory() -> tuple[int, int]:
    """Bytes of memory, in all and available; 0 where that is not known."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        whole = 0
    for line in (read_path("/proc/meminfo") or b"").splitlines():
        if line.startswith(b"MemAvailable:"):
            return whole, int(line.split()[1]) * 1024
    return whole, 0


def look(programs: Mapping[str, Sequence[str]], env: dict[str, str], directory: str) -> Json:
    """Each program that is here, with what it says to its arguments; on a Mac also Xcode and its simulators."""
    import shutil

    found = {}
    for label, argv in programs.items():
        path = shutil.which(argv[0], path=env["PATH"])
        if path:
            found[label] = said([path, *argv[1:]], env, directory)[:SAYS] if argv[1:] else ""
    xcode = said(["xcodebuild", "-version"], env, directory) if sys.platform == "darwin" else ""
    return {"programs": found, "xcode": xcode[:SAYS], "simulators": simulators(env, directory) if xcode else []}


def simulators(env: dict[str, str], directory: str) -> list[list[str]]:
    """(name, runtime) of each simulator."""
    try:
        listed = json.loads(said(["xcrun", "simctl", "list", "devices", "available", "-j"], env, directory))
        found = [[device["name"], kind] for kind, devices in listed["devices"].items() for device in devices]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    return found[:MOST_SIMULATORS]


def said(argv: list[str], env: dict[str, str], directory: str) -> str:
    """What a program prints; empty when it fails or takes too long."""
    import subprocess  # it costs milliseconds, which a short command would pay too

    try:
        ran = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            cwd=directory,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ran.stdout.decode("utf-8", "replace").strip() if ran.returncode == 0 else ""

"""Which Python the gates of a try find: the one that the shell finds, unless only our own has pytest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

#: Where the system has its programs.
SYSTEM: Final = ("/usr/", "/bin/", "/sbin/", "/opt/")
#: It loads nothing: a start of Python is its imports (ADR 63).
_ASK: Final = """
import os, sys
has = any(os.path.isdir(os.path.join(each, "pytest")) for each in sys.path)
print("\\n".join((sys.executable, sys.prefix, sys.base_prefix, "pytest" if has else "")))
"""


@dataclass(frozen=True, slots=True)
class PythonAbout:
    """Where a Python really is, and whether it has pytest."""

    program: str
    prefix: str
    base: str
    pytest: bool


def tools() -> tuple[list[str], list[str]]:
    """The directories of a Python for the gates: for programs, and to read."""
    chosen = python_at("python3")
    if chosen is None or not chosen.pytest:
        own = PythonAbout(sys.executable, sys.prefix, sys.base_prefix, find_spec("pytest") is not None)
        chosen = own if own.pytest or chosen is None else chosen
    if chosen.program.startswith(SYSTEM):
        return [], []
    roots = [chosen.prefix, chosen.base]
    return [str(Path(chosen.program).parent)], [root for root in dict.fromkeys(roots) if Path(root).is_dir()]


def python_at(program: str) -> PythonAbout | None:
    """What a program says of itself; ``None`` when it is no Python that runs."""
    at = shutil.which(program)
    if at is None:
        return None
    try:
        asked = subprocess.run([behind(at), "-I", "-c", _ASK], capture_output=True, check=True, timeout=30)
        real, prefix, base, pytest = os.fsdecode(asked.stdout).split("\n")[:4]
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return PythonAbout(real, prefix, base, bool(pytest))


def behind(shim: str) -> str:
    """The program that a shim of pyenv starts, where one version is chosen by its name: the shim is a script that
    starts some fifty processes. Anything else is itself."""
    root = Path(shim).parent.parent
    if Path(shim).parent.name != "shims" or not (root / "versions").is_dir():
        return shim
    try:
        chosen = os.environ.get("PYENV_VERSION") or _version(root)
    except OSError:
        return shim
    real = root / "versions" / chosen / "bin" / Path(shim).name
    return str(real) if chosen and len(Path(chosen).parts) == 1 and os.access(real, os.X_OK) else shim


def _version(root: Path) -> str:
    """The version in the ``.python-version`` above where we work, or in pyenv's own file."""
    start = Path(os.environ.get("PYENV_DIR") or Path.cwd())
    files = [each / ".python-version" for each in (start, *start.parents)]
    for file in (*files, root / "version"):
        if file.is_file():
            return file.read_text("utf-8", "replace").strip()
    return ""

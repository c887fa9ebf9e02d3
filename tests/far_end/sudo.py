"""A sudo for tests, for machines without one: one login may become certain others, and nobody else anything.

Like sudo it runs as root, closes all but the standard streams, makes a clean environment, waits for the command as
its parent, and ends as the command did.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path

_PROGRAM = """
import os, pwd, signal, sys
caller, allowed = {caller!r}, {allowed!r}
words = sys.argv[1:]
login, command = words[words.index("-u") + 1], words[words.index("--") + 1 :]
if os.getuid() != caller or login not in allowed:
    sys.exit("sudo: a password is required")
os.setresuid(0, 0, 0)
os.closerange(3, 4096)
made = pwd.getpwnam(login)
child = os.fork()
if child == 0:
    os.initgroups(login, made.pw_gid)
    os.setresgid(made.pw_gid, made.pw_gid, made.pw_gid)
    os.setresuid(made.pw_uid, made.pw_uid, made.pw_uid)
    env = {{"HOME": made.pw_dir, "USER": login, "LOGNAME": login, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}}
    try:
        os.execvpe(command[0], command, env)
    finally:
        os._exit(127)
status = os.waitpid(child, 0)[1]
if os.WIFSIGNALED(status):
    signal.signal(os.WTERMSIG(status), signal.SIG_DFL) if os.WTERMSIG(status) != signal.SIGKILL else None
    os.kill(os.getpid(), os.WTERMSIG(status))
os._exit(os.WEXITSTATUS(status))
"""


def python_with_sudo(directory: Path, caller: str, allowed: Sequence[str]) -> Path:
    """A ``python3`` for ``fleet.toml`` that finds this sudo first; only ``caller`` can use it."""
    who = pwd.getpwnam(caller)
    directory.mkdir(mode=0o755)
    root_python = directory / "python-as-root"
    shutil.copyfile(Path("/usr/bin/python3").resolve(), root_python)
    os.chown(root_python, 0, grp.getgrgid(who.pw_gid).gr_gid)
    root_python.chmod(0o4750)
    (directory / "sudo.py").write_text(_PROGRAM.format(caller=who.pw_uid, allowed=list(allowed)))
    (directory / "sudo").write_text(f'#!/bin/sh\nexec {root_python} -I -S {directory}/sudo.py "$@"\n')
    python = directory / "python3"
    python.write_text(f'#!/bin/sh\nPATH={directory}:$PATH exec /usr/bin/python3 "$@"\n')
    for program in (directory / "sudo", python):
        program.chmod(0o755)
    return python

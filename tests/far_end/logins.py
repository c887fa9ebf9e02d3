"""Throwaway system logins: random names, so that several checkouts can test at once. Making one needs root.

Each login holds a lock for as long as its test run lives. Whoever makes a login first removes those whose run was
killed: their lock is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"ab-[a-z]+-[0-9a-f]{8}")
_PATIENCE_SECONDS = 60

_kept = contextlib.ExitStack()


@functools.cache
def agents_login() -> pwd.struct_passwd:
    """This test process's login for agents."""
    return _kept.enter_context(throwaway_login("agents"))


@functools.cache
def gates_login() -> pwd.struct_passwd:
    """This test process's login for gates."""
    return _kept.enter_context(throwaway_login("gates"))


def remove_kept_logins() -> None:
    """Removes what the two functions above made."""
    agents_login.cache_clear()
    gates_login.cache_clear()
    _kept.close()


@contextlib.contextmanager
def throwaway_login(role: str, *, twin_of: pwd.struct_passwd | None = None) -> Iterator[pwd.struct_passwd]:
    """A system login with a private home, removed at the end. A twin is a second name for another login's uid."""
    remove_leftovers()
    name = login_name(role)
    directory = Path(tempfile.mkdtemp(prefix="ab-login-"))
    directory.chmod(0o755)
    lock = (directory / "lock").open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)  # before the login exists: nobody may see it unlocked
    home = directory / "home"
    home.mkdir(mode=0o700)
    uid = ["--non-unique", "--uid", str(twin_of.pw_uid)] if twin_of else []
    try:
        _account(
            "useradd", "--system", *uid, "--no-create-home", "--home-dir", str(home), "--shell", "/bin/sh", name
        )
        _account("usermod", "--password", "*", name)  # no password; sshd refuses a locked login's key too
        made = pwd.getpwnam(name)
        os.chown(home, made.pw_uid, made.pw_gid)
        yield made
    finally:
        with lock, contextlib.suppress(KeyError):
            _remove(pwd.getpwnam(name), is_twin=twin_of is not None)
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def homes_of_logins() -> Iterator[Path]:
    """A directory for homes of logins that something else makes; they are removed at the end."""
    remove_leftovers()
    directory = Path(tempfile.mkdtemp(prefix="ab-login-"))
    directory.chmod(0o755)
    with (directory / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield directory
        finally:
            for login in pwd.getpwall():
                if Path(login.pw_dir).parent == directory:
                    _remove(login, is_twin=False)
            shutil.rmtree(directory, ignore_errors=True)


def login_name(role: str) -> str:
    """A name for a login, which nobody else has."""
    return f"ab-{role}-{secrets.token_hex(4)}"


def remove_leftovers() -> None:
    """Removes the logins of test runs that died; never those of a run that lives."""
    for login in pwd.getpwall():
        if not _NAME.fullmatch(login.pw_name):
            continue
        directory = Path(login.pw_dir).parent
        uses = sum(other.pw_uid == login.pw_uid for other in pwd.getpwall())
        try:
            lock = (directory / "lock").open("rb")
        except FileNotFoundError:  # a restart emptied the directory for temporary files
            if uses == 1 and not _processes_of(login.pw_uid):
                _remove(login, is_twin=False)
            continue
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its run lives
            _remove(login, is_twin=uses > 1)
            shutil.rmtree(directory, ignore_errors=True)


def _remove(login: pwd.struct_passwd, *, is_twin: bool) -> None:
    """Ends the login's processes, then removes it and its temporary files. A twin owns neither."""
    if not is_twin:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (left := _processes_of(login.pw_uid)) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for entry in Path(tempfile.gettempdir()).iterdir():  # agents leave caches there, named after the uid
            with contextlib.suppress(FileNotFoundError):
                if entry.lstat().st_uid == login.pw_uid and entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
    _account("userdel", "--force", login.pw_name)


def _processes_of(uid: int) -> list[int]:
    """The live processes of that uid; a zombie holds nothing."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines() if ":" in line)
            if str(uid) in status["Uid"].split() and status["State"].split()[0] not in "ZX":
                found.append(int(entry.name))
    return found


def _account(program: str, *arguments: str) -> None:
    """Runs useradd or userdel. Each takes the system's account lock and fails when another process holds it."""
    name = arguments[-1]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise RuntimeError(f"cannot make logins: no {program} here (Debian: apt-get install passwd)") from None
        if done.returncode == 0 or (program == "userdel" and "does not exist" in done.stderr):
            return
        if "lock" not in done.stderr or time.monotonic() > deadline:
            raise RuntimeError(f"{program} {name} failed: {done.stderr.strip()}")
        time.sleep(0.2)

"""Logins of this machine, by their numbers. Some have no name: a container runs as any number that it is given."""

from __future__ import annotations

import os
import pwd


def account(uid: int | None = None) -> pwd.struct_passwd:
    """The entry of a login, by default of this process's. Where the system has none, the number is its name, and
    this process's home is what its environment says."""
    number = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(number)
    except KeyError:
        home = os.environ.get("HOME", "/") if number == os.geteuid() else "/"
        return pwd.struct_passwd((str(number), "x", number, os.getegid(), "", home, "/bin/sh"))


def login_name(uid: int | None = None) -> str:
    """A login's name, by default this process's."""
    return account(uid).pw_name

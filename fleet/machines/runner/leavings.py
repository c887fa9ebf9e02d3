"""What a run left behind in a login of its own, outside its directory: found, removed, and told."""

from __future__ import annotations

import errno
import os
import stat

from .facts import LINUX, command_output, login_home
from .files import attempt, read_path, remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional

    from .libc import Libc

SHARED_PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue")
DARWIN_TEMPORARY = 65537  # _CS_DARWIN_USER_TEMP_DIR
#: What a shell, sshd or a login's own service manager reads without being asked to.
STARTUP = (
    ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".profile", ".zshenv", ".zprofile", ".zshrc",
    ".zlogin", ".zlogout", ".cshrc", ".tcshrc", ".login", ".kshrc", ".mkshrc", ".pam_environment", ".ssh",
    ".config", ".local", "Library/LaunchAgents",
)  # fmt: skip
TOLD = 20  # lines at most
KEYCTL = {"x86_64": 250, "aarch64": 219}
KEYCTL_CLEAR, USER_KEYRING = 7, -4
IPC_RMID = 0


class HomeOfTask:
    """Of a login that one task has: when it got it (0: it is a run's, not a task's), and what stays in its home."""

    def __init__(self, since: float, kept: frozenset[str]) -> None:
        self.since, self.kept = since, kept


class Leavings:
    """What a run left behind, apart from its own directory. Each removal is told in one line."""

    def __init__(self, room: str, since: float, task: HomeOfTask) -> None:
        self.room, self.since, self.task = room, since, task
        self.gates = os.path.dirname(room)
        self.root = os.path.dirname(self.gates)
        self.home = os.path.realpath(login_home())
        self.uid = os.getuid()
        self.told: list[str] = []

    def clear(self, libc: Optional[Libc]) -> list[str]:
        """Removes them; answers the lines."""
        self.scheduled()
        if libc:
            self.shared_memory(libc)
        for place in places():
            for path in self.mine(place):
                self.drop(path)
        for path in self.of_task() if self.task.since else self.planted() if self.since else []:
            self.drop(path)
        for name in os.listdir(self.gates) if os.path.isdir(self.gates) else []:
            if name != os.path.basename(self.room):
                self.drop(os.path.join(self.gates, name))
        return self.told[:TOLD] + (["and %d more" % (len(self.told) - TOLD)] if len(self.told) > TOLD else [])

    def say(self, line: str) -> None:
        self.told.append(line.encode("utf-8", "replace").decode()[:200])

    def drop(self, path: str) -> None:
        try:
            removed = "error" not in remove(path)
        except OSError:
            removed = False
        if removed or not os.path.lexists(path):
            self.say("removed " + path)
        else:
            self.say("could not remove " + path)

    def scheduled(self) -> None:
        """Cron and at."""
        import shutil  # as in begin

        if shutil.which("crontab") and command_output(["crontab", "-l"]):
            command_output(["crontab", "-r"])
            self.say(
                "removed its crontab" if not command_output(["crontab", "-l"]) else "could not remove its crontab"
            )
        for line in command_output(["atq"]).splitlines() if shutil.which("atrm") else []:
            command_output(["atrm", line.split()[0]])
            self.say("removed the at job " + line.split()[0])

    def shared_memory(self, libc: Libc) -> None:
        """System V objects, and the keyring that all processes of the login share."""
        for kind, call, owner_field in (("shm", "shmctl", 7), ("msg", "msgctl", 7), ("sem", "semctl", 4)):
            for line in (read_path("/proc/sysvipc/" + kind, 1 << 20) or b"").splitlines()[1:]:
                fields = line.split()
                if int(fields[owner_field]) == self.uid:
                    number = int(fields[1])
                    if kind == "sem":
                        attempt(libc.call, call, number, 0, IPC_RMID)
                    else:
                        attempt(libc.call, call, number, IPC_RMID, None)
                    self.say("removed System V %s %d" % (kind, number))
        keyctl = KEYCTL.get(os.uname().machine)
        if keyctl:
            libc.library.syscall(keyctl, KEYCTL_CLEAR, USER_KEYRING)

    def mine(self, place: str) -> Iterator[str]:
        """What of this login lies in a directory that others use too; its home and our own directory apart."""
        pending = [place]
        while pending:
            directory = pending.pop()
            try:
                entries = list(os.scandir(directory))
            except OSError:
                continue
            for entry in entries:
                try:
                    info = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                holds = [kept for kept in (self.root, self.home) if (kept + "/").startswith(entry.path + "/")]
                inside = any(entry.path == kept for kept in (self.root, self.home))
                if inside:
                    continue
                if holds:
                    pending.append(entry.path)
                elif info.st_uid == self.uid:
                    yield entry.path
                elif stat.S_ISDIR(info.st_mode) and os.access(entry.path, os.W_OK | os.X_OK):
                    if info.st_uid == 0:
                        pending.append(entry.path)
                    else:
                        self.tell_foreign(entry.path)

    def tell_foreign(self, place: str) -> None:
        """Says what of this login lies in a directory of another login. Nothing is removed there: its owner could
        put a link to this login's home in its place meanwhile."""
        try:
            found = [each.path for each in os.scandir(place) if each.stat(follow_symlinks=False).st_uid == self.uid]
        except OSError:
            return
        for path in found:
            self.say("left in a directory of another login: " + path)

    def of_task(self) -> Iterator[str]:
        """What changed in the home while the task had the login; our own directory apart."""
        for folder, folders, files in os.walk(self.home):
            folders[:] = [name for name in folders if os.path.join(folder, name) != self.root]
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for path in (os.path.join(folder, name) for name in files + links):
                try:
                    if os.lstat(path).st_ctime >= self.task.since and path not in self.task.kept:
                        yield path
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        self.say("could not look at " + path)

    def planted(self) -> Iterator[str]:
        """Start-up files of the login that were changed since the run began. Nobody but root can set that time."""
        for name in STARTUP:
            top = os.path.join(self.home, name)
            found = [top]
            if os.path.isdir(top) and not os.path.islink(top):
                found = [os.path.join(folder, each) for folder, _, files in os.walk(top) for each in files]
            for path in found:
                try:
                    if os.lstat(path).st_ctime >= self.since:
                        yield path
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        self.say("could not look at " + path)


def places() -> list[str]:
    """Directories where every login may write."""
    found = list(SHARED_PLACES)
    if not LINUX:
        import contextlib

        with contextlib.suppress(ValueError, OSError):
            found.append(os.confstr(DARWIN_TEMPORARY) or "/tmp")
    return sorted({os.path.realpath(place) for place in found if os.path.isdir(place)})

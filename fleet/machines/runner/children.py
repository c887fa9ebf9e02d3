"""Starting a process: its signals, its standard streams, and the report when it cannot start."""

from __future__ import annotations

import errno
import fcntl
import os
import warnings

from . import light_json as json
from .files import write_all
from .frames import RequestError
from .light_signal import signal

#: ``os.execvpe`` imports it on its first PATH search; inside a run's walls this Python's library may be missing.
NEEDED_BY_EXEC = warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


#: What a command gets as it is by default, whatever is done about it here.
CAUGHT = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGCHLD,
)


def default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in CAUGHT:
        signal.signal(number, signal.SIG_DFL)


def wake_on_child() -> int:
    """A descriptor that becomes readable whenever a child ends."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def exec_command(  # noqa: PLR0917 - what is run, where, with which streams
    argv: list[str], env: dict[str, str], cwd: str, stdio: tuple[int, int, int], report: int, umask: int = 0o022
) -> NoReturn:
    """In a fresh child: execs the command, or reports why it cannot as one line of JSON."""
    program = ""
    try:
        default_signals()
        os.umask(umask)
        for target, fd in enumerate(stdio):
            # dup2 onto itself would leave close-on-exec set; stdio descriptors are always above 2 here.
            os.dup2(fd, target)
        os.chdir(cwd)
        program = argv[0]
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        said = complaint(cwd, program, env.get("PATH", os.defpath), error)
        write_all(report, json.dumps({"failed": said}).encode() + b"\n")
    except (ValueError, UnicodeError) as error:
        write_all(report, json.dumps({"failed": "arguments: %s" % error}).encode() + b"\n")
    finally:
        os._exit(127)


def spawn_command(argv: list[str], env: dict[str, str], cwd: str, stdio: tuple[int, int, int]) -> int:
    """Starts the command in a session of its own, from a process without other threads: while it is started, its
    directory and mask are this one's. Raises ``RequestError`` when it cannot be started."""
    mask = os.umask(0o022)
    program = ""
    try:
        os.chdir(cwd)
        program = argv[0]
        return os.posix_spawn(
            program_at(argv[0], env["PATH"]),
            argv,
            env,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(stdio)],
            setsid=True,
            setsigdef=CAUGHT,
        )
    except OSError as error:
        raise RequestError("unavailable", complaint(cwd, program, env["PATH"], error)) from None
    except (ValueError, UnicodeError) as error:
        raise RequestError("unavailable", "arguments: %s" % error) from None
    finally:
        os.umask(mask)
        os.chdir("/")  # it keeps nobody's disk busy


def program_at(name: str, path: str) -> str:
    """Where a program is. Raises ``OSError`` as ``execvpe`` does."""
    if "/" in name:
        return name
    problem = errno.ENOENT
    for place in path.split(":"):
        found = os.path.join(place, name)
        if os.path.isfile(found):
            if os.access(found, os.X_OK):
                return found
            problem = errno.EACCES
    raise OSError(problem, os.strerror(problem))


def complaint(cwd: str, program: str, path: str, error: OSError) -> str:
    """Why a command was not started; without a program: it did not get beyond its directory."""
    if not program:
        return "directory %s: %s" % (cwd, error.strerror)
    return "program %s: %s" % (program, _why_not(program, path, error))


def _why_not(name: str, path: str, error: OSError) -> str:
    """Where what runs a program is missing, the system says that the program itself is."""
    if error.errno != errno.ENOENT:
        return str(error.strerror)
    try:
        with open(program_at(name, path), "rb") as file:
            head = file.read(256)
    except OSError:
        return str(error.strerror)
    if not head.startswith(b"#!"):
        return "it is there, but its loader is not: was it built for another system?"
    line = head[2:].partition(b"\n")[0].strip(b" \t")
    interpreter = line.replace(b"\t", b" ").partition(b" ")[0]
    if line.endswith(b"\r"):
        return "its lines end as on Windows: there is no %r" % os.fsdecode(interpreter)
    return "its first line names %s, which is not there" % os.fsdecode(interpreter)


def high_pipe() -> tuple[int, int]:
    """A pipe whose ends are never 0, 1 or 2, so that setting up standard streams does not close them."""
    ends = []
    for fd in os.pipe():
        ends.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3))
        os.close(fd)
    return ends[0], ends[1]

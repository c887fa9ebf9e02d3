"""The one file that runs on a machine: a durable stdio pipe and short commands, and nothing more.

It is shipped under a name that is its content's hash, needs the standard library of Python 3.9 or later,
opens no port and knows no policy. ``serve`` speaks length-prefixed frames with the controller on its standard
input and output; ``supervise`` is the detached process behind each pipe.

A pipe is a directory ``<root>/pipes/<id>``::

    spec.json   what was started; neither environment nor nonce
    state.json  the supervisor: pid, start time, boot
    status      256 bytes rewritten in place: input accepted, stalled or not, the main process
    ctl         FIFO that wakes the supervisor: "i" (input came) or "s<microseconds>" (stop)
    out, err    what the process said, raw
    in, eof     what it is to be told, and how many bytes that is in all
    exit        the record: one line of JSON, one line HMAC-SHA-256 of it keyed by the nonce

The nonce never touches the disk, so whoever can write in that directory can destroy a record, not make one.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import stat
import struct
import sys
import time

TYPE_CHECKING = False  # importing typing would cost every start three milliseconds
if TYPE_CHECKING:
    from typing import Any, Callable, NoReturn, Optional

    Json = dict[str, Any]

LINUX = sys.platform.startswith("linux")
CHUNK = 1 << 16
WINDOW = 1 << 20  # bytes a stream may be ahead of its reader
ROOM = 1 << 18  # bytes of frames waiting for the link before producers pause
STATUS_SIZE = 256
PULSE_SECONDS = 4.0
START_SECONDS = 10.0  # a pipe without state.json is thought to be starting for so long


# --- small things ------------------------------------------------------------------------------------


def now_us() -> int:
    return time.time_ns() // 1000


def read_exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            break
        data += more
    return data


def read_all(fd: int) -> bytes:
    data = b""
    while True:
        more = os.read(fd, CHUNK)
        if not more:
            return data
        data += more


def write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def read_path(path: str, limit: int = 1 << 16) -> Optional[bytes]:
    """The first bytes of a file; None when it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return read_exactly(fd, limit)
    except OSError:
        return None
    finally:
        os.close(fd)


def write_path(path: str, data: bytes) -> None:
    """Writes a file atomically."""
    temporary = "%s.%d.tmp" % (path, os.getpid())
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(fd, data)
    except OSError:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    os.rename(temporary, path)


def attempt(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a system call worked, where its failing needs no answer (the process is gone already)."""
    try:
        function(*arguments)
        return True
    except OSError:
        return False


def parse(data: Optional[bytes]) -> Json:
    """A JSON object; empty for anything else."""
    try:
        value = json.loads(data or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def boot() -> str:
    if LINUX:
        return (read_path("/proc/sys/kernel/random/boot_id") or b"").decode().strip()
    return command_output(["sysctl", "-n", "kern.boottime"])


def command_output(argv: list[str]) -> str:
    import subprocess

    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def processes() -> list[tuple[int, int, int, int, str]]:
    """(pid, parent, group, session, start time) of every process that is not a zombie."""
    found = []
    if LINUX:
        for name in os.listdir("/proc"):
            if name.isdigit():
                fields = stat_fields(int(name))
                if fields:
                    found.append((int(name), int(fields[1]), int(fields[2]), int(fields[3]), fields[19]))
        return found
    for line in command_output(["ps", "-axo", "pid=,ppid=,pgid=,sess=,stat=,lstart="]).splitlines():
        part = line.split(None, 5)
        if len(part) == 6 and "Z" not in part[4]:
            session = int(part[3]) if part[3].isdigit() else 0
            found.append((int(part[0]), int(part[1]), int(part[2]), session, part[5]))
    return found


def stat_fields(pid: int) -> Optional[list[str]]:
    """The fields of /proc/PID/stat after the name (which may hold anything); None for a zombie."""
    data = read_path("/proc/%d/stat" % pid)
    if not data:
        return None
    fields = data[data.rindex(b")") + 1 :].decode().split()
    return None if fields[0] in ("Z", "X") else fields


def start_time(pid: int) -> str:
    """When a process began, in the system's own words; empty when there is none. Tells a reused pid apart."""
    if LINUX:
        fields = stat_fields(pid)
        return fields[19] if fields else ""
    line = command_output(["ps", "-o", "stat=,lstart=", "-p", str(pid)])
    return "" if not line or "Z" in line.split()[0] else line.split(None, 1)[1]


class Libc:
    """The system calls that the standard library lacks; every one answers 0 or raises OSError."""

    def __init__(self) -> None:
        import ctypes

        self.ctypes = ctypes
        self.library = ctypes.CDLL(None, use_errno=True)

    def call(self, name: str, *arguments: Any) -> None:
        if getattr(self.library, name)(*arguments) < 0:
            code = self.ctypes.get_errno()
            raise OSError(code, "%s: %s" % (name, os.strerror(code)))

    def prctl(self, option: int, value: int) -> None:
        long = self.ctypes.c_ulong
        self.call("prctl", option, long(value), long(0), long(0), long(0))

    def mount(self, source: bytes, target: bytes, kind: bytes, flags: int) -> None:
        self.call("mount", source, target, kind, self.ctypes.c_ulong(flags), None)

    def drop_capabilities(self) -> None:
        """Leaves nothing that an exec, as root or of a set-uid file, could get back."""
        self.prctl(PR_SET_NO_NEW_PRIVS, 1)
        for capability in range(64):
            try:
                self.prctl(PR_CAPBSET_DROP, capability)
            except OSError as error:
                if error.errno == errno.EINVAL:
                    break
                if error.errno != errno.EPERM:
                    raise
        header = struct.pack("=Ii", 0x20080522, 0)
        self.call("capset", header, bytes(24))


PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP = 1, 4, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000


def harden() -> Optional[Libc]:
    """Keeps other processes of this login out of our memory, where nonces and environments are."""
    if not LINUX:
        return None
    libc = Libc()
    libc.prctl(PR_SET_DUMPABLE, 0)
    return libc


def default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (
        signal.SIGPIPE,
        signal.SIGXFSZ,
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGCHLD,
    ):
        signal.signal(number, signal.SIG_DFL)


def wake_on_child() -> int:
    """A descriptor that becomes readable whenever a child ends."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def become(argv: list[str], env: dict[str, str], cwd: str, stdio: tuple[int, int, int], report: int) -> NoReturn:
    """In a fresh child: turns into the command, or reports in one line of JSON why it cannot."""
    try:
        default_signals()
        os.umask(0o022)
        for target, fd in enumerate(stdio):
            # dup2 to itself would leave close-on-exec set; stdio descriptors are always above 2 here.
            os.dup2(fd, target)
        what = "directory " + cwd
        os.chdir(cwd)
        what = "program " + argv[0]
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        write_all(report, json.dumps({"failed": "%s: %s" % (what, error.strerror)}).encode() + b"\n")
    except (ValueError, UnicodeError) as error:
        write_all(report, json.dumps({"failed": "arguments: %s" % error}).encode() + b"\n")
    finally:
        os._exit(127)


def high_pipe() -> tuple[int, int]:
    """A pipe whose ends are never 0, 1 or 2, so that they survive the arranging of standard streams."""
    ends = []
    for fd in os.pipe():
        ends.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3))
        os.close(fd)
    return ends[0], ends[1]


# --- the tree check: git's object ids with hashlib ----------------------------------------------------


def tree_id(directory: str, length: int, top: bool = True) -> str:
    """The git tree id of a directory as it is on disk, raw; "" for one without files."""
    import hashlib

    new = hashlib.sha1 if length == 40 else hashlib.sha256
    entries = []
    with os.scandir(os.fsencode(directory)) as listing:
        for entry in listing:
            if top and entry.name == b".git":
                continue
            info = entry.stat(follow_symlinks=False)
            sort_name = entry.name
            if stat.S_ISDIR(info.st_mode):
                mode, name = b"40000", tree_id(os.fsdecode(entry.path), length, False)
                if not name:
                    continue
                sort_name += b"/"
            elif stat.S_ISLNK(info.st_mode):
                target = os.readlink(entry.path)
                mode, name = b"120000", new(b"blob %d\0" % len(target) + target).hexdigest()
            elif stat.S_ISREG(info.st_mode):
                mode = b"100755" if info.st_mode & stat.S_IXUSR else b"100644"
                digest = new(b"blob %d\0" % info.st_size)
                with open(entry.path, "rb") as file:
                    for chunk in iter(lambda: file.read(1 << 20), b""):
                        digest.update(chunk)
                name = digest.hexdigest()
            else:
                mode, name = b"0", "0" * length  # a device or socket: in no tree, so the ids must differ
            entries.append((sort_name, mode + b" " + entry.name + b"\0" + bytes.fromhex(name)))
    if not entries and not top:
        return ""
    body = b"".join(line for _, line in sorted(entries))
    return str(new(b"tree %d\0" % len(body) + body).hexdigest())


# --- containment: an own PID namespace -----------------------------------------------------------------


def enter_namespaces(libc: Libc) -> None:
    """A new PID namespace for our children; a new user namespace with the same ids unless we are root."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        libc.call("unshare", CLONE_NEWPID | CLONE_NEWNS)
        return
    libc.prctl(PR_SET_DUMPABLE, 1)  # else /proc/self/uid_map belongs to root; no nonce is in this memory yet
    libc.call("unshare", CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", "%d %d 1" % (uid, uid)),
        ("gid_map", "%d %d 1" % (gid, gid)),
    ):
        fd = os.open("/proc/self/" + name, os.O_WRONLY)
        os.write(fd, text.encode())
        os.close(fd)
    libc.prctl(PR_SET_DUMPABLE, 0)


def furnish_namespace(libc: Libc) -> None:
    """As process 1 of the new namespace: a /proc that shows only it, and no way back."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.mount(b"none", b"/", b"none", MS_REC | MS_PRIVATE)
    libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    libc.drop_capabilities()


def can_contain() -> bool:
    """Tries it, in a child that then ends."""
    if not LINUX:
        return False
    pid = os.fork()
    if pid == 0:
        try:
            libc = Libc()
            enter_namespaces(libc)
            init = os.fork()
            if init == 0:
                try:
                    furnish_namespace(libc)
                    os._exit(0)
                finally:
                    os._exit(1)
            os._exit(0 if os.waitpid(init, 0)[1] == 0 else 1)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def contain(libc: Libc, report: int, control: int, start: Callable[[int], NoReturn]) -> NoReturn:
    """In a fresh child: becomes the parent of a namespace whose process 1 runs ``start`` and reports on it."""

    def tell(message: Json) -> None:
        write_all(report, json.dumps(message).encode() + b"\n")

    try:
        default_signals()
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        enter_namespaces(libc)
        init = os.fork()
        if init:
            os.close(report)
            os.close(control)
            os.waitpid(init, 0)
            os._exit(0)
        if os.getpid() != 1:  # below, kill(-1) means "all of this namespace", and must never mean this machine
            raise OSError("the new process is not the first of its namespace")
        furnish_namespace(libc)
    except OSError as error:
        tell({"uncontained": str(error)})
        os._exit(0)
    wake = wake_on_child()
    failure, failure_writer = high_pipe()
    command = os.fork()
    if command == 0:
        os.setsid()
        start(failure_writer)
    os.close(failure_writer)
    failed = read_all(failure)
    tell(parse(failed) if failed else {"started": True})
    poller = select.poll()
    poller.register(wake, select.POLLIN)
    poller.register(control, select.POLLIN)
    while True:
        for fd, _ in poller.poll():
            order = os.read(fd, 64)
            if fd == control and not order:
                os._exit(1)  # the supervisor is gone, and with us the whole namespace
            if fd == control and b"K" in order:
                os.kill(-1, signal.SIGKILL)
            elif fd == control:
                signal_group(command, signal.SIGTERM)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                os._exit(1)
            if pid == 0:
                break
            if pid == command:
                tell({"status": status})
                os._exit(0)


def signal_group(group: int, number: int) -> None:
    attempt(os.killpg, group, number)


# --- supervise: the process behind one pipe ------------------------------------------------------------


class Spool:
    """One stream of the process on its way to a file; keeps what the disk does not take."""

    def __init__(self, source: int, path: str) -> None:
        self.source = source
        os.set_blocking(source, False)
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.pending = b""
        self.retry_at = 0.0
        self.backoff = 0.05
        self.stalled = ""
        self.ended = False  # no more to read; what is pending may still have to be written

    def step(self, now: float) -> None:
        """Reads once and writes it. Never more than one chunk is held."""
        if not self.pending and not self.ended:
            try:
                self.pending = os.read(self.source, CHUNK)
                self.ended = not self.pending
            except BlockingIOError:
                return
            except OSError:
                self.ended = True
        try:
            while self.pending:
                self.pending = self.pending[os.write(self.file, self.pending) :]
            self.stalled, self.backoff = "", 0.05
        except OSError as error:
            self.stalled = error.strerror or str(error)
            self.retry_at, self.backoff = now + self.backoff, min(1.0, self.backoff * 2)


class Supervisor:
    """Starts one process, spools and feeds it, ends its whole tree, and signs what it saw."""

    def __init__(self, root: str, spec: Json) -> None:
        self.spec = spec
        self.directory = os.path.join(root, "pipes", spec["id"])
        self.libc: Optional[Libc] = None
        self.status: Optional[int] = None
        self.main = 0
        self.contained = False
        self.how = "ended"
        self.unavailable = ""
        self.tree = ""
        self.started_us = now_us()
        self.ended_us = 0
        self.spools: list[Spool] = []
        self.stdin = -1
        self.input = -1
        self.input_pending = b""
        self.accepted = 0
        self.told_status = b""
        self.report = self.control = -1
        self.report_buffer = b""
        self.kill_at = 0.0
        self.record_stalled = ""
        self.main_ended = False
        self.gone = True

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def prepare(self) -> None:
        """Claims the id (FileExistsError: somebody has it) and lays out the directory."""
        os.makedirs(os.path.dirname(self.directory), 0o700, exist_ok=True)
        os.mkdir(self.directory, 0o700)
        try:
            names = ["out", "err"] + (["in"] if self.spec["stdin"] else [])
            for name in names:
                os.close(os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            kept = {key: value for key, value in self.spec.items() if key != "env"}
            write_path(self.path("spec.json"), json.dumps(kept).encode())
            os.mkfifo(self.path("ctl"), 0o600)
            self.ctl = os.open(self.path("ctl"), os.O_RDWR | os.O_NONBLOCK)
            self.status_file = os.open(self.path("status"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            self.tell_status()
            pid = os.getpid()
            state = {"pid": pid, "start": start_time(pid), "boot": boot()}
            write_path(self.path("state.json"), json.dumps(state).encode())
        except OSError:
            remove(self.directory)
            raise

    def tell_status(self) -> None:
        stalled = self.record_stalled or next((spool.stalled for spool in self.spools if spool.stalled), "")
        start = start_time(self.main) if self.main else ""
        body = {"accepted": self.accepted, "stalled": stalled[:80], "main": self.main, "start": start}
        line = json.dumps(body).encode().ljust(STATUS_SIZE)
        if line != self.told_status:
            os.pwrite(self.status_file, line, 0)
            self.told_status = line

    def check_tree(self) -> None:
        directory, expected = self.spec["expect_tree"]
        try:
            self.tree = tree_id(directory, len(expected))
        except OSError as error:
            self.unavailable = "the tree could not be read: %s" % error
            return
        if self.tree != expected:
            self.unavailable = "the directory holds tree %s, not %s" % (self.tree or "(empty)", expected)

    def launch(self, contained: bool) -> None:
        """Forks the process. Nothing secret but its environment is in this memory yet."""
        spec = self.spec
        out, out_writer = high_pipe()
        err, err_writer = high_pipe()
        if spec["merge"]:
            os.close(err_writer)
            err_writer = os.dup(out_writer)
        if spec["stdin"]:
            stdin_reader, self.stdin = high_pipe()
            os.set_blocking(self.stdin, False)
        else:
            stdin_reader = fcntl.fcntl(os.open(os.devnull, os.O_RDONLY), fcntl.F_DUPFD_CLOEXEC, 3)
        self.report, report_writer = high_pipe()
        control, self.control = high_pipe()
        theirs = (stdin_reader, out_writer, err_writer)

        def start(report: int) -> NoReturn:
            become(spec["argv"], spec["env"], spec["cwd"], theirs, report)

        self.main = os.fork()
        if self.main == 0:
            try:
                os.close(0)  # the nonce comes this way, and only the supervisor may read it
                os.open(os.devnull, os.O_RDONLY)
                for fd in (out, err, self.stdin, self.report, self.control, self.ctl, self.status_file):
                    if fd >= 0:
                        os.close(fd)
                os.setsid()
                if contained and self.libc:
                    contain(self.libc, report_writer, control, start)
                if self.libc:
                    self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                start(report_writer)
            finally:
                os._exit(127)
        for fd in (*theirs, report_writer, control):
            os.close(fd)
        self.contained = contained
        self.spools = [Spool(out, self.path("out")), Spool(err, self.path("err"))]
        if spec["stdin"]:
            self.input = os.open(self.path("in"), os.O_RDONLY)
        self.started_us = now_us()
        self.tell_status()
        self.heed_report(wait=True)

    def relaunch_uncontained(self) -> None:
        os.waitpid(self.main, 0)
        for fd in (self.spools[0].source, self.spools[1].source, self.spools[0].file, self.spools[1].file):
            os.close(fd)
        for fd in (self.stdin, self.input, self.report, self.control):
            if fd >= 0:
                os.close(fd)
        self.report_buffer = b""
        self.launch(False)

    def heed_report(self, wait: bool = False) -> None:
        """Reads what the child's side reports: uncontained, started, failed or a wait status."""
        while self.report >= 0:
            data = os.read(self.report, CHUNK)
            if not data:
                os.close(self.report)
                self.report = -1
            self.report_buffer += data
            *lines, self.report_buffer = self.report_buffer.split(b"\n")
            for line in lines:
                message = parse(line)
                if "uncontained" in message:
                    return self.relaunch_uncontained()
                self.unavailable = message.get("failed", self.unavailable)
                if "status" in message:
                    self.status = message["status"]
            if lines or not wait:
                return None
        return None

    def feed(self) -> None:
        """Moves input from the file to the process and says how far it went."""
        try:
            while self.stdin >= 0:
                if not self.input_pending:
                    self.input_pending = os.pread(self.input, CHUNK, self.accepted)
                if not self.input_pending:
                    end = read_path(self.path("eof"))
                    if end and self.accepted >= int(end):
                        self.close_stdin()
                    return
                count = os.write(self.stdin, self.input_pending)
                self.input_pending = self.input_pending[count:]
                self.accepted += count
                self.tell_status()
        except BlockingIOError:
            return
        except OSError:
            self.close_stdin()

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
        self.stdin, self.input_pending = -1, b""

    def terminate(self, grace: float) -> None:
        if self.kill_at:
            self.kill_at = min(self.kill_at, time.monotonic() + grace)
            return
        self.kill_at = time.monotonic() + grace
        if self.contained:
            self.order(b"T")
        else:
            signal_group(self.main, signal.SIGTERM)

    def order(self, letter: bytes) -> None:
        attempt(os.write, self.control, letter)

    def kill(self) -> None:
        if self.contained:
            self.order(b"K")
        else:
            signal_group(self.main, signal.SIGKILL)

    def heed_control(self) -> None:
        try:
            words = os.read(self.ctl, 4096).decode("ascii", "replace").split()
        except BlockingIOError:
            return
        for word in words:
            if word[0] == "s" and word[1:].isdigit():
                self.terminate(int(word[1:]) / 1e6)

    def reap(self) -> bool:
        """Takes every end there is; true when no child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid == self.main:
                if self.contained:
                    self.heed_report()
                else:
                    self.status = status
                self.how = "killed-init" if self.contained and self.status is None else self.how
                self.main_ended = True

    def run(self) -> None:
        """From the start of the process to the end of its tree."""
        wake = wake_on_child()
        deadline = time.monotonic() + self.spec["timeout_us"] / 1e6 if self.spec["timeout_us"] else 0.0
        self.reap()
        while not self.main_ended:
            now = time.monotonic()
            if deadline and now >= deadline and not self.kill_at:
                self.how = "timeout"
                self.terminate(self.spec["grace_us"] / 1e6)
            if self.kill_at and now >= self.kill_at:
                self.kill()
                self.kill_at = now + 1.0
            self.pump(wake, [self.kill_at or deadline])
            self.reap()
        self.ended_us = now_us()
        self.close_stdin()
        self.gone = self.sweep(wake)
        quiet_at = time.monotonic() + 2
        while not all(spool.ended and not spool.pending for spool in self.spools):
            before = [os.fstat(spool.file).st_size for spool in self.spools]
            self.pump(wake, [quiet_at])
            moved = before != [os.fstat(spool.file).st_size for spool in self.spools]
            if moved or any(spool.pending for spool in self.spools):
                quiet_at = time.monotonic() + 2
            elif time.monotonic() >= quiet_at:
                break  # somebody outside the tree holds the pipe open, and says nothing
        self.tell_status()

    def pump(self, wake: int, times: list[float]) -> None:
        """Waits for the next thing to do and does it."""
        now = time.monotonic()
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        poller.register(self.ctl, select.POLLIN)
        if self.report >= 0 and self.contained:
            poller.register(self.report, select.POLLIN)
        if self.stdin >= 0:
            poller.register(self.stdin, select.POLLOUT if self.input_pending else 0)
        for spool in self.spools:
            if spool.stalled:
                times.append(spool.retry_at)
            elif not spool.ended:
                poller.register(spool.source, select.POLLIN)
        waits = [moment - now for moment in times if moment]
        ready = dict(poller.poll(max(0.0, min([*waits, 5.0])) * 1000 + 1))
        now = time.monotonic()
        if wake in ready:
            os.read(wake, 4096)
        if self.ctl in ready:
            self.heed_control()
        if self.report in ready:
            self.heed_report()
        self.feed()
        for spool in self.spools:
            if spool.source in ready or (spool.stalled and now >= spool.retry_at):
                spool.step(now)
        self.tell_status()

    def sweep(self, wake: int) -> bool:
        """Kills what is left. On Linux every orphan of the tree is our child, so ECHILD means all gone."""
        if not LINUX:
            return self.sweep_by_listing()
        give_up = time.monotonic() + 10
        while not self.reap():
            if time.monotonic() > give_up:
                return False
            mine = os.getpid()
            for pid, parent, group, _, _ in processes():
                if parent == mine or group == self.main:
                    attempt(os.kill, pid, signal.SIGKILL)
            self.pump(wake, [time.monotonic() + 0.02])
        return True

    def sweep_by_listing(self) -> bool:
        for _ in range(20):
            left = tree_of(self.main)
            if not left:
                return True
            for pid in left:
                attempt(os.kill, pid, signal.SIGKILL)
            time.sleep(0.05)
        return False

    def record(self, nonce: bytes) -> None:
        """Writes the exit record, which must not be there yet; waits for disk space rather than give up."""
        import hashlib
        import hmac

        body = {
            "pipe": self.spec["id"],
            "how": "unavailable" if self.unavailable else self.how,
            "status": None if self.unavailable else self.status,
            "started_us": self.started_us,
            "ended_us": self.ended_us or now_us(),
            "timeout_us": self.spec["timeout_us"],
            "contained": self.contained,
            "gone": self.gone,
            "tree": self.tree,
            "unavailable": self.unavailable,
        }
        line = json.dumps(body).encode()
        data = line + b"\n" + hmac.new(nonce, line, hashlib.sha256).hexdigest().encode() + b"\n"
        pause = 0.05
        while True:
            temporary = self.path("exit.%d" % os.getpid())
            try:
                fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                try:
                    write_all(fd, data)
                    os.fsync(fd)
                    for spool in self.spools:
                        os.fsync(spool.file)
                finally:
                    os.close(fd)
                try:
                    os.link(temporary, self.path("exit"))
                except FileExistsError:
                    # Not ours. Leave it and say so: the controller takes neither.
                    os.close(os.open(self.path("doubled"), os.O_WRONLY | os.O_CREAT, 0o600))
                os.unlink(temporary)
                return
            except FileNotFoundError:
                return  # the directory was taken from under us: the record is missing, and that is Lost
            except OSError as error:
                self.record_stalled = error.strerror or str(error)
                self.tell_status()
                time.sleep(pause)
                pause = min(1.0, pause * 2)


def tree_of(main: int) -> list[int]:
    """The processes of a group, a session, or below them, by listing."""
    listing = processes()
    found = {main}
    grown = True
    while grown:
        grown = False
        for pid, parent, group, session, _ in listing:
            if pid not in found and (parent in found or main in (group, session)):
                found.add(pid)
                grown = True
    return [pid for pid, *_ in listing if pid in found]


def supervise(pipe: str) -> None:
    """Reads ``length, spec, nonce`` from standard input and detaches; the first line out says what became of it."""
    libc = harden()
    answer, answer_writer = high_pipe()
    if os.fork():
        os.close(answer_writer)
        write_all(1, read_all(answer))
        os._exit(0)
    os.close(answer)
    os.setsid()
    if libc:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    (size,) = struct.unpack(">I", read_exactly(0, 4))
    spec = json.loads(read_exactly(0, size))
    supervisor = Supervisor(spec.pop("root"), spec)
    supervisor.libc = libc
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        supervisor.prepare()
    except FileExistsError:
        write_all(answer_writer, b'{"ok": "found"}')
        os._exit(0)
    except OSError as error:
        write_all(answer_writer, json.dumps({"error": "unavailable", "cause": str(error)}).encode())
        os._exit(0)
    write_all(answer_writer, b'{"ok": "started"}')
    os.close(answer_writer)
    if spec["expect_tree"]:
        supervisor.check_tree()
    if not supervisor.unavailable:
        supervisor.launch(spec["contain"])
    nonce = read_all(0)
    os.dup2(null, 0)
    if supervisor.main:
        supervisor.run()
    supervisor.record(nonce)
    os._exit(0)


# --- serve: one channel to the controller ----------------------------------------------------------------


class Problem(Exception):
    """Becomes an error frame: ``kind`` is "unavailable" or "refused"."""

    def __init__(self, kind: str, cause: str) -> None:
        super().__init__(kind, cause)
        self.kind, self.cause = kind, cause


class Job:
    """One request that takes time. ``wake`` is when ``step`` is due without any descriptor being ready."""

    def __init__(self, serve: Serve, number: int) -> None:
        self.serve, self.number = serve, number
        self.credit = WINDOW
        self.wake = 0.0

    def interest(self) -> list[tuple[int, int]]:
        return []

    def step(self, now: float) -> None:
        """Moves on; says at most one chunk."""

    def feed(self, data: bytes, last: bool) -> None:
        """A chunk from the controller."""

    def drop(self) -> None:
        """The controller lost interest, or the link is gone."""

    def say(self, header: Json, payload: bytes = b"") -> None:
        self.credit -= len(payload)
        self.serve.send({"id": self.number, **header}, payload)

    def finish(self, header: Json, payload: bytes = b"") -> None:
        self.say({"done": True, **header}, payload)
        self.serve.jobs.pop(self.number, None)

    def may_talk(self) -> bool:
        return self.credit > 0 and self.serve.room()


class RunJob(Job):
    """A short command, or a function of ours in a child so that it holds up nobody."""

    def __init__(self, serve: Serve, number: int, request: Json, work: Optional[Callable[[], Any]] = None) -> None:
        super().__init__(serve, number)
        self.limit = request.get("limit", 1 << 20)
        self.strict = request.get("strict", False)
        self.sent = {"out": 0, "err": 0}
        self.kept = b""
        self.status: Optional[int] = None
        self.timed_out = self.dropped = False
        self.kill_at = 0.0
        self.stdin_pending = bytearray()
        self.stdin_last = not request.get("stdin", False)
        self.deadline = time.monotonic() + request.get("timeout", 60.0)
        self.wake = self.deadline
        out, out_writer = high_pipe()
        err, err_writer = high_pipe()
        stdin_reader, self.stdin = high_pipe()
        report, report_writer = high_pipe()
        for fd in (out, err, self.stdin):
            os.set_blocking(fd, False)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                if work:
                    default_signals()
                    os.dup2(out_writer, 1)
                    write_all(1, json.dumps(work()).encode())
                    os._exit(0)
                env = {**serve.base_env(request.get("path", [])), **(request.get("env") or {})}
                become(
                    request["argv"],
                    env,
                    serve.resolve(request.get("cwd") or serve.directory),
                    (stdin_reader, out_writer, err_writer),
                    report_writer,
                )
            except BaseException as error:  # a child must never return into the loop of its parent
                write_all(report_writer, json.dumps({"failed": str(error)}).encode())
            finally:
                os._exit(1)
        for fd in (out_writer, err_writer, stdin_reader, report_writer):
            os.close(fd)
        self.sources = {"out": out, "err": err}
        self.report = report
        if self.stdin_last:
            self.close_stdin()

    def close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def interest(self) -> list[tuple[int, int]]:
        wanted = [(self.stdin, select.POLLOUT)] if self.stdin >= 0 and self.stdin_pending else []
        if self.may_talk():
            wanted += [(fd, select.POLLIN) for fd in self.sources.values()]
        return wanted

    def feed(self, data: bytes, last: bool) -> None:
        self.stdin_pending += data
        self.stdin_last = self.stdin_last or last

    def pump_stdin(self) -> None:
        taken = 0
        try:
            while self.stdin >= 0 and self.stdin_pending:
                count = os.write(self.stdin, self.stdin_pending[:CHUNK])
                del self.stdin_pending[:count]
                taken += count
        except BlockingIOError:
            pass
        except OSError:
            self.close_stdin()
        if self.stdin < 0 and self.stdin_pending:  # it does not listen: the rest is let go
            taken += len(self.stdin_pending)
            self.stdin_pending.clear()
        if taken:
            self.say({"ev": "credit", "n": taken})
        if self.stdin_last and not self.stdin_pending:
            self.close_stdin()

    def step(self, now: float) -> None:
        self.pump_stdin()
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
                signal_group(self.pid, signal.SIGKILL)
            elif now >= self.deadline and not self.kill_at:
                self.timed_out, self.kill_at = True, now + 1.0
                signal_group(self.pid, signal.SIGTERM)
            elif self.kill_at and now >= self.kill_at:
                signal_group(self.pid, signal.SIGKILL)
        self.wake = (self.kill_at or self.deadline) if self.status is None else now
        for name in list(self.sources):
            if name in self.sources:  # passing the limit drops them all
                self.pump_source(name)
        if self.status is not None and not self.sources and not self.dropped:
            self.end()

    def pump_source(self, name: str) -> None:
        if not self.may_talk():
            self.wake = max(self.wake, time.monotonic() + 0.02) if self.status is not None else self.wake
            return
        try:
            data = os.read(self.sources[name], CHUNK)
        except BlockingIOError:
            if self.status is None:
                return
            data = b""  # what still holds the pipe is a daemon left behind: nobody waits for it
        if not data:
            os.close(self.sources.pop(name))
            return
        room = self.limit - self.sent[name]
        self.sent[name] += len(data)
        if len(data) > room and self.strict and name == "out":
            self.drop()
            self.serve.fail(
                self.number, Problem("unavailable", "the output passed the limit of %d bytes" % self.limit)
            )
        elif room > 0:
            self.tell(name, data[:room])

    def tell(self, name: str, data: bytes) -> None:
        self.say({"ev": name}, data)

    def end(self) -> None:
        failed = parse(read_all(self.report)).get("failed", "")
        self.clean()
        if failed:
            self.serve.fail(self.number, Problem("unavailable", failed))
        else:
            self.finish({"status": self.status, "timeout": self.timed_out})

    def clean(self) -> None:
        self.close_stdin()
        for fd in (self.report, *self.sources.values()):
            os.close(fd)
        self.sources = {}

    def drop(self) -> None:
        self.dropped = True
        signal_group(self.pid, signal.SIGKILL)
        self.clean()
        self.serve.jobs.pop(self.number, None)
        if self.status is None:
            self.serve.orphans.append(self.pid)


class AnswerJob(RunJob):
    """A helper process whose whole output is a JSON answer."""

    def tell(self, name: str, data: bytes) -> None:
        if name == "out":
            self.kept += data

    def end(self) -> None:
        failed = parse(read_all(self.report)).get("failed")
        self.clean()
        answer = parse(self.kept)
        if not answer or "error" in answer:
            cause = failed or answer.get("cause") or "the helper process ended without an answer"
            self.serve.fail(self.number, Problem(answer.get("error", "unavailable"), cause))
        else:
            self.finish(answer)


class AttachJob(Job):
    """Follows a pipe from a byte offset to its end."""

    def __init__(self, serve: Serve, number: int, directory: str, offset: int) -> None:
        super().__init__(serve, number)
        self.directory, self.offset = directory, offset
        self.fd = -1
        self.pause = 0.002
        self.accepted = -1
        self.stalled = ""
        self.seen_alive = True
        self.checked_at = 0.0
        self.pulsed_at = 0.0

    def step(self, now: float) -> None:
        if now < self.wake:
            return
        if not self.may_talk():
            self.wake = now + 0.02
            return
        if self.fd < 0:
            try:
                self.fd = os.open(os.path.join(self.directory, "out"), os.O_RDONLY | os.O_NOFOLLOW)
            except OSError:
                if not starting(self.directory):
                    self.end("there is no such pipe")
                self.wake = now + 0.01
                return
        # Life is looked at before the spool: a supervisor that is gone by now has written all it ever will.
        if now - self.checked_at > (0.05 if LINUX else PULSE_SECONDS / 2) or self.recorded():
            self.seen_alive = alive(self.directory)
            self.checked_at = now
        self.tell_status(now)
        data = os.pread(self.fd, CHUNK, self.offset)
        if data:
            self.say({"ev": "out", "offset": self.offset}, data)
            self.offset += len(data)
            self.pause, self.wake = 0.002, now
        elif not self.seen_alive:
            self.end("")
        else:
            self.pause = min(0.1, self.pause * 1.3)
            self.wake = now + self.pause

    def recorded(self) -> bool:
        return os.path.lexists(os.path.join(self.directory, "exit"))

    def tell_status(self, now: float) -> None:
        status = parse(read_path(os.path.join(self.directory, "status")))
        accepted, stalled = status.get("accepted", 0), status.get("stalled", "")
        if accepted > max(self.accepted, 0):
            self.say({"ev": "accepted", "position": accepted})
            self.pause = 0.002
        self.accepted = accepted
        due = now - self.pulsed_at >= PULSE_SECONDS
        if stalled and (due or stalled != self.stalled):
            self.say({"ev": "stalled", "why": stalled})
        if due and self.seen_alive:
            self.say({"ev": "pulse"})
            self.pulsed_at = now
        self.stalled = stalled

    def end(self, missing: str) -> None:
        record = read_path(os.path.join(self.directory, "exit"))
        doubled = os.path.lexists(os.path.join(self.directory, "doubled"))
        self.finish(
            {"ev": "end", "missing": missing, "doubled": doubled, "recorded": record is not None}, record or b""
        )
        if self.fd >= 0:
            os.close(self.fd)

    def drop(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.serve.jobs.pop(self.number, None)


class ReadJob(Job):
    """Streams the first bytes of a file."""

    def __init__(self, serve: Serve, number: int, path: str, limit: int, tail: bool = False) -> None:
        super().__init__(serve, number)
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            info = os.fstat(self.fd)
            if not stat.S_ISREG(info.st_mode):
                os.close(self.fd)
                raise Problem("unavailable", "%s is not a file" % path)
        except OSError as error:
            raise Problem("unavailable", "%s: %s" % (path, error.strerror)) from error
        if tail:
            os.lseek(self.fd, max(0, info.st_size - limit), os.SEEK_SET)
        self.left = limit

    def step(self, now: float) -> None:
        if not self.may_talk():
            self.wake = now + 0.02
            return
        data = os.read(self.fd, min(CHUNK, self.left))
        self.left -= len(data)
        if data:
            self.say({"ev": "data"}, data)
        else:
            self.drop()
            self.finish({})

    def drop(self) -> None:
        os.close(self.fd)
        self.serve.jobs.pop(self.number, None)


class WriteJob(Job):
    """Receives a file and puts it in place at once."""

    def __init__(self, serve: Serve, number: int, path: str, mode: int) -> None:
        super().__init__(serve, number)
        self.path, self.wake = path, float("inf")
        self.temporary = "%s.%d-%d.tmp" % (path, os.getpid(), number)
        self.fd = -1
        self.guard(self.begin, mode)

    def begin(self, mode: int) -> None:
        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        self.fd = os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.fchmod(self.fd, mode)

    def guard(self, work: Callable[[Any], None], argument: Any) -> None:
        try:
            work(argument)
        except OSError as error:
            self.drop()
            raise Problem("unavailable", "%s: %s" % (self.path, error.strerror)) from error

    def feed(self, data: bytes, last: bool) -> None:
        self.guard(lambda chunk: write_all(self.fd, chunk), data)
        self.say({"ev": "credit", "n": len(data)})
        if last:
            self.guard(lambda _: os.rename(self.temporary, self.path), None)
            os.close(self.fd)
            self.fd = -1
            self.finish({})

    def drop(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            os.unlink(self.temporary)
        self.serve.jobs.pop(self.number, None)


class StopJob(Job):
    """Waits until the supervisor has ended the tree; does it itself where the supervisor is dead."""

    def __init__(self, serve: Serve, number: int, directory: str, grace: float) -> None:
        super().__init__(serve, number)
        self.directory = directory
        self.give_up = time.monotonic() + grace + 20
        self.order = b"s%d\n" % int(grace * 1e6)
        self.ordered = False

    def step(self, now: float) -> None:
        if now < self.wake:
            return
        self.wake = now + 0.02
        if not self.ordered:
            self.ordered = notify(self.directory, self.order)
        if starting(self.directory):
            return
        if alive(self.directory):
            if now > self.give_up:
                self.serve.fail(self.number, Problem("unavailable", "processes of the tree would not end"))
            return
        self.sweep()
        self.finish({})

    def sweep(self) -> None:
        status = parse(read_path(os.path.join(self.directory, "status")))
        main = status.get("main", 0)
        state = parse(read_path(os.path.join(self.directory, "state.json")))
        if not main or state.get("boot") != boot():
            return
        # Without its leader a group may by now be somebody else's: only what is older than no leader is ours.
        if start_time(main) not in ("", status.get("start")):
            return
        for pid in tree_of(main):
            attempt(os.kill, pid, signal.SIGKILL)


def alive(directory: str) -> bool:
    """Whether the very supervisor that made this pipe runs now."""
    state = parse(read_path(os.path.join(directory, "state.json")))
    if not state:
        return starting(directory)
    return bool(state.get("start")) and start_time(state["pid"]) == state["start"] and state["boot"] == boot()


def starting(directory: str) -> bool:
    """A pipe whose supervisor has made the directory a moment ago and not said who it is."""
    try:
        age = time.time() - os.stat(directory).st_mtime
    except OSError:
        return False
    return age < START_SECONDS and not os.path.exists(os.path.join(directory, "state.json"))


def notify(directory: str, order: bytes) -> bool:
    try:
        fd = os.open(os.path.join(directory, "ctl"), os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        os.write(fd, order)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def remove(path: str) -> Json:
    """Removes a tree, also where the code that filled it made directories read-only."""
    import shutil

    def retry(function: Callable[[str], None], name: str, _: Any) -> None:
        try:
            os.chmod(os.path.dirname(name), 0o700)
            if os.path.isdir(name) and not os.path.islink(name):
                os.chmod(name, 0o700)
                shutil.rmtree(name, ignore_errors=True)
            else:
                os.unlink(name)
        except OSError:
            pass  # what is left in the end is reported below

    if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
        os.unlink(path)
    shutil.rmtree(path, onerror=retry)
    if os.path.lexists(path):
        return {"error": "unavailable", "cause": "%s could not be removed" % path}
    return {"ok": True}


def forget(root: str, older_than_us: int) -> Json:
    count = 0
    pipes = os.path.join(root, "pipes")
    for name in os.listdir(pipes) if os.path.isdir(pipes) else []:
        directory = os.path.join(pipes, name)
        if alive(directory):
            continue
        ended = parse((read_path(os.path.join(directory, "exit")) or b"").split(b"\n")[0]).get("ended_us")
        try:
            moment = ended if isinstance(ended, int) else int(os.stat(directory).st_mtime * 1e6)
        except OSError:
            continue
        if now_us() - moment >= older_than_us and "ok" in remove(directory):
            count += 1
    return {"ok": True, "count": count}


class Serve:
    """The loop: one thread, no request holds up another, the link's pace is everybody's."""

    def __init__(self, root: str) -> None:
        import pwd

        account = pwd.getpwuid(os.getuid())
        self.user, self.home = account.pw_name, account.pw_dir
        self.root = root
        self.directory = self.home if os.path.isdir(self.home) else root  # where commands run by default
        self.runner = os.path.abspath(__file__)
        self.jobs: dict[int, Job] = {}
        self.orphans: list[int] = []
        self.outgoing = bytearray()
        self.incoming = bytearray()
        self.contained: Optional[bool] = None

    def room(self) -> bool:
        return len(self.outgoing) < ROOM

    def send(self, header: Json, payload: bytes = b"") -> None:
        text = json.dumps(header).encode()
        self.outgoing += struct.pack(">II", len(text), len(payload)) + text + payload

    def fail(self, number: int, problem: Problem) -> None:
        self.send({"id": number, "error": problem.kind, "cause": problem.cause})
        self.jobs.pop(number, None)

    def base_env(self, path: list[str]) -> dict[str, str]:
        default = os.environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
        return {
            "HOME": self.home,
            "USER": self.user,
            "LOGNAME": self.user,
            "LANG": os.environ.get("LANG") or "C.UTF-8",
            "PATH": ":".join([*path, default]),
        }

    def resolve(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.root, path))

    def pipe(self, name: str) -> str:
        plain = name.replace("-", "").replace("_", "").replace(".", "")
        if not plain.isalnum() or not plain.isascii() or name.startswith((".", "-")) or len(name) > 120:
            raise Problem("refused", "%r is no name for a pipe" % name)
        return os.path.join(self.root, "pipes", name)

    def handle(self, request: Json, payload: bytes) -> None:
        number = request["id"]
        job = self.jobs.get(number)
        operation = request["op"]
        try:
            if operation == "credit":
                if job:
                    job.credit += request["n"]
                    job.wake = 0.0
            elif operation == "data":
                if job:
                    job.feed(payload, request.get("last", False))
                    job.wake = 0.0
            elif operation == "cancel":
                if job:
                    job.drop()
            else:
                answer = getattr(self, "do_" + operation)(request, payload)
                if isinstance(answer, Job):
                    self.jobs[number] = answer
                else:
                    self.send({"id": number, "done": True, **answer})
        except Problem as problem:
            self.fail(number, problem)
        except OSError as error:
            self.fail(number, Problem("unavailable", str(error)))

    def do_ping(self, request: Json, payload: bytes) -> Json:
        return {}

    def do_facts(self, request: Json, payload: bytes) -> Json:
        if self.contained is None:
            self.contained = can_contain()
        disk = os.statvfs(self.root)
        return {
            "user": self.user,
            "uid": os.getuid(),
            "home": self.home,
            "root": self.root,
            "host": os.uname().nodename,
            "boot": boot(),
            "system": "linux" if LINUX else sys.platform,
            "python": "%d.%d.%d" % sys.version_info[:3],
            "cpus": os.cpu_count() or 1,
            "load_milli": int(os.getloadavg()[0] * 1000),
            "disk_free": disk.f_bavail * disk.f_frsize,
            "clock_us": now_us(),
            "contained": self.contained,
        }

    def do_run(self, request: Json, payload: bytes) -> Job:
        return RunJob(self, request["id"], request)

    def do_start(self, request: Json, payload: bytes) -> Any:
        spec = json.loads(payload)
        nonce = spec.pop("nonce").encode()
        if os.path.isdir(self.pipe(spec["id"])):
            return {"ok": "found"}
        if not spec.pop("bare_env"):
            spec["env"] = {**self.base_env(request.get("path", [])), **spec["env"]}
        spec["root"], spec["cwd"] = self.root, self.resolve(spec["cwd"] or self.directory)
        text = json.dumps(spec).encode()
        argv = [sys.executable, "-I", "-S", "-E", self.runner, "supervise", spec["id"]]
        job = AnswerJob(self, request["id"], {"argv": argv, "stdin": True, "timeout": 30.0})
        job.feed(struct.pack(">I", len(text)) + text + nonce, True)
        return job

    def do_attach(self, request: Json, payload: bytes) -> Job:
        return AttachJob(self, request["id"], self.pipe(request["pipe"]), request["offset"])

    def do_send(self, request: Json, payload: bytes) -> Json:
        directory = self.pipe(request["pipe"])
        position, path = request["position"], os.path.join(directory, "in")
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise Problem("refused", "the pipe is not there or takes no input") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            size = os.fstat(fd).st_size
            if position > size:
                raise Problem("refused", "input is known up to byte %d, and this begins at %d" % (size, position))
            fresh = payload[size - position :]
            if fresh and os.path.exists(os.path.join(directory, "eof")):
                raise Problem("refused", "the input was closed at byte %d" % size)
            try:
                os.lseek(fd, size, os.SEEK_SET)
                write_all(fd, fresh)
            except OSError:
                os.ftruncate(fd, size)
                raise
            if request.get("eof"):
                write_path(os.path.join(directory, "eof"), b"%d" % (size + len(fresh)))
        finally:
            os.close(fd)
        notify(directory, b"i\n")
        return {}

    def do_stop(self, request: Json, payload: bytes) -> Any:
        directory = self.pipe(request["pipe"])
        return StopJob(self, request["id"], directory, request["grace"]) if os.path.isdir(directory) else {}

    def do_tail(self, request: Json, payload: bytes) -> Job:
        if request["stream"] not in ("out", "err"):
            raise Problem("refused", "a pipe has the streams out and err")
        path = os.path.join(self.pipe(request["pipe"]), request["stream"])
        return ReadJob(self, request["id"], path, request["limit"], tail=True)

    def do_read(self, request: Json, payload: bytes) -> Job:
        return ReadJob(self, request["id"], self.resolve(request["path"]), request["limit"])

    def do_write(self, request: Json, payload: bytes) -> Job:
        return WriteJob(self, request["id"], self.resolve(request["path"]), request["mode"])

    def do_remove(self, request: Json, payload: bytes) -> Job:
        path = self.resolve(request["path"])
        parent = os.path.realpath(os.path.dirname(path))
        if not (parent + "/").startswith(os.path.realpath(self.root) + "/"):
            raise Problem("refused", "%s is not under %s" % (path, self.root))
        return AnswerJob(self, request["id"], {"timeout": 600.0}, lambda: remove(path))

    def do_forget(self, request: Json, payload: bytes) -> Job:
        age = request["older_than_us"]
        return AnswerJob(self, request["id"], {"timeout": 600.0}, lambda: forget(self.root, age))

    def receive(self) -> bool:
        """Takes what came; false at the end of the link."""
        try:
            data = os.read(0, 1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.incoming += data
        start = 0
        while len(self.incoming) - start >= 8:
            header, payload = struct.unpack_from(">II", self.incoming, start)
            end = start + 8 + header + payload
            if len(self.incoming) < end:
                break
            text = bytes(self.incoming[start + 8 : start + 8 + header])
            body = bytes(self.incoming[start + 8 + header : end])
            start = end
            self.handle(json.loads(text), body)
        del self.incoming[:start]
        return bool(data)

    def transmit(self) -> bool:
        try:
            while self.outgoing:
                del self.outgoing[: os.write(1, self.outgoing[: 1 << 18])]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def reap_orphans(self) -> None:
        for pid in list(self.orphans):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.orphans.remove(pid)

    def loop(self) -> None:
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        wake = wake_on_child()
        self.send({"id": 0, "ev": "ready", "root": self.root})
        linked = self.transmit()
        while linked:
            poller = select.poll()
            poller.register(0, select.POLLIN)
            poller.register(wake, select.POLLIN)
            if self.outgoing:
                poller.register(1, select.POLLOUT)
            now = time.monotonic()
            pause = 5.0
            for job in self.jobs.values():
                for fd, events in job.interest():
                    poller.register(fd, events)
                pause = min(pause, max(0.0, job.wake - now))
            ready = dict(poller.poll(pause * 1000 + (0.5 if pause else 0)))
            if wake in ready:
                os.read(wake, 4096)
                self.reap_orphans()
            if 0 in ready:
                linked = self.receive()
            now = time.monotonic()
            for job in list(self.jobs.values()):
                try:
                    job.step(now)
                except OSError as error:
                    job.drop()
                    self.fail(job.number, Problem("unavailable", str(error)))
            linked = self.transmit() and linked
        for job in list(self.jobs.values()):
            job.drop()


def main() -> None:
    os.umask(0o077)
    if sys.argv[1:2] == ["serve"] and len(sys.argv) == 3:
        harden()
        os.makedirs(sys.argv[2], 0o700, exist_ok=True)
        Serve(os.path.realpath(sys.argv[2])).loop()
    elif sys.argv[1:2] == ["supervise"] and len(sys.argv) == 3:
        supervise(sys.argv[2])
    else:
        sys.exit("usage: runner.py serve ROOT | supervise ID")


if __name__ == "__main__":
    main()

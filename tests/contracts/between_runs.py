"""What one run or session may try against another of the same login.

Each script exits 0 when it crossed over, 1 when it did not. The same scripts run twice: with nothing around them,
where each must cross (else it would prove nothing), and inside a run's walls, where none may. ``ROOT`` is our
directory of the login, ``VICTIM`` another run's directory in it, ``HOME`` the login's home, ``PID`` a process of
the other run, ``KEY`` a number for System V objects, ``NAME`` a name that nobody else has, ``PORT`` a port that it
listens on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_LIBC: Final = "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"


@dataclass(frozen=True, slots=True)
class Attack:
    """A Python script, and where the idea is from."""

    name: str
    source: str
    script: str
    over_network: bool = False
    """Only a network of the run's own stops it: with a login of its own the run says ``network: shared``."""


ATTACKS: Final = (
    Attack(
        "write into another checkout",
        "seen here: a red gate landed",
        "open(VICTIM + '/tree/proof.txt', 'w').close()",
    ),
    Attack(
        "read another checkout",
        "private code of another repository",
        "open(VICTIM + '/tree/secret').read()",
    ),
    Attack(
        "hard link to another run's file",
        "CVE-2019-11503 and its kind: links into a shared directory",
        "os.link(VICTIM + '/tree/secret', link); open(link, 'a').write('x')",
    ),
    Attack(
        "symbolic link as report",
        "CWE-59: a writer that follows links",
        "os.symlink(VICTIM + '/tree/secret', link); open(link, 'a').write('x')",
    ),
    Attack(
        "rename another checkout away",
        "CWE-367: check, then use",
        "os.rename(VICTIM + '/tree', VICTIM + '/gone'); os.rename(VICTIM + '/gone', VICTIM + '/tree')",
    ),
    Attack(
        "open another checkout's modes", "umask and chmod of shared caches", "os.chmod(VICTIM + '/tree', 0o777)"
    ),
    Attack(
        "forge an exit record",
        "seen here: the supervisor's directory belongs to the same login",
        "open(ROOT + '/pipes/' + NAME, 'w').close()",
    ),
    Attack(
        "order another supervisor to stop",
        "a FIFO is written to through a read-only mount too",
        "fd = os.open(VICTIM + '/ctl', os.O_WRONLY | os.O_NONBLOCK); os.write(fd, b's0 ')",
    ),
    Attack(
        "replace a log by a FIFO",
        "a reader that blocks for ever",
        "os.unlink(VICTIM + '/log'); os.mkfifo(VICTIM + '/log')",
    ),
    Attack(
        ".bashrc", "seen here: sshd runs it at the next connection", "open(HOME + '/.bashrc', 'a').write('# x')"
    ),
    Attack(".zshenv", "zsh reads it for every command", "open(HOME + '/.zshenv', 'a').write('# x')"),
    Attack(".profile", "login shells", "open(HOME + '/.profile', 'a').write('# x')"),
    Attack(
        "authorized_keys",
        "a key of the attacker's own",
        "made(HOME + '/.ssh'); open(HOME + '/.ssh/' + NAME, 'a').write('# x')",
    ),
    Attack(
        "usercustomize",
        "Python's site module, PEP 370",
        "place = HOME + '/.local/lib/python3/site-packages'; made(place)\n"
        "open(place + '/usercustomize.py', 'w').close()",
    ),
    Attack(
        "LD_PRELOAD",
        "ld.so(8) by environment.d and pam_environment: a library in every later program",
        "made(HOME + '/.config/environment.d')\n"
        "for path in ('/.config/environment.d/x.conf', '/.pam_environment'):\n"
        "    open(HOME + path, 'a').write('LD_PRELOAD=/tmp/x.so')",
    ),
    Attack(
        "npm postinstall",
        "npm's lifecycle scripts, and packages in its shared cache",
        "made(HOME + '/.npm/_cacache'); open(HOME + '/.npm/_cacache/' + NAME, 'w').close()\n"
        "open(VICTIM + '/tree/package.json', 'w').write('{\"scripts\": {\"postinstall\": \"true\"}}')",
    ),
    Attack(
        "git hook of another checkout",
        "core.hooksPath's default: git runs what lies there",
        "assert os.path.isdir(VICTIM + '/tree'); os.makedirs(VICTIM + '/tree/.git/hooks', exist_ok=True)\n"
        "open(VICTIM + '/tree/.git/hooks/post-checkout', 'w').close()",
    ),
    Attack(
        "pip.conf",
        "another package index for everybody",
        "made(HOME + '/.config/pip'); open(HOME + '/.config/pip/pip.conf', 'w').close()",
    ),
    Attack(".npmrc", "npm's script-shell and prefix settings", "open(HOME + '/.npmrc', 'w').close()"),
    Attack(
        ".gitconfig",
        "core.hooksPath, core.fsmonitor, filters",
        "open(HOME + '/.gitconfig', 'w').close()",
    ),
    Attack(
        "systemd user unit",
        "starts with the login's next session",
        "made(HOME + '/.config/systemd/user')\nopen(HOME + '/.config/systemd/user/x.service', 'w').close()",
    ),
    Attack(
        "shared build cache",
        "poisoned ccache and pip caches",
        "made(HOME + '/.cache'); open(HOME + '/.cache/' + NAME, 'w').close()",
    ),
    Attack("kill another run", "same uid: kill(2) is allowed", "os.kill(PID, 0)"),
    Attack(
        "another run's environment",
        "/proc/PID/environ",
        "open('/proc/%d/environ' % PID, 'rb').read()",
    ),
    Attack(
        "another run's memory",
        "/proc/PID/mem, process_vm_writev",
        "fd = os.open('/proc/%d/mem' % PID, os.O_RDWR)",
    ),
    Attack(
        "attach a debugger",
        "ptrace(2), PTRACE_SEIZE",
        _LIBC + "assert libc.ptrace(0x4206, PID, None, None) == 0",
    ),
    Attack(
        "another run's descriptors",
        "/proc/PID/fd, pidfd_getfd",
        "os.listdir('/proc/%d/root' % PID)",
    ),
    Attack(
        "abstract socket",
        "no file, no mode: network namespaces only",
        "socket.socket(socket.AF_UNIX).connect('\\0' + NAME)",
        over_network=True,
    ),
    Attack(
        "socket in /tmp",
        "tmux and ssh-agent sockets",
        "socket.socket(socket.AF_UNIX).connect('/tmp/' + NAME)",
    ),
    Attack(
        "loopback service",
        "a test database of another run",
        "socket.create_connection(('127.0.0.1', PORT), 5)",
        over_network=True,
    ),
    Attack("POSIX shared memory", "/dev/shm", "open('/dev/shm/' + NAME).read()"),
    Attack(
        "System V shared memory",
        "shmget(2) by a known key",
        _LIBC + "libc.shmat.restype = ctypes.c_ssize_t\n"
        "number = libc.shmget(KEY, 0, 0); assert number >= 0 and libc.shmat(number, None, 0) != -1",
    ),
    Attack(
        "System V message queue",
        "msgget(2) by a known key",
        _LIBC + "number = libc.msgget(KEY, 0); assert number >= 0\n"
        "assert libc.msgsnd(number, (ctypes.c_long * 2)(1, 0), 1, 0o4000) == 0",
    ),
    Attack("file in /var/tmp", "survives reboots, shared by all", "open('/var/tmp/' + NAME).read()"),
    Attack(
        "watch another run's files",
        "inotify: swap a file between hash and use",
        _LIBC
        + "fd = libc.inotify_init(); assert libc.inotify_add_watch(fd, (VICTIM + '/tree').encode(), 0xFFF) >= 0",
    ),
    Attack(
        "keyring",
        "keyctl(2): the user keyring belongs to the uid",
        _LIBC + "number = {'x86_64': 248, 'aarch64': 217}[os.uname().machine]\n"
        "assert libc.syscall(number, b'user', NAME.encode(), b'x', 1, -4) > 0",
    ),
    Attack(
        "namespace of its own",
        "unprivileged user namespaces: most container escapes of late",
        _LIBC + "assert libc.unshare(0x10000000) == 0",
    ),
)

#: What an agent's session may try beside these. ``CONVERSATION`` belongs to the other session.
ON_SESSIONS: Final = (
    Attack("another's conversation", "prompts and code of another task", "open(CONVERSATION).read()"),
    Attack("another's attachments", "files that a person sent", "open(ROOT + '/inbox/victim/note').read()"),
    Attack("another agent's output", "the spool of a pipe", "os.listdir(ROOT + '/pipes')"),
    Attack(
        "hook in the shared clone",
        "git runs it in every worktree of the clone",
        "made(ROOT + '/repos/shop.git/hooks')\nopen(ROOT + '/repos/shop.git/hooks/post-checkout', 'w').close()",
    ),
    Attack(
        "configuration of the shared clone",
        "core.fsmonitor, core.sshCommand",
        "open(ROOT + '/repos/shop.git/config', 'a').write('x')",
    ),
    Attack(
        "object of the shared clone",
        "seen here: a rewritten blob",
        "open(ROOT + '/repos/shop.git/objects/ab', 'a').write('x')",
    ),
    Attack(
        "settings of every agent", "hooks in its settings", "open(HOME + '/.claude/settings.json', 'w').close()"
    ),
    Attack("another vendor's login", "tokens of another agent", "assert open(HOME + '/.codex/auth.json').read()"),
    Attack(
        "sandbox around the walls",
        "a user namespace, and in it the right to unmount",
        _LIBC + "libc.unshare(0x10020000); libc.umount2(ROOT.encode(), 2); libc.umount2(HOME.encode(), 2)\n"
        "os.listdir(ROOT + '/pipes')",
    ),
)

#: They leave something in the login's home. A session may, in its own layer: then nothing of it lies in the home.
LEFT_AT_HOME: Final = frozenset({
    ".bashrc", ".zshenv", ".profile", "authorized_keys", "usercustomize", "LD_PRELOAD", "pip.conf", ".npmrc",
    ".gitconfig", "systemd user unit", "shared build cache", "settings of every agent",
})  # fmt: skip

#: Sessions share the machine's network, and their agents make sandboxes of namespaces.
OPEN_TO_SESSIONS: Final = frozenset({"abstract socket", "loopback service", "namespace of its own"})

#: They reach what belongs to the login itself: its keyring, and what its processes may do. Runs are sealed against
#: them, sessions are not; from another login they reach nobody.
WITHIN_A_LOGIN: Final = frozenset({"keyring", "namespace of its own"})

PREAMBLE: Final = """
import os, socket, sys
link = os.environ['TMPDIR'] + '/link-' + str(os.getpid())
def made(path):
    assert os.path.isdir(HOME)
    os.makedirs(path, exist_ok=True)
try:
{body}
except (OSError, AssertionError) as error:
    print(type(error).__name__, error)
    sys.exit(1)
"""


def program(attack: Attack, values: dict[str, object]) -> str:
    """The script to run with ``python3 -c``."""
    names = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    body = "\n".join(f"    {line}" for line in attack.script.splitlines())
    return names + PREAMBLE.format(body=body)

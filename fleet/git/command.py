"""The controller's git: our environment, our configuration, bounded output, readable errors.

It reads no system or user git configuration, and no hooks, replace refs or attributes from outside: an operator's
alias must not change what we judge. What a remote needs still works:

- ssh: ``HOME`` and ``SSH_AUTH_SOCK`` are kept, so the operator's keys, agent and ``~/.ssh/config`` apply;
  ``GIT_SSH_COMMAND`` is passed on if the controller was started with it.
- https: ``~/.netrc``, or ``GIT_ASKPASS`` in the controller's environment. A ``credential.helper`` in
  ``~/.gitconfig`` is not used, since that file is not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet import processes
from fleet.errors import DiskFull, Refused, Unavailable
from fleet.files import Sink, writing
from fleet.supervise import alongside

#: Applies wherever we run git, on the controller and on machines.
CLEAN_ENV: Mapping[str, str] = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_ALLOW_PROTOCOL": "file:ssh:https",
    "LC_ALL": "C",
}
#: The same for configuration; ``-c`` outranks every file.
CLEAN_CONFIG: Sequence[str] = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.autocrlf=false",
    "protocol.ext.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
)
#: As ``info/attributes`` it overrides every ``.gitattributes``: a checkout has exactly the bytes of the tree.
RAW_ATTRIBUTES = "* -text !eol !filter !ident !working-tree-encoding !export-ignore !export-subst !merge !diff\n"

_KEPT = (
    *("PATH", "HOME", "TMPDIR", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_ASKPASS", "SSH_ASKPASS"),
    *(
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "no_proxy",
        "NO_PROXY",
    ),
)
_ASKED_WHO = re.compile(r"could not read (?:Username|Password) for|Authentication failed for")
_OBJECT_ID = re.compile(r"[0-9a-f]{40}")
_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/@\s]+@", re.IGNORECASE)
_CHUNK = 1 << 16
#: After TERM: git then removes its lock files, which would block later commands.
_GRACE_SECONDS = 10.0


def own_environment() -> dict[str, str]:
    """What any git of ours is started with: of the environment that we were started with only what a remote needs.

    A ``GIT_DIR``, as in a hook or an alias of git's, would have it work in that repository, wherever it is started.
    """
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | dict(CLEAN_ENV)


def is_object_id(text: str) -> bool:
    """Whether ``text`` is a full SHA-1 object id, the only kind this version works with."""
    return _OBJECT_ID.fullmatch(text) is not None


def without_credentials(text: str) -> str:
    """``text`` with the user part of each URL replaced by ``***``."""
    return _CREDENTIALS.sub(r"\1***@", text)


def access_hint(words: str, otherwise: str) -> str:
    """What helps where a server of https asks who we are; for other words ``otherwise``."""
    asked = _ASKED_WHO.search(words)
    return "Put a user and a token for it into ~/.netrc of the controller's login." if asked else otherwise


def as_config(settings: Sequence[str] = CLEAN_CONFIG) -> list[str]:
    """``settings`` as git's ``-c`` arguments."""
    return [word for setting in settings for word in ("-c", setting)]


@dataclass(frozen=True, slots=True)
class GitEnded:
    """A git command that has ended. ``cut``: it was stopped because its output exceeded the limit."""

    code: int
    out: bytes
    err: str
    cut: bool = False

    @property
    def line(self) -> str:
        """Standard output as one stripped line."""
        return self.out.decode("utf-8", "replace").strip()


Before = Callable[[Path, Sequence[str], bytes | Path], Awaitable[None]]


class Git:
    """Runs git for the controller. ``program`` is a name on PATH or an absolute path. ``before``: what is done
    before each command in a repository, with its directory, arguments and standard input."""

    def __init__(self, program: str = "git", before: Before | None = None) -> None:
        self.before = before
        self.command: Sequence[str] = (program, *as_config())
        self.env: Mapping[str, str] = own_environment()

    async def run(
        self,
        *args: str,
        attempted: str,
        on: str = "",
        hint: str = "",
        git_dir: Path | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | Path = b"",
        stdout: Path | None = None,
        limit: int = 64 << 20,
        timeout: float = 120.0,
        expect: Sequence[int] = (0,),
        umask: int = -1,
    ) -> GitEnded:
        """Runs one command to its end.

        Output beyond ``limit`` bytes stops git and sets ``cut``; with ``stdout`` a file, output goes there instead.
        With ``stdin`` a file, it is read from there. ``umask``: that of what it writes; -1 is our own.
        A status outside ``expect`` (unless cut) raises ``Unavailable`` with git's own words.
        """
        if self.before is not None and git_dir is not None:
            await self.before(git_dir, args, stdin)
        where = {"GIT_DIR": str(git_dir)} if git_dir else {}
        sink = _sink(attempted, stdout) if stdout else None
        source = stdin.open("rb") if isinstance(stdin, Path) else None
        try:
            process = await processes.start(
                *self.command,
                *args,
                cwd=cwd,
                env={**self.env, **where, **(env or {})},
                stdin=source or (asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL),
                stdout=sink.fileno() if sink else asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                grace=_GRACE_SECONDS,
                umask=umask,
            )
        except FileNotFoundError as error:
            gone = cwd is not None and not await asyncio.to_thread(Path(cwd).is_dir)
            why, hint = ("there is no such directory", "") if gone else (str(error), "install git 2.38 or later")
            raise Unavailable(attempted=attempted, on=on, cause=why, hint=hint) from error
        finally:
            for ours in (sink, source):
                if ours:
                    ours.close()
        try:
            async with asyncio.timeout(timeout):
                async with (
                    alongside(
                        _feed(process.stdin, b"" if isinstance(stdin, Path) else stdin), "feed git"
                    ) as feeding,
                    alongside(_end(process.stderr), "what git complains of") as complaining,
                ):
                    out = await _read(process.stdout, limit, process)
                    err = await complaining
                    await feeding
                code = await process.wait()
        except TimeoutError as error:
            raise Unavailable(
                attempted=attempted, on=on, hint=hint, cause=f"git took more than {timeout:.0f} s"
            ) from error
        finally:
            if process.returncode is None:
                await asyncio.shield(processes.end(process, _GRACE_SECONDS))
        cut = len(out) > limit
        words = _worth_saying(without_credentials(err.decode("utf-8", "replace")))
        if code not in expect and not cut:
            raise _failure(attempted, on, hint, code, words)
        return GitEnded(code, out[:limit], words, cut)


def _worth_saying(text: str) -> str:
    """The end of what git said, without its advice on how to use git."""
    lines = [line for line in text.splitlines() if not line.removeprefix("remote: ").startswith("hint:")]
    return "\n".join(lines).strip()[-800:]


def _failure(attempted: str, on: str, hint: str, code: int, words: str) -> Refused | Unavailable:
    cause = words or f"git ended with status {code}"
    if "dubious ownership" in words:
        return Refused(
            attempted=attempted, on=on, cause=cause, hint="give the repository to the controller's login"
        )
    if "mismatched algorithms" in words:
        return Refused(
            attempted=attempted,
            on=on,
            cause="the repository uses SHA-256 object ids",
            hint="only SHA-1 repositories are supported; a SHA-256 one must be converted",
        )
    if os.strerror(errno.ENOSPC) in words:
        return DiskFull(attempted=attempted, on=on, cause=cause, hint="Free some disk space on the controller.")
    return Unavailable(attempted=attempted, on=on, hint=access_hint(words, hint), cause=cause)


def _sink(attempted: str, path: Path) -> Sink:
    with writing(attempted, path):
        sink = Sink(path)
        sink.write(b"")  # git writes the rest, out of our sight
        return sink


async def _read(stream: asyncio.StreamReader | None, limit: int, process: asyncio.subprocess.Process) -> bytes:
    if stream is None:
        return b""
    parts, size = [], 0
    while size <= limit and (data := await stream.read(_CHUNK)):
        parts.append(data)
        size += len(data)
    if size > limit:
        processes.kill(process)  # otherwise it waits forever for the rest to be read
        while await stream.read(_CHUNK):
            pass  # to the end: asyncio keeps an unfinished pipe open
    return b"".join(parts)


async def _end(stream: asyncio.StreamReader | None) -> bytes:
    """What git said last: a hook of a remote may say as much as it likes."""
    kept = b""
    while stream is not None and (data := await stream.read(_CHUNK)):
        kept = (kept + data)[-_CHUNK:]
    return kept


async def _feed(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    if stream is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its exit status says why it ended
        stream.write(data)
        await stream.drain()
    stream.close()

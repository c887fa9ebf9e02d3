"""Where a repository is: which names and URLs may be given to git, and the state of its base branch."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from fleet.branch_names import is_branch_name
from fleet.errors import DiskFull, Misused, OriginAway, RepositoryUnusable, Unavailable
from fleet.git.command import Git, is_object_id, without_credentials
from fleet.git.objects import reader

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BRANCHES_NAMED = 3
_PARTIAL = re.compile(r"extensions\.partialclone|remote\..*\.promisor", re.DOTALL)
_SCP_LIKE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]*:(?!:)[^:].*")


class NoBranch(RepositoryUnusable):
    """A repository that answers, and has no branch of that name."""


def check(name: str, url: str, base: str) -> None:
    """Raises ``Misused`` for a name, URL or branch that git or a file system could misread."""
    if not _NAME.fullmatch(name) or ".." in name or name.endswith((".lock", ".git")):
        raise _misused(name, "the name", "use letters, digits, '.', '_' and '-'")
    if not is_branch_name(base):
        raise _misused(name, f"the branch {base!r}", "name a branch, for example main")
    if local_path(url) is None and not is_url(url):
        raise _misused(
            name,
            f"the url {without_credentials(url)!r}",
            "give an absolute path, ssh://, https://, file:// or user@host:path",
        )


def _misused(name: str, what: str, hint: str) -> Misused:
    return Misused(attempted="use a repository", on=name, cause=f"{what} is not usable", hint=hint)


def is_url(url: str) -> bool:
    """Whether ``url`` names a repository on another machine, in a form that git cannot misread."""
    if "::" in url or "\n" in url or "\0" in url:
        return False
    if url.startswith(("ssh://", "https://")):
        host = urlsplit(url).hostname or "-"
        return not host.startswith("-") and not urlsplit(url).netloc.startswith("-")
    return "://" not in url and _SCP_LIKE.fullmatch(url) is not None


def local_path(url: str) -> Path | None:
    """The path that ``url`` names on this machine; ``None`` for a remote one."""
    if url.startswith("file://"):
        return Path(unquote(urlsplit(url).path))
    if url.startswith(("/", "~")):
        return Path(url).expanduser()
    return None


async def tip(git: Git, where: Path | str, base: str, on: str) -> str:
    """The commit of branch ``base`` in the repository at a path, or at a URL.

    Raises ``NoBranch`` where there is none, ``RepositoryUnusable`` for a repository that cannot be used as it is,
    ``OriginAway`` when it does not answer.
    """
    attempted, ref = "read the base branch", f"refs/heads/{base}"
    if isinstance(where, Path):
        found = await _local_tip(git, (await opened(git, where, on)).git_dir, ref, on)
    else:
        try:
            ended = await git.run(
                "ls-remote", "--", where, ref,
                attempted=attempted, on=on, hint="check the url, the network and the controller's own access to it",
            )  # fmt: skip
        except DiskFull:
            raise
        except Unavailable as error:
            raise OriginAway(attempted=attempted, on=on, hint=error.hint, cause=error.cause) from error
        found = next((line.split()[0] for line in ended.line.splitlines() if line.endswith("\t" + ref)), "")
    if not found:
        others = await _branches(git, where, on)
        named = ", ".join(others[:_BRANCHES_NAMED])
        if base in others:
            raise RepositoryUnusable(
                attempted=attempted,
                on=on,
                cause=f"its branch {base} is broken: it names no commit that can be read",
                hint="git fsck, there, says what is missing",
            )
        raise NoBranch(
            attempted=attempted,
            on=on,
            cause=f"it has no branch {base}" + (f"; it has {named}" if named else ""),
            hint=f'write base = "{others[0]}" under its name in fleet.toml'
            if others
            else "commit something to it first, or correct its url",
        )
    if not is_object_id(found):
        raise _other_format(attempted, on, "SHA-256")
    return found


async def _local_tip(git: Git, git_dir: Path, ref: str, on: str) -> str:
    name = f"{ref}^{{commit}}"
    with contextlib.suppress(Unavailable):
        if (known := await reader(git, git_dir).find(name)) is not None:
            return known.id
    # A process that was started earlier may not know of object stores that were added since.
    ended = await git.run(
        "rev-parse", "--verify", "--quiet", "--end-of-options", name,
        attempted="read the base branch", on=on, git_dir=git_dir, expect=(0, 1),
    )  # fmt: skip
    return ended.line


async def _branches(git: Git, where: Path | str, on: str) -> list[str]:
    """The branches that a repository has, its own default first."""
    ended = await git.run(
        "ls-remote", "--symref", "--", str(where), "HEAD", "refs/heads/*",
        attempted="list the branches", on=on, expect=(0, 128),
    )  # fmt: skip
    fields = [line.partition("\t") for line in ended.out.decode("utf-8", "replace").splitlines()]
    refs = [first.removeprefix("ref: ") if last == "HEAD" else last for first, _, last in fields]
    return list(dict.fromkeys(ref.removeprefix("refs/heads/") for ref in refs if ref.startswith("refs/heads/")))


async def check_whole(git: Git, path: Path, on: str) -> None:
    """Raises ``RepositoryUnusable`` for one here that lacks part of its history or files: it cannot be copied."""
    found = await opened(git, path, on)
    if (found.git_dir / "shallow").exists():
        raise shallow(on, f"git -C {path} fetch --unshallow")
    if (found.git_dir / "info" / "grafts").exists():
        raise RepositoryUnusable(
            attempted="fetch the base branch",
            on=on,
            cause="it has grafts (info/grafts), which leave out some of its history",
            hint=f"git -C {path} replace --convert-graft-file",
        )
    if any(_PARTIAL.fullmatch(name) for name in found.settings):
        raise partial(on)


def shallow(on: str, remedy: str) -> RepositoryUnusable:
    """A repository without its older history."""
    return RepositoryUnusable(
        attempted="fetch the base branch",
        on=on,
        cause="it is a shallow clone: its older commits are missing",
        hint=f"Complete it ({remedy}), or name the repository that it was cloned from",
    )


def partial(on: str) -> RepositoryUnusable:
    """A repository whose files are fetched only when somebody needs them."""
    return RepositoryUnusable(
        attempted="fetch the base branch",
        on=on,
        cause="it is a partial clone: some of its files are missing",
        hint="Name the repository that it was cloned from, or clone that one again without --filter",
    )


@dataclass(frozen=True, slots=True)
class OpenedRepository:
    """A repository on this machine: its git directory, and its own settings, by their names in lower case."""

    git_dir: Path
    settings: Mapping[str, str]

    @property
    def umask(self) -> int:
        """The umask of what is written into it: whoever reads its objects can read those too."""
        return 0o077 & ~(self.git_dir / "objects").stat().st_mode

    @property
    def bare(self) -> bool:
        """Whether it says that it has no working tree."""
        return self.settings.get("core.bare") == "true"


_known: WeakKeyDictionary[Git, dict[Path, tuple[tuple[int, ...], OpenedRepository]]] = WeakKeyDictionary()


async def opened(git: Git, path: Path, on: str) -> OpenedRepository:
    """The repository whose root is ``path``. Raises ``RepositoryUnusable`` when there is none that can be used.

    What git said of it counts until one of the files or owners that it depends on is another one.
    """
    known = _known.setdefault(git, {})
    if path in known and known[path][0] == _depends_on(path, known[path][1].git_dir):
        return known[path][1]
    known.pop(path, None)
    where = await _git_dir(git, path, on)
    before = _depends_on(path, where)
    listed = await git.run(
        "config", "--list", "--show-scope", "-z", attempted="read the settings", on=on, git_dir=where
    )
    words = iter(listed.out.decode("utf-8", "surrogateescape").split("\0")[:-1])
    entries = (entry.partition("\n") for scope, entry in zip(words, words, strict=True) if scope != "command")
    # A name without a value is true.
    settings = {name.lower(): value if equals else "true" for name, equals, value in entries}
    found = OpenedRepository(where, settings)
    if not any(name.startswith(("include.", "includeif.")) for name in settings):
        known[path] = before, found
    return found


def _depends_on(path: Path, where: Path) -> tuple[int, ...]:
    """What makes a directory this repository: places and owners, and the files that git reads of it first."""
    parts: list[int] = []
    for place in (path, path / ".git", where, where / "objects", where / "refs"):
        found = _stat(place)
        parts += (found.st_dev, found.st_ino, found.st_uid) if found else (-1,)
    for place in (path / ".git", path / "HEAD", where / "HEAD", where / "config", where / "config.worktree"):
        found = _stat(place)
        parts += (found.st_ino, found.st_ctime_ns) if found and stat.S_ISREG(found.st_mode) else (-1,)
    return tuple(parts)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


async def _git_dir(git: Git, path: Path, on: str) -> Path:
    attempted, hint = "open the repository", "check the path in fleet.toml; it must be the root of a git repository"
    if not path.is_dir():  # noqa: ASYNC240 - one quick check of a local directory
        raise RepositoryUnusable(attempted=attempted, on=on, cause=f"no such directory: {path}", hint=hint)
    ceiling = str(path.resolve().parent)  # noqa: ASYNC240 - the same
    ended = await git.run(
        "rev-parse", "--path-format=absolute", "--git-common-dir", "--show-object-format",
        attempted=attempted, on=on, cwd=path, env={"GIT_CEILING_DIRECTORIES": ceiling},
        expect=(0, 128),
    )  # fmt: skip
    if "dubious ownership" in ended.err:
        raise RepositoryUnusable(
            attempted=attempted,
            on=on,
            cause=f"{path} is owned by another login",
            hint="give it to the controller's login, or name it by an ssh:// url",
        )
    if ended.code:
        words = " ".join(ended.err.split()).removeprefix("fatal: ")
        plain = not words or "not a git repository" in words
        cause = f"{path} is not a git repository" if plain else f"git cannot read {path}: {words}"
        raise RepositoryUnusable(attempted=attempted, on=on, cause=cause, hint=hint)
    where, object_format = ended.out.decode("utf-8", "surrogateescape").rstrip("\n").rsplit("\n", 1)
    if object_format != "sha1":
        raise _other_format(attempted, on, object_format)
    return Path(where)


def _other_format(attempted: str, on: str, object_format: str) -> RepositoryUnusable:
    return RepositoryUnusable(
        attempted=attempted,
        on=on,
        cause=f"it uses {object_format} object ids",
        hint="only SHA-1 repositories are supported",
    )

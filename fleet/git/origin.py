"""Where a repository is: which names and URLs may be given to git, and the state of its base branch."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fleet.errors import Misused, Refused
from fleet.git.command import Git, is_object_id, without_credentials

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+@-]{0,199}")
_BRANCHES_NAMED = 3
_NOT_IN_BRANCHES = ("..", "//", "@{", "/.", ".lock/")
_SCP_LIKE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]*:(?!:)[^:].*")


def check(name: str, url: str, base: str) -> None:
    """Raises ``Misused`` for a name, URL or branch that git or a file system could misread."""
    if not _NAME.fullmatch(name) or ".." in name or name.endswith((".lock", ".git")):
        raise _misused(name, "the name", "use letters, digits, '.', '_' and '-'")
    if (
        not _BRANCH.fullmatch(base)
        or any(part in base for part in _NOT_IN_BRANCHES)
        or base.endswith(("/", ".", ".lock"))
    ):
        raise _misused(name, f"the branch {base!r}", "name a branch, for example main")
    if local_path(url) is None and not _is_url(url):
        raise _misused(
            name,
            f"the url {without_credentials(url)!r}",
            "give an absolute path, ssh://, https://, file:// or user@host:path",
        )


def _misused(name: str, what: str, hint: str) -> Misused:
    return Misused(attempted="use a repository", on=name, cause=f"{what} is not usable", hint=hint)


def _is_url(url: str) -> bool:
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

    Raises ``Refused`` for a repository that cannot be used as it is, ``Unavailable`` when it does not answer.
    """
    attempted, ref = "read the base branch", f"refs/heads/{base}"
    if isinstance(where, Path):
        ended = await git.run(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}",
            attempted=attempted, on=on, git_dir=await git_dir(git, where, on), expect=(0, 1),
        )  # fmt: skip
        found = ended.line
    else:
        ended = await git.run(
            "ls-remote", "--", where, ref,
            attempted=attempted, on=on, hint="check the url, the network and the controller's own access to it",
        )  # fmt: skip
        found = next((line.split()[0] for line in ended.line.splitlines() if line.endswith("\t" + ref)), "")
    if not found:
        others = await _branches(git, where, on)
        raise Refused(
            attempted=attempted,
            on=on,
            cause=f"it has no branch {base}" + (f"; it has {', '.join(others)}" if others else ""),
            hint=f'write base = "{others[0]}" under its name in fleet.toml'
            if others
            else "commit something to it first",
        )
    if not is_object_id(found):
        raise _other_format(attempted, on, "SHA-256")
    return found


async def _branches(git: Git, where: Path | str, on: str) -> list[str]:
    """The first few branches that a repository has."""
    ended = await git.run(
        "ls-remote", "--heads", "--", str(where), attempted="list the branches", on=on, expect=(0, 128)
    )
    refs = (line.partition("\t")[2] for line in ended.out.decode("utf-8", "replace").splitlines())
    return [ref.removeprefix("refs/heads/") for ref in refs][:_BRANCHES_NAMED]


async def check_whole(git: Git, path: Path, on: str) -> None:
    """Raises ``Refused`` for a repository here that lacks part of its history or files: it cannot be copied."""
    attempted, where = "fetch the base branch", await git_dir(git, path, on)
    ended = await git.run("rev-parse", "--is-shallow-repository", attempted=attempted, on=on, git_dir=where)
    if ended.line == "true":
        raise shallow(on, f"git -C {path} fetch --unshallow")
    ended = await git.run(
        "config", "--get-regexp", r"^(extensions\.partialclone|remote\..*\.promisor)$",
        attempted=attempted, on=on, git_dir=where, expect=(0, 1),
    )  # fmt: skip
    if ended.line:
        raise partial(on)


def shallow(on: str, remedy: str) -> Refused:
    """A repository without its older history."""
    return Refused(
        attempted="fetch the base branch",
        on=on,
        cause="it is a shallow clone: its older commits are missing",
        hint=f"Complete it ({remedy}), or name the repository that it was cloned from",
    )


def partial(on: str) -> Refused:
    """A repository whose files are fetched only when somebody needs them."""
    return Refused(
        attempted="fetch the base branch",
        on=on,
        cause="it is a partial clone: some of its files are missing",
        hint="Name the repository that it was cloned from, or clone that one again without --filter",
    )


async def git_dir(git: Git, path: Path, on: str) -> Path:
    """The git directory of the repository whose root is ``path``. Raises ``Refused`` when there is none."""
    attempted, hint = "open the repository", "check the path in fleet.toml; it must be the root of a git repository"
    if not path.is_dir():  # noqa: ASYNC240 - one quick check of a local directory
        raise Refused(attempted=attempted, on=on, cause="no such directory", hint=hint)
    ceiling = str(path.resolve().parent)  # noqa: ASYNC240 - the same
    ended = await git.run(
        "rev-parse", "--path-format=absolute", "--git-common-dir", "--show-object-format",
        attempted=attempted, on=on, cwd=path, env={"GIT_CEILING_DIRECTORIES": ceiling},
        expect=(0, 128),
    )  # fmt: skip
    if "dubious ownership" in ended.err:
        raise Refused(
            attempted=attempted,
            on=on,
            cause="it is owned by another login",
            hint="give it to the controller's login, or name it by an ssh:// url",
        )
    if ended.code:
        raise Refused(attempted=attempted, on=on, cause="not a git repository", hint=hint)
    where, object_format = ended.out.decode("utf-8", "surrogateescape").rstrip("\n").rsplit("\n", 1)
    if object_format != "sha1":
        raise _other_format(attempted, on, object_format)
    return Path(where)


def _other_format(attempted: str, on: str, object_format: str) -> Refused:
    return Refused(
        attempted=attempted,
        on=on,
        cause=f"it uses {object_format} object ids",
        hint="only SHA-1 repositories are supported",
    )

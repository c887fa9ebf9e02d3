"""Git repositories for tests, made with the real git under a plain configuration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_AUTHOR_DATE": "@1700000000 +0000",
    "GIT_COMMITTER_DATE": "@1700000000 +0000",
}


def git(where: Path | str, *args: str, stdin: bytes = b"") -> str:
    """Runs git in ``where`` and answers its output; a failing git fails the test with its words."""
    ended = subprocess.run(["git", *args], cwd=where, env=_ENV, input=stdin, capture_output=True, check=False)
    assert ended.returncode == 0, f"git {args}: {ended.stderr.decode()}"
    return ended.stdout.decode("utf-8", "surrogateescape").strip()


def commit(work: Path, files: dict[str, str | bytes], message: str = "change") -> str:
    """Writes ``files`` into a working tree (scripts can be executed), commits all of it, and returns the commit."""
    for name, content in files.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(data)
        if data.startswith(b"#!"):
            path.chmod(0o755)
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", message)
    return git(work, "rev-parse", "HEAD")


def make_work(path: Path, files: dict[str, str | bytes]) -> Path:
    """A repository with a working tree, on ``main``, with one commit of ``files``."""
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "--initial-branch=main")
    commit(path, files, "first")
    return path


def make_bare(path: Path, files: dict[str, str | bytes]) -> Path:
    """A bare repository whose ``main`` has one commit of ``files``; its working copy is ``PATH.work``."""
    work = make_work(path.with_suffix(".work"), files)
    git(work, "clone", "--quiet", "--bare", str(work), str(path))
    git(work, "remote", "add", "origin", str(path))
    return path


def advance(bare: Path, files: dict[str, str | bytes], message: str = "another's work") -> str:
    """Somebody else lands ``files`` on ``main`` of a repository that ``make_bare`` made."""
    work = bare.with_suffix(".work")
    git(work, "pull", "--quiet", "--ff-only", "origin", "main")
    made = commit(work, files, message)
    git(work, "push", "--quiet", "origin", "main")
    return made

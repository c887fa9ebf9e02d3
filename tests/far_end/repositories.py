"""Git repositories for tests, made with the real git under a plain configuration."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
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
    """A bare repository whose ``main`` has one commit of ``files``; its working copy is ``PATH.work``.

    The second one with the same files is a copy of the first: git takes eight processes to make one.
    """
    key = json.dumps({name: str(content) for name, content in files.items()}, sort_keys=True)
    model = Path(_models()) / hashlib.sha256(key.encode()).hexdigest()
    if not model.exists():
        building = model.with_suffix(f".{len(list(model.parent.iterdir()))}")
        work = make_work(building / "bare.work", files)
        git(work, "clone", "--quiet", "--bare", str(work), str(building / "bare"))
        git(work, "remote", "add", "origin", str(building / "bare"))
        for config in (building / "bare/config", work / ".git/config"):
            config.write_text(config.read_text().replace(str(building), str(model)))
        building.rename(model)
    for made, of in ((path, model / "bare"), (path.with_suffix(".work"), model / "bare.work")):
        shutil.copytree(of, made, symlinks=True, ignore=shutil.ignore_patterns("*.sample"))
        config = made / ("config" if made == path else ".git/config")
        text = config.read_text().replace(str(model / "bare.work"), str(path.with_suffix(".work")))
        config.write_text(text.replace(str(model / "bare"), str(path)))
    return path


@cache
def _models() -> str:
    """Where this process keeps what it copies."""
    directory = tempfile.mkdtemp(prefix="airboss-models-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def advance(bare: Path, files: dict[str, str | bytes], message: str = "another's work") -> str:
    """Somebody else lands ``files`` on ``main`` of a repository that ``make_bare`` made."""
    work = bare.with_suffix(".work")
    git(work, "pull", "--quiet", "--ff-only", "origin", "main")
    made = commit(work, files, message)
    git(work, "push", "--quiet", "origin", "main")
    return made

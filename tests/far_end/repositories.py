"""Git repositories for tests, made with the real git under a plain configuration."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
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
    # Each commit, fetch and push would start another process to see whether there is something to tidy up.
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "maintenance.auto",
    "GIT_CONFIG_VALUE_0": "false",
    "GIT_CONFIG_KEY_1": "gc.auto",
    "GIT_CONFIG_VALUE_1": "0",
}


def git(where: Path | str, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
    """Runs git in ``where`` and answers its output; a failing git fails the test with its words."""
    around = {**_ENV, **(env or {})}
    ended = subprocess.run(["git", *args], cwd=where, env=around, input=stdin, capture_output=True, check=False)
    assert ended.returncode == 0, f"git {args}: {ended.stderr.decode()}"
    return ended.stdout.decode("utf-8", "surrogateescape").strip()


def commit(
    work: Path, files: dict[str, str | bytes], message: str = "change", env: Mapping[str, str] | None = None
) -> str:
    """Writes ``files`` into a working tree (scripts can be executed), commits all of it, and returns the commit."""
    for name, content in files.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(data)
        if data.startswith(b"#!"):
            path.chmod(0o755)
    git(work, "add", "--all", env=env)
    git(work, "commit", "--quiet", "--message", message, env=env)
    return _tip(work / ".git", "HEAD") or git(work, "rev-parse", "HEAD")


def _tip(git_dir: Path, name: str) -> str:
    """The commit of a ref, from the ref's own file; empty where git keeps it elsewhere."""
    path = git_dir / name
    text = path.read_text().strip() if path.is_file() else ""
    return _tip(git_dir, text.removeprefix("ref: ")) if text.startswith("ref: ") else text


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
    model = models() / hashlib.sha256(key.encode()).hexdigest()
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
def models() -> Path:
    """Where this process keeps what it copies."""
    directory = tempfile.mkdtemp(prefix="airboss-models-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


def advance(bare: Path, files: dict[str, str | bytes], message: str = "another's work") -> str:
    """Somebody else lands ``files`` on ``main`` of a repository that ``make_bare`` made."""
    work = bare.with_suffix(".work")
    if any((bare / "hooks").glob("*")):  # they are asked by a push
        git(work, "pull", "--quiet", "--ff-only", "origin", "main")
        made = commit(work, files, message)
        git(work, "push", "--quiet", "origin", "main")
        return made
    # A push and a pull take a dozen processes. Both repositories have the same objects in the end.
    shared = {"GIT_OBJECT_DIRECTORY": str(bare / "objects")}
    (work / ".git/objects/info/alternates").write_text(f"{bare / 'objects'}\n")
    before = _tip(bare, "refs/heads/main") or git(bare, "rev-parse", "main")
    if _tip(work / ".git", "HEAD") != before:
        git(work, "merge", "--quiet", "--ff-only", before)
    made = commit(work, files, message, shared)
    git(bare, "update-ref", "refs/heads/main", made, before)
    return made

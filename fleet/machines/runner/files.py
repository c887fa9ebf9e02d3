"""Reading and writing descriptors and files."""

from __future__ import annotations

import os
import time

from . import light_json as json

TYPE_CHECKING = False  # importing typing costs three milliseconds at each start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Json = dict[str, Any]

CHUNK = 1 << 16


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


def behind_link(path: str, root: str) -> bool:
    """Whether a directory below ``root`` is a link, or behind one there: then it is none that we made."""
    return path.startswith(root + "/") and os.path.realpath(path) != os.path.realpath(root) + path[len(root) :]


def read_path(path: str, limit: int = 1 << 16) -> bytes | None:
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
    """Whether a system call worked, for calls whose failure needs no handling (the process is already gone)."""
    try:
        function(*arguments)
        return True
    except OSError:
        return False


def parse(data: bytes | None) -> Json:
    """Parses a JSON object; empty for anything else."""
    try:
        value = json.loads(data or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def removed_at_once(path: str) -> bool:
    """Removes a tree that may be removed, by descriptors: a link that is put in the way is not followed."""
    try:
        for _, directories, files, at in os.fwalk(path, topdown=False):
            for name in files:
                os.unlink(name, dir_fd=at)
            for name in directories:
                try:
                    os.rmdir(name, dir_fd=at)
                except NotADirectoryError:  # a link to one
                    os.unlink(name, dir_fd=at)
        os.rmdir(path)
    except (OSError, RecursionError):
        return False
    return True


def remove(path: str) -> Json:
    """Removes a tree, including directories that were made read-only."""
    if removed_at_once(path):
        return {"ok": True}
    import shutil  # it costs more than most trees

    tried: set[str] = set()

    def retry(function: Callable[[str], None], name: str, _: Any) -> None:
        try:
            os.chmod(os.path.dirname(name), 0o700)
            if os.path.isdir(name) and not os.path.islink(name):
                os.chmod(name, 0o700)
                if name not in tried:
                    tried.add(name)
                    shutil.rmtree(name, onerror=retry)
            else:
                os.unlink(name)
        except OSError:
            pass  # anything left is reported below

    if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
        os.unlink(path)
    shutil.rmtree(path, onerror=retry)
    if os.path.lexists(path):
        return {"error": "unavailable", "cause": "%s could not be removed" % path}
    return {"ok": True}

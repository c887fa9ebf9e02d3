"""What the hook client is made of beside its rules: paths, JSON and a socket, without the modules that bring them.

``os`` alone takes half as long to load as the interpreter, ``json`` and ``socket`` as long as all of it.
"""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    Json = dict[str, Any]


class EditRefused(Exception):
    """Why an edit may not be made."""


def join(first: str, second: str) -> str:
    """``second``, from ``first`` on unless it is absolute."""
    return second if second.startswith("/") else first.rstrip("/") + "/" + second


def above(path: str) -> str:
    """The folder that a path is in."""
    return path.rpartition("/")[0] or "/"


def within(path: str, top: str) -> str:
    """``path``, which is below ``top``, from there on."""
    return path[len(top.rstrip("/")) + 1 :]


def real(path: str) -> str:
    """The path without links, ``.`` and ``..``, also of a file that is not there yet."""
    left, done, links = path.split("/")[::-1], "", 0
    while left:
        name = left.pop()
        if name == "..":
            done = done.rpartition("/")[0]
        elif name not in ("", "."):
            try:
                to = posix.readlink(done + "/" + name)
            except OSError:
                done += "/" + name
                continue
            links += 1
            if links > 40:
                raise EditRefused("too many symbolic links in %s" % path)
            done = "" if to.startswith("/") else done
            left += to.split("/")[::-1]
    return done or "/"


def is_there(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def decode(data: bytes) -> Json:
    """A JSON object; an empty one for nothing. Raises ``ValueError`` for anything else."""
    text = data.decode("utf-8", "surrogatepass").strip()
    if not text:
        return {}
    found = _scanner()(text)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _scanner() -> Callable[[str], Any]:
    """``json.loads`` without the modules that ``json`` brings, where the interpreter has its parts built in."""
    try:
        from _json import make_scanner, scanstring
    except ImportError:
        import json

        return json.loads

    class Scanning:
        strict, object_hook, object_pairs_hook = False, None, None
        parse_float, parse_int, parse_constant = float, int, float
        parse_string = scanstring

    scan: Callable[[str, int], tuple[Any, int]] = make_scanner(Scanning)  # type: ignore[arg-type]  # of json's decoder

    def whole(text: str) -> Any:
        try:
            return scan(text, 0)[0]
        except (StopIteration, SystemError):  # the latter where json, whose error it would raise, is not loaded
            raise ValueError("not JSON") from None

    return whole


def encode(value: Any) -> bytes:
    """JSON in one line of ASCII."""
    return _encoded(value).encode("ascii")


def _encoded(value: Any) -> str:
    if isinstance(value, str):
        try:
            from _json import encode_basestring_ascii
        except ImportError:
            from json.encoder import encode_basestring_ascii
        return str(encode_basestring_ascii(value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, dict):
        return "{%s}" % ",".join(_encoded(str(key)) + ":" + _encoded(each) for key, each in value.items())
    return "[%s]" % ",".join(_encoded(each) for each in value)


def exchange(path: str, line: bytes) -> bytes:
    """Sends a line to a Unix socket and returns its answer. A long path is reached from its folder."""
    try:
        from _socket import AF_UNIX, SOCK_STREAM, socket
    except ImportError:
        from socket import AF_UNIX, SOCK_STREAM, socket  # type: ignore[assignment]  # which is made of the other
    posix.chdir(above(path) or "/")
    channel, name = socket(AF_UNIX, SOCK_STREAM), path.rpartition("/")[2]
    for other in ["", *(".%d" % number for number in range(1, 10))]:
        try:
            channel.connect(name + other)  # where a controller forwards it, an older socket may be left
            break
        except OSError:
            if not is_there(name + ".1") or other == ".9":
                raise
    channel.sendall(line)
    answer = b""
    while not answer.endswith(b"\n"):
        more = channel.recv(1 << 16)
        if not more:
            break
        answer += more
    return answer


def limit(seconds: float) -> None:
    """From here on ``TimeoutError`` is raised after so many seconds, whatever we wait for."""
    try:
        import _signal as signal  # type: ignore[import-not-found]  # signal without its enums
    except ImportError:
        import signal

    def over(*_: Any) -> None:
        raise TimeoutError("it took more than %d seconds" % seconds)

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def write(path: str, data: bytes) -> None:
    """A file of 0600, whole or not at all. Raises ``OSError``, on a full disk for one."""
    beside = "%s.%d" % (path, posix.getpid())
    descriptor = posix.open(beside, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC, 0o600)
    try:
        if posix.write(descriptor, data) != len(data):
            raise OSError("the disk is full")
        posix.replace(beside, path)
    except OSError:
        posix.unlink(beside)
        raise
    finally:
        posix.close(descriptor)


def read(path: str) -> bytes:
    """A small file; empty when there is none."""
    try:
        descriptor = posix.open(path, posix.O_RDONLY)
    except OSError:
        return b""
    try:
        return read_all(descriptor)
    except OSError:
        return b""
    finally:
        posix.close(descriptor)


def read_all(descriptor: int) -> bytes:
    data = b""
    while True:
        more = posix.read(descriptor, 1 << 16)
        if not more:
            return data
        data += more


def plain(address: str) -> str:
    """One form for all that git takes as an address of one repository: ``host/path`` or an absolute path."""
    text = address.strip()
    if text.startswith("file://"):
        text = text[len("file://") :]
    _, found, rest = text.partition("://")
    if found:
        host, _, path = rest.partition("/")
    elif ":" in text and "/" not in text.partition(":")[0]:
        host, _, path = text.partition(":")
    else:
        path = real(text) if text.startswith("/") else text
        return _bare(path)
    host = host.rpartition("@")[2].lower()
    name, _, port = host.rpartition(":")
    return _bare("%s/%s" % (name if name and port.isdigit() else host, path.strip("/")))


def _bare(path: str) -> str:
    path = path.rstrip("/")
    for tail in ("/.git", ".git"):
        if path.endswith(tail):
            path = path[: -len(tail)]
    return path


def remotes(git: str) -> list[str]:
    """The addresses of the remotes in a git directory's own configuration."""
    found, inside = [], False
    common = join(git, read(join(git, "commondir")).decode("utf-8", "replace").strip())
    lines = read(join(common, "config")).decode("utf-8", "replace").splitlines()
    for line in map(str.strip, lines):
        if line.startswith("["):
            inside = line.lower().startswith("[remote ")
        elif inside:
            name, _, value = line.partition("=")
            if name.strip().lower() == "url":
                found.append(value.strip().strip('"'))
    return found


def top_of(directory: str) -> tuple[str, str]:
    """The working copy that a directory is in, and its git directory; empty when it is in none."""
    at = real(directory)
    while True:
        git = join(at, ".git")
        if is_there(git + "/HEAD"):
            return at, git
        named = read(git)
        if named.startswith(b"gitdir:"):
            return at, join(at, named[len(b"gitdir:") :].decode("utf-8", "surrogateescape").strip())
        if at == "/":
            return "", ""
        at = above(at)

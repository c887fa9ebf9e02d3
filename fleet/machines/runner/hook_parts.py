"""What the hook client is made of beside its rules: paths, JSON and a socket, without the modules that bring them.

``os`` alone takes half as long to load as the interpreter, ``json`` and ``socket`` as long as all of it.
"""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Optional

    Json = dict[str, Any]
    Waiting = dict[Any, tuple[str, bytes]]


class EditRefused(Exception):
    """Why an edit may not be made."""


class TookTooLong(EditRefused):
    """The time that :func:`limit` gave is over."""


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


def whole_row(line: bytes) -> Json:
    """A line of the journal; nothing for one that a full disk cut: it must not hold up the others for good."""
    try:
        return decode(line)
    except ValueError:
        return {}


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


def addresses(settings: Json) -> list[str]:
    """Where a controller may answer, the likeliest first."""
    named = (settings.get("last"), settings.get("socket"), *settings.get("next", ()))
    return [str(path) for path in named if path]


def exchange(
    paths: list[str], line: bytes, pause: float, lives: Optional[Callable[[str], bool]] = None
) -> tuple[bytes, str]:
    """Sends a line to the first of these Unix sockets where somebody listens. Its answer, and which one gave it.

    After each ``pause`` without an answer the next one is asked too: a frozen controller takes what it is sent and
    never answers. With ``lives`` only once those that were asked live no more; then this ends."""
    try:
        return _exchange(paths, line, pause, lives)
    except TookTooLong as error:
        raise EditRefused("a controller is there, but %s: it is frozen, or has too much to do" % error) from None


def _exchange(
    paths: list[str], line: bytes, pause: float, lives: Optional[Callable[[str], bool]]
) -> tuple[bytes, str]:
    waiting: Waiting = {}
    why: Optional[OSError] = None
    for path in names(paths):
        try:
            waiting[_asked(path, line)] = (path, b"")
        except OSError as error:
            why = why or error
            continue
        found = _first_answer(waiting, pause, lives)
        if found is not None:
            return found
    if not waiting and why is not None:
        raise why
    found = _first_answer(waiting, pause if lives else None, lives)
    if found is None:
        raise EditRefused("the controller stopped before it answered")
    return found


def answers(path: str, line: bytes, seconds: float) -> bool:
    """Whether somebody answers there."""
    try:
        return _first_answer({_asked(path, line): (path, b"")}, seconds, None) is not None
    except OSError:
        return False


def names(paths: list[str]) -> Iterator[str]:
    """Each path once, and ``PATH.1`` and so on: whoever forwards one there may have found it taken."""
    seen = []
    for path in paths:
        for name in (path, *("%s.%d" % (path, number) for number in range(1, 10))):
            if name and name not in seen and (name == path or is_there(name)):
                seen.append(name)
                yield name


def _asked(path: str, line: bytes) -> Any:
    """A channel over which a line was sent. A long path is reached from its folder."""
    try:
        from _socket import AF_UNIX, SOCK_STREAM, socket
    except ImportError:
        from socket import AF_UNIX, SOCK_STREAM, socket  # type: ignore[assignment]  # which is made of the other
    posix.chdir(above(path))
    channel = socket(AF_UNIX, SOCK_STREAM)
    channel.settimeout(30.0)  # a frozen controller takes no more than what fits between us
    channel.connect(path.rpartition("/")[2])
    channel.sendall(line)
    return channel


def _first_answer(
    waiting: Waiting, pause: Optional[float], lives: Optional[Callable[[str], bool]]
) -> Optional[tuple[bytes, str]]:
    """The first whole answer, and where it came from; ``None``: nothing came for so long, or all have ended."""
    from select import select

    while waiting:
        ready = select(list(waiting), [], [], pause)[0]
        if not ready and not (lives and any(lives(path) for path, _ in waiting.values())):
            return None
        for channel in ready:
            path, said = waiting[channel]
            try:
                more = channel.recv(1 << 16)
            except OSError:
                more = b""
            waiting[channel] = (path, said + more)
            if (said + more).endswith(b"\n"):
                return said + more, path
            if not more:
                del waiting[channel]
    return None


def limit(seconds: float) -> None:
    """From here on ``TookTooLong`` is raised after so many seconds, whatever we wait for; 0: no longer."""
    try:
        import _signal as signal  # type: ignore[import-not-found]  # signal without its enums
    except ImportError:
        import signal

    def over(*_: Any) -> None:
        raise TookTooLong("it took more than %g seconds" % seconds)

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def apart(seconds: float) -> None:
    """From here on in a process of its own, for so long: whoever started this one sees it end."""
    if posix.fork():
        posix._exit(0)
    posix.setsid()
    nowhere = posix.open("/dev/null", posix.O_RDWR)
    for standard in range(3):
        posix.dup2(nowhere, standard)
    limit(seconds)


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

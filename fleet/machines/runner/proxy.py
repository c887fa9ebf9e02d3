"""The proxy of one run: adds a vendor's key that the run does not hold, and lets the run reach listed hosts only.

It is a child of the run's supervisor, outside the run's namespaces and closed to other processes of the login. It
lives as long as the run, whatever happens to our link. The key arrives with the nonce, after the run was forked. In
a network namespace the run's first process makes the listening socket and hands it out: it is the only way out.
"""

from __future__ import annotations

import array
import base64
import hmac
import os
import select
import signal
import socket
import ssl
import threading
from urllib.parse import urlsplit

from .containment import PR_SET_PDEATHSIG
from .files import attempt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Optional

    from .files import Json
    from .libc import Libc

NEEDED_BY_SOCKET = array  # socket.send_fds imports it, where this Python's library may be missing

PORT = 8019  # in a network namespace of the run's own
PLACE = "AIRBOSS-PROXY-PORT"  # in arguments and environment, where the port belongs
LONGEST_HEAD, CHUNK = 1 << 16, 1 << 16
CONNECTIONS = 128
HEAD_SECONDS, CONNECT_SECONDS = 60, 30
DROPPED = ("host", "x-api-key", "authorization", "connection", "keep-alive", "upgrade", "te")
HOSTS_TOLD = 10


class ProxyDoor:
    """The run's way to its proxy, held by the supervisor. ``inside``: the run has a network of its own."""

    def __init__(self, order: Json, inside: bool) -> None:
        self.order, self.pid = order, 0
        self.refused = 0
        self.hosts: list[str] = []
        self.told, self.teller = os.pipe()
        self.buffer = b""
        self.listening: Optional[socket.socket] = None
        self.ours, self.theirs = socket.socketpair()
        if not inside:
            self.listening = listen(0)
        self.port: int = self.listening.getsockname()[1] if self.listening else PORT

    def filled(self, word: str) -> str:
        """The word with the port in its place."""
        return word.replace(PLACE, str(self.port))

    def open_inside(self) -> None:
        """As the run's first process: listens there, and hands the socket out."""
        if self.listening is None:
            with listen(PORT) as made:
                socket.send_fds(self.theirs, [b"."], [made.fileno()])
        for end in (self.ours, self.theirs):
            end.close()

    def begin(self, key: str, libc: Optional[Libc]) -> None:
        """Starts the proxy."""
        self.theirs.close()
        if self.listening is None:
            _, fds, _, _ = socket.recv_fds(self.ours, 1, 1)
            if not fds:
                return  # the run did not start
            self.listening = socket.socket(fileno=fds[0])
        self.pid = os.fork()
        if self.pid == 0:
            try:
                if libc:
                    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                kept = sorted({0, 1, 2, self.teller, self.listening.fileno()})
                for at, last in enumerate([*kept[1:], os.sysconf("SC_OPEN_MAX")]):
                    os.closerange(kept[at] + 1, last)
                serve(self.listening, RunProxy(self.order, key, self.teller))
            finally:
                os._exit(1)
        os.close(self.teller)
        self.ours.close()
        self.listening.close()

    def hear(self) -> bool:
        """Counts what was refused since; False at the end of the proxy."""
        data = os.read(self.told, CHUNK)
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            self.refused += 1
            host = line.decode("ascii", "replace")
            if host not in self.hosts and len(self.hosts) < HOSTS_TOLD:
                self.hosts.append(host)
        return bool(data)

    def end(self) -> None:
        """Ends the proxy; what it said is heard to the end."""
        if self.pid:
            attempt(os.kill, self.pid, signal.SIGKILL)
            os.set_blocking(self.told, False)
            try:
                while self.hear():
                    pass
            except BlockingIOError:
                pass  # that was all

    def seen(self, network: str) -> Optional[Json]:
        """For the exit record: whether the run could go elsewhere, and what it was refused."""
        if self.order["egress"] is None:
            return None
        return {"enforced": network == "none", "refused": self.refused, "hosts": self.hosts}


def listen(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.bind(("127.0.0.1", port))
    made.listen(CONNECTIONS)
    return made


def serve(listening: socket.socket, proxy: RunProxy) -> NoReturn:
    """Until it is killed."""
    free = threading.BoundedSemaphore(CONNECTIONS)

    def handle(client: socket.socket) -> None:
        try:
            with client:
                proxy.handle(client)
        except (OSError, ValueError):
            pass  # this connection is over; the others go on
        finally:
            free.release()

    while True:
        free.acquire()
        client, _ = listening.accept()
        threading.Thread(target=handle, args=(client,), daemon=True).start()


class Refusal(Exception):
    """What the run is told instead, and the host that it wanted, if that is counted."""

    def __init__(self, status: str, why: str, host: str = "") -> None:
        super().__init__(why)
        self.status, self.why, self.host = status, why, host


class RunProxy:
    """One request a connection: its head is read, and then bytes go both ways until one side ends."""

    def __init__(self, order: Json, key: str, told: int) -> None:
        self.upstream = urlsplit(order["upstream"])
        self.header, self.key, self.token, self.told = order["header"], key, order["token"], told
        self.egress = frozenset(order["egress"] or ())

    def handle(self, client: socket.socket) -> None:
        client.settimeout(HEAD_SECONDS)
        try:
            method, target, headers, rest = read_head(client)
            if method == "CONNECT":
                self.check_proxy_token(headers)
                server = self.reach(target, 443)
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                return relay(client, server, rest)
            if target.startswith("http://"):
                self.check_proxy_token(headers)
                wanted = urlsplit(target)
                server = self.reach(wanted.netloc, 80)
                path = target[len("http://" + wanted.netloc) :] or "/"
                lines = [*kept(headers, DROPPED[3:]), ("Connection", "close")]
                return relay(client, server, head(method, path, lines) + rest)
            return self.with_key(client, method, target, headers, rest)
        except Refusal as refusal:
            if refusal.host:
                os.write(self.told, refusal.host.encode("ascii", "replace")[:200] + b"\n")
            body = ("airboss: %s\n" % refusal.why).encode()
            lines = [("Content-Length", str(len(body))), ("Connection", "close")]
            client.sendall(b"HTTP/1.1 %s\r\n" % refusal.status.encode() + fields(lines) + body)

    def with_key(
        self, client: socket.socket, method: str, target: str, headers: list[tuple[str, str]], rest: bytes
    ) -> None:
        """Passes a request on to the vendor, with the key in place of the run's token."""
        if not self.upstream.hostname:
            raise Refusal("404 Not Found", "this proxy adds no key")
        given = [value for name, value in headers if name.lower() in ("x-api-key", "authorization")]
        if not any(self.is_token(value.partition("Bearer ")[2] or value) for value in given):
            raise Refusal("401 Unauthorized", "this is not the token of this run")
        secure = self.upstream.scheme == "https"
        address = (self.upstream.hostname, self.upstream.port or (443 if secure else 80))
        server = connect(address)
        if secure:
            server = ssl.create_default_context().wrap_socket(server, server_hostname=address[0])
        value = "Bearer " + self.key if self.header == "authorization" else self.key
        own = [("Host", self.upstream.netloc), (self.header, value), ("Connection", "close")]
        path = self.upstream.path.rstrip("/") + target
        relay(client, server, head(method, path, [*kept(headers, DROPPED), *own]) + rest)

    def check_proxy_token(self, headers: list[tuple[str, str]]) -> None:
        for name, value in headers:
            if name.lower() == "proxy-authorization" and value.startswith("Basic "):
                try:
                    given = base64.b64decode(value[6:]).decode().partition(":")[2]
                except ValueError:
                    continue
                if self.is_token(given):
                    return
        raise Refusal("407 Proxy Authentication Required", "this is not the token of this run")

    def is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    def reach(self, netloc: str, usual: int) -> socket.socket:
        """A connection to a listed host, by its name."""
        name, _, port = netloc.rpartition("@")[2].rpartition(":") if ":" in netloc else (netloc, "", "")
        name = name.lower().rstrip(".")
        if not port.isdigit():
            name, port = name or netloc, str(usual)
        place = name if port == str(usual) else "%s:%s" % (name, port)
        if not allowed(place, self.egress):
            raise Refusal("403 Forbidden", "%s is not in egress" % place, place)
        return connect((name, int(port)))


def allowed(place: str, egress: frozenset[str]) -> bool:
    """Whether a host (with a port, if that is unusual) is listed, or is below a listed ``*.domain``."""
    parts = place.split(".")
    return place in egress or any("*." + ".".join(parts[at:]) in egress for at in range(1, len(parts)))


def connect(address: tuple[str, int]) -> socket.socket:
    try:
        made = socket.create_connection(address, timeout=CONNECT_SECONDS)
    except OSError as error:
        raise Refusal("502 Bad Gateway", "%s:%d cannot be reached: %s" % (*address, error)) from None
    made.settimeout(None)
    return made


def read_head(client: socket.socket) -> tuple[str, str, list[tuple[str, str]], bytes]:
    """Method, target and headers of a request, and what came after them."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(CHUNK)
        data += more
        if not more or len(data) > LONGEST_HEAD:
            raise Refusal("400 Bad Request", "this is not an HTTP request")
    text, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = text.decode("latin-1").split("\r\n")
    words = first.split(" ")
    named = [line.partition(":") for line in lines]
    bare = any(sign < 32 and sign != 9 for sign in text.replace(b"\r\n", b""))  # 9: a tab
    if bare or len(words) != 3 or any(not name or name != name.strip() for name, _, value in named):
        raise Refusal("400 Bad Request", "this is not an HTTP request")
    return words[0], words[1], [(name, value.strip()) for name, _, value in named], rest


def kept(headers: list[tuple[str, str]], dropped: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in (*dropped, "proxy-authorization")]


def head(method: str, path: str, headers: list[tuple[str, str]]) -> bytes:
    return ("%s %s HTTP/1.1\r\n" % (method, path)).encode("latin-1") + fields(headers)


def fields(headers: list[tuple[str, str]]) -> bytes:
    return "".join("%s: %s\r\n" % each for each in headers).encode("latin-1") + b"\r\n"


def relay(client: socket.socket, server: socket.socket, first: bytes) -> None:
    """Moves bytes both ways until the server ends, or the client goes away."""
    client.settimeout(None)

    def up() -> None:
        try:
            while data := client.recv(CHUNK):
                server.sendall(data)
        except OSError:
            pass
        attempt(server.shutdown, socket.SHUT_RDWR)

    with server:
        server.sendall(first)
        if isinstance(server, ssl.SSLSocket):
            return take_turns(client, server)
        threading.Thread(target=up, daemon=True).start()
        try:
            while data := server.recv(CHUNK):
                client.sendall(data)
        finally:
            attempt(client.shutdown, socket.SHUT_RDWR)


def take_turns(client: socket.socket, server: ssl.SSLSocket) -> None:
    """The same in one thread: a TLS connection cannot be read and written at once."""
    while True:
        ready = [server] if server.pending() else select.select([client, server], [], [])[0]
        for source, other in ((server, client), (client, server)):
            if source in ready:
                data = source.recv(CHUNK)
                if not data:
                    return
                other.sendall(data)

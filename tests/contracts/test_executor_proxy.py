"""The proxy beside a process: it adds a key that the process never has, and lets it reach listed hosts only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from dataclasses import replace
from typing import Any

import pytest

from fleet.errors import Unreachable
from fleet.exits import Exited
from fleet.isolation import PROXY_PORT, EgressSeen, Proxy, Sharing
from fleet.machines.runner.proxy import PLACE, RunProxy, allowed
from tests.contracts.executor_logins import Login, follow, opened, pipe_spec
from tests.contracts.test_executor_sessions import Site, site_of
from tests.far_end.vendor import Vendor, vendor

KEY = "sk-very-secret-key-of-the-vendor"
TOKEN = "token-of-this-run"
ENV = {"URL": f"http://127.0.0.1:{PROXY_PORT}", "PROXY": f"http://airboss:{TOKEN}@127.0.0.1:{PROXY_PORT}"}

#: What a session tries, one line of output each.
TRIES = """
import http.client, json, os, socket, sys, urllib.request
port, vendor = int(os.environ["URL"].rpartition(":")[2]), int(sys.argv[1])
def ask(path, token, body=b"words", **more):
    link = http.client.HTTPConnection("127.0.0.1", port)
    link.request("POST", path, body, {"x-api-key": token, **more})
    answer = link.getresponse()
    return answer.status, answer.read().decode()
def through(host):
    link = socket.create_connection(("127.0.0.1", port))
    import base64
    given = base64.b64encode(os.environ["PROXY"].split("//")[1].split("@")[0].encode()).decode()
    link.sendall(("CONNECT %s HTTP/1.1\\r\\nProxy-Authorization: Basic %s\\r\\n\\r\\n" % (host, given)).encode())
    first = link.recv(1 << 16).decode().split("\\r\\n")[0]
    if " 200 " not in first:
        return first
    link.sendall(b"GET /tunnel HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    return first + link.makefile().read().split("\\n")[-1]
def direct():
    try:
        socket.create_connection(("127.0.0.1", vendor), 5).close()
        return "reached"
    except OSError as error:
        return type(error).__name__
opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": os.environ["PROXY"]}))
said = {
    "keyed": ask("/v1/messages?beta=1", os.environ.get("TOKEN", "token-of-this-run")),
    "wrong": ask("/v1/messages", "another"),
    "listed": through("localhost:%d" % vendor),
    "plain": opener.open("http://localhost:%d/plain" % vendor).read().decode(),
    "unlisted": through("evil.example:443"),
    "again": through("evil.example:443"),
    "direct": direct(),
    "env": sorted(os.environ.items()),
}
print(json.dumps(said))
"""


def proxied(site: Site, vendor: Vendor, script: str, *, inside: bool = True) -> Any:
    """A session with a proxy; ``inside``: in a network of its own."""
    proxy = Proxy(
        TOKEN, f"http://127.0.0.1:{vendor.port}/api", "x-api-key", KEY, egress=(f"localhost:{vendor.port}",)
    )
    walls = replace(site.session("one"), network=not inside)
    return pipe_spec(
        "/usr/bin/python3", "-c", script, str(vendor.port), merge=True, contain=True,
        cwd=f"{site.root}/work/one", env={"HOME": site.home, **ENV}, walls=walls, proxy=proxy,
    )  # fmt: skip


@pytest.mark.parametrize("inside", [True, False])
async def test_a_session_reaches_what_is_listed_and_never_has_the_key(inside: bool) -> None:
    with vendor() as there:
        async with opened("local") as login:
            site = await site_of(login.executor())
            spec = proxied(site, there, TRIES, inside=inside)
            await site.executor.start(spec)
            life = await follow(site.executor, spec.id)
            assert life.ended.exit == Exited(0), life.output.decode()
            found = await site.executor.run(["grep", "-rlE", f'{KEY}|"token":', site.root])
            assert found.out == b"", "neither key nor token is in a file"
    said = json.loads(life.output)
    assert said["keyed"] == [200, "heard words"] and said["wrong"][0] == 401
    assert said["listed"] == "HTTP/1.1 200 Connection establishedheard " and said["plain"] == "heard "
    assert said["unlisted"] == said["again"] == "HTTP/1.1 403 Forbidden"
    assert said["direct"] == ("ConnectionRefusedError" if inside else "reached")
    assert KEY not in json.dumps(said["env"]), "the process does not have the key"
    assert [(method, path) for method, path, _ in there.asked] == [
        ("POST", "/api/v1/messages?beta=1"), ("GET", "/tunnel"), ("GET", "/plain"),
    ]  # fmt: skip
    assert there.asked[0][2]["x-api-key"] == KEY and TOKEN not in str(there.asked)
    assert life.ended.egress == EgressSeen(inside, 2, ("evil.example",))
    assert (life.ended.isolation.network is Sharing.NONE) is inside


SLOW = """
import http.client, os
link = http.client.HTTPConnection("127.0.0.1", int(os.environ["URL"].rpartition(":")[2]))
link.request("POST", "/v1/messages", b"slow", {"authorization": "Bearer token-of-this-run"})
print(link.getresponse().read().decode())
"""


async def test_a_turn_completes_while_the_link_is_cut(login: Login) -> None:
    """The answer comes while nothing of ours is connected to the machine."""
    with vendor() as there:
        site = await site_of(login.executor())
        there.answers.clear()
        spec = proxied(site, there, SLOW)
        await site.executor.start(spec)
        assert await asyncio.to_thread(there.arrived.wait, 60)
        serving = int((await site.executor.run(["sh", "-c", "echo $PPID"])).out)
        listing = subprocess.run(["ps", "-eww", "-o", "args="], capture_output=True, check=True, text=True).stdout
        assert KEY not in listing
        os.kill(serving, signal.SIGKILL)
        if login.sshd:
            login.sshd.cut()
        with pytest.raises(Unreachable):
            while True:
                await site.executor.run(["sleep", "10"])
        there.answers.set()
        life = await follow(login.executor(), spec.id)
    assert (life.output, life.ended.exit) == (b"heard slow\n", Exited(0))
    assert there.asked[0][2]["x-api-key"] == KEY and "authorization" not in there.asked[0][2]


CLOSED = """
import glob, os
found = []
for pid in [name for name in os.listdir("/proc") if name.isdigit()]:
    for part in ("environ", "mem", "cmdline"):
        try:
            with open("/proc/%s/%s" % (pid, part), "rb") as file:
                if part != "mem" and KEY.encode() in file.read():
                    found.append(pid)
                if part == "mem" and int(pid) not in (os.getpid(), os.getppid()):
                    found.append(pid)
        except OSError:
            pass
print(found)
"""


async def test_memory_that_holds_the_key_is_closed_to_the_process(login: Login) -> None:
    """Also to one without namespaces, in the same login."""
    executor = login.executor()
    if (await executor.facts()).uid == 0:
        return  # root may look into everything
    proxy = Proxy(TOKEN, "http://127.0.0.1:9", "x-api-key", KEY)
    split = f"KEY = {KEY[:9]!r} + {KEY[9:]!r}\n{CLOSED}"  # its own command line must not have it
    spec = pipe_spec("/usr/bin/python3", "-c", split, proxy=proxy)
    await executor.start(spec)
    life = await follow(executor, spec.id)
    assert life.output == b"[]\n" and life.ended.egress is None, life


@pytest.mark.parametrize(
    "head",
    [
        b"GET /x\nx-api-key:y HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\na: b\rx-api-key: y\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n: y\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\x16\x03\x01" + bytes(70_000),
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_what_is_no_plain_request_goes_nowhere(head: bytes) -> None:
    told, teller = os.pipe()
    order = {"upstream": "http://127.0.0.1:9", "header": "x-api-key", "token": TOKEN, "egress": []}
    ours, theirs = socket.socketpair()

    def send() -> None:
        with contextlib.suppress(OSError):  # it need not read to the end
            ours.sendall(head)
        with contextlib.suppress(OSError):
            ours.shutdown(socket.SHUT_WR)

    with ours, theirs:
        sending = threading.Thread(target=send)
        sending.start()
        RunProxy(order, KEY, teller).handle(theirs)
        theirs.close()
        sending.join()
        assert ours.recv(1 << 16).startswith(b"HTTP/1.1 400 ")
    for end in (told, teller):
        os.close(end)


def test_a_name_is_listed_itself_or_by_a_domain_above_it() -> None:
    egress = frozenset({"api.example.com", "*.example.org", "git.example.com:22"})
    for place in ("api.example.com", "packages.example.org", "a.b.example.org", "git.example.com:22"):
        assert allowed(place, egress)
    for place in (
        "example.com",
        "example.org",
        "evil-example.org",
        "api.example.com:22",
        "git.example.com",
        "10.0.0.1",
    ):
        assert not allowed(place, egress)


def test_the_runner_and_the_controller_mean_the_same_place() -> None:
    assert PLACE == PROXY_PORT

"""The first process of a slot that a batch system holds, and the way to it.

``door FIRST SECONDS DIRECTORY``: starts a command for each connection to the socket in the directory, which only
its own login may open. The commands are its children and nobody else's, so that neither the end of a link nor that
of the connecting job step ends what they started. Run as the first process of a PID namespace, it takes everything
with it when it ends: with its job, when it is told to, when no link was open for so many seconds, or when there was
no first one within so many.

``bridge DIRECTORY COMMAND``: asks the door for a command, and carries its input and output. No command: tells the
door to end, and waits until everything behind it has ended.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import socket
import struct
import sys
import threading
import time

_HERE = "@"  # in a command: the door's directory


def door(first: int, seconds: int, directory: str) -> None:
    """Until nobody has been here for so long."""
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    os.umask(0o077)
    os.makedirs(directory, 0o700, exist_ok=True)
    os.chdir(directory)  # its path may be too long for a socket
    if os.stat(".").st_uid != os.getuid():
        sys.exit("the directory belongs to another login")
    if os.path.lexists("door"):
        os.unlink("door")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("door")
    listener.listen(16)
    links: set[int] = set()
    seen = time.monotonic()
    patience = first
    while links or time.monotonic() < seen + patience:
        if select.select([listener], [], [], 1.0)[0]:
            links.add(_begin(listener, directory))
        while True:
            try:
                ended, _ = os.waitpid(-1, os.WNOHANG)  # as the first process it has all orphans
            except ChildProcessError:
                break
            if not ended:
                break
            links.discard(ended)
        if links:
            seen, patience = time.monotonic(), seconds


def _begin(listener: socket.socket, directory: str) -> int:
    link, _ = listener.accept()
    child = os.fork()
    if child:
        link.close()
        return child
    try:
        listener.close()
        os.setsid()
        _, user, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user == os.getuid():
            (size,) = struct.unpack(">I", _take(link, 4))
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            command = [directory if word == _HERE else word for word in json.loads(_take(link, size))]
            if not command:
                parent = os.getppid()
                os.kill(parent, signal.SIGTERM)
                while os.getppid() == parent:  # in a namespace it ends with everything else
                    time.sleep(0.02)
                os._exit(0)
            for number in (0, 1):
                os.dup2(link.fileno(), number)
            link.close()
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.execvp(command[0], command)
    finally:
        os._exit(1)


def _take(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = link.recv(size - len(data))
        if not more:
            os._exit(1)
        data += more
    return data


def bridge(directory: str, command: list[str]) -> None:
    """Until the command has closed its output."""
    link = _knock(directory)
    words = json.dumps(command).encode()
    link.sendall(struct.pack(">I", len(words)) + words)
    threading.Thread(target=_send, args=(link,), daemon=True).start()
    while True:
        try:
            data = link.recv(1 << 16)
        except ConnectionResetError:
            break
        if not data:
            break
        while data:
            data = data[os.write(1, data) :]
    os._exit(0)


def _knock(directory: str) -> socket.socket:
    """The job's first process may only just have started."""
    give_up = time.monotonic() + 10
    while True:
        link = socket.socket(socket.AF_UNIX)
        try:
            os.chdir(directory)
            if os.stat(".").st_uid != os.getuid():
                sys.exit("the directory belongs to another login")
            link.connect("door")
        except OSError as error:
            if time.monotonic() > give_up:
                sys.exit("no door: %s" % error)
            time.sleep(0.05)
        else:
            return link


def _send(link: socket.socket) -> None:
    while True:
        data = os.read(0, 1 << 16)
        if not data:
            break
        link.sendall(data)
    link.shutdown(socket.SHUT_WR)


def _full(directory: str) -> str:
    """In the login's home, whatever the environment says of it."""
    if not directory.startswith("~/"):
        return directory
    return os.path.join(pwd.getpwuid(os.getuid()).pw_dir, directory[2:])


if __name__ == "__main__":
    if sys.argv[1] == "door":
        door(int(sys.argv[2]), int(sys.argv[3]), _full(sys.argv[4]))
    else:
        bridge(_full(sys.argv[2]), sys.argv[3:])

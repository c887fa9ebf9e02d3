"""Starts the runner in a Mac's login session, where the keychain and code signing work, and not under sshd.

``deploy/com.airboss.session.plist`` makes launchd listen on a socket in the login's directory, while somebody is
logged in at the Mac's screen, and start a shell for each connection. Over SSH a small relay connects to it; the
first line that goes through says what the shell becomes.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from fleet.machines.bootstrap import one_line

SOCKET: Final = "session.sock"

_RELAY: Final = one_line("""
import os, pwd, socket, sys, threading
root = sys.argv[1] or os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".airboss")
link = socket.socket(socket.AF_UNIX)
try:
    link.connect(os.path.join(root, "session.sock"))
except OSError as error:
    sys.exit("it has no login session: log in at its screen, and load com.airboss.session.plist (%s)" % error)
def back():
    try:
        while data := link.recv(1 << 16):
            while data:
                data = data[os.write(1, data):]
    finally:
        os._exit(0)
threading.Thread(target=back, daemon=True).start()
while True:
    data = os.read(0, 1 << 16)
    if not data:
        break
    link.sendall(data)
link.shutdown(socket.SHUT_WR)
threading.Event().wait()
""")


def relay_command(python: str, root: str) -> list[str]:
    """The argv that sshd starts. An empty ``root`` means ``~/.airboss`` of the login."""
    return [python, "-I", "-S", "-E", "-c", _RELAY, root]


def first_line(argv: Sequence[str]) -> bytes:
    """What the shell in the login session becomes. One line: no word of ``argv`` may have two."""
    return f"exec {shlex.join(argv)}\n".encode()

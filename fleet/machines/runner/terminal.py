"""A terminal behind a pipe: runs a command in one, and moves bytes both ways. Sent as text, it runs by itself.

Each line of its standard input is ``d`` and base64 of what was typed, or ``r`` and the rows and columns of the
window. Its standard output is what the command shows.
"""

from __future__ import annotations

import base64
import fcntl
import os
import pty
import select
import struct
import sys
import termios

CHUNK = 1 << 16
MOST = 1 << 20  # bytes of one line of input


def resize(terminal: int, words: bytes) -> None:
    """Sets the size of the window, ``ROWS,COLUMNS``; the command is told."""
    try:
        rows, columns = (max(1, min(int(word), 1000)) for word in words.split(b","))
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    except (ValueError, OSError):
        return


def typed(words: bytes) -> bytes:
    """What was typed; nothing for a line that is malformed."""
    try:
        return base64.b64decode(words, validate=True)
    except ValueError:
        return b""


def move(terminal: int) -> None:
    """Until the command closes its side of the terminal."""
    waiting, line, reading = b"", b"", True
    while True:
        ready, writable, _ = select.select([terminal, *([0] if reading else [])], [terminal] if waiting else [], [])
        if terminal in ready:
            try:
                shown = os.read(terminal, CHUNK)
            except OSError:
                return
            while shown:
                shown = shown[os.write(1, shown) :]
        if 0 in ready:
            more = os.read(0, CHUNK)
            reading = bool(more)
            *lines, line = (line + more).split(b"\n")
            line = line if len(line) <= MOST else b""
            for each in lines:
                if each[:1] == b"r":
                    resize(terminal, each[1:])
                elif each[:1] == b"d":
                    waiting += typed(each[1:])
        if writable:
            try:
                waiting = waiting[os.write(terminal, waiting[:1024]) :]
            except OSError:
                return


def main(argv: list[str]) -> int:
    """Runs ``argv``; the exit status is its own, as a shell gives it."""
    command, terminal = pty.fork()
    if command == 0:
        try:
            os.execvp(argv[0], argv)
        except OSError as error:
            os.write(2, ("%s: %s\n" % (argv[0], error.strerror)).encode())
        os._exit(127)
    move(terminal)
    _, status = os.waitpid(command, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

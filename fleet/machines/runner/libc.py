"""The system calls that Python's standard library lacks."""

from __future__ import annotations

import errno
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38


class Libc:
    """Those calls; each returns 0 or raises OSError."""

    def __init__(self) -> None:
        import ctypes

        self.ctypes = ctypes
        self.library = ctypes.CDLL(None, use_errno=True)

    def call(self, name: str, *arguments: Any) -> None:
        if getattr(self.library, name)(*arguments) < 0:
            code = self.ctypes.get_errno()
            raise OSError(code, "%s: %s" % (name, os.strerror(code)))

    def prctl(self, option: int, value: int) -> None:
        long = self.ctypes.c_ulong
        self.call("prctl", option, long(value), long(0), long(0), long(0))

    def mount(self, source: bytes, target: bytes, kind: bytes, flags: int, options: Optional[bytes] = None) -> None:
        self.call("mount", source, target, kind, self.ctypes.c_ulong(flags), options)

    def unmount(self, target: str, flags: int) -> None:
        self.call("umount2", target.encode(), flags)

    def pivot_root(self, new: str, old: str) -> None:
        self.call("pivot_root", new.encode(), old.encode())

    def drop_capabilities(self) -> None:
        """Drops every capability that an exec, as root or of a set-uid file, could regain."""
        self.prctl(PR_SET_NO_NEW_PRIVS, 1)
        for capability in range(64):
            try:
                self.prctl(PR_CAPBSET_DROP, capability)
            except OSError as error:
                if error.errno == errno.EINVAL:
                    break
                if error.errno != errno.EPERM:
                    raise
        header = struct.pack("=Ii", 0x20080522, 0)
        self.call("capset", header, bytes(24))

"""The system calls that a walled run must not make: namespaces, mounts, keyrings and kernel administration.

A run lacks the privilege for most of these anyway. The filter also puts the kernel code behind them out of reach,
and user namespaces, which would give it capabilities of its own.
"""

from __future__ import annotations

import errno
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .libc import Libc

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
CLONE_NEWUSER = 0x10000000
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # classic BPF: LD|W|ABS, JMP|JEQ|K, …
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, little-endian
X32 = 0x40000000

#: By machine name: the architecture's audit number, then the numbers of clone and of the refused calls, from the
#: kernel's tables: unshare setns mount umount2 pivot_root (these make namespaces) add_key request_key
#: keyctl bpf perf_event_open userfaultfd open_by_handle_at kexec_load.
TABLES = {
    "x86_64": (0xC000003E, 56, (272, 308, 165, 166, 155, 248, 249, 250, 321, 298, 323, 304, 246)),
    "aarch64": (0xC00000B7, 220, (97, 268, 40, 39, 41, 217, 218, 219, 280, 241, 282, 265, 104)),
}
NAMESPACES = 5  # so many of the refused calls
NEWER = (428, 429, 430, 431, 432, 433, 442)  # open_tree … fspick, mount_setattr: the same on every architecture
CLONE3 = 435


def step(code: int, k: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, true, false, k)


def refuse(code: int) -> bytes:
    return step(RETURN, ERRNO | code)


def program(machine: str, namespaces: bool = False) -> Optional[bytes]:
    """The filter for a machine name (``uname -m``); None when its numbers are not listed here.

    ``namespaces``: allows to make further ones, whose capabilities reach nothing outside them.
    """
    if machine not in TABLES:
        return None
    architecture, clone, refused = TABLES[machine]
    allow = step(RETURN, ALLOW)
    steps = [step(LOAD, ARCHITECTURE), step(EQUAL, architecture, 1, 0), refuse(errno.ENOSYS), step(LOAD, NUMBER)]
    if machine == "x86_64":
        steps += [step(AT_LEAST, X32, 0, 1), refuse(errno.ENOSYS)]
    if namespaces:
        for number in refused[NAMESPACES:]:
            steps += [step(EQUAL, number, 0, 1), refuse(errno.EPERM)]
        return b"".join([*steps, allow])
    # clone3's flags are in memory; C libraries fall back to clone.
    steps += [step(EQUAL, CLONE3, 0, 1), refuse(errno.ENOSYS)]
    for number in (*refused, *NEWER):
        steps += [step(EQUAL, number, 0, 1), refuse(errno.EPERM)]
    steps += [step(EQUAL, clone, 1, 0), allow, step(LOAD, FIRST_ARGUMENT)]
    steps += [step(ANY_BIT, CLONE_NEWUSER, 0, 1), refuse(errno.EPERM), allow]
    return b"".join(steps)


def install(libc: Libc, namespaces: bool = False) -> bool:
    """Installs it for this process and its descendants. False when there is no filter for this machine."""
    filters = program(os.uname().machine, namespaces)
    if filters is None:
        return False
    ctypes = libc.ctypes
    held = ctypes.create_string_buffer(filters, len(filters))
    described = struct.pack("@HxxxxxxP", len(filters) // 8, ctypes.addressof(held))
    header = ctypes.create_string_buffer(described, len(described))
    libc.call(
        "prctl",
        PR_SET_SECCOMP,
        ctypes.c_ulong(SECCOMP_MODE_FILTER),
        ctypes.c_void_p(ctypes.addressof(header)),
        ctypes.c_ulong(0),
        ctypes.c_ulong(0),
    )
    return True

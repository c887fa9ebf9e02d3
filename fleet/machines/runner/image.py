"""The runner as one compiled file, made by the very Python that will run it.

Starting from the archive of sources would compile them each time; an archive of compiled files costs a directory,
a search and a check for each. One file that carries every module, and unpacks those it needs, costs neither.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = "every module's name and compiled code"
LOCAL_HEADER = b"PK\x03\x04"


def members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of a zip archive whose entries are stored as they are (importing zipfile costs more than this)."""
    at = 0
    while archive[at : at + 4] == LOCAL_HEADER:
        size, name, extra = struct.unpack_from("<IHH", archive, at + 22)
        start = at + 30 + name + extra
        yield archive[at + 30 : at + 30 + name].decode(), archive[start : start + size]
        at = start + size


def build(archive: bytes, path: str) -> bytes:
    """The content of a ``.pyc`` that runs as the archive at ``path`` would. The same every time on one Python."""
    import marshal
    from importlib.util import MAGIC_NUMBER

    sources = dict(members(archive))
    compiled = []
    for name in sorted(sources):
        if name.startswith("runner/"):
            module = name[: -len(".py")].replace("/", ".").replace(".__init__", "")
            compiled.append((module, marshal.dumps(compile(sources[name], path + "/" + name, "exec"))))
    start = "import sys\nsys.meta_path.insert(0, Loader(dict(%r)))\n" % PLACE
    text = sources["runner/loader.py"].decode() + start + sources["__main__.py"].decode()
    code = compile(text, path, "exec")
    # As a constant, not as text: to parse so many bytes would take longer than the rest of this.
    constants = tuple(tuple(compiled) if constant == PLACE else constant for constant in code.co_consts)
    return MAGIC_NUMBER + bytes(12) + marshal.dumps(code.replace(co_consts=constants))

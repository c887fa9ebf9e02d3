"""How the runner gets onto a machine: one command that needs nothing there but python3.

The runner's modules go as one archive whose bytes depend on theirs alone. The command looks for it under its
content's hash, asks for it on standard input when it is missing or not what its name says, keeps it compiled as
one file beside it, and turns into ``runner serve``. It holds no single quote, so that every login shell hands it on
unharmed.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_CODE = """
import hashlib, os, sys
digest, size, home = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.umask(0o077)
if not home:
    import pwd
    home = os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".airboss")
folder = os.path.join(home, "bin")
path = os.path.join(folder, "runner-" + digest[:16] + ".pyz")
def put(name, data):
    with open(name + "." + str(os.getpid()), "wb") as file:
        file.write(data)
    os.replace(name + "." + str(os.getpid()), name)
try:
    os.makedirs(folder, exist_ok=True)
    try:
        with open(path, "rb") as file:
            archive = file.read()
    except FileNotFoundError:
        archive = b""
    if hashlib.sha256(archive).hexdigest() != digest:
        os.write(1, b"need\\n")
        archive = b""
        while len(archive) < size:
            more = os.read(0, size - len(archive))
            if not more:
                sys.exit(1)
            archive += more
        put(path, archive)
    sys.path.insert(0, path)
    sys.dont_write_bytecode = True
    from runner.image import build
    image = path[:-4] + "." + sys.implementation.cache_tag + ".pyc"
    code = build(archive, path)
    try:
        with open(image, "rb") as file:
            same = file.read() == code
    except FileNotFoundError:
        same = False
    if not same:
        put(image, code)
except OSError as error:
    os.write(1, b"fail " + str(error).encode() + b"\\n")
    sys.exit(1)
os.write(1, b"here\\n")
os.execv(sys.executable, [sys.executable, "-I", "-S", "-E", image, "serve", home])
""".strip()


@dataclass(frozen=True, slots=True)
class Shipment:
    """The runner as one file, and the name it goes by: its SHA-256 in hexadecimal."""

    archive: bytes
    digest: str


def pack(package: Path) -> bytes:
    """The modules of a directory as a runnable zip archive: the same bytes wherever and whenever it is made."""
    files = {f"runner/{module.name}": module.read_bytes() for module in package.glob("*.py")}
    files["__main__.py"] = b"from runner.__main__ import main\n\nmain()\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


@cache
def shipment() -> Shipment:
    """The runner that belongs to this controller."""
    archive = pack(Path(__file__).parent / "runner")
    return Shipment(archive, hashlib.sha256(archive).hexdigest())


def serve_command(python: str, root: str) -> list[str]:
    """The argv that installs and serves; ``root`` empty means ``~/.airboss`` of whoever runs it."""
    cargo = shipment()
    return [python, "-I", "-S", "-E", "-c", _CODE, cargo.digest, str(len(cargo.archive)), root]

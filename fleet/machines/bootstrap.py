"""Starts the runner on a machine with one command that needs only python3 there and leaves no file.

The command reads the runner from standard input and becomes ``runner serve``. It comes compiled, for machines whose
Python has the controller's bytecode; any other says so, gets the sources and compiles them in memory. The command
is one line without a single quote, so every login shell passes it on unchanged, csh and fish too.
"""

from __future__ import annotations

import importlib.util
import json
import zlib
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Final

from fleet.machines.runner.image import joined
from fleet.machines.runner.start import TAKE


def one_line(code: str) -> str:
    """The same program as one line. It may contain no single quote, no tilde and no triple quote."""
    return f'exec(r"""{code.strip()}""".replace("~", chr(10)))'.replace("\n", "~")


_RUNNER: Final = Path(__file__).parent / "runner"
_PACKAGE: Final = "fleet.machines.runner"
CODE: Final = one_line(f"""
import marshal, os, sys
os.umask(0o077)
root, magic, shipped = sys.argv[3], sys.argv[4], int(sys.argv[5])
{TAKE}
if not root:
    import pwd
    try:
        root = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a login that the system has no name for
        root = os.environ.get("HOME", "/")
    root = os.path.join(root, ".airboss")
image = take(shipped)
try:
    import zlib
    from _frozen_importlib_external import MAGIC_NUMBER
    same = MAGIC_NUMBER.hex() == magic
except ImportError:
    same = False
if same:
    image = zlib.decompress(image)
    space = {{"__name__": "runner.image", "__package__": "runner"}}
    exec(marshal.loads(marshal.loads(image)["runner.image"]), space)
else:
    import json
    if shipped:
        os.write(1, b"\\nsources\\n")
    sources = json.loads(take(int(sys.argv[6])))
    space = {{"__name__": "runner.image", "__package__": "runner"}}
    exec(compile(sources["image.py"], "runner/image.py", "exec"), space)
    image = space["build"](sources)
os.write(1, b"\\nhere\\n")
sys.argv = ["runner", "serve", root]
space["run"](image)
""")


def pack(package: Path) -> bytes:
    """A directory's modules as JSON, source by file name. The same sources always give the same bytes.

    The hook client and the door of a slot are left out: they do not run from here.
    """
    files = {module.name: module.read_text(encoding="utf-8") for module in modules(package)}
    return json.dumps(files, sort_keys=True).encode()


def modules(package: Path) -> list[Path]:
    """Those that run from here, in order."""
    return sorted(module for module in package.glob("*.py") if not module.name.startswith(("hook", "door")))


@cache
def runner_sources() -> bytes:
    """This controller's runner, for a Python that compiles it itself."""
    return pack(_RUNNER)


@cache
def compiled_runner() -> bytes:
    """This controller's runner, for a Python with the same bytecode. What was compiled at the installation is not
    compiled again."""
    codes = {}
    for module in modules(_RUNNER):
        code = SourceFileLoader(f"{_PACKAGE}.{module.stem}", str(module)).get_code(f"{_PACKAGE}.{module.stem}")
        assert code is not None, "a module that has a source has code"
        codes[module.name] = code.replace(co_filename=f"runner/{module.name}")
    return zlib.compress(joined(codes), 1)


def shipment(compiled: bool = True) -> bytes:
    """What the command reads first from its standard input. When it answers ``sources``, it reads those too."""
    return compiled_runner() if compiled else runner_sources()


def serve_command(python: str, root: str, compiled: bool = True) -> list[str]:
    """The argv that starts ``serve``. An empty ``root`` means ``~/.airboss`` of the login. ``compiled``: see
    :func:`shipment`."""
    magic = importlib.util.MAGIC_NUMBER.hex() if compiled else ""
    sizes = len(compiled_runner()) if compiled else 0, len(runner_sources())
    return [python, "-I", "-S", "-E", "-c", CODE, "runner", "serve", root, magic, *map(str, sizes)]

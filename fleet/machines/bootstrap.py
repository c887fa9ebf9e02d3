"""Starts the runner on a machine with one command that needs only python3 there and leaves no file.

The command reads the runner's sources from standard input, compiles them in memory and becomes ``runner serve``.
It contains no single quote, so every login shell passes it on unchanged.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

_CODE = """
import json, os, sys
os.umask(0o077)
size, root = int(sys.argv[3]), sys.argv[4]
if not root:
    import pwd
    root = os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".airboss")
sources = b""
while len(sources) < size:
    more = os.read(0, size - len(sources))
    if not more:
        sys.exit(1)
    sources += more
sources = json.loads(sources)
space = {"__name__": "runner.image", "__package__": "runner"}
exec(compile(sources["image.py"], "runner/image.py", "exec"), space)
image = space["build"](sources)
os.write(1, b"here\\n")
sys.argv = ["runner", "serve", root]
space["run"](image)
""".strip()


def pack(package: Path) -> bytes:
    """A directory's modules as JSON, source by file name. The same sources always give the same bytes.

    The hook client is left out: it is installed by a person, and never runs from here.
    """
    modules = (module for module in package.glob("*.py") if not module.name.startswith("hook"))
    files = {module.name: module.read_text(encoding="utf-8") for module in modules}
    return json.dumps(files, sort_keys=True).encode()


@cache
def shipment() -> bytes:
    """This controller's runner, in the form that :func:`serve_command` reads from standard input."""
    return pack(Path(__file__).parent / "runner")


def serve_command(python: str, root: str) -> list[str]:
    """The argv that starts ``serve``. An empty ``root`` means ``~/.airboss`` of the login."""
    return [python, "-I", "-S", "-E", "-c", _CODE, "runner", "serve", str(len(shipment())), root]

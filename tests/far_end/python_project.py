"""A Python project that uv installs as editable, without a network: a module, a script, a lock file."""

from __future__ import annotations

PYPROJECT = """\
[project]
name = "shop"
version = "1.0"
requires-python = ">=3.9"
[project.scripts]
shop = "shop:main"
[build-system]
requires = ["uv_build"]
build-backend = "uv_build"
"""

LOCK = """\
version = 1
revision = 3
requires-python = ">=3.9"

[[package]]
name = "shop"
version = "1.0"
source = { editable = "." }
"""

SETUP = """\
[setup.python]
run = ["uv", "sync", "--frozen", "--offline", "--python", "/usr/bin/python3"]
inputs = ["uv.lock", "pyproject.toml"]
provides = [".venv"]
"""


def module(word: str) -> str:
    """The module's source; its script prints the word."""
    return f"WORD = {word!r}\n\n\ndef main() -> None:\n    print(WORD)\n"


def project(word: str = "old") -> dict[str, str | bytes]:
    """Its files, without ``airboss.toml``."""
    return {"pyproject.toml": PYPROJECT, "uv.lock": LOCK, "src/shop/__init__.py": module(word)}

"""Where a login's own programs are: what installers and version managers put into a home, and Homebrew."""

from __future__ import annotations

import os

IN_HOME = (
    *(".local/bin", ".local/share/mise/shims", ".asdf/shims", ".volta/bin", ".pyenv/shims", ".rbenv/shims"),
    *(".cargo/bin", ".bun/bin", ".deno/bin", "go/bin", ".npm-global/bin"),
)
ELSEWHERE = ("/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin")
NODES = ".nvm/versions/node"


def own_places(home: str) -> list[str]:
    """The directories that exist, in the order in which they are searched."""
    found = [os.path.join(home, name) for name in IN_HOME]
    node = nvm_node(home)
    if node:
        found.append(node)
    return [path for path in (*found, *ELSEWHERE) if os.path.isdir(path)]


def nvm_node(home: str) -> str:
    """The directory of nvm's default node, or else of its newest; empty without one."""
    try:
        versions = sorted(os.listdir(os.path.join(home, NODES)), key=numbers)
    except OSError:
        return ""
    wanted = ""
    try:
        with open(os.path.join(home, ".nvm/alias/default")) as file:
            wanted = file.read(100).strip().lstrip("v")
    except (OSError, UnicodeDecodeError):
        pass
    matching = [name for name in versions if (name.lstrip("v") + ".").startswith(wanted + ".")]
    chosen = (matching or versions)[-1:]
    return os.path.join(home, NODES, chosen[0], "bin") if chosen else ""


def numbers(version: str) -> list[int]:
    import re  # few have nvm, and it costs milliseconds

    return [int(number) for number in re.findall(r"\d+", version)]

"""A proposal as the text of an ``airboss.toml``, with a word on each choice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from bot.init.detect import Proposal, Proposed

_HEAD = """\
# What every change to this repository must survive: https://toml.io, read from the base branch only.
# Without being listed, these are held for a person: this file, tests of the base that a change edits or deletes,
# and what test runners read as configuration. List more under `protected`.
"""
_WIDTH = 108


def render(proposal: Proposal) -> str:
    """The file's text."""
    parts = [_HEAD]
    parts += [_gate(gate) for gate in proposal.gates]
    parts += [_setup(setup) for setup in proposal.setups]
    if proposal.missing:
        parts.append("\n".join(f"# {words}" for words in proposal.missing) + "\n")
    return "\n".join(parts)


def _gate(gate: Proposed) -> str:
    lines = [f"[gates.{_key(gate.name)}]", f"run = {_list(gate.command)}", 'timeout = "10m"', "rework_turns = 3"]
    if gate.env:
        lines.append(f"env = {_table(gate.env)}")
    if gate.network:
        lines.append("network = true    # to fetch what the build needs")
    return "\n".join(lines) + "\n"


def _setup(setup: Proposed) -> str:
    commands = [_list(argv) for argv in setup.argv]
    run = commands[0] if len(commands) == 1 else "[\n" + "".join(f"    {each},\n" for each in commands) + "]"
    lines = [
        f"[setup.{_key(setup.name)}]",
        f"run = {run}",
        f"inputs = {_list(setup.inputs)}    # a change to one of these is held for a person",
        f"provides = {_list(setup.provides)}",
    ]
    if setup.env:
        lines.append(f"env = {_table(setup.env)}")
    if setup.network:
        lines.append("network = true")
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return f'"{name}"' if "." in name else name


def _list(words: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, words))}]"


def _table(values: Mapping[str, str]) -> str:
    return "{ " + ", ".join(f"{name} = {_text(value)}" for name, value in values.items()) + " }"


def _text(value: str) -> str:
    """A TOML string; JSON's escapes are TOML's."""
    return json.dumps(value, ensure_ascii=False)

"""The commands of this version, by the module that owns them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.registry import Command


def every_command() -> tuple[Command, ...]:
    """All of them, in the order that help shows. Loaded on the call: the command line needs none of it."""
    from bot.commands import answers, fleet, help, locking, reports, stalled, talk, tasks

    modules = (tasks, answers, stalled, talk, fleet, locking, reports, help)
    return tuple(command for module in modules for command in module.COMMANDS)

"""The commands of this version, by the module that owns them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.registry import Command


def every_command() -> tuple[Command, ...]:
    """All commands, in the order of the help. Imported here: the command line does not need them."""
    from bot.commands import (
        about,
        agents,
        answers,
        attaching,
        budgets,
        fleet,
        forking,
        help,
        locking,
        log,
        machines,
        models,
        overriding,
        parked,
        past,
        queueing,
        reports,
        reviewing,
        schedules,
        stalled,
        talk,
        tasks,
        undo,
        unlanded,
        usual,
    )

    modules = (
        *(
            tasks,
            undo,
            schedules,
            answers,
            stalled,
            parked,
            unlanded,
            overriding,
            forking,
            attaching,
            talk,
            fleet,
            machines,
            agents,
            about,
            locking,
            queueing,
            log,
            reports,
            reviewing,
        ),
        *(past, budgets, models, usual, help),
    )
    return tuple(command for module in modules for command in module.COMMANDS)

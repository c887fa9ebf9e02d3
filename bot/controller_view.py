"""The controllers of a store, as people and scripts see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo

from bot import words
from bot.cards import Line, Text, line, one_line
from fleet.store.controllers import Condition, Contender, ControllerSeen

_NAMED = 8

_WORDS = {
    Condition.LEADS: "leads",
    Condition.SHARES: "takes part",
    Condition.STANDS_BY: "stands by",
    Condition.DIFFERS: "does not take over",
    Condition.SILENT: "silent",
}


def status_lines(seen: Sequence[ControllerSeen], zone: tzinfo = UTC) -> list[Line]:
    """One line for ``/status``; none while only one controller is known."""
    if len(seen) < 2:
        return []
    said: list[Text] = []
    for each in seen:
        since = ""
        if each.condition is Condition.LEADS:
            since = f" since {words.clock(each.controller.since_us, zone)}"
        said += [
            " · " if said else "🗼 ",
            one_line(each.controller.host, 30),
            f" {_word(each)}{since}{_led(each)}",
        ]
    return [line(*said)]


def full_line(seen: ControllerSeen, zone: tzinfo = UTC) -> str:
    """All that is known of one, for the command line."""
    row = seen.controller
    return (
        f"{condition_of(seen)} · {row.role} since {words.day(row.since_us, zone)} · "
        f"{_named(seen)}airboss {row.version} · fleet.toml {words.short(row.digest)} · "
        f"seen {words.about(seen.ago_us)} ago" + "".join(f"\n    ⚠ {said}" for said in seen.troubles.values())
    )


def troubles_elsewhere(seen: Sequence[ControllerSeen], me: Contender) -> dict[str, str]:
    """What is not well with the controllers besides this one: a line for each cause, by a name for each."""
    found: dict[str, str] = {}
    for each in seen:
        row = each.controller
        if row.instance == me.instance:
            continue
        name = row.host if row.host != me.host else f"{row.host}:{row.home}"
        for cause, said in each.troubles.items():
            found[f"{cause} on {row.host}:{row.home}"] = f"controller {name}: {said}"
    return found


def condition_of(seen: ControllerSeen) -> str:
    """What one does: ``evo-x2:/srv/airboss takes part``."""
    return f"{seen.controller.host}:{seen.controller.home} {_word(seen)}"


def differing(names: Sequence[str]) -> str:
    """What is not the same in two homes: ``fleet.toml and SLACK_BOT_TOKEN in .env differ``."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    verb = "differ" if len(names) > 1 else "differs"
    return f"{', '.join(one_line(name, 60).raw for name in names[:_NAMED])}{more} {verb}"


def _word(seen: ControllerSeen) -> str:
    return _WORDS[seen.condition] + (f": {differing(seen.differs)}" if seen.condition is Condition.DIFFERS else "")


def _led(seen: ControllerSeen) -> str:
    return f", {words.count(len(seen.tasks), 'task')}" if seen.tasks else ""


def _named(seen: ControllerSeen) -> str:
    """The tasks that it leads, for the command line."""
    more = f" and {len(seen.tasks) - _NAMED} more" if len(seen.tasks) > _NAMED else ""
    return f"leads {', '.join(seen.tasks[:_NAMED])}{more} · " if seen.tasks else ""


def plain(seen: ControllerSeen) -> dict[str, object]:
    """What ``--json`` prints of it."""
    row = seen.controller
    return {
        "instance": row.instance,
        "host": row.host,
        "home": row.home,
        "version": row.version,
        "fleet_sha256": row.digest,
        "differs": list(seen.differs),
        "condition": str(seen.condition),
        "role": str(row.role),
        "since_us": row.since_us,
        "seen_us": row.seen_us,
        "tasks": list(seen.tasks),
        "troubles": list(seen.troubles.values()),
    }

"""The controllers of a store, as people and scripts see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo

from bot import words
from bot.cards import Line, Text, line, one_line
from fleet.store.controllers import Condition, Contender, ControllerSeen
from fleet.store.states import ControllerRole

_NAMED = 8
_EDITED_US = 60_000_000

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
    return {
        f"{cause} on {each.controller.host}:{each.controller.home}": f"controller {_name(each, me)}: {said}"
        for each in seen
        if each.controller.instance != me.instance
        for cause, said in each.troubles.items()
    }


class Elsewhere:
    """What is not well with the controllers besides this one, for whoever leads. One that differs for longer than
    an edit on all hosts takes is told, too: its owner would miss it when it should take over."""

    def __init__(self, me: Contender) -> None:
        self._me = me
        self._since_us: dict[str, int] = {}

    def troubles(self, seen: Sequence[ControllerSeen], now_us: int) -> dict[str, str]:
        """As :func:`troubles_elsewhere`, at this time by any clock that goes on."""
        found = troubles_elsewhere(seen, self._me)
        differ = {each.controller.instance: each for each in seen if each.condition is Condition.DIFFERS}
        self._since_us = {instance: self._since_us.get(instance, now_us) for instance in differ}
        for instance, each in differ.items():
            if now_us - self._since_us[instance] >= _EDITED_US:
                row = each.controller
                files = " and ".join(dict.fromkeys(name.rpartition(" in ")[2] for name in each.differs))
                found[f"differs on {row.host}:{row.home}"] = (
                    f"controller {_name(each, self._me)} {_word(each)}. It goes on by itself once both hosts have "
                    f"the same {files}"
                )
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
    if seen.condition is not Condition.DIFFERS:
        return _WORDS[seen.condition]
    pauses = "leads nothing and " if seen.controller.role is ControllerRole.SHARES else ""
    return f"{pauses}{_WORDS[seen.condition]}: {differing(seen.differs)}"


def _name(seen: ControllerSeen, me: Contender) -> str:
    row = seen.controller
    return row.host if row.host != me.host else f"{row.host}:{row.home}"


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

"""The end of an id's rights: the phone was lost, or somebody left.

``fleet.toml`` decides about rights, and is read anew for each message, press and card. What the store keeps for the
id ends here too, so that it does not come back when the id does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bot.hearing import drafts, voice
from fleet.config import FleetConfig, edit_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import Misused
from fleet.events import PersonRevoked, Source
from fleet.model import PersonId
from fleet.store import kept_answers, ledger, schedules
from fleet.store.chat import buttons
from fleet.store.core import Tx
from gates.people import Role

_WHY: Final = "its owner's rights were revoked"


def unlist(home: Path, person: str) -> str:
    """Takes an id out of ``fleet.toml``; returns the name of the person. Raises ``Misused`` for an unknown id."""
    with edit_fleet(home / FLEET_FILE) as editor:
        name = editor.remove_id(person)
        if not name:
            raise Misused(
                attempted="revoke the id",
                on=person,
                cause="fleet.toml does not list it",
                hint="airboss people list shows them all.",
            )
    return name


def revoked(tx: Tx, person: str, name: str, actor: str) -> None:
    """Ends what the store keeps for the id, and records who said so."""
    id_ = PersonId.parse(person)
    drafts.drop_all(tx, id_)
    voice.drop_all(tx, id_)
    buttons.drop_all(tx, id_)
    schedules.end_of_owner(tx, person, _WHY, actor)
    kept_answers.revoke(tx, person, _WHY)
    ledger.append(tx, PersonRevoked(person, name), actor=actor, source=Source.PERSON)


def without_admin(config: FleetConfig) -> str:
    """A line to show when nobody is left who may manage; else empty."""
    if any(Role(entry.role) is Role.ADMIN for entry in config.people):
        return ""
    return "No admin is left. Add one: airboss people add NAME --role admin --id PLATFORM:WORKSPACE:USER"

"""Edits ``fleet.toml``: keeps comments and order, and never writes a broken file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT, Table

from fleet import files
from fleet.config.encoding import decoded
from fleet.config.reading import parse_fleet
from fleet.errors import Misused, Unavailable


class FleetEditor:
    """The open document. Its changes are written when the ``with`` block of ``edit_fleet`` ends without error."""

    def __init__(self, document: tomlkit.TOMLDocument) -> None:
        self._document = document

    def add_machine(self, name: str, **fields: Any) -> None:
        """Adds ``[machines.NAME]``. If the machine exists, adds the missing fields (a host key to pin).

        Raises ``Misused`` when the machine has other values: nothing is ever overwritten.
        """
        machines = self._document.get("machines")
        if machines is None:
            machines = self._document["machines"] = tomlkit.table(is_super_table=True)
        if name not in machines:
            machines[name] = _table(fields)
            return
        machine = machines[name]
        for field, value in fields.items():
            if field in machine and machine[field] not in (value, ""):
                raise Misused(
                    attempted="add the machine",
                    on=name,
                    cause=f"it already exists, with another {field}",
                    hint=f"edit [machines.{name}] in fleet.toml by hand if that is what you want",
                )
            machine[field] = value

    def add_person(self, name: str, role: str, ids: Sequence[str]) -> None:
        """Adds a person, or more ids to the person with that name. Raises ``Misused`` for another role."""
        people = self._document.get("people")
        if people is None:
            people = self._document["people"] = tomlkit.aot()
        for person in people:
            if person.get("name") == name:
                if person.get("role") != role:
                    raise Misused(
                        attempted="add the person",
                        on=name,
                        cause=f"already has the role {person.get('role')}",
                        hint="edit the role in fleet.toml by hand if that is what you want",
                    )
                for id_ in ids:
                    if id_ not in person["ids"]:
                        person["ids"].append(id_)
                return
        entry = _table({"name": name, "role": role, "ids": list(ids)})
        if isinstance(people, AoT):
            people.append(entry)
        else:
            inline = tomlkit.inline_table()
            inline.update(entry)
            people.append(inline)

    def remove_id(self, id_: str) -> str:
        """Removes an id from its person, and the person with the last one; returns the name, empty for an unknown
        id."""
        people = self._document.get("people") or []
        for person in people:
            if id_ in person.get("ids", []):
                name = str(person.get("name"))
                person["ids"].remove(id_)
                if not person["ids"]:
                    people.remove(person)
                if not people:
                    del self._document["people"]
                return name
        return ""

    def text(self) -> str:
        """The document's new text."""
        return tomlkit.dumps(self._document)


def _table(fields: Mapping[str, Any]) -> Table:
    table = tomlkit.table()
    for field, value in fields.items():
        table[field] = value
    return table


@contextmanager
def edit_fleet(path: Path, *, login: str = "") -> Iterator[FleetEditor]:
    """Opens ``fleet.toml`` (created if missing) for one edit at a time; other editors wait.

    At the end the new text is checked like in ``load_fleet`` (``ConfigProblems``), then replaces the file
    atomically and durably. Nothing is written when the block raises. A symbolic link is followed.
    """
    path = Path(path).resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = files.lock_file(path.with_name(f".{path.name}.lock"))
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        # The lock is a separate file: replacing a locked file would leave the next editor with a stale inode.
        fcntl.flock(lock, fcntl.LOCK_EX)
        data = files.content(path) if path.exists() else b""
        try:
            before = decoded(data)
            document = tomlkit.parse(before)
        except (UnicodeDecodeError, tomlkit.exceptions.TOMLKitError):
            parse_fleet(data, str(path), login=login)  # raises with the line
            raise
        editor = FleetEditor(document)
        yield editor
        text = editor.text()
        if text != before:
            parse_fleet(text, str(path), login=login)
            try:
                mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
                files.replace_durably(path, text.encode(), mode=mode)
            except OSError as error:
                raise _unwritable(path, error) from error
    finally:
        os.close(lock)


def _unwritable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        attempted="write the fleet's configuration",
        on=str(path),
        cause=error.strerror or str(error),
        hint="check the disk and the directory's owner",
    )

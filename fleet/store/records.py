"""Records and the rows that keep them: each field is the column of its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from fleet.model import ChatRef

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def reader(kind: type[R], **others: Callable[[Any], Any]) -> Callable[[Any], R]:
    """Makes a record of a row. ``others``: what makes those fields of the row that are no column as it is."""
    fields_of = [others.get(field.name) or attrgetter(field.name) for field in fields(kind)]
    return lambda row: kind(*[field(row) for field in fields_of])


def chat_of(row: Any) -> ChatRef:
    """The chat that a row is about, with its thread."""
    return ChatRef(row.adapter, row.chat, row.thread)


def columns(record: DataclassInstance) -> dict[str, Any]:
    """The fields of a record, for a row."""
    return {field.name: getattr(record, field.name) for field in fields(record)}

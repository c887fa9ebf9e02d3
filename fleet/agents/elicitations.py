"""What a server of the Model Context Protocol asks the person behind its agent: each field of a form is a question.

No rule covers such a question, and an empty form that is accepted would be an answer in a person's name.
"""

from __future__ import annotations

from typing import Any, Final

from fleet.agent_events import Allow, Answered, Decision
from fleet.agents.lines import mapping, string
from fleet.questions import Option, Question, answers

REASON: Final = "a server that the agent uses asks this, and no rule covers it"
_YES: Final = {"yes": True, "true": True, "no": False, "false": False}


def questions(message: str, schema: Any) -> tuple[Question, ...]:
    """A question for each field of the form; none where it has no fields."""
    return tuple(
        Question(f"{message} ({_title(name, field)})", tuple(Option(label) for label in _labels(field)))
        for name, field in _fields(schema).items()
    )


def content(schema: Any, decision: Decision) -> dict[str, Any] | None:
    """The form as a person's answer fills it in; ``None``: it is declined, as what was said is a no or does not
    fit. A mere yes fills in no field."""
    fields = _fields(schema)
    if not isinstance(decision, Answered):
        return {} if isinstance(decision, Allow) and not fields else None
    try:
        given = zip(fields.items(), answers(len(fields), decision.kept), strict=True)
        return {name: _value(field, said.strip()) for (name, field), said in given}
    except ValueError:
        return None


def _fields(schema: Any) -> dict[str, dict[str, Any]]:
    found = schema.get("properties") if isinstance(schema, dict) else None
    return {string(name): mapping(field) for name, field in found.items()} if isinstance(found, dict) else {}


def _title(name: str, field: dict[str, Any]) -> str:
    title = field.get("title", field.get("description"))
    return title if isinstance(title, str) and title else name


def _labels(field: dict[str, Any]) -> list[str]:
    if field.get("type") == "boolean":
        return ["yes", "no"]
    choices = field.get("enum")
    return [each for each in choices if isinstance(each, str)] if isinstance(choices, list) else []


def _value(field: dict[str, Any], said: str) -> str | int | float | bool:
    match field.get("type"):
        case "boolean" if said.lower() in _YES:
            return _YES[said.lower()]
        case "integer":
            return int(said)
        case "number":
            return float(said)
        case "string" if not (labels := _labels(field)) or said in labels:
            return said
    raise ValueError(said)

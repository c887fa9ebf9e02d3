"""As much of JSON Schema as our schemas use, so that a test can hold documents against them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
_KNOWN = {
    "$schema", "$comment", "title", "description", "type", "const", "enum", "pattern", "required", "properties",
    "additionalProperties", "items", "minItems", "maxItems", "oneOf",
}  # fmt: skip


def load(name: str) -> Any:
    """The schema ``docs/schema/NAME``."""
    return json.loads((Path(__file__).parent.parent / "docs" / "schema" / name).read_text())


def problems(value: Any, schema: Any, at: str = "$") -> list[str]:
    """What in ``value`` is not as the schema says. Raises ``KeyError`` for a keyword that is not known here."""
    if unknown := set(schema) - _KNOWN:
        raise KeyError(f"{at}: {unknown}")
    found = []
    if "oneOf" in schema and sum(not problems(value, each, at) for each in schema["oneOf"]) != 1:
        found.append(f"{at}: matches not exactly one")
    if "const" in schema and (
        value != schema["const"] or isinstance(value, bool) != isinstance(schema["const"], bool)
    ):
        found.append(f"{at}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(
            isinstance(value, _TYPES[name]) and (name == "boolean") == isinstance(value, bool) for name in names
        ):
            return [*found, f"{at}: {value!r} is no {names}"]
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{at}: {value!r} does not fit {schema['pattern']}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{at}: has {len(value)} items")
        for number, item in enumerate(value):
            found += problems(item, schema.get("items", {}), f"{at}[{number}]")
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        found += [f"{at}: lacks {name}" for name in schema.get("required", []) if name not in value]
        if schema.get("additionalProperties") is False:
            found += [f"{at}: has the unknown {name}" for name in value if name not in properties]
        for name, item in value.items():
            found += problems(item, properties.get(name, {}), f"{at}.{name}")
    return found

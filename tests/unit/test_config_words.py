"""Whatever is wrong with a value of the two files, the words name the key, the fault, and what can be written."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from fleet.config import ConfigProblems, FleetConfig, RepoFile, parse_fleet
from fleet.config.wording import PATTERN_WORDS, in_words

WRONG: tuple[Any, ...] = (
    *(5, -1, 0, 10**15, 1.5, True),
    *("", "x", "ABC!", "a b", "1K", "8g", "10x", "-5s", "y" * 5000),
    *([], [1], [""], ["x y", "-"], {}, {"Bad Key!": 1}),
)


Put = Callable[[Any], Any]
"""What puts a table or a value into what is around it."""


def _in_list(put: Put) -> Put:
    return lambda table: [put(table)]


def _in_table(name: str, put: Put) -> Put:
    return lambda table: {name: put(table)}


def _after(first: Put, second: Put) -> Put:
    return lambda table: second(first(table))


def _as_it_is(table: Any) -> Any:
    return table


def _inside(annotation: Any) -> Iterator[tuple[type[BaseModel], Put]]:
    """The tables that a field has, and what puts one of them into the field's value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, _as_it_is
    origin = typing.get_origin(annotation)
    for part in typing.get_args(annotation):
        for model, put in _inside(part):
            if origin is list:
                yield model, _in_list(put)
            elif origin is dict:
                yield model, _in_table("n", put)
            elif origin in (typing.Union, types.UnionType, typing.Annotated):
                yield model, put


def _fields(model: type[BaseModel], put: Put) -> Iterator[Put]:
    """For each field below a table: the whole file, with a value there."""
    for name, info in model.model_fields.items():
        here = _after(_in_table(name, _as_it_is), put)
        yield here
        for inner, into in _inside(info.annotation):
            yield from _fields(inner, _after(into, here))


@pytest.mark.parametrize("model", [FleetConfig, RepoFile])
def test_each_field_says_what_it_takes_for_a_wrong_value_of_each_kind(model: type[BaseModel]) -> None:
    count = 0
    for put in _fields(model, _as_it_is):
        for value in WRONG:
            raw = put(value)
            try:
                model.model_validate(raw)
            except ValidationError as error:
                for found in in_words(model, error.errors(), raw):
                    count += 1
                    where = ".".join(map(str, found.path))
                    assert found.what and found.remedy, (where, value)
                    assert "is wrong" not in found.what and "docs/configuration" not in found.remedy, (where, found)
                    assert not any(sign in where for sign in ("literal[", "function-", "constrained-")), where
    assert count > 1_000


def _patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        yield from schema.get("patternProperties", {})
        for part in schema.values():
            yield from _patterns(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _patterns(part)


def test_each_pattern_has_words_of_its_own() -> None:
    found = {pattern for model in (FleetConfig, RepoFile) for pattern in _patterns(model.model_json_schema())}
    assert found <= PATTERN_WORDS.keys(), found - PATTERN_WORDS.keys()


MACHINE = '[machines.box]\nexecutor = "local"\nrun_as = "agent"\ngate_as = "gate"\n'
AGENT = '[agents.a]\ndriver = "claude"\nprogram = ["claude"]\n'


@pytest.mark.parametrize(
    ("text", "field", "what", "remedy"),
    [
        (f'{MACHINE}run_memory = "1K"', "machines.box.run_memory", "is not a size ('1K')", '"500M", "8G", "1T"'),
        (f'{MACHINE}run_memory = "8g"', "machines.box.run_memory", "is not a size ('8g')", "M, G or T"),
        (f'{MACHINE}home = "~/work"', "machines.box.home", "is not a full path ('~/work')", "from the root on"),
        (f"{MACHINE}slots = 0", "machines.box.slots", "is too small (0)", "write 1 or more"),
        (f"{MACHINE}slots = 9999", "machines.box.slots", "is too large (9999)", "write 1,000 or less"),
        (f'{MACHINE}labels = ["Xcode"]', "machines.box.labels[0]", "is not a label ('Xcode')", "in lower case"),
        (
            f'{AGENT}key = "a b"',
            "agents.a.key",
            "is not a variable name ('a b')",
            "use letters, digits and underscore",
        ),
        (f"{AGENT}key = 5", "agents.a.key", "must be text", "put it in quotes"),
        (f"{AGENT}price = {{ inptu = 1 }}", "agents.a.price.inptu", "is an unknown key", "did you mean `input`?"),
        (
            '[repos.r]\nurl = "/r"\nforeign_push = "Stop"',
            "repos.r.foreign_push",
            'must be "judge" or "stop"',
            "`stop`?",
        ),
        ('[limits]\nworkspace_retention = "2w"', "limits.workspace_retention", "is not a duration ('2w')", '"14d"'),
    ],
)
def test_the_words_for_what_people_write(text: str, field: str, what: str, remedy: str) -> None:
    with pytest.raises(ConfigProblems) as caught:
        parse_fleet(text, "fleet.toml")
    problem = next(each for each in caught.value.problems if each.field == field)
    assert problem.file == "fleet.toml" and problem.line == text.count("\n") + 1
    assert problem.what.startswith(what) and remedy in problem.remedy, problem

"""The problems of a configuration file, listed so that a person can fix all of them at once."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.errors import Misused


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to fix. ``line`` counts from 1; ``field`` is dotted, empty for the whole file."""

    file: str
    line: int
    field: str
    what: str
    remedy: str

    def __str__(self) -> str:
        field = f" {self.field}" if self.field else ""
        return f"{self.file}:{self.line}:{field} {self.what}. {self.remedy}".replace("\n", " ")


class ConfigProblems(Misused):
    """The file cannot be used; ``problems`` are all problems found, in order of their lines."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(
            attempted="use the configuration",
            on=file,
            cause=f"{count}\n" + "\n".join(str(problem) for problem in self.problems),
        )

    def __reduce__(self) -> tuple[type[ConfigProblems], tuple[str, list[Problem]]]:
        return ConfigProblems, (self.on, list(self.problems))

"""What the gates of a change hold for a person, and which of them did not report. Nothing here runs or stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fleet.config import GateKind, LayerName
from fleet.setup.repo_file import REPO_FILE
from fleet.untrusted import clean
from fleet.verdict import GateResult, HeldPlace, Outcome
from gates.layers.examination import inspect
from gates.layers.protected import is_free
from gates.layers.protocol import Change
from gates.layers.tools import CONFIGURES, configuration
from gates.protected import Touched, run_by, touched
from gates.runs.definitions import Definition

if TYPE_CHECKING:
    from fleet.events import GateOverridden


def all_of(defined: Sequence[Definition], results: Sequence[GateResult], why: str) -> list[GateResult]:
    """The results, and one for each gate that did not report: it is missing, and ``why`` says so."""
    known = {result.gate for result in results}
    return [*results, *(missing(each, why) for each in defined if each.name not in known)]


def missing(definition: Definition, why: str) -> GateResult:
    """The result of a gate that did not report."""
    return GateResult("", definition.name, definition.argv, Outcome.MISSING, why, None, None, "")


def overridden(
    result: GateResult, definition: Definition, given: Mapping[tuple[str, str], GateOverridden]
) -> GateResult:
    """A result that did not pass, with a person's word that it need not: its run says what it said before.
    ``given``: by gate and digest of its definition."""
    word = given.get((definition.name, definition.sha256))
    if result.outcome.opens or not result.run or word is None:
        return result
    own = " (self-approved)" if word.self_approved else ""
    reason = f"{result.outcome}: {result.reason}; overridden by {word.person}{own}: {word.reason}"
    return replace(result, outcome=Outcome.OVERRIDDEN, reason=clean(reason))


async def with_layers(result: GateResult, definition: Definition, change: Change) -> GateResult:
    """A result that also has what the layers find in the change itself."""
    found = await inspect(definition, change)
    return replace(result, held=(*result.held, *found.held), notes=(*result.notes, *found.notes))


def with_protected(result: GateResult, found: Sequence[Touched]) -> GateResult:
    """A result that also lists what its definition protects."""
    listed = {place.path for place in result.held}
    paths = {item.path: item.pattern for item in found if item.gate == result.gate and item.path not in listed}
    more = tuple(HeldPlace(path, 0, f"is protected: {pattern}") for path, pattern in paths.items())
    return replace(result, held=(*result.held, *more))


def held_by(change: Change, definitions: Sequence[Definition]) -> tuple[Touched, ...]:
    """What the definitions themselves protect."""
    paths = {each.path for each in change.paths}
    protected = {item.name: item.protected for item in definitions}
    free = {each.path for each in change.paths if is_free(change, each)}
    found = touched(protected, paths - free)
    # Changing what defines the gates always needs a person, whether or not a gate lists it.
    found += touched({definitions[0].name: (f"/{REPO_FILE}",)}, paths)
    # So does changing what the tests are configured by, where the layer that says so is switched off.
    for item in definitions:
        if item.kind is GateKind.COMMAND and LayerName.TOOLS not in item.layers:
            found += tuple(Touched(path, CONFIGURES, item.name) for path in configuration(change, item.argv))
    return found + run_by({item.name: item.argv for item in definitions}, paths)

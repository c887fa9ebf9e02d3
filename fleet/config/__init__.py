"""Reads, checks, merges and edits ``fleet.toml``, ``airboss.toml`` and ``.env``; nothing else does.

Names are loaded on first use, so that a command that only needs ``airboss_home`` does not load pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleet.config.editing import FleetEditor, edit_fleet
    from fleet.config.gates import GateConfig, GateKind, GateTightening, LayerName, QuarantinedTest
    from fleet.config.home import airboss_home
    from fleet.config.limits import Limits
    from fleet.config.merging import merge_gates, merge_setups
    from fleet.config.models import (
        AgentConfig,
        FleetConfig,
        HookedLoginConfig,
        LocksConfig,
        MachineConfig,
        PersonConfig,
        RepoConfig,
        RepoFile,
    )
    from fleet.config.outside import WitnessConfig
    from fleet.config.pools import PoolConfig, SlotTarget
    from fleet.config.problems import ConfigProblems, Problem
    from fleet.config.reading import load_fleet, parse_fleet, parse_repo_file
    from fleet.config.reviewers import ReviewerConfig
    from fleet.config.secrets import Secrets
    from fleet.config.setups import SetupConfig
    from fleet.config.speech import SpeechConfig

_NAMES = {
    "editing": ("FleetEditor", "edit_fleet"),
    "gates": ("GateConfig", "GateKind", "GateTightening", "LayerName", "QuarantinedTest"),
    "home": ("airboss_home",),
    "limits": ("Limits",),
    "merging": ("merge_gates", "merge_setups"),
    "models": (
        *("AgentConfig", "FleetConfig", "HookedLoginConfig", "LocksConfig", "MachineConfig", "PersonConfig"),
        *("RepoConfig", "RepoFile"),
    ),
    "outside": ("WitnessConfig",),
    "pools": ("PoolConfig", "SlotTarget"),
    "problems": ("ConfigProblems", "Problem"),
    "reading": ("load_fleet", "parse_fleet", "parse_repo_file"),
    "reviewers": ("ReviewerConfig",),
    "secrets": ("Secrets",),
    "setups": ("SetupConfig",),
    "speech": ("SpeechConfig",),
}
_WHERE = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)

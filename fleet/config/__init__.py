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

_WHERE = {
    "AgentConfig": "models",
    "ConfigProblems": "problems",
    "FleetConfig": "models",
    "FleetEditor": "editing",
    "GateConfig": "gates",
    "GateKind": "gates",
    "ReviewerConfig": "reviewers",
    "GateTightening": "gates",
    "LayerName": "gates",
    "Limits": "limits",
    "LocksConfig": "models",
    "HookedLoginConfig": "models",
    "MachineConfig": "models",
    "PersonConfig": "models",
    "PoolConfig": "pools",
    "Problem": "problems",
    "QuarantinedTest": "gates",
    "RepoConfig": "models",
    "RepoFile": "models",
    "Secrets": "secrets",
    "SetupConfig": "setups",
    "SlotTarget": "pools",
    "SpeechConfig": "speech",
    "WitnessConfig": "outside",
    "airboss_home": "home",
    "edit_fleet": "editing",
    "load_fleet": "reading",
    "merge_gates": "merging",
    "merge_setups": "merging",
    "parse_fleet": "reading",
    "parse_repo_file": "reading",
}

__all__ = [
    "AgentConfig",
    "ConfigProblems",
    "FleetConfig",
    "FleetEditor",
    "GateConfig",
    "GateKind",
    "GateTightening",
    "HookedLoginConfig",
    "LayerName",
    "Limits",
    "LocksConfig",
    "MachineConfig",
    "PersonConfig",
    "PoolConfig",
    "Problem",
    "QuarantinedTest",
    "RepoConfig",
    "RepoFile",
    "ReviewerConfig",
    "Secrets",
    "SetupConfig",
    "SlotTarget",
    "SpeechConfig",
    "WitnessConfig",
    "airboss_home",
    "edit_fleet",
    "load_fleet",
    "merge_gates",
    "merge_setups",
    "parse_fleet",
    "parse_repo_file",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)

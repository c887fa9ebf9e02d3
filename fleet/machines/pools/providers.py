"""Which provider a pool has."""

from __future__ import annotations

from fleet.config import PoolConfig, Secrets
from fleet.machines.pools.command import CommandProvider
from fleet.machines.pools.slurm import SlurmProvider
from fleet.pool_ports import SlotProvider


def provider(name: str, pool: PoolConfig, secrets: Secrets) -> SlotProvider:
    """The provider that a pool names."""
    return SlurmProvider(name, pool) if pool.provider == "slurm" else CommandProvider(name, pool, secrets)

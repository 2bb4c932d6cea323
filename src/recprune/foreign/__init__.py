"""Prune a user's own ``nn.Module``: trace it, plan, try, cut a copy, save and restore."""

from recprune.foreign.entry import plan
from recprune.foreign.planning import plan_module
from recprune.foreign.plans import ModulePlan, restore
from recprune.foreign.remapped import RemappedEmbedding, RemappedEmbeddingBag
from recprune.foreign.wanted import Share, dims, neurons, rows

__all__ = [
    "ModulePlan",
    "RemappedEmbedding",
    "RemappedEmbeddingBag",
    "Share",
    "dims",
    "neurons",
    "plan",
    "plan_module",
    "restore",
    "rows",
]

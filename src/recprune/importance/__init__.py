"""Which units matter: one protocol, one file a family of methods."""

from recprune.importance import (
    dropout,
    filters,
    gates,
    linear,
    permutation,
    retraining,
    screened,
    sensitivity,
    statistics,
    trees,
    wrappers,
)
from recprune.importance.base import METHODS, Method, Scores, importance
from recprune.importance.evidence import Evidence
from recprune.importance.ranking import FieldRanking, rank_fields

__all__ = [
    "METHODS",
    "Evidence",
    "FieldRanking",
    "Method",
    "Scores",
    "dropout",
    "filters",
    "gates",
    "importance",
    "linear",
    "permutation",
    "rank_fields",
    "retraining",
    "screened",
    "sensitivity",
    "statistics",
    "trees",
    "wrappers",
]

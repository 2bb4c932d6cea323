"""Which units matter: one protocol, one file a family of methods."""

from recprune.importance import (
    columns,
    dropout,
    filters,
    gates,
    linear,
    permutation,
    pursuit,
    retraining,
    screened,
    sensitivity,
    statistics,
    structured,
    thresholds,
    trees,
    wrappers,
)
from recprune.importance.base import METHODS, Method, Scores, importance, importances
from recprune.importance.evidence import Evidence
from recprune.importance.ranking import FieldRanking, rank_fields

__all__ = [
    "METHODS",
    "Evidence",
    "FieldRanking",
    "Method",
    "Scores",
    "columns",
    "dropout",
    "filters",
    "gates",
    "importance",
    "importances",
    "linear",
    "permutation",
    "pursuit",
    "rank_fields",
    "retraining",
    "screened",
    "sensitivity",
    "statistics",
    "structured",
    "thresholds",
    "trees",
    "wrappers",
]

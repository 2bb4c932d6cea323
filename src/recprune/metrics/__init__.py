"""Metrics as pure array functions; see ``docs/metrics.md`` for what each means exactly."""

from __future__ import annotations

from recprune.metrics.areas import auc, average_precision, gauc, group_auc
from recprune.metrics.beyond import (
    coverage_at_k,
    diversity,
    gini,
    mean_of_lists,
    novelty,
    personalisation,
    popularity_lift,
    user_coverage,
    vector_diversity,
)
from recprune.metrics.calibration import (
    brier,
    calibration_curve,
    calibration_error,
    undo_sampling,
)
from recprune.metrics.classification import (
    accuracy,
    best_threshold,
    confusion,
    f1,
    log_loss,
    log_loss_of_logits,
    precision,
    recall,
)
from recprune.metrics.ranking import (
    hit_rate_at_k,
    hits_of_lists,
    map_at_k,
    mrr_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)
from recprune.metrics.registry import Metric, metric, names
from recprune.metrics.stability import population_stability
from recprune.topk import top_k, top_lists

__all__ = [
    "Metric",
    "accuracy",
    "auc",
    "average_precision",
    "best_threshold",
    "brier",
    "calibration_curve",
    "calibration_error",
    "confusion",
    "coverage_at_k",
    "diversity",
    "f1",
    "gauc",
    "gini",
    "group_auc",
    "hit_rate_at_k",
    "hits_of_lists",
    "log_loss",
    "log_loss_of_logits",
    "map_at_k",
    "mean_of_lists",
    "metric",
    "mrr_at_k",
    "names",
    "ndcg_at_k",
    "novelty",
    "personalisation",
    "popularity_lift",
    "population_stability",
    "precision",
    "precision_at_k",
    "recall",
    "recall_at_k",
    "top_k",
    "top_lists",
    "undo_sampling",
    "user_coverage",
    "vector_diversity",
]

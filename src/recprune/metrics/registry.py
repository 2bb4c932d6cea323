"""Metrics by name: ``metric("auc")``, ``metric("ndcg@10")``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from recprune.errors import ParameterError, nearest
from recprune.metrics import areas, beyond, calibration, classification, ranking

__all__ = ["Metric", "metric", "names"]

Family = Literal["classification", "ranking", "lists"]


@dataclass(frozen=True)
class Metric:
    """A metric and how to call it.

    Args:
        name: as asked for, e.g. ``"ndcg@10"``.
        family: ``"classification"`` takes (label, score or probability), ``"ranking"`` takes
            (hits, n_relevant) and gives one value a user, ``"lists"`` takes (lists, n_items).
        function: the metric itself.
        k: places that count, for a ranking metric.
        higher_is_better: which way is better.
    """

    name: str
    family: Family
    function: Callable[..., Any]
    k: int | None = None
    higher_is_better: bool = True

    def __call__(self, *arrays: Any, **options: Any) -> Any:
        """Return the metric of the arrays that its family takes."""
        if self.family == "ranking":
            options.setdefault("k", self.k)
        elif self.family == "lists":
            arrays = (np.asarray(arrays[0])[..., : self.k], *arrays[1:])
        return self.function(*arrays, **options)


_PLAIN: dict[str, tuple[Callable[..., Any], bool]] = {
    "accuracy": (classification.accuracy, True),
    "auc": (areas.auc, True),
    "average_precision": (areas.average_precision, True),
    "brier": (calibration.brier, False),
    "calibration_error": (calibration.calibration_error, False),
    "f1": (classification.f1, True),
    "gauc": (areas.gauc, True),
    "logloss": (classification.log_loss, False),
    "precision": (classification.precision, True),
    "recall": (classification.recall, True),
}
_AT_K: dict[str, Callable[..., Any]] = {
    "hit_rate": ranking.hit_rate_at_k,
    "map": ranking.map_at_k,
    "mrr": ranking.mrr_at_k,
    "ndcg": ranking.ndcg_at_k,
    "precision": ranking.precision_at_k,
    "recall": ranking.recall_at_k,
}
_LISTS_AT_K: dict[str, tuple[Callable[..., Any], bool]] = {
    "coverage": (beyond.coverage_at_k, True),
    "gini": (beyond.gini, False),
    "personalisation": (beyond.personalisation, True),
}


def names() -> tuple[str, ...]:
    """Return all names that :func:`metric` knows, ``@k`` standing for any number of places.

    >>> names()[:4]
    ('accuracy', 'auc', 'average_precision', 'brier')
    """
    return tuple(sorted([*_PLAIN, *(f"{n}@k" for n in (*_AT_K, *_LISTS_AT_K))]))


def metric(name: str) -> Metric:
    """Return the metric of this name.

    Args:
        name: one of :func:`names`, with a number for k.

    Raises:
        ParameterError: no such name (the nearest is told), or no whole k above 0.

    >>> metric("recall@2")([[True, False, True]], [2]).tolist()
    [0.5]
    >>> metric("ngcd@10")
    Traceback (most recent call last):
    recprune.errors.ParameterError: There is no metric 'ngcd@10'. Did you mean 'ndcg@10'?
    """
    base, at, places = name.partition("@")
    if not at and base in _PLAIN:
        function, better = _PLAIN[base]
        return Metric(name, "classification", function, None, better)
    if at and re.fullmatch("[1-9][0-9]*", places):
        if base in _AT_K:
            return Metric(name, "ranking", _AT_K[base], int(places))
        if base in _LISTS_AT_K:
            function, better = _LISTS_AT_K[base]
            return Metric(name, "lists", function, int(places), better)
    k = places if re.fullmatch("[1-9][0-9]*", places) else "10"
    known = [n.replace("@k", f"@{k}") for n in names()]
    raise ParameterError(f"There is no metric {name!r}.{nearest(name, known)}")

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
        name: its own, e.g. ``"ndcg@10"``, also where it was asked for by another.
        family: ``"classification"``: one number of labelled rows; ``"ranking"``: one value a user,
            of what was hit; ``"lists"``: of what was shown, one number, or one a user.
        function: the metric itself.
        takes: what it is called with, in order: ``label``, ``score``, ``prob`` and ``users`` of the
            rows; ``hits`` and ``n_relevant`` (:mod:`recprune.metrics.ranking`); ``lists``,
            ``n_items``, ``popularity``, ``profiles`` and ``attributes``
            (:mod:`recprune.metrics.beyond`).
        k: places that count, for a metric of lists.
        higher_is_better: which way is better.
    """

    name: str
    family: Family
    function: Callable[..., Any]
    takes: tuple[str, ...]
    k: int | None = None
    higher_is_better: bool = True

    def __call__(self, *arrays: Any, **options: Any) -> Any:
        """Return the metric of the arrays that it takes."""
        if self.family == "ranking":
            options.setdefault("k", self.k)
        elif self.family == "lists":
            arrays = (np.asarray(arrays[0])[..., : self.k], *arrays[1:])
        return self.function(*arrays, **options)


_PROB, _SCORE = ("label", "prob"), ("label", "score")
_PLAIN: dict[str, tuple[Callable[..., Any], tuple[str, ...], bool]] = {
    "accuracy": (classification.accuracy, _PROB, True),
    "auc": (areas.auc, _SCORE, True),
    "average_precision": (areas.average_precision, _SCORE, True),
    "brier": (calibration.brier, _PROB, False),
    "calibration_error": (calibration.calibration_error, _PROB, False),
    "f1": (classification.f1, _PROB, True),
    "gauc": (areas.gauc, (*_SCORE, "users"), True),
    "logloss": (classification.log_loss, _PROB, False),
    "precision": (classification.precision, _PROB, True),
    "recall": (classification.recall, _PROB, True),
}
_AT_K: dict[str, Callable[..., Any]] = {
    "hit_rate": ranking.hit_rate_at_k,
    "map": ranking.map_at_k,
    "mrr": ranking.mrr_at_k,
    "ndcg": ranking.ndcg_at_k,
    "precision": ranking.precision_at_k,
    "recall": ranking.recall_at_k,
}
_SHOWN = ("lists", "n_items")
_LISTS_AT_K: dict[str, tuple[Callable[..., Any], tuple[str, ...], bool]] = {
    "coverage": (beyond.coverage_at_k, _SHOWN, True),
    "diversity": (beyond.diversity, ("lists", "attributes"), True),
    "gini": (beyond.gini, _SHOWN, False),
    "novelty": (beyond.novelty, ("lists", "popularity"), True),
    "personalisation": (beyond.personalisation, _SHOWN, True),
    "popularity_lift": (beyond.popularity_lift, ("lists", "popularity", "profiles"), False),
    "user_coverage": (beyond.user_coverage, ("lists",), True),
}
#: What people and other libraries call them.
_ALIASES = {
    "pr_auc": "average_precision",
    "auprc": "average_precision",
    "roc_auc": "auc",
    "auroc": "auc",
    "group_auc": "gauc",
    "log_loss": "logloss",
    "brier_score": "brier",
    "ece": "calibration_error",
    "hit": "hit_rate",
    "hr": "hit_rate",
    "catalogue_coverage": "coverage",
    "catalog_coverage": "coverage",
    "ild": "diversity",
    "intra_list_diversity": "diversity",
    "personalization": "personalisation",
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
        name: one of :func:`names`, with a number for k, or what others call it (``"PR-AUC"``,
            ``"ECE"``, ``"HR@10"``); large letters are as small ones, and hyphens and spaces as
            underscores.

    Raises:
        ParameterError: no such name (the nearest is told), or no whole k above 0.

    >>> metric("recall@2")([[True, False, True]], [2]).tolist()
    [0.5]
    >>> metric("PR-AUC").name, metric("HR@5").name
    ('average_precision', 'hit_rate@5')
    >>> metric("ngcd@10")
    Traceback (most recent call last):
    recprune.errors.ParameterError: There is no metric 'ngcd@10'. Did you mean 'ndcg@10'?
    """
    base, at, places = re.sub("[- ]", "_", name.strip().casefold()).partition("@")
    base = _ALIASES.get(base, base)
    counted = re.fullmatch("[1-9][0-9]{0,8}", places) is not None
    if not at and base in _PLAIN:
        function, takes, better = _PLAIN[base]
        return Metric(base, "classification", function, takes, None, better)
    if counted and base in _AT_K:
        found, k = _AT_K[base], int(places)
        return Metric(f"{base}@{k}", "ranking", found, ("hits", "n_relevant"), k)
    if counted and base in _LISTS_AT_K:
        function, takes, better = _LISTS_AT_K[base]
        return Metric(f"{base}@{places}", "lists", function, takes, int(places), better)
    known = [n.replace("@k", f"@{places if counted else 10}") for n in names()]
    aliases = [
        a if b in _PLAIN else f"{a}@{places if counted else 10}" for a, b in _ALIASES.items()
    ]
    raise ParameterError(f"There is no metric {name!r}.{nearest(name, [*known, *aliases])}")

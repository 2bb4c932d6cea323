"""Rank the fields of a ranker, look at the ranking, and choose how many to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import require
from recprune.data import Dataset, Split
from recprune.errors import ParameterError, nearest
from recprune.importance.base import importance
from recprune.importance.evidence import Evidence
from recprune.models import Ranker

__all__ = ["FieldRanking", "rank_fields"]


@dataclass(frozen=True, eq=False)
class FieldRanking:
    """Fields from the most to the least important.

    Args:
        fields: names, best first.
        scores: shape (n_fields,), falling.
        std: standard errors, shape (n_fields,).
        method: how they were scored.
        by: what each field was scored by, where the method has several ways; else empty.
    """

    fields: tuple[str, ...]
    scores: NDArray[np.float64]
    std: NDArray[np.float64]
    method: str
    by: tuple[str, ...] = ()

    def keep(
        self,
        *,
        ratio: float | None = None,
        count: int | None = None,
        threshold: float | None = None,
        protect: tuple[str, ...] = (),
    ) -> tuple[str, ...]:
        """Return the fields to keep: a share, a count, or all scores above a threshold.

        Exactly one of the three is given; ``protect`` names fields that stay in any case.

        Raises:
            ParameterError: none or several are given, or one is out of range.
        """
        given = [x for x in (ratio, count, threshold) if x is not None]
        if len(given) != 1:
            raise ParameterError(
                "FieldRanking.keep needs exactly one of ratio, count and threshold."
            )
        n = len(self.fields)
        if ratio is not None:
            if not 0 < ratio <= 1:
                raise ParameterError.of("ratio", "FieldRanking.keep", "a float in (0, 1]", ratio)
            count = max(1, round(ratio * n))
        if count is not None and not (isinstance(count, int) and 1 <= count <= n):
            raise ParameterError.of("count", "FieldRanking.keep", f"an int in [1, {n}]", count)
        for name in protect:
            if name not in self.fields:
                raise ParameterError(f"Cannot protect {name!r}.{nearest(name, self.fields)}")
        above = self.scores > threshold if threshold is not None else np.arange(n) < (count or 0)
        kept = tuple(f for f, a in zip(self.fields, above, strict=True) if a or f in protect)
        if not kept:
            raise ParameterError(
                f"No field scores above the threshold {threshold}; the best scores "
                f"{self.scores[0]:.6g}. Lower the threshold."
            )
        return kept

    def to_frame(self) -> Any:
        """Return a Polars frame with the columns field, score, std, method, and perhaps by."""
        import polars as pl

        return pl.DataFrame(
            {
                "field": self.fields,
                "score": self.scores,
                "std": self.std,
                "method": [self.method] * len(self.fields),
                **({"by": self.by} if self.by else {}),
            }
        )

    def plot(self) -> Any:
        """Return a matplotlib figure: a bar a field, best on top, with standard errors."""
        figure = require("matplotlib.figure", "train").Figure(
            figsize=(7, 1 + 0.28 * len(self.fields)), layout="constrained"
        )
        axes = figure.subplots()
        places = np.arange(len(self.fields))[::-1]
        axes.barh(places, self.scores, xerr=self.std, color="#4477aa", ecolor="#222222")
        axes.set_yticks(places, self.fields)
        axes.set_xlabel(f"importance ({self.method})")
        axes.set_title(f"{self.fields[0]} matters most")
        return figure


def rank_fields(
    model: Ranker | None,
    data: Dataset | Split,
    method: str = "permutation",
    seed: int = 0,
    **options: Any,
) -> FieldRanking:
    """Rank fields by importance.

    Args:
        model: fitted ranker; None for a method that asks none (filters, linear models, trees).
        data: a data set, of which training and tune rows are read; or one split (never the test
            rows), which methods that learn halve.
        method: one of :data:`recprune.importance.METHODS`.
        seed: of the method's draws. Ties are broken by name, so column order does not matter.
        options: the method's own, such as ``repeats=``.

    Raises:
        ParameterError: no such method, or one that needs a model where none is given.
    """
    rows = Evidence.of(data, model)
    scores = importance(model, rows, "fields", method, seed, **options)
    names = np.array(rows.encoder.schema.names)
    order = np.lexsort((names, -scores.score))
    by = tuple(scores.by[i] for i in order) if scores.by else ()
    return FieldRanking(
        tuple(names[order].tolist()), scores.score[order], scores.std[order], method, by
    )

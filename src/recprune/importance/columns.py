"""Importance of dims from the tables alone: how much a column varies, and how often a field is read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.importance.pursuit import covariance
from recprune.importance.statistics import use_counts
from recprune.importance.walk import of_no_field
from recprune.layout import Axis
from recprune.models import Ranker

__all__ = ["mixed_dims", "svd"]


@method("svd", ("dim",), "one over the codes")
def svd(model: Ranker, rows: Evidence, axis: Axis, seed: int) -> Scores:
    """Variance of a table's column over the rows of the data: Σ use · (v − mean)² / n.

    On tables that :func:`recprune.pruning.rotate` has turned, and ``prune`` turns them, the columns
    are principal axes and their summed variances the squared singular values: the fewest dims then
    lose the least of the tables, in the sense of Eckart & Young 1936. One rotation is shared by all
    fields: of each field its own would need a projection a field in front of FM and cross layers.
    """
    return Scores.exact(_variance(model, rows, axis))


@method("mixed_dims", ("dim",), "one over the codes")
def mixed_dims(
    model: Ranker, rows: Evidence, axis: Axis, seed: int, *, temperature: float = 0.3
) -> Scores:
    """p^α / rank: a field gets dims in proportion to p^α (mixed dimensions: Ginart et al. 2021).

    p is how often a row of the field is read in the mean, 1 / (its rows), so that a table of few,
    frequent rows has more dims than one of many, rare rows. Within a field the column of the larger
    variance has the lower rank. Scores of all fields compete for one budget, and a threshold t
    keeps p^α / t dims of a field.

    Args:
        model: fitted ranker.
        rows: training rows are counted.
        axis: of dims.
        seed: unused.
        temperature: α: 0 = the same number of dims in every field.

    Raises:
        ParameterError: a temperature out of range.
    """
    if not 0 <= temperature <= 1:
        raise ParameterError.of("temperature", "mixed_dims", "in [0, 1]", temperature)
    variance = _variance(model, rows, axis)
    rank = np.empty(axis.size)
    rank[np.argsort(-variance, kind="stable")] = np.arange(1, axis.size + 1)
    values = 1
    if not of_no_field(axis):
        table = _rows_of(model, axis)
        values = max(table.size - table.pinned, 1)
    return Scores.exact(values**-temperature / rank)


def _variance(model: Ranker, rows: Evidence, axis: Axis) -> NDArray[np.float64]:
    if of_no_field(axis):
        return np.diag(covariance(model, rows.train, axis, 0, len(rows.train))[0])
    count = use_counts(model, rows.train, _rows_of(model, axis))
    embedding = model.state[axis.uses[0].tensor][:, axis.uses[0].offset :].astype(np.float64)
    centred = embedding - count @ embedding / max(count.sum(), 1)
    variance: NDArray[np.float64] = count @ centred**2 / max(len(rows.train), 1)
    return variance


def _rows_of(model: Ranker, axis: Axis) -> Axis:
    return model.layout.axes[f"rows.{axis.name.removeprefix('dims.')}"]

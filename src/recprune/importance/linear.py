"""Linear models over the fields' rows: L1 logistic regression, and the group lasso."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError
from recprune.importance.base import Scores, method
from recprune.importance.design import one_hot, row_weights, some_rows
from recprune.importance.evidence import Evidence
from recprune.importance.lasso import Lasso
from recprune.layout import Axis
from recprune.models import Ranker

__all__ = ["group_lasso", "l1_logistic"]

MAX_ROWS = 50_000
#: Numbers of the design matrix at most, so that 3,000 fields fit too.
MAX_NUMBERS = 20_000_000


@method("l1_logistic", ("field",), "200 over at most 50,000 rows", False)
def l1_logistic(
    model: Ranker | None,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    strength: float = 0.1,
    steps: int = 100,
) -> Scores:
    """Sum over a field's columns of |weight| × standard deviation, under an L1 penalty.

    Logistic regression with the lasso's penalty (Tibshirani 1996, eq. 1; of indicators, columns
    are table rows; of numbers, the shares of their knots). Columns are scaled to unit variance, so
    that chance alone brings in a rare value no sooner than a frequent one.

    A field that is left out scores below 0: how far its nearest column is from coming in, as a
    share of the penalty (see :class:`recprune.importance.lasso.Solution`).

    Args:
        model: not asked.
        rows: the training rows are fitted.
        axis: of fields.
        seed: of the choice of rows.
        strength: λ as a share, in (0, 1], of the least one that leaves nothing in: the greater,
            the fewer fields are left.
        steps: proximal steps, each two passes.
    """
    matrix, owner, label, weight = _design(rows, seed, "l1_logistic", strength, steps)
    found = Lasso(matrix, np.arange(len(owner)), label, weight).solve(strength, steps)
    size = np.bincount(owner, np.abs(found.beta), minlength=axis.size)
    nearest = np.full(axis.size, -1.0)
    np.maximum.at(nearest, owner, np.minimum(found.excess, 0))
    return Scores.exact(np.where(size > 0, size, nearest))


@method("group_lasso", ("field",), "200 over at most 50,000 rows", False)
def group_lasso(
    model: Ranker | None,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    strength: float = 0.1,
    steps: int = 100,
) -> Scores:
    """Standard deviation of a field's term in a logistic regression under the group lasso.

    Minimises the mean loss + λ Σ_g √p_g ‖β_g‖₂ (Yuan & Lin 2006, eq. 2.1; with the logistic loss
    Meier et al. 2008, eq. 2.2), a group the columns of a field. Columns are scaled to unit
    variance, which makes a field's indicators nearly orthonormal, as the penalty asks.

    A field that is left out scores below 0: how far it is from coming in, as a share of the
    penalty (see :class:`recprune.importance.lasso.Solution`).

    Args:
        model: not asked.
        rows: the training rows are fitted.
        axis: of fields.
        seed: of the choice of rows.
        strength: λ as a share, in (0, 1], of the least one that leaves nothing in: the greater,
            the fewer fields are left.
        steps: proximal steps, each two passes.
    """
    matrix, owner, label, weight = _design(rows, seed, "group_lasso", strength, steps)
    problem = Lasso(matrix, owner, label, weight)
    found = problem.solve(strength, steps)
    spread = problem.term_spread(found.beta, owner)
    return Scores.exact(np.where(found.norms > 0, spread, np.minimum(found.excess, 0)))


def _design(
    rows: Evidence, seed: int, owner: str, strength: float, steps: int
) -> tuple[Any, NDArray[np.int64], NDArray[np.float32], NDArray[np.float64]]:
    """Return the design matrix of some training rows, its columns' fields, labels and weights."""
    if not 0 < strength <= 1:
        raise ParameterError.of("strength", owner, "a float in (0, 1]", strength)
    if steps < 1:
        raise ParameterError.of("steps", owner, "an int ≥ 1", steps)
    encoder = rows.encoder
    width = sum(s.stop - s.start for s in encoder.slots) + len(encoder.numeric)
    most = max(1000, min(MAX_ROWS, MAX_NUMBERS // width))
    split = some_rows(rows.train, most, seed, "linear rows")
    if (split.label > 0.5).all() or (split.label < 0.5).all():
        raise ParameterError.of("data", owner, "rows of both classes", "rows of one")
    return *one_hot(encoder, split.rows), split.label, row_weights(split)

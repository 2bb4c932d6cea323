"""L1 logistic regression over the fields' rows, in scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import require, stream
from recprune.encoding import Encoder, Rows
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.layout import Axis
from recprune.models import Ranker

__all__ = ["l1_logistic"]

MAX_ROWS = 50_000


@method("l1_logistic", ("field",), "some tens over at most 50,000 rows", False)
def l1_logistic(
    model: Ranker | None, rows: Evidence, axis: Axis, seed: int, *, strength: float = 1.0
) -> Scores:
    """Sum over a field's rows of |weight| × standard deviation, under an L1 penalty.

    The design matrix is one-hot rows (knots: the two shares), the penalty's C is ``strength``
    (Tibshirani 1996; liblinear's coordinate descent). Fields whose weights are all zero score 0.
    """
    linear, split = require("sklearn.linear_model", "train"), rows.train
    chosen = np.sort(stream(seed, "l1 rows").permutation(len(split.rows))[:MAX_ROWS])
    matrix, owner = _one_hot(rows.encoder, split.rows[chosen])
    fitted = linear.LogisticRegression(
        l1_ratio=1.0, C=strength, solver="liblinear", random_state=0, max_iter=200
    ).fit(matrix, split.label[chosen])
    mean = np.asarray(matrix.mean(axis=0)).ravel()
    square = np.asarray(matrix.multiply(matrix).mean(axis=0)).ravel()
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    score = np.bincount(owner, np.abs(fitted.coef_[0]) * spread, minlength=axis.size)
    return Scores.exact(score)


def _one_hot(encoder: Encoder, rows: Rows) -> tuple[Any, NDArray[np.int64]]:
    """Return the design matrix (n_rows, all fields' rows), and each column's field."""
    sparse = require("scipy.sparse", "train")
    offsets = np.concatenate([[0], np.cumsum(encoder.sizes)])
    owner = np.repeat(np.arange(len(encoder.sizes)), [s.stop - s.start for s in encoder.slots])
    low = np.ones(rows.codes.shape, np.float32)
    index, values = [rows.codes + offsets[owner]], [low]
    for i in (*encoder.numeric, *encoder.bags):
        slots, shares = encoder.slots[i], rows.shares[:, encoder.share_slots[i]]
        if i in encoder.bags:
            low[:, slots] = shares
        else:
            low[:, slots] = 1 - shares
            index.append(rows.codes[:, slots] + offsets[i] + 1)
            values.append(shares)
    value, column = np.concatenate(values, axis=1), np.concatenate(index, axis=1)
    used = value != 0
    starts = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    shape = (len(rows), offsets[-1])
    matrix = sparse.csr_matrix((value[used], column[used], starts), shape=shape)
    return matrix, np.repeat(np.arange(len(encoder.sizes)), encoder.sizes)

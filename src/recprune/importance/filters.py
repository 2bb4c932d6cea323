"""Filters: one field and the label, without a model.

Each field is read as one categorical variable (:class:`recprune.importance.design.Cells`), so that
one table of counts a field serves all four. A row of weight w counts w times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import stream
from recprune.errors import ParameterError
from recprune.importance.base import Scores, method
from recprune.importance.design import Cells, row_weights, some_rows
from recprune.importance.evidence import Evidence
from recprune.layout import Axis
from recprune.metrics import auc
from recprune.metrics.areas import placements
from recprune.models import Ranker

__all__ = ["chi_square", "drift", "mutual_information", "single_field_auc"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MAX_ROWS = 200_000
#: Rows of the mean rate that are added to each cell.
SMOOTHING = 20.0
#: What chance may give: so many standard deviations above its mean.
DEVIATIONS = 2.0


@method(
    "mutual_information", ("field",), "one, counting; as many more as there are shuffles", False
)
def mutual_information(
    model: Ranker | None, rows: Evidence, axis: Axis, seed: int, *, shuffles: int = 10
) -> Scores:
    """I(field; label) in nats on training rows, less what chance gives (Shannon 1948).

    Counting overstates the information of a field with many values, a useless one's too. So what
    the same estimate reaches with shuffled labels, the mean and two standard deviations of it, is
    taken off (François et al. 2007): a field that scores above 0 knows something. The
    standard error is that deviation.

    Args:
        model: not asked.
        rows: the training rows are counted, at most 200,000.
        axis: of fields.
        seed: of the shuffles and the choice of rows.
        shuffles: how many.
    """
    _check_shuffles("mutual_information", shuffles)
    split = some_rows(rows.train, MAX_ROWS, seed, "filter rows")
    cells, codes = Cells.fitted(split, seed)
    return Scores(
        *_information(codes, cells.sizes, split.label, row_weights(split), shuffles, seed)
    )


@method("drift", ("field",), "two, counting; as many more as there are shuffles", False)
def drift(
    model: Ranker | None,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    penalty: float = 1.0,
    shuffles: int = 10,
) -> Scores:
    """I(field; label) − penalty · I(field; later): relevance less drift, in nats beyond chance.

    The second term is the information that a field gives on whether a row is an early or a late
    one, both halves counting alike: the Jensen–Shannon divergence of the field's two distributions
    (Lin 1991, eq. 4.1), which a classifier of early against late rows would have to live from
    (Lopez-Paz & Oquab 2017). What has moved between the rows that were learnt from and later ones
    will move again, and a ranker that leans on it leans on values that it has not learnt; the form
    relevance − penalty is that of Peng et al. 2005, eq. 6, with drift in place of redundancy.

    Late are held-out rows. Where there is but one split, its later half: by time, if it has times,
    or else in the order of its rows.

    Args:
        model: not asked.
        rows: training and held-out rows are counted, at most 200,000 of each.
        axis: of fields.
        seed: of the shuffles and the choice of rows.
        penalty: how much a nat of drift counts against one of relevance, ≥ 0.
        shuffles: how many, for what chance gives; see :func:`mutual_information`.
    """
    _check_shuffles("drift", shuffles)
    if not 0 <= penalty < np.inf:
        raise ParameterError.of("penalty", "drift", "a float ≥ 0", penalty)
    split = some_rows(rows.train, MAX_ROWS, seed, "filter rows")
    cells, codes = Cells.fitted(split, seed)
    weight = row_weights(split)
    relevance, error = _information(codes, cells.sizes, split.label, weight, shuffles, seed)
    if rows.held_out is rows.train:
        when = np.arange(len(split)) if split.extras.time is None else split.extras.time
        late = np.zeros(len(split), np.float32)
        late[np.argsort(when, kind="stable")[len(split) // 2 :]] = 1
    else:
        other = some_rows(rows.held_out, MAX_ROWS, seed, "drift rows")
        codes = np.concatenate([cells.of(split.rows), cells.of(other.rows)])
        weight = np.concatenate([weight, row_weights(other)])
        late = np.repeat(np.array([0, 1], np.float32), [len(split), len(other)])
    for half in (late == 0, late == 1):
        weight[half] *= len(weight) / 2 / weight[half].sum()
    moved, moved_error = _information(codes, cells.sizes, late, weight, shuffles, seed)
    return Scores(
        relevance - penalty * np.maximum(moved, 0), np.hypot(error, penalty * moved_error)
    )


@method("chi_square", ("field",), "one, counting", False)
def chi_square(model: Ranker | None, rows: Evidence, axis: Axis, seed: int) -> Scores:
    """Pearson's χ² of field and label on training rows, as a standard normal deviate.

    χ² grows with the number of values; what is comparable is its p-value, which underflows. So the
    score is the deviate that has this p-value, by the cube root of χ² (Wilson & Hilferty 1931):
    its standard error without any association is 1. Weighted rows count as (Σw)² / Σw² rows (Rao &
    Scott 1981).
    """
    split = some_rows(rows.train, MAX_ROWS, seed, "filter rows")
    cells, codes = Cells.fitted(split, seed)
    weight = row_weights(split)
    effective = weight.sum() ** 2 / (weight**2).sum()
    score = np.zeros(axis.size)
    for i, size in enumerate(cells.sizes):
        table = _table(codes[:, i], size, split.label, weight) * (effective / weight.sum())
        expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
        free = len(table) - 1
        if free and (expected > 0).all():
            statistic = ((table - expected) ** 2 / expected).sum()
            spread = 2 / (9 * free)
            score[i] = ((statistic / free) ** (1 / 3) - (1 - spread)) / np.sqrt(spread)
    return Scores(score, np.ones(axis.size))


@method("single_field_auc", ("field",), "two, counting", False)
def single_field_auc(model: Ranker | None, rows: Evidence, axis: Axis, seed: int) -> Scores:
    """AUC − ½ of a field alone on held-out rows, which are scored by its value's training rate.

    The rate of each value is drawn towards the mean by 20 rows of it (the m-estimate; Micci-
    Barreca 2001), so that a rare value promises nothing. Guyon & Elisseeff 2003, section
    2.3, on single variable classifiers. The standard error is DeLong's (1988).
    """
    learnt, judged = (
        some_rows(part, MAX_ROWS, seed, f"filter rows {i}")
        for i, part in enumerate(rows.apart(seed))
    )
    cells, codes = Cells.fitted(learnt, seed)
    weight, new, new_weight = row_weights(learnt), cells.of(judged.rows), row_weights(judged)
    base = np.average(learnt.label, weights=weight)
    score, std = np.zeros(axis.size), np.zeros(axis.size)
    for i, size in enumerate(cells.sizes):
        shown = np.bincount(codes[:, i], weight, minlength=size)
        taken = np.bincount(codes[:, i], weight * learnt.label, minlength=size)
        rate = ((taken + SMOOTHING * base) / (shown + SMOOTHING))[new[:, i]]
        score[i] = auc(judged.label, rate, judged.extras.weight) - 0.5
        std[i] = _auc_error(judged.label > 0.5, rate, new_weight)
    return Scores(score, std)


def _check_shuffles(owner: str, shuffles: Any) -> None:
    if shuffles < 2:
        raise ParameterError.of("shuffles", owner, "an int ≥ 2", shuffles)


def _table(code: Ints, size: int, label: NDArray[np.float32], weight: Floats) -> Floats:
    """Return the weight of each cell and class, shape (cells that occur, 2)."""
    counts = np.bincount(2 * code + (label > 0.5), weight, minlength=2 * size)
    table = counts.astype(np.float64).reshape(-1, 2)
    return np.asarray(table[table.sum(axis=1) > 0], np.float64)


def _information(
    codes: Ints,
    sizes: Ints,
    label: NDArray[np.float32],
    weight: Floats,
    shuffles: int,
    seed: int,
) -> tuple[Floats, Floats]:
    """Return each field's mutual information less what chance may give, and chance's spread.

    Labels move among rows with their weights, and alike for all fields: the order of the columns
    does not matter.
    """
    score, std = np.zeros(len(sizes)), np.zeros(len(sizes))
    draws = stream(seed, "shuffled labels")
    orders = [draws.permutation(len(label)) for _ in range(shuffles)]
    for i, size in enumerate(sizes):
        chance = [_nats(_table(codes[:, i], size, label[o], weight[o])) for o in orders]
        std[i] = np.std(chance, ddof=1)
        found = _nats(_table(codes[:, i], size, label, weight))
        score[i] = found - np.mean(chance) - DEVIATIONS * std[i]
    return score, std


def _nats(table: Floats) -> float:
    """Return Σ p_xy · ln(p_xy / (p_x · p_y)) of a table of counts."""
    joint = table / table.sum()
    both = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / both[seen])).sum())


def _auc_error(positive: NDArray[np.bool_], score: Floats, weight: Floats) -> float:
    """Return DeLong's standard error of an AUC: what the rows of each class add to it."""
    place, total = placements(positive, score, weight), 0.0
    for one in (positive, ~positive):
        share, own = weight[one] / weight[one].sum(), place[one]
        spread = (share**2 * (own - share @ own) ** 2).sum()
        total += spread * len(share) / max(len(share) - 1, 1)
    return float(np.sqrt(total))

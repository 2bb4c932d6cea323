"""What :mod:`recprune.streaming.watching.shadows` does for each event, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["BUCKETS", "EXPERTS", "HUGE", "predict", "total"]

Floats = NDArray[np.float64]

BUCKETS = 1024
#: For each expert: how many memories it remembers, and the precision of its prior (1 / variance of
#: a value's effect in log-odds).
EXPERTS = np.array([[1.0, 5.0], [5.0, 50.0]])
#: Evidence beyond is not counted; effects and logits beyond are cut.
HUGE, MOST_EFFECT, MOST_LOGIT = 1e200, 3.0, 15.0
#: Events after which the product of likelihood ratios becomes a sum of logarithms.
FEW = 64


@compiled
def total(tables: Floats, totals: Floats) -> None:
    """Sum each expert's buckets anew, so that rounding never adds up.

    Args:
        tables: residuals and variances, shape ``(fields, experts, 2, BUCKETS)``.
        totals: their sums, shape ``(fields, experts, 2)``.
    """
    for f in range(tables.shape[0]):
        for e in range(tables.shape[1]):
            for k in range(2):
                totals[f, e, k] = tables[f, e, k].sum()


@compiled
def predict(
    label: NDArray[np.float32],
    logits: NDArray[np.float32],
    buckets: NDArray[np.int64],
    base: Floats,
    tables: Floats,
    totals: Floats,
    shared: Floats,
    odds: Floats,
    gains: tuple[Floats, Floats],
    at: int,
    tolerance: float,
    keep: float,
) -> None:
    """Let every expert foretell every event, and then learn from it.

    Args:
        label: 0 or 1, shape ``(n,)``.
        logits: the model's, shape ``(n,)``.
        buckets: of each field's value, shape ``(fields, n)``.
        base: of the correction by intercept and slope: both, and the three numbers of its
            information matrix; then sums of late of events, variances, corrected logits, their
            squares; shape ``(9,)``.
        tables, totals: see :func:`total`.
        shared: residual by variance of all buckets as they were some events ago, shape
            ``(fields, experts)``.
        odds: the tests' evidence, shape ``(fields, experts)``.
        gains: log likelihood ratios of late, summed, and the product of the last ratios, which are
            not in the sum yet; each of shape ``(fields, experts)``.
        at: events before these.
        tolerance: nats an event that are no evidence.
        keep: how much of the information stays after an event.
    """
    fields, experts = odds.shape
    price = np.exp(-tolerance)
    summed, product = gains
    for i in range(len(label)):
        z = min(max(np.float64(logits[i]), -MOST_LOGIT), MOST_LOGIT)
        y = 1.0 if label[i] > 0.5 else 0.0
        corrected = min(max(base[0] + base[1] * z, -MOST_LOGIT), MOST_LOGIT)
        chance = 1 / (1 + np.exp(-corrected))
        rest, variance = y - chance, chance * (1 - chance)
        if (at + i) % FEW == 0:
            shared[:] = totals[:, :, 0] / (totals[:, :, 1] + 1.0)
        for f in range(fields):
            b = buckets[f, i]
            for e in range(experts):
                table = tables[f, e]
                # Residuals that all buckets share are the base's to learn, not the field's.
                own = table[0, b] - shared[f, e] * table[1, b]
                effect = own / (table[1, b] + EXPERTS[e, 1])
                grown = np.exp(min(max(effect, -MOST_EFFECT), MOST_EFFECT))
                ratio = (grown if y > 0 else 1.0) / (1 + chance * (grown - 1))
                odds[f, e] = min(max(odds[f, e], 1.0) * ratio * price, HUGE)
                product[f, e] *= ratio
                table[0, b] += rest
                table[1, b] += variance
                totals[f, e, 0] += rest
                totals[f, e, 1] += variance
        if (at + i + 1) % FEW == 0:
            summed += np.log(product)
            product[:] = 1
        # Newton's step of a logistic regression that forgets, on (1, z).
        base[2] = keep * base[2] + variance
        base[3] = keep * base[3] + variance * z
        base[4] = keep * base[4] + variance * z * z
        a, c, d = base[2] + 10.0, base[3], base[4] + 10.0
        step = rest / (a * d - c * c)
        base[0] += step * (d - c * z)
        base[1] += step * (a * z - c)
        base[5] += 1
        base[6] += variance
        base[7] += corrected
        base[8] += corrected * corrected

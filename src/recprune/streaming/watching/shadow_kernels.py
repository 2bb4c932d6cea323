"""What :mod:`recprune.streaming.watching.shadows` does for each event, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["BUCKETS", "EXPERTS", "correct", "foretell"]

Floats = NDArray[np.float64]

BUCKETS = 1024
LAST = np.uint64(BUCKETS - 1)
#: For each expert: how many memories it remembers, and the precision of its prior (1 / variance of
#: a value's effect in log-odds).
EXPERTS = np.array([[1.0, 5.0], [5.0, 20.0]])
#: Evidence beyond is not counted; effects and logits beyond are cut.
HUGE, MOST_EFFECT, MOST_LOGIT = 1e200, 3.0, 15.0
#: Events after which the product of likelihood ratios becomes a sum of logarithms.
FEW = 64


@compiled
def correct(
    label: NDArray[np.float32], logits: NDArray[np.float32], base: Floats, keep: float, out: Floats
) -> None:
    """Correct logits by an intercept and a slope that are learned as events come.

    Newton's step of a logistic regression on (1, z) that forgets.

    Args:
        label: 0 or 1, shape ``(n,)``.
        logits: the model's, shape ``(n,)``.
        base: intercept, slope, and the three numbers of their information; then sums of late of
            events, variances, corrected logits, their squares; shape ``(9,)``.
        keep: how much of the information stays after an event.
        out: chances from before an event's label was seen, shape ``(n,)``.
    """
    for i in range(len(label)):
        z = min(max(np.float64(logits[i]), -MOST_LOGIT), MOST_LOGIT)
        corrected = min(max(base[0] + base[1] * z, -MOST_LOGIT), MOST_LOGIT)
        chance = 1 / (1 + np.exp(-corrected))
        out[i] = chance
        variance = chance * (1 - chance)
        base[2] = keep * base[2] + variance
        base[3] = keep * base[3] + variance * z
        base[4] = keep * base[4] + variance * z * z
        a, c, d = base[2] + 10.0, base[3], base[4] + 10.0
        step = ((1.0 if label[i] > 0.5 else 0.0) - chance) / (a * d - c * c)
        base[0] += step * (d - c * z)
        base[1] += step * (a * z - c)
        base[5] += 1
        base[6] += variance
        base[7] += corrected
        base[8] += corrected * corrected


@compiled
def foretell(
    label: NDArray[np.float32],
    chances: Floats,
    buckets: NDArray[np.uint64],
    at: int,
    precision: float,
    price: float,
    table: Floats,
    sums: Floats,
) -> None:
    """Let one expert on one column foretell every event, and then learn from it.

    Args:
        label: 0 or 1, shape ``(n,)``.
        chances: of the corrected logits, shape ``(n,)``.
        buckets: hashes of the column's values, of which the last bits count, shape ``(n,)``.
        at: events before these.
        precision: of the prior.
        price: factor of the evidence at each event.
        table: each bucket's residuals and variances, shape ``(BUCKETS, 2)``.
        sums: those of all buckets (2); residual by variance of all as it was some events ago; the
            evidence; log likelihood ratios of late, and the product of the last ones, which are not
            in the sum yet; shape ``(6,)``.
    """
    residuals, variances, shared, odds, gain, product = sums
    for i in range(len(label)):
        if (at + i) % FEW == 0:
            # What all buckets share is the base's to learn, not the column's.
            shared = residuals / (variances + 1.0)
        chance, y = chances[i], label[i] > 0.5
        rest, variance = (1.0 if y else 0.0) - chance, chance * (1 - chance)
        own = table[np.int64(buckets[i] & LAST)]
        effect = (own[0] - shared * own[1]) / (own[1] + precision)
        grown = np.exp(min(max(effect, -MOST_EFFECT), MOST_EFFECT))
        ratio = (grown if y else 1.0) / (1 + chance * (grown - 1))
        odds = min(max(odds, 1.0) * ratio * price, HUGE)
        product *= ratio
        own[0] += rest
        own[1] += variance
        residuals += rest
        variances += variance
        if (at + i + 1) % FEW == 0:
            gain += np.log(product)
            product = 1.0
    sums[:] = residuals, variances, shared, odds, gain, product

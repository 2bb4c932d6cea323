"""Columns that know the label too well: known only after what they are to predict."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data.parts import Split
from recprune.data.quality import Finding
from recprune.metrics import auc

__all__ = ["leak_suspects", "single_column_auc"]

#: Alone as good as this, a column all but states the label.
STATES = 0.9
#: From here on, a column that is this many times as far from chance as the next one is suspect.
STRONG, APART = 0.75, 1.5
#: Rows of the mean that a value's label rate starts from.
SMOOTHING = 10.0
#: A later event's rows (at least so many) have the label in all but one of a hundred.
LEAST, CERTAIN = 50, 0.99
LATER = frozenset(
    {
        "bought",
        "cancelled",
        "canceled",
        "checkout",
        "conversion",
        "converted",
        "delivered",
        "ordered",
    }
    | {"paid", "payment", "purchase", "purchased", "refund", "refunded", "returned", "revenue"}
    | {"sale", "sales", "shipped", "spend", "spent"}
)


def single_column_auc(split: Split, seed: int = 0) -> dict[str, float]:
    """Return how well each field alone predicts the label: field → AUC on held-out rows.

    A value (of a number, the nearest knot) predicts the label rate of its rows in one half of the
    table for the other half, smoothed towards the mean; the two halves' AUCs are averaged.

    Args:
        split: encoded rows.
        seed: of the halves.
    """
    half = stream(seed, "halves").random(len(split)) < 0.5
    return {
        name: float(np.mean([_auc(codes, split.label, a) for a in (half, ~half)]))
        for name, codes in _codes(split).items()
    }


def leak_suspects(split: Split, seed: int = 0) -> list[Finding]:
    """Report the fields that a human should look at before they are believed.

    A field is suspect if its AUC alone is 0.9 or more; or if it is 0.75 or more and one and a half
    times as far from chance as the next best field; or if it is named as a later event (purchased,
    refund, …) and the rows where it happened have the label.
    """
    scores = single_column_auc(split, seed)
    order = sorted(scores, key=lambda name: (-scores[name], name))
    found = {
        name: f"alone it reaches AUC {scores[name]:.3f}" for name in order if scores[name] >= STATES
    }
    left = [name for name in order if name not in found][:2]
    first, second = [scores[name] for name in left] if len(left) == 2 else (0.5, 0.5)
    if first >= STRONG and first - 0.5 >= APART * (second - 0.5):
        found[left[0]] = f"alone it reaches AUC {first:.3f}, the next field {second:.3f}"
    for name, codes in _codes(split).items():
        words = {w.lower() for w in re.findall(r"[A-Z]?[a-z]+", name)}
        if name not in found and words & LATER and _certain(codes, split.label):
            found[name] = "it is named as a later event, and its rows have the label"
    return [
        Finding(
            "leak_suspect",
            name,
            "warning",
            len(split),
            f"used as it is, though {why}; if it is known only after the label, drop it",
        )
        for name, why in found.items()
    ]


def _codes(split: Split) -> dict[str, NDArray[np.int64]]:
    """Return each field's value as a small integer; numbers by their nearest knot."""
    codes = {}
    for i, name in enumerate(split.encoder.schema.names):
        column = split.rows.codes[:, i].astype(np.int64)
        if i in split.encoder.numeric:
            column = column + (split.rows.shares[:, split.encoder.numeric.index(i)] > 0.5)
        codes[name] = column
    return codes


def _auc(codes: NDArray[np.int64], label: NDArray[np.float32], known: NDArray[np.bool_]) -> float:
    held_out = label[~known]
    if held_out.min() == held_out.max():
        return 0.5
    size, mean = int(codes.max()) + 1, float(label[known].mean())
    positive = np.bincount(codes[known], weights=label[known], minlength=size)
    rows = np.bincount(codes[known], minlength=size)
    rate = (positive + SMOOTHING * mean) / (rows + SMOOTHING)
    return auc(held_out, rate[codes[~known]].astype(np.float32))


def _certain(codes: NDArray[np.int64], label: NDArray[np.float32]) -> bool:
    """Tell whether rows away from the most frequent value, "nothing happened", have the label."""
    happened = codes != np.bincount(codes).argmax()
    rate = float(label[happened].mean()) if happened.any() else 0.0
    return bool(happened.sum() >= LEAST and rate >= CERTAIN and label.mean() < rate / 2)

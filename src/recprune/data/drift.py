"""How far a column's values in the test rows have moved from those in the training rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recprune.data.parts import Split
from recprune.data.quality import Finding, Severity

__all__ = ["drifted", "population_stability"]

#: The usual reading of the index: below 0.1 none, from 0.25 on much.
SOME, MUCH = 0.1, 0.25
#: Most bins: the most frequent values, and one bin for the rest.
BINS = 20


def population_stability(train: NDArray[np.int32], test: NDArray[np.int32]) -> float:
    """Return the population stability index Σ (q − p)·ln(q / p) (Siddiqi 2006, chapter 9).

    Args:
        train: codes of a column, shape (n,); p is their distribution.
        test: codes of the same column, shape (m,); q is theirs.

    Half a row in each bin keeps empty ones finite. Equal distributions give about
    (bins − 1)·(1/n + 1/m).

    >>> same = np.array([1, 2] * 50, np.int32)
    >>> population_stability(same, same)
    0.0
    """
    size = int(max(train.max(), test.max())) + 1
    counts = np.stack([np.bincount(c, minlength=size) for c in (train, test)]).astype(np.float64)
    order = np.argsort(-counts.sum(axis=0), kind="stable")
    top, rest = order[: BINS - 1], order[BINS - 1 :]
    bins = np.concatenate([counts[:, top], counts[:, rest].sum(axis=1, keepdims=True)], axis=1)
    bins = bins[:, bins.sum(axis=0) > 0] + 0.5
    p, q = bins / bins.sum(axis=1, keepdims=True)
    return float(((q - p) * np.log(q / p)).sum())


def drifted(train: Split, test: Split) -> list[Finding]:
    """Report the fields whose values moved between the training and the test rows.

    The ids of users and items are left out: a split by user has other users by intent.
    """
    found = []
    schema = train.encoder.schema
    for i, name in enumerate(schema.names):
        if name in (schema.user, schema.item):
            continue
        index = population_stability(train.rows.codes[:, i], test.rows.codes[:, i])
        if index >= SOME:
            severity: Severity = "warning" if index >= MUCH else "info"
            action = f"used as it is: its values moved between training and test (PSI {index:.2f})"
            found.append(Finding("drift", name, severity, len(test), action))
    return found

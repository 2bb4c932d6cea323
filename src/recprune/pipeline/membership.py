"""The report's audit of membership: the full and the pruned model attacked with the same rows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from recprune._support import logger
from recprune.data import Dataset, Split
from recprune.errors import RecpruneError
from recprune.evaluation.membership import (
    judge_membership,
    membership_difference,
    membership_rows,
    users_apart,
)
from recprune.models import LR, Ranker, Training

__all__ = ["membership_facts"]

#: Rows of each kind: an AUC is then known to about 0.01.
MOST_ROWS = 10_000
#: Splits that draw training and test rows alike.
ALIKE = ("user", "random", "stratified")
#: Large batches: the reference is to be quick.
REFERENCE = Training(epochs=8, learning_rate=0.05, batch_size=1024)


def membership_facts(
    data: Dataset, models: Mapping[str, Ranker], seed: int = 0
) -> dict[str, Any] | None:
    """Return the report's ``membership``, or None where it could not be made.

    Members are training rows, non-members test rows, and the reference is a logistic regression of
    the gate rows, which none of the models was fitted to.

    Args:
        data: a split data set, whose test rows are open.
        models: ``"full"`` and ``"pruned"``; retrievers, whose scores are no probabilities, have no
            audit.
        seed: of the rows that are drawn, and of the reference.
    """
    start = time.perf_counter()
    if not all(model.private for model in models.values()):
        return None
    inside = membership_rows(data.train, MOST_ROWS, seed, "members")
    outside = membership_rows(data.test, MOST_ROWS, seed, "non-members")
    learned = membership_rows(data.gate, MOST_ROWS, seed, "reference")
    try:
        reference = LR(REFERENCE, seed).fit(learned)
    except RecpruneError as error:
        logger.warning("The report is without an audit of membership: %s", error)
        return None
    logits = {name: _logits(m, inside, outside) for name, m in models.items()}
    base = _logits(reference, inside, outside)
    apart = users_apart(data.train, data.test)
    found = {
        name: judge_membership(inside, outside, each, base, apart=apart)
        for name, each in logits.items()
    }
    alike = data.split_by in ALIKE
    out: dict[str, Any] = {name: audit.to_json() for name, audit in found.items()}
    if not alike:  # gate rows are nearer to test rows than training rows are
        out = {name: {**audit, "leaks": None} for name, audit in out.items()}
    change, bounds = membership_difference(inside, outside, logits["full"], logits["pruned"])
    spent = {n: m.privacy.to_json() for n, m in models.items() if m.privacy is not None}
    logger.info("membership: %.1f s", time.perf_counter() - start)
    return out | {
        "split": data.split_by,
        "alike": alike,
        "change": {"difference": change, "interval": bounds},
        **({"privacy": spent} if spent else {}),
    }


def _logits(model: Ranker, *parts: Split) -> Any:
    return np.concatenate([model.logits(model.aligned(part).rows) for part in parts])

"""The verdict on a pair of models on the test rows, with the guards around it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.data import Dataset
from recprune.evaluation import (
    TestUses,
    Verdict,
    judge_rows,
    reference_reasons,
    slice_groups,
    verdict,
    weak_reference,
)
from recprune.metrics import auc
from recprune.pipeline.attributes import chosen_attributes
from recprune.pipeline.config import RunConfig

__all__ = ["bare_verdict", "final_verdict"]

Logits = NDArray[np.float32]


def bare_verdict(data: Dataset, full: Logits, pruned: Logits, config: RunConfig) -> Verdict:
    """Judge on the test rows without slices and guards: for tables of many models."""
    test = data.test
    return verdict(
        test.label,
        full,
        pruned,
        users=test.users,
        items=test.items,
        tolerance=config.tolerance,
        seed=config.seed,
    )


def final_verdict(
    data: Dataset,
    full: Logits,
    pruned: Logits,
    config: RunConfig,
    references: list[dict[str, Any]],
    model: bytes,
) -> Verdict:
    """Judge on the test rows: interval, slices, strength of the reference, count of uses.

    Args:
        full, pruned: logits of the test rows.
        references: the yardsticks' records.
        model: the pruned model's stored weights, for the count of uses.
    """
    test = data.test
    groups = slice_groups(test, data.train, chosen_attributes(data))
    decision = judge_rows(test, full, pruned, groups, tolerance=config.tolerance, seed=config.seed)
    reached = {r["name"]: r["auc"] for r in references}
    weak = reference_reasons(
        auc(test.label, full), reached["popularity"], reached["LR"], config.tolerance
    )
    uses = TestUses().count(test.label, model)
    return replace(weak_reference(decision, weak), test_uses=uses)

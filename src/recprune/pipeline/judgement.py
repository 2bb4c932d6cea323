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
from recprune.evaluation.noninferiority import Outcome
from recprune.metrics import auc
from recprune.pipeline.attributes import chosen_attributes
from recprune.pipeline.config import RunConfig

__all__ = ["bare_verdict", "final_verdict"]

Logits = NDArray[np.float32]


def bare_verdict(
    data: Dataset, full: Logits, pruned: Logits, config: RunConfig, **limit: Any
) -> Verdict:
    """Judge on the test rows without slices and guards: for tables of many models.

    ``limit`` is another ``metric`` than the AUC, with its ``tolerance``.
    """
    test = data.test
    given: dict[str, Any] = {"users": test.users, "items": test.items, "seed": config.seed}
    return verdict(test.label, full, pruned, **{**given, "tolerance": config.tolerance, **limit})


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
    decision = weak_reference(_with_other_drops(decision, data, full, pruned, config), weak)
    return replace(decision, test_uses=TestUses().count(test.label, model))


def _with_other_drops(
    decision: Verdict, data: Dataset, full: Logits, pruned: Logits, config: RunConfig
) -> Verdict:
    """Let the other metrics whose drop the budget limits have their say: the worst decides."""
    for metric, tolerance in config.limits.max_drop.items():
        if metric == "auc":
            continue
        limit = {"metric": metric, "tolerance": tolerance}
        other = bare_verdict(data, full, pruned, config, **limit)
        if other.outcome == "PASS":
            continue
        low, high = other.ci
        reason = (
            f"{metric}: {other.outcome} against a largest drop of {tolerance:g} "
            f"({other.difference:+.4f}, {low:+.4f} to {high:+.4f})"
        )
        worst: Outcome = "FAIL" if "FAIL" in (decision.outcome, other.outcome) else "INCONCLUSIVE"
        decision = replace(decision, outcome=worst, reasons=(*decision.reasons, reason))
    return decision

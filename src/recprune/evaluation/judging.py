"""The verdict on scored rows: the whole, and each slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.data import Split
from recprune.evaluation.noninferiority import Verdict, verdict
from recprune.evaluation.slices import judge_slices

__all__ = ["judge_rows"]


def judge_rows(
    rows: Split,
    full: NDArray[np.float32],
    pruned: NDArray[np.float32],
    groups: Mapping[tuple[str, str], NDArray[np.object_]],
    **options: Any,
) -> Verdict:
    """Judge a pruned model on rows, by user and item where they have such; an alarm is a FAIL.

    Args:
        rows: with labels.
        full, pruned: logits, shape ``(n_rows,)``.
        groups: of the slices; see :func:`recprune.evaluation.slice_groups`.
        options: of :func:`recprune.evaluation.verdict`.
    """
    decision = verdict(rows.label, full, pruned, users=rows.users, items=rows.items, **options)
    slices = judge_slices(rows.label, full, pruned, groups, rows.users)
    alarms = [s.slice for s in slices if s.outcome == "alarm"]
    if alarms:
        reason = f"worse by more than the slice tolerance on: {', '.join(alarms)}"
        decision = replace(decision, outcome="FAIL", reasons=(*decision.reasons, reason))
    return replace(decision, slices=slices)

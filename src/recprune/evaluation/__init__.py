"""How good a model is, and whether a pruned one is no worse.

``choose_fields``, which trains, is imported when it is first used: all else needs no torch.
"""

from typing import TYPE_CHECKING, Any

from recprune.evaluation.cross_fitting import Fold, cross_fitted_verdict, folds_of, resampled_t
from recprune.evaluation.delong import clustered_delong
from recprune.evaluation.estimates import Estimate
from recprune.evaluation.evaluated import Evaluation, GroupMetrics, evaluate_scores
from recprune.evaluation.groups import group_of, slice_groups
from recprune.evaluation.judging import judge_rows
from recprune.evaluation.latency import paired_latency_us
from recprune.evaluation.ledger import TestUses
from recprune.evaluation.membership import Attack, MembershipAudit, membership_audit
from recprune.evaluation.noninferiority import (
    Verdict,
    fixed_sequence,
    reference_reasons,
    verdict,
    weak_reference,
)
from recprune.evaluation.row_metrics import row_facts
from recprune.evaluation.slices import SliceResult, judge_slices

if TYPE_CHECKING:
    from recprune.evaluation.selection import choose_fields

__all__ = [
    "Attack",
    "Estimate",
    "Evaluation",
    "Fold",
    "GroupMetrics",
    "MembershipAudit",
    "SliceResult",
    "TestUses",
    "Verdict",
    "choose_fields",
    "clustered_delong",
    "cross_fitted_verdict",
    "evaluate_scores",
    "fixed_sequence",
    "folds_of",
    "group_of",
    "judge_rows",
    "judge_slices",
    "membership_audit",
    "paired_latency_us",
    "reference_reasons",
    "resampled_t",
    "row_facts",
    "slice_groups",
    "verdict",
    "weak_reference",
]


if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name != "choose_fields":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from recprune.evaluation.selection import choose_fields

        return choose_fields

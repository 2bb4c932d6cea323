"""How good a model is, and whether a pruned one is no worse."""

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
from recprune.evaluation.selection import choose_fields
from recprune.evaluation.slices import SliceResult, judge_slices

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

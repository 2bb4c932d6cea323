"""Two rankers side by side: the verdict, and what the smaller one saves."""

from __future__ import annotations

from dataclasses import dataclass

from recprune.artifact import stored_size
from recprune.data import Split
from recprune.evaluation.noninferiority import Verdict, verdict
from recprune.evaluation.row_metrics import row_facts
from recprune.models import Ranker

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """A verdict with both models' AUC, log loss and bytes.

    Args:
        verdict: the decision.
        auc, logloss, bytes: of the full and the pruned model.
    """

    verdict: Verdict
    auc: tuple[float, float]
    logloss: tuple[float, float]
    bytes: tuple[int, int]

    def __str__(self) -> str:
        return (
            f"{self.verdict}\n"
            f"AUC {self.auc[0]:.4f} → {self.auc[1]:.4f}, "
            f"log loss {self.logloss[0]:.4f} → {self.logloss[1]:.4f}, "
            f"bytes {self.bytes[0]:,} → {self.bytes[1]:,} ({self.bytes[0] / self.bytes[1]:.1f}×)"
        )


def compare(
    full: Ranker, pruned: Ranker, rows: Split, tolerance: float = 0.002, seed: int = 0
) -> Comparison:
    """Judge a pruned ranker against the full one on the same rows.

    Args:
        full, pruned: fitted rankers.
        rows: labelled rows that neither was trained or chosen on.
        tolerance: largest drop of AUC that passes.
        seed: of the resamples.
    """
    logits = [m.logits(m.aligned(rows).rows) for m in (full, pruned)]
    facts = [row_facts(each, rows.label, 0.5) for each in logits]
    decision = verdict(
        rows.label, *logits, users=rows.users, items=rows.items, tolerance=tolerance, seed=seed
    )
    return Comparison(
        decision,
        (facts[0]["auc"], facts[1]["auc"]),
        (facts[0]["logloss"], facts[1]["logloss"]),
        (stored_size(full.artifact()), stored_size(pruned.artifact())),
    )

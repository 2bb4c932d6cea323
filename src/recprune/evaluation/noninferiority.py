"""PASS, FAIL or INCONCLUSIVE: is the pruned model no worse than the full one?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError
from recprune.evaluation.bootstrap import PairedAuc, resampled_differences
from recprune.evaluation.delong import clustered_delong
from recprune.evaluation.slices import SliceResult

__all__ = ["Outcome", "Verdict", "reference_reasons", "verdict", "weak_reference"]

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
#: One-sided 95 % and 80 % quantiles of the normal distribution.
Z95, Z80 = 1.6448536, 0.8416212
DRAWS = 400


@dataclass(frozen=True)
class Verdict:
    """The decision on two models on the same rows.

    Args:
        outcome: PASS if the one-sided 95 % lower bound of the difference is above −tolerance,
            FAIL if the upper bound is below it, else INCONCLUSIVE.
        metric: what was compared.
        tolerance: largest drop that passes; fixed before the rows were opened.
        difference: metric(pruned) − metric(full).
        ci: the two one-sided 95 % bounds, a 90 % interval.
        method: how the interval was made; the widest of those that apply decides.
        n_rows: rows compared.
        rows_needed: for INCONCLUSIVE, the rows that would decide with 80 % power; None where no
            number would, since the difference is at the tolerance.
        crosscheck: the clustered DeLong difference and standard error.
        slices: see :mod:`recprune.evaluation.slices`.
        reasons: why the outcome is not what the interval alone says.
        test_uses: how many models these test rows have judged, this one included.
    """

    outcome: Outcome
    metric: str
    tolerance: float
    difference: float
    ci: tuple[float, float]
    method: str
    n_rows: int
    rows_needed: int | None
    crosscheck: dict[str, float]
    slices: tuple[SliceResult, ...] = ()
    reasons: tuple[str, ...] = field(default=())
    test_uses: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        out = asdict(self)
        return {**out, "ci": list(self.ci), "slices": [s.to_json() for s in self.slices]}

    def __str__(self) -> str:
        low, high = self.ci
        return (
            f"{self.outcome}: {self.metric} {self.difference:+.4f} "
            f"(90 % interval {low:+.4f} to {high:+.4f}), tolerance {self.tolerance:g}, "
            f"{self.method}, {self.n_rows:,} rows"
        )


def verdict(
    label: NDArray[np.floating],
    full: NDArray[np.floating],
    pruned: NDArray[np.floating],
    *,
    users: NDArray[np.integer] | None = None,
    items: NDArray[np.integer] | None = None,
    tolerance: float = 0.002,
    draws: int = DRAWS,
    seed: int = 0,
) -> Verdict:
    """Judge a pruned model against the full one by AUC on the same rows.

    Args:
        label: 0 or 1, shape (n_rows,).
        full, pruned: the models' scores, shape (n_rows,).
        users: each row's user; resampling is by user. None = by row.
        items: each row's item; where items repeat, a two-way bootstrap stands beside the one by
            user, and the wider interval decides.
        tolerance: largest drop that passes.
        draws: resamples.
        seed: of the resamples; all models judged with one seed see the same ones.

    Raises:
        ParameterError: a tolerance that is not positive, lengths that differ, scores that are not
            finite, or one class only.

    >>> label = np.tile([0.0, 1.0], 200)
    >>> score = label + np.linspace(0, 2, 400)
    >>> print(verdict(label, score, score).outcome)
    PASS
    """
    if not 0 < tolerance < 1:
        raise ParameterError.of("tolerance", "verdict", "a float in (0, 1)", tolerance)
    for name, value in (("full", full), ("pruned", pruned)):
        if np.shape(value) != np.shape(label):
            raise ParameterError.of(name, "verdict", f"of shape {np.shape(label)}", np.shape(value))
        if not np.isfinite(value).all():
            raise ParameterError(f"The {name!r} scores of verdict hold values that are not finite.")
    difference, error = clustered_delong(label, full, pruned, users)
    pair = PairedAuc(label, full, pruned)
    ways: list[tuple[str, Sequence[NDArray[np.integer] | None]]] = [
        ("user bootstrap" if users is not None else "row bootstrap", [users])
    ]
    if items is not None and len(np.unique(items)) < len(items):
        ways.append(("two-way bootstrap", [users, items] if users is not None else [items]))
    intervals = {}
    for name, clusters in ways:
        resampled = resampled_differences(pair, clusters, draws, seed, name)
        # Centred on the estimate itself: the pigeonhole bootstrap widens, it must not shift.
        low, high = np.quantile(resampled - resampled.mean(), [0.05, 0.95])
        intervals[name] = (difference + float(low), difference + float(high))
    method = max(intervals, key=lambda name: intervals[name][1] - intervals[name][0])
    ci = intervals[method]
    outcome = _outcome(ci, tolerance)
    return Verdict(
        outcome,
        "auc",
        tolerance,
        difference,
        ci,
        method,
        len(label),
        _rows_needed(difference, ci, tolerance, len(label)) if outcome == "INCONCLUSIVE" else None,
        {"delong_difference": difference, "delong_se": error},
    )


def reference_reasons(
    full: float, popularity: float, linear: float, tolerance: float
) -> tuple[str, ...]:
    """Return why the full model is not worth beating; empty if it is.

    It must beat popularity by five tolerances and not trail logistic regression.
    """
    out = []
    if full < popularity + 5 * tolerance:
        out.append(
            f"weak reference: the full model's AUC {full:.4f} does not beat popularity's "
            f"{popularity:.4f} by 5 × {tolerance:g}"
        )
    if full < linear - tolerance:
        out.append(
            f"weak reference: the full model's AUC {full:.4f} trails logistic regression's {linear:.4f}"
        )
    return tuple(out)


def weak_reference(decision: Verdict, reasons: tuple[str, ...]) -> Verdict:
    """Return the verdict with these reasons; a PASS against a weak reference proves nothing."""
    if not reasons:
        return decision
    outcome: Outcome = "INCONCLUSIVE" if decision.outcome == "PASS" else decision.outcome
    return replace(decision, outcome=outcome, reasons=(*decision.reasons, *reasons))


def _outcome(ci: tuple[float, float], tolerance: float) -> Outcome:
    if ci[0] > -tolerance:
        return "PASS"
    return "FAIL" if ci[1] < -tolerance else "INCONCLUSIVE"


def _rows_needed(
    difference: float, ci: tuple[float, float], tolerance: float, n_rows: int
) -> int | None:
    """Return rows at which a difference like this one decides with 80 % power.

    The standard error falls with the root of the rows: (z95 + z80) · se must fit in the distance
    between the difference and −tolerance.
    """
    error = (ci[1] - ci[0]) / (2 * Z95)
    distance = abs(difference + tolerance)
    if distance < 1e-9 or error <= 0:
        return None
    return math.ceil(n_rows * ((Z95 + Z80) * error / distance) ** 2)

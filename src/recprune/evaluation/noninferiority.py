"""PASS, FAIL or INCONCLUSIVE: is the pruned model no worse than the full one?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError, nearest
from recprune.evaluation.paired import Interval, Metric, Rows, cross_check, intervals
from recprune.evaluation.slices import LEAST_OF_CLASS, SliceResult

__all__ = [
    "Outcome",
    "Verdict",
    "fixed_sequence",
    "reference_reasons",
    "verdict",
    "weak_reference",
]

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
#: One-sided 95 % and 80 % quantiles of the normal distribution.
Z95, Z80 = 1.6448536, 0.8416212
DRAWS = 400
#: Fewer users (or rows, where there are none) than this carry no verdict.
LEAST_CLUSTERS = 10


@dataclass(frozen=True)
class Verdict:
    """The decision on two models on the same rows.

    Args:
        outcome: PASS if the one-sided 95 % lower bound of the difference is above −tolerance,
            FAIL if the upper bound is below it, else INCONCLUSIVE.
        metric: what was compared.
        tolerance: largest drop that passes; fixed before the rows were opened.
        difference: metric(pruned) − metric(full); for the log loss the sign is turned.
        ci: the two one-sided 95 % bounds, a 90 % interval.
        method: how the interval was made; the widest of those that apply decides.
        n_rows: rows compared.
        rows_needed: for INCONCLUSIVE, the rows with which it would pass with 80 % power, as many
            for each user as here; None where no number would, since the difference is at the
            tolerance or beyond.
        crosscheck: the difference and standard error in closed form (clustered DeLong), and the
            intervals of all methods that apply.
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
    crosscheck: dict[str, Any]
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
    label: NDArray[Any],
    full: NDArray[Any],
    pruned: NDArray[Any],
    *,
    users: NDArray[Any] | None = None,
    items: NDArray[Any] | None = None,
    metric: Metric = "auc",
    tolerance: float = 0.002,
    draws: int = DRAWS,
    seed: int = 0,
) -> Verdict:
    """Judge a pruned model against the full one on the same rows.

    The bounds are d ± t · s: s is the standard deviation of the resampled differences, t the
    95 % quantile of Student's distribution with the effective degrees of freedom of the users, so
    that a few users with most of the rows count as few.

    Args:
        label: 0 or 1, shape ``(n_rows,)``, both present.
        full, pruned: the models' scores, shape ``(n_rows,)``; logits for the log loss and the
            accuracy (called positive from a logit of 0 on), any score for the AUC.
        users: each row's user; resampling is by user. None = by row.
        items: each row's item; where items repeat, a two-way bootstrap stands beside the one by
            user (without users: one by item beside the one by row), and the wider interval
            decides.
        metric: ``"auc"``, ``"logloss"`` or ``"accuracy"``. The log loss counts with its sign
            turned, so that a negative difference is worse for each of them.
        tolerance: largest drop that passes.
        draws: resamples, at least 100.
        seed: of the resamples; all models judged with one seed see the same ones.

    Raises:
        ParameterError: a tolerance outside (0, 1), too few draws, another metric, lengths that
            differ, scores that are not finite, labels other than 0 and 1, or one class only.

    Two hundred rows of each class, and a copy of the full model: no doubt. With noise of the
    signal's size on top there is none either; with a tenth of it, these rows cannot tell.

    >>> label = np.tile([0.0, 1.0], 200)
    >>> score, noise = label + np.linspace(0, 2, 400), np.sin(np.arange(400) ** 2)
    >>> [verdict(label, score, score + share * noise).outcome for share in (0, 1, 0.1)]
    ['PASS', 'FAIL', 'INCONCLUSIVE']
    """
    if not 0 < tolerance < 1:
        raise ParameterError.of("tolerance", "verdict", "a float in (0, 1)", tolerance)
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 100:
        raise ParameterError.of("draws", "verdict", "a whole number ≥ 100", draws)
    if metric not in get_args(Metric):
        known = get_args(Metric)
        raise ParameterError(f"There is no verdict by {metric!r}.{nearest(str(metric), known)}")
    rows = Rows.checked(label, full, pruned, users, items)
    ways = intervals(rows, metric, int(draws), seed)
    method = max(ways, key=lambda way: ways[way].width)
    chosen = ways[method]
    reasons = _too_few(rows)
    outcome = "INCONCLUSIVE" if reasons else _outcome(chosen.bounds, tolerance)
    needed = None
    if outcome == "INCONCLUSIVE":
        needed = _rows_needed(chosen, tolerance, len(rows.label))
        if needed is not None and reasons:
            needed = max(needed, math.ceil(len(rows.label) * LEAST_OF_CLASS / rows.rarer))
    return Verdict(
        outcome,
        metric,
        tolerance,
        chosen.difference,
        chosen.bounds,
        method,
        len(rows.label),
        needed,
        {**cross_check(rows, metric), "intervals": {k: list(w.bounds) for k, w in ways.items()}},
        reasons=reasons,
    )


def fixed_sequence(outcomes: Sequence[Outcome | Verdict]) -> int | None:
    """Return the place of the last PASS before the first outcome that is none.

    Nested candidates, from the largest to the smallest, tested in this order and with a stop at
    the first that does not pass, need no correction for their number (Maurer et al. 1995; Westfall
    & Krishen 2001). None: the first does not pass.

    >>> fixed_sequence(["PASS", "PASS", "INCONCLUSIVE", "PASS"])
    1
    """
    place = None
    for i, each in enumerate(outcomes):
        if (each.outcome if isinstance(each, Verdict) else each) != "PASS":
            break
        place = i
    return place


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
    """Return the verdict with these reasons: INCONCLUSIVE, if there are any.

    To be no worse than a model that is not worth beating proves nothing, and rows would not help.
    """
    if not reasons:
        return decision
    return replace(
        decision,
        outcome="INCONCLUSIVE",
        rows_needed=None,
        reasons=(*decision.reasons, *reasons),
    )


def _outcome(ci: tuple[float, float], tolerance: float) -> Outcome:
    if ci[0] > -tolerance:
        return "PASS"
    return "FAIL" if ci[1] < -tolerance else "INCONCLUSIVE"


def _too_few(rows: Rows) -> tuple[str, ...]:
    """Return why the rows are too few for any interval to be trusted."""
    out = []
    if rows.rarer < LEAST_OF_CLASS:
        out.append(f"too few rows: {rows.rarer} of the rarer class, {LEAST_OF_CLASS} are needed")
    if rows.clusters < LEAST_CLUSTERS:
        out.append(f"too few users: {rows.clusters}, {LEAST_CLUSTERS} are needed")
    return tuple(out)


def _rows_needed(interval: Interval, tolerance: float, n_rows: int) -> int | None:
    """Return the rows at which a verdict passes with 80 % power, or None.

    The standard error falls with the root of the rows, and (z95 + z80) of them must fit between
    the true difference and −tolerance. The true difference is taken for zero, as the user hopes,
    as long as a model without any drop could have come out like this: more rows than these would
    then be needed. Where these rows would have sufficed for it, there is some drop, and the one
    seen is taken. A difference at or beyond the tolerance is not on its way to a PASS: None.
    """
    if interval.difference <= -tolerance:
        return None
    reach = (Z95 + Z80) * interval.error
    lossless = math.ceil(n_rows * (reach / tolerance) ** 2)
    if lossless > n_rows:
        return lossless
    return math.ceil(n_rows * (reach / (tolerance + interval.difference)) ** 2)

"""PASS, FAIL or INCONCLUSIVE: is the pruned model no worse than the full one?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recprune.errors import ParameterError
from recprune.evaluation.intervals import rows_needed
from recprune.evaluation.paired import Metric, Rows, cross_check, intervals
from recprune.evaluation.slices import LEAST_OF_CLASS, SliceResult
from recprune.executor import Executor

__all__ = [
    "Estimand",
    "Outcome",
    "Verdict",
    "fixed_sequence",
    "outcome_of",
    "reference_reasons",
    "too_few",
    "verdict",
    "weak_reference",
]

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
#: What is judged: these models, or the way they were made, whatever the seed.
Estimand = Literal["artefacts", "procedure"]
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
            for each user and item as here; None where no number would: the difference is at the
            tolerance or beyond, or the seeds differ too much.
        crosscheck: the difference and standard error in closed form (clustered DeLong), and the
            intervals of all methods that apply.
        slices: see :mod:`recprune.evaluation.slices`.
        reasons: why the outcome is not what the interval alone says.
        test_uses: how many models these test rows have judged, this one included.
        estimand: ``"artefacts"``: these two models on this population; ``"procedure"``: models
            trained and pruned in the same way, whatever the seed.
        n_seeds: pairs of models that were judged.
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
    estimand: Estimand = "artefacts"
    n_seeds: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        out = asdict(self)
        return {**out, "ci": list(self.ci), "slices": [s.to_json() for s in self.slices]}

    def __str__(self) -> str:
        low, high = self.ci
        many = f", the procedure by {self.n_seeds} seeds" if self.estimand == "procedure" else ""
        return (
            f"{self.outcome}: {self.metric} {self.difference:+.4f} "
            f"(90 % interval {low:+.4f} to {high:+.4f}), tolerance {self.tolerance:g}, "
            f"{self.method}, {self.n_rows:,} rows{many}"
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
    executor: Executor | None = None,
) -> Verdict:
    """Judge a pruned model against the full one on the same rows, or several such pairs.

    The bounds are d ± t · s: s² is the variance of the differences of resampled users and of what
    items that repeat add to it, t the 95 % quantile of Student's distribution with Satterthwaite's
    degrees of freedom, so that a few users with most of the rows count as few; see
    :func:`recprune.evaluation.paired.intervals`.

    Scores of shape ``(n_seeds, n_rows)`` judge the *procedure*: d is the mean of the seeds'
    differences, and s² holds their variance over n_seeds, with n_seeds − 1 degrees of freedom.
    Every seed sees the same resamples.

    Args:
        label: 0 or 1, shape ``(n_rows,)``, both present.
        full, pruned: the models' scores, shape ``(n_rows,)``, or ``(n_seeds, n_rows)`` with two
            seeds or more; logits for the log loss and the accuracy (called positive from a logit
            of 0 on), any score for the AUC.
        users: each row's user; resampling is by user. None = by row.
        items: each row's item; where items repeat, their share of the error stands beside that of
            the users, and the wider interval decides.
        metric: ``"auc"``, ``"logloss"`` or ``"accuracy"``. The log loss counts with its sign
            turned, so that a negative difference is worse for each of them.
        tolerance: largest drop that passes.
        draws: resamples, at least 100.
        seed: of the resamples; all models judged with one seed see the same ones.
        executor: where the resamples run; None = here. The verdict does not depend on it.

    Raises:
        ParameterError: a tolerance outside (0, 1), too few draws, another metric, shapes that
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
    rows = Rows.checked(label, full, pruned, users, items, metric)
    ways = intervals(rows, int(draws), seed, executor)
    method = max(ways, key=lambda way: ways[way].width)
    chosen, n_seeds = ways[method], len(rows.full)
    reasons, least = too_few(rows.rarer, rows.by_user.size)
    outcome = "INCONCLUSIVE" if reasons else outcome_of(chosen.bounds, tolerance)
    needed = None
    if outcome == "INCONCLUSIVE":
        needed = rows_needed(chosen, tolerance, len(rows.label))
        if needed is not None:
            needed = max(needed, math.ceil(least * len(rows.label)))
        elif n_seeds > 1 and chosen.difference > -tolerance:
            reasons = (
                *reasons,
                f"{n_seeds} seeds differ too much: more seeds would tell, not rows",
            )
    return Verdict(
        outcome,
        metric,
        tolerance,
        chosen.difference,
        chosen.bounds,
        method,
        len(rows.label),
        needed,
        {**cross_check(rows), "intervals": {k: list(w.bounds) for k, w in ways.items()}},
        reasons=reasons,
        estimand="procedure" if n_seeds > 1 else "artefacts",
        n_seeds=n_seeds,
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


def outcome_of(ci: tuple[float, float], tolerance: float) -> Outcome:
    """Return what an interval says of a tolerance; see :class:`Verdict`."""
    if ci[0] > -tolerance:
        return "PASS"
    return "FAIL" if ci[1] < -tolerance else "INCONCLUSIVE"


def too_few(rarer: int, clusters: int) -> tuple[tuple[str, ...], float]:
    """Return why rows are too few for any interval to be trusted, and how many times as many
    would do.

    Args:
        rarer: rows of the rarer class.
        clusters: users, or rows where there are none.
    """
    out = []
    if rarer < LEAST_OF_CLASS:
        out.append(f"too few rows: {rarer} of the rarer class, {LEAST_OF_CLASS} are needed")
    if clusters < LEAST_CLUSTERS:
        out.append(f"too few users: {clusters}, {LEAST_CLUSTERS} are needed")
    return tuple(out), max(1.0, LEAST_OF_CLASS / rarer, LEAST_CLUSTERS / clusters)

"""Where the pruned model may be worse: alarms by user, item, attribute, and unseen ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recprune.evaluation.bootstrap import Clusters, PairedAuc
from recprune.evaluation.delong import delong_error
from recprune.evaluation.intervals import Interval, effective_freedom, t_tail

__all__ = ["SliceResult", "judge_slices"]

SLICE_TOLERANCE = 0.005
#: Fewer rows of either class than this decide nothing.
LEAST_OF_CLASS = 30
LEAST_CLUSTERS = 20


@dataclass(frozen=True)
class SliceResult:
    """The difference on one part of the rows.

    Args:
        slice: the part, as ``age=45-54``.
        kind: what the parts are of: ``"sensitive"``, ``"activity"``, ``"popularity"``, …
        rows: rows in it.
        users: users in it, or None.
        difference: AUC(pruned) − AUC(full), or None where a class is too rare.
        ci: its 90 % interval, or None.
        outcome: ``"alarm"`` if the Holm-adjusted upper bound is below −slice_tolerance,
            ``"undecided"`` if the slice is too small or its interval too wide, else ``"ok"``.
    """

    slice: str
    kind: str
    rows: int
    users: int | None
    difference: float | None
    ci: tuple[float, float] | None
    outcome: Literal["ok", "alarm", "undecided"]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {**asdict(self), "ci": list(self.ci) if self.ci else None}


def judge_slices(
    label: NDArray[Any],
    full: NDArray[Any],
    pruned: NDArray[Any],
    groups: Mapping[tuple[str, str], NDArray[np.object_]],
    users: NDArray[Any] | None = None,
    slice_tolerance: float = SLICE_TOLERANCE,
) -> tuple[SliceResult, ...]:
    """Judge every value of every grouping.

    Args:
        label, full, pruned: as in :func:`recprune.evaluation.verdict`, shape ``(n_rows,)``.
        groups: (name, kind) → each row's group, shape ``(n_rows,)``.
        users: each row's user, or None.
        slice_tolerance: largest drop that raises no alarm.

    The standard errors are the clustered DeLong's, with the degrees of freedom of the slice's users.
    Alarms hold for all slices together: the
    p-values of "the drop is not larger than the tolerance" are stepped down by Holm 1979, among
    the slices that are large enough to be tested. Too small are those with fewer than
    ``LEAST_OF_CLASS`` rows of a class or ``LEAST_CLUSTERS`` users: they are listed as undecided.

    The pruned scores are noise in one half of the rows only, and the same in the other:

    >>> label = np.tile([0, 1], 400)
    >>> score = label + np.linspace(0, 1, 800)
    >>> half = np.repeat(["a", "b"], 400).astype(object)
    >>> pruned = np.where(half == "a", np.sin(np.arange(800) ** 2), score)
    >>> [(s.slice, s.outcome) for s in judge_slices(label, score, pruned, {("half", "x"): half})]
    [('half=a', 'alarm'), ('half=b', 'ok')]
    """
    found: list[tuple[str, str, int, int | None]] = []
    intervals: list[Interval | None] = []
    positive = np.asarray(label) == 1
    for (name, kind), group in groups.items():
        values, place, sizes = np.unique(group.astype(str), return_inverse=True, return_counts=True)
        # Sorted once: a column with thousands of values is not searched once for each.
        parts = np.split(np.argsort(place, kind="stable"), np.cumsum(sizes)[:-1])
        for value, here in zip(values, parts, strict=True):
            owner = Clusters(len(here), users[here] if users is not None else None)
            n_users = owner.size if users is not None else None
            found.append((f"{name}={value}", kind, len(here), n_users))
            intervals.append(_interval(positive[here], full[here], pruned[here], owner))
    out = []
    for told, each, alarm in zip(found, intervals, _holm(intervals, slice_tolerance), strict=True):
        if each is None:
            out.append(SliceResult(*told, None, None, "undecided"))
            continue
        sure = each.bounds[0] > -slice_tolerance
        outcome: Literal["ok", "alarm", "undecided"] = (
            "alarm" if alarm else "ok" if sure else "undecided"
        )
        out.append(SliceResult(*told, each.difference, each.bounds, outcome))
    return tuple(out)


def _interval(
    positive: NDArray[np.bool_], full: NDArray[Any], pruned: NDArray[Any], users: Clusters
) -> Interval | None:
    """Return the difference on some rows; None where they are too few to tell."""
    ones = int(np.count_nonzero(positive))
    if min(ones, len(positive) - ones) < LEAST_OF_CLASS or users.size < LEAST_CLUSTERS:
        return None
    pair = PairedAuc(positive, full[None], pruned[None], users)
    error = delong_error(positive, pair.gain[0], users)
    if not np.isfinite(error):
        return None
    freedom = effective_freedom(pair.influence[0], users.code, users.size)
    return Interval(float(pair.observed[0]), error**2, 0.0, freedom)


def _holm(intervals: Sequence[Interval | None], tolerance: float) -> list[bool]:
    """Return which slices are worse than the tolerance, with 5 % error for all together."""
    tested = []
    for i, each in enumerate(intervals):
        if each is not None:
            beyond = -tolerance - each.difference
            sure = 0.0 if beyond > 0 else 1.0
            tested.append((t_tail(beyond / each.error, each.freedom) if each.error else sure, i))
    alarms = [False] * len(intervals)
    for step, (p, i) in enumerate(sorted(tested)):
        if p > 0.05 / (len(tested) - step):
            break
        alarms[i] = True
    return alarms

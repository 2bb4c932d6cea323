"""Where the pruned model may be worse: alarms by user, item, attribute, and unseen ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recprune.evaluation.delong import clustered_delong

__all__ = ["SliceResult", "judge_slices", "thirds"]

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
    label: NDArray[np.floating],
    full: NDArray[np.floating],
    pruned: NDArray[np.floating],
    groups: Mapping[tuple[str, str], NDArray[np.object_]],
    users: NDArray[np.integer] | None = None,
    slice_tolerance: float = SLICE_TOLERANCE,
) -> tuple[SliceResult, ...]:
    """Judge every value of every grouping.

    Args:
        label, full, pruned: as in :func:`recprune.evaluation.verdict`, shape (n_rows,).
        groups: (name, kind) → each row's group, shape (n_rows,).
        users: each row's user, or None.
        slice_tolerance: largest drop that raises no alarm.

    The standard errors are the clustered DeLong's. Alarms hold for all slices together: the
    p-values of "the drop is not larger than the tolerance" are stepped down by Holm 1979.
    """
    found: list[tuple[str, str, int, int | None, float | None, float | None]] = []
    for (name, kind), group in groups.items():
        values, place = np.unique(group.astype(str), return_inverse=True)
        for i, value in enumerate(values):
            here = place == i
            owner = users[here] if users is not None else None
            n_users = len(np.unique(owner)) if owner is not None else None
            ones = int(label[here].sum())
            small = min(ones, int(here.sum()) - ones) < LEAST_OF_CLASS
            if small or (n_users is not None and n_users < LEAST_CLUSTERS):
                found.append((f"{name}={value}", kind, int(here.sum()), n_users, None, None))
                continue
            d, se = clustered_delong(label[here], full[here], pruned[here], owner)
            found.append((f"{name}={value}", kind, int(here.sum()), n_users, d, se))
    alarms = _holm([(d, se) for *_, d, se in found], slice_tolerance)
    out = []
    for (name, kind, rows, n_users, drop, error), alarm in zip(found, alarms, strict=True):
        if drop is None or error is None:
            out.append(SliceResult(name, kind, rows, n_users, None, None, "undecided"))
            continue
        ci = (drop - 1.6448536 * error, drop + 1.6448536 * error)
        sure = ci[0] > -slice_tolerance
        outcome: Literal["ok", "alarm", "undecided"] = (
            "alarm" if alarm else "ok" if sure else "undecided"
        )
        out.append(SliceResult(name, kind, rows, n_users, drop, ci, outcome))
    return tuple(out)


def thirds(count: NDArray[np.number], names: tuple[str, str, str]) -> NDArray[np.object_]:
    """Group rows by a count: zero (first name), at most the median (second), above it (third)."""
    positive = count[count > 0]
    middle = np.median(positive) if len(positive) else 0
    return np.where(count == 0, names[0], np.where(count <= middle, names[1], names[2])).astype(
        object
    )


def _holm(tests: list[tuple[float | None, float | None]], tolerance: float) -> list[bool]:
    """Return which slices are worse than the tolerance, with 5 % error for all together."""
    p = np.array(
        [1.0 if d is None or not se else _upper_tail((-tolerance - d) / se) for d, se in tests]
    )
    order, alarms = np.argsort(p, kind="stable"), [False] * len(tests)
    for step, i in enumerate(order):
        if p[i] > 0.05 / (len(tests) - step):
            break
        alarms[i] = True
    return alarms


def _upper_tail(z: float) -> float:
    from math import erfc, sqrt

    return 0.5 * erfc(z / sqrt(2))

"""Turn importance into a plan: how much of each kind of unit to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recprune.data import Split
from recprune.errors import ParameterError, PlanError, nearest
from recprune.importance import importance
from recprune.importance.dropout import learned_rates
from recprune.layout import Axis, Plan, Unit
from recprune.models import Ranker

__all__ = [
    "DEFAULT_METHODS",
    "UNITS",
    "Keep",
    "UnitScores",
    "Wanted",
    "cuttable",
    "plan",
    "plan_from_scores",
    "score_units",
    "unit_count",
]

#: What to keep of a kind of unit: a share (float in (0, 1]), a count (int); names of fields; or
#: a count for each hidden layer.
Wanted = float | int | Sequence[str] | Sequence[int]
Keep = Mapping[str, Wanted]

#: Axis name → importance of its units.
UnitScores = Mapping[str, NDArray[np.float64]]

UNITS: dict[str, Unit] = {
    "fields": "field",
    "rows": "row",
    "dims": "dim",
    "neurons": "neuron",
    "pairs": "pair",
}
DEFAULT_METHODS = {
    "fields": "permutation",
    "rows": "norm_count",
    "dims": "l2",
    "neurons": "l2",
    "pairs": "l2",
}


def plan(
    model: Ranker,
    split: Split,
    keep: Keep,
    methods: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Plan:
    """Make a plan that keeps the most important units.

    Args:
        model: fitted ranker, cut or not.
        split: rows that the methods score on, in any encoding that the model descends from.
        keep: by kind of unit (``"fields"``, ``"rows"``, ``"dims"``, ``"neurons"``, ``"pairs"``). A float is
            the share kept of the units that are left now, an int the count, a list of names the
            fields themselves, a list of ints the neurons of each layer. Rows compete across all
            fields; dims are the same in every field; neurons compete within their layer. Numeric
            fields' knots are never cut one by one.
        methods: kind of unit → method; the rest by ``DEFAULT_METHODS``.
        seed: of the methods' draws.

    Raises:
        ParameterError: an unknown kind of unit, or a share or count out of range.
        PlanError: the model has no such axis.
    """
    scored = [k for k, wanted in keep.items() if not (_whole(wanted) or _names_fields(k, wanted))]
    return plan_from_scores(model, keep, score_units(model, split, scored, methods, seed))


def score_units(
    model: Ranker,
    split: Split,
    kinds: Sequence[str],
    methods: Mapping[str, str] | None = None,
    seed: int = 0,
) -> UnitScores:
    """Score every unit of these kinds once; plans of any size can be made from the scores.

    Returns:
        Axis name → importance, shape (n_units,).
    """
    methods = {**DEFAULT_METHODS, **(methods or {})}
    for kind in methods:
        _unit(kind)
    axes = {kind: cuttable(model, kind) for kind in kinds}
    split = model.aligned(split)
    scores: dict[str, NDArray[np.float64]] = {}
    learned = [a for kind in kinds if methods[kind] == "dropout" for a in axes[kind]]
    if learned:  # one training run serves all axes
        rates = learned_rates(model, split, learned, seed)
        scores.update({name: s.score for name, s in rates.items()})
    for kind in kinds:
        for axis in axes[kind]:
            if axis.name not in scores:
                scores[axis.name] = importance(model, split, axis, methods[kind], seed).score
    return scores


def plan_from_scores(model: Ranker, keep: Keep, scores: UnitScores) -> Plan:
    """Make the plan that :func:`plan` makes, from scores that are there already."""
    kept: dict[str, NDArray[np.int32]] = {}
    for kind, wanted in keep.items():
        axes = cuttable(model, kind)
        if _whole(wanted):
            continue
        if _names_fields(kind, wanted):
            kept["fields"] = _named(axes[0], tuple(str(w) for w in wanted))  # type: ignore[union-attr]
            continue
        each = _each(axes, wanted, kind)
        here = [scores[a.name] for a in axes]
        if kind == "rows":
            kept.update(_best_of_all(axes, here, each[0]))
            continue
        if kind == "dims":
            here = [np.sum(here, axis=0)] * len(axes)
        for axis, score, share in zip(axes, here, each, strict=True):
            kept[axis.name] = _best(axis, score, share, kind)
    return Plan(model.layout.hash, kept)


def _unit(kind: str) -> Unit:
    if kind not in UNITS:
        raise ParameterError(f"There is no unit {kind!r} to keep.{nearest(kind, UNITS)}")
    return UNITS[kind]


def cuttable(model: Ranker, kind: str) -> list[Axis]:
    """Return the axes of a kind of unit that can lose units on their own."""
    return [
        a for a in model.layout.of_unit(_unit(kind)) if a.min_keep < a.size or a.unit == "field"
    ]


def _whole(wanted: Wanted) -> bool:
    return isinstance(wanted, float) and wanted == 1.0


def _names_fields(kind: str, wanted: Wanted) -> bool:
    return kind == "fields" and not isinstance(wanted, str | float | int)


def unit_count(wanted: float | int, total: int, kind: str) -> int:
    """Return how many of ``total`` units a share or a count keeps.

    Raises:
        ParameterError: neither a float in (0, 1] nor an int ≥ 1.
    """
    constraint = "a float in (0, 1] (a share) or an int ≥ 1 (a count)"
    if isinstance(wanted, bool) or not isinstance(wanted, float | int):
        raise ParameterError.of(kind, "keep", constraint, wanted)
    if isinstance(wanted, int):
        if wanted < 1:
            raise ParameterError.of(kind, "keep", constraint, wanted)
        return min(wanted, total)
    if not 0 < wanted <= 1:
        raise ParameterError.of(kind, "keep", constraint, wanted)
    return max(1, round(wanted * total))


def _each(axes: list[Axis], wanted: Wanted, kind: str) -> list[float | int]:
    if isinstance(wanted, float | int | str):
        return [wanted] * len(axes)  # type: ignore[list-item]
    if kind != "neurons" or len(wanted) != len(axes):
        constraint = f"one share or count, or, for neurons, one a layer ({len(axes)} here)"
        raise ParameterError.of(kind, "keep", constraint, wanted)
    return list(wanted)  # type: ignore[arg-type]


def _best(
    axis: Axis, score: NDArray[np.float64], wanted: float | int, kind: str
) -> NDArray[np.int32]:
    count = unit_count(wanted, axis.size, kind)
    if count < axis.min_keep:
        raise PlanError(
            f"Keeping {wanted!r} of {kind} leaves {count} units of axis {axis.name!r}; "
            f"at least {axis.min_keep} must stay."
        )
    best = np.argsort(-score, kind="stable")[:count]
    return np.sort(axis.units[best])


def _best_of_all(
    axes: list[Axis], scores: list[NDArray[np.float64]], wanted: float | int
) -> dict[str, NDArray[np.int32]]:
    free = [np.arange(a.size) >= a.pinned for a in axes]
    every = np.concatenate([s[f] for s, f in zip(scores, free, strict=True)])
    count = unit_count(wanted, len(every), "rows") if len(every) else 0
    stays = np.zeros(len(every), bool)
    stays[np.argsort(-every, kind="stable")[:count]] = True
    out, start = {}, 0
    for axis, mask in zip(axes, free, strict=True):
        here = np.ones(axis.size, bool)
        here[mask] = stays[start : start + mask.sum()]
        start += int(mask.sum())
        out[axis.name] = axis.units[here]
    return out


def _named(axis: Axis, names: tuple[str, ...]) -> NDArray[np.int32]:
    labels = axis.labels or ()
    for name in names:
        if name not in labels:
            raise PlanError(f"The model has no field {name!r}.{nearest(name, labels)}")
    wanted = [i for i, label in enumerate(labels) if label in names]
    return np.array(sorted(set(wanted)), np.int32)

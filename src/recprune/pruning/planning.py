"""Turn importance into a plan: how much of each kind of unit to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recprune.data import Dataset, Split
from recprune.errors import ParameterError, PlanError, nearest
from recprune.importance import Evidence, importances
from recprune.layout import Axis, Plan, Unit
from recprune.models import Ranker

__all__ = [
    "DEFAULT_METHODS",
    "PER_FIELD",
    "UNITS",
    "Keep",
    "UnitScores",
    "Wanted",
    "cuttable",
    "names_fields",
    "per_axis",
    "plan",
    "plan_from_scores",
    "score_units",
    "to_cut",
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
    "dims": "svd",
    "neurons": "omp",
    "pairs": "shark",
}
#: Methods for dims whose scores count across fields, so that each field keeps dims of its own.
PER_FIELD = frozenset({"mixed_dims", "sseds"})


def plan(
    model: Ranker,
    data: Dataset | Split | Evidence,
    keep: Keep,
    methods: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Plan:
    """Make a plan that keeps the most important units.

    Fields are chosen first. The rows, pairs and, where they compete, dims of fields that go are out
    of the running, so that as many are left as were asked for.

    Args:
        model: fitted ranker, cut or not.
        data: rows to learn from and to score on, as :func:`recprune.importance.importance` takes
            them, in any encoding that the model descends from.
        keep: by kind of unit (``"fields"``, ``"rows"``, ``"dims"``, ``"neurons"``, ``"pairs"``). A float is
            the share kept of the units that are left now, an int the count, a list of names the
            fields themselves, a list of ints the neurons of each layer. Rows compete across all
            fields; dims are the same in every field, or, by the methods ``sseds`` and
            ``mixed_dims``, compete across fields (an int is then the mean count a field); neurons
            compete within their layer. Numeric fields' knots are never cut one by one.
        methods: kind of unit → method; the rest by ``DEFAULT_METHODS``.
        seed: of the methods' draws.

    Raises:
        ParameterError: an unknown kind of unit, or a share or count out of range.
        PlanError: the model has no such axis, or none that can lose units.
    """
    scored = [k for k, wanted in keep.items() if not (_whole(wanted) or names_fields(k, wanted))]
    scores = score_units(model, data, scored, methods, seed)
    return plan_from_scores(model, keep, scores, (methods or {}).get("dims") in PER_FIELD)


def score_units(
    model: Ranker,
    data: Dataset | Split | Evidence,
    kinds: Sequence[str],
    methods: Mapping[str, str] | None = None,
    seed: int = 0,
) -> UnitScores:
    """Score every unit of these kinds once; plans of any size can be made from the scores.

    Kinds that share a method which learns (gates) are scored in one run, beside each other.

    Returns:
        Axis name → importance, shape (n_units,).
    """
    methods = {**DEFAULT_METHODS, **(methods or {})}
    for kind in (*methods, *kinds):
        _unit(kind)
    rows = Evidence.of(data, model)
    axes: dict[str, list[Axis]] = {}
    for kind in kinds:
        axes.setdefault(methods[kind], []).extend(cuttable(model, kind))
    return {
        name: found.score
        for method, here in axes.items()
        for name, found in importances(model, rows, here, method, seed).items()
    }


def plan_from_scores(
    model: Ranker, keep: Keep, scores: UnitScores, dims_per_field: bool = False
) -> Plan:
    """Make the plan that :func:`plan` makes, from scores that are there already.

    Args:
        model: whose units were scored.
        keep: see :func:`plan`.
        scores: by axis.
        dims_per_field: whether dims compete across fields.
    """
    kept: dict[str, NDArray[np.int32]] = {}
    for kind in sorted(keep, key=lambda kind: kind != "fields"):  # what fields take along is out
        wanted = keep[kind]
        axes = to_cut(model, kind)
        if _whole(wanted):
            continue
        if names_fields(kind, wanted):
            kept["fields"] = _named(axes[0], tuple(str(w) for w in wanted))  # type: ignore[union-attr]
            continue
        each = per_axis(axes, wanted, kind)
        here = [scores[a.name] for a in axes]
        out = [_gone(model, a, kept.get("fields")) for a in axes]
        if kind in ("rows", "pairs") or (kind == "dims" and dims_per_field):
            kept.update(_best_of_all(axes, here, out, each[0], kind))
            continue
        if kind == "dims":
            here = _shared(axes, here)
        for axis, score, share in zip(axes, here, each, strict=True):
            kept[axis.name] = _best(axis, score, share, kind)
    return Plan(model.layout.hash, kept)


def _shared(axes: list[Axis], scores: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return the sums over the fields that have a dim."""
    total = np.zeros(max((int(a.units.max(initial=-1)) for a in axes), default=-1) + 1)
    for axis, score in zip(axes, scores, strict=True):
        total[axis.units] += score
    return [total[axis.units] for axis in axes]


def _gone(model: Ranker, axis: Axis, fields: NDArray[np.int32] | None) -> NDArray[np.bool_]:
    """Return which units go with fields, shape (n_units,)."""
    gone = np.zeros(axis.size, bool)
    if fields is None:
        return gone
    if axis.parent is not None:
        gone[:] = axis.parent[1] not in fields
    for _, needed in axis.members:
        gone |= (needed >= 0) & ~np.isin(needed, fields)
    return gone


def _unit(kind: str) -> Unit:
    if kind == "weights":
        raise ParameterError(
            "There is no unit 'weights' to keep: a single weight at zero takes no bytes away. "
            "recprune.pruning.weights.sparsify sets them to zero, for studies of size."
        )
    if kind not in UNITS:
        raise ParameterError(f"There is no unit {kind!r} to keep.{nearest(kind, UNITS)}")
    return UNITS[kind]


def cuttable(model: Ranker, kind: str) -> list[Axis]:
    """Return the axes of a kind of unit that can lose units on their own.

    Rows of numbers and vectors cannot; nor can those of a field that has lost all of its own.
    """
    return [a for a in model.layout.of_unit(_unit(kind)) if a.min_keep < a.size or a.unit != "row"]


def to_cut(model: Ranker, kind: str) -> list[Axis]:
    """Return the axes that :func:`cuttable` returns.

    Raises:
        PlanError: there is none.
    """
    axes = cuttable(model, kind)
    if not axes:
        raise PlanError(
            f"The model has no {kind} that can be cut: those of numeric and dense fields are never "
            f"cut one by one, and others have none left. Leave {kind!r} out of keep."
        )
    return axes


def _whole(wanted: Wanted) -> bool:
    return isinstance(wanted, float) and wanted == 1.0


def names_fields(kind: str, wanted: Wanted) -> bool:
    """Tell whether the fields to keep are named."""
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


def per_axis(axes: list[Axis], wanted: Wanted, kind: str) -> list[float | int]:
    """Return the share or count that each axis of a kind of unit is to keep.

    Raises:
        ParameterError: several, and not one a hidden layer.
    """
    if isinstance(wanted, float | int | str):
        return [wanted] * len(axes)  # type: ignore[list-item]
    if kind != "neurons" or len(wanted) != len(axes):
        constraint = f"one share or count, or, for neurons, one a layer ({len(axes)} here)"
        raise ParameterError.of(kind, "keep", constraint, wanted)
    return list(wanted)  # type: ignore[arg-type]


def _best(
    axis: Axis, score: NDArray[np.float64], wanted: float | int, kind: str
) -> NDArray[np.int32]:
    best = np.argsort(-score, kind="stable")[: unit_count(wanted, axis.size, kind)]
    return np.sort(axis.units[best])


def _best_of_all(
    axes: list[Axis],
    scores: list[NDArray[np.float64]],
    gone: list[NDArray[np.bool_]],
    wanted: float | int,
    kind: str,
) -> dict[str, NDArray[np.int32]]:
    """Let the units of all axes compete, but for those that are pinned or go anyway.

    Of each axis the best ``min_keep`` stay in any case.
    """
    free = [(np.arange(a.size) >= a.pinned) & ~g for a, g in zip(axes, gone, strict=True)]
    every = np.concatenate([s[f] for s, f in zip(scores, free, strict=True)])
    total = sum(a.size - a.pinned for a in axes)
    if kind == "dims" and isinstance(wanted, int):
        unit_count(wanted, total, kind)  # before it is multiplied: 0 and True are no counts
        wanted *= len({a.name for a, f in zip(axes, free, strict=True) if f.any()})
    count = min(unit_count(wanted, total, kind), len(every)) if total else 0
    first = [np.zeros(n.sum(), bool) for n in free]
    if kind == "dims":
        for axis, score, mask, sure in zip(axes, scores, free, first, strict=True):
            sure[np.argsort(-score[mask], kind="stable")[: axis.min_keep]] = True
    sure = np.concatenate(first)
    order = np.lexsort((np.arange(len(every)), -every, ~sure))
    stays = np.zeros(len(every), bool)
    stays[order[: max(count, int(sure.sum()))]] = True
    out, start = {}, 0
    for axis, mask, lost in zip(axes, free, gone, strict=True):
        here = ~lost
        here[mask] = stays[start : start + mask.sum()]
        start += int(mask.sum())
        # A field that goes takes the axis along; naming its units would say nothing.
        if not lost.all():
            out[axis.name] = axis.units[here]
    return out


def _named(axis: Axis, names: tuple[str, ...]) -> NDArray[np.int32]:
    labels = axis.labels or ()
    for name in names:
        if name not in labels:
            raise PlanError(f"The model has no field {name!r}.{nearest(name, labels)}")
    return np.array([i for i, label in enumerate(labels) if label in names], np.int32)

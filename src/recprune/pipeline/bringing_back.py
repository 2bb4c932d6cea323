"""What each thing that was cut would cost to bring back, in bytes, and gain, in AUC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recprune.artifact import stored_size
from recprune.axes import IntArray, Layout, Unit
from recprune.data import Dataset
from recprune.executor import Executor
from recprune.importance import FieldRanking
from recprune.layout import Plan
from recprune.models import Ranker
from recprune.models.held_out import held_out_score
from recprune.pipeline.procedures import one_worker_on_disk
from recprune.pipeline.search_result import Search
from recprune.pruning import BITS, FineTuning, encode, fine_tune, repair, rotate
from recprune.pruning.encode import Tables
from recprune.quantisation import Encoding

__all__ = ["MOST_FIELDS", "bring_back", "widened"]

#: Fields that are brought back, each alone; the others of those that were cut are not tried.
MOST_FIELDS = 20
#: Kinds of unit that come back all at once, and how they are called.
KINDS: Mapping[Unit, tuple[str, str]] = {
    "row": ("rows", "of all fields"),
    "dim": ("dims", "of all fields"),
    "neuron": ("neurons", "of all layers"),
    "pair": ("pairs", "of all fields"),
}
#: Tables as they are stored → with more bits.
WIDER: Mapping[Tables, tuple[Encoding, ...]] = {
    "fp16": ("fp32",),
    "int8": ("fp32",),
    "int8_row": ("fp32",),
    "int4_row": ("int8", "fp32"),
    "mixed": ("int8", "fp32"),
}


def bring_back(
    found: Search, data: Dataset, *, seed: int = 0, executor: Executor | None = None
) -> list[dict[str, Any]]:
    """Bring each thing that was cut back, alone, and say what that costs and gains.

    The small model's plan is made wider by one thing and applied to the reference, repaired, given
    a short fine-tuning and stored as the small model is. What it gains is told against the small
    model's own plan, given the very same: not against the small model, which had longer. Where dims
    were cut, those that stayed are principal axes (:func:`recprune.pruning.rotate`), so the
    reference is turned the same way first, which changes none of its outputs.

    A field comes back with all its rows and with the dims that the small model's other fields have.
    The most important ones are tried, :data:`MOST_FIELDS` at most. Rows, dims, neurons and pairs
    come back all at once, in the fields that are kept; tables with more bits.

    Args:
        found: the reference, the small model, and the fine-tuning that both got, of which this is an
            epoch over 100,000 rows at most.
        data: a split data set; AUC is that of its tune rows.
        seed: of the draws.
        executor: where the models are trained; the result does not depend on it. None = one after
            another.

    Returns:
        Records with ``unit``, ``name``, ``bytes`` (more) and ``auc`` (gained); fields first. Empty
        where nothing was cut.

    Raises:
        ParameterError: workers and rows that are on disk.
    """
    executor = one_worker_on_disk(executor or Executor(), data, "bring_back")
    reference, small = found.reference, found.small.model
    tables, layers = BITS[found.small.bits]
    plan = Plan(small.plan.layout_hash, small.plan.keep)
    wider = list(_ways(plan, reference.layout, found.ranking, tables))
    more_bits = WIDER.get(tables, ())
    if not wider and not more_bits:
        return []
    bench = _Bench(rotate(reference, data.train), found.tuning.short(), layers, seed)
    ways = [_Way("", "", plan, (tables, *more_bits)), *wider]
    (here, *encoded), *there = executor.map(
        _measured, ways, shared=bench, seed=seed, text="bringing back"
    )
    back = [(way.unit, way.name, *made) for way, (made,) in zip(wider, there, strict=True)]
    back += [("tables", f"as {n}", *made) for n, made in zip(more_bits, encoded, strict=True)]
    return [
        {"unit": unit, "name": name, "bytes": size - here[0], "auc": auc - here[1]}
        for unit, name, size, auc in back
        if size > here[0]  # of a few rows, more bits may take less than the scales of fewer
    ]


def widened(plan: Plan, layout: Layout, unit: Unit, field: str = "") -> Plan:
    """Return a plan that keeps more: all units of a kind, or one more field.

    Args:
        plan: in the coordinates of ``layout``.
        layout: of the uncut model.
        unit: the kind; rows, dims and pairs of fields that go go with them still.
        field: of the kind ``"field"``, which one; none = all. It has all its rows, the dims that
            any other field has, and its pairs with them.
    """
    keep = dict(plan.keep)
    if not field:
        for name, axis in layout.axes.items():
            if axis.unit == unit:
                keep.pop(name, None)
        return Plan(plan.layout_hash, keep, plan.encoding)
    number = (layout.axes["fields"].labels or ()).index(field)
    dims = _dims(plan, layout)
    keep["fields"] = _joined(keep.get("fields", layout.axes["fields"].units), [number])
    for name, axis in layout.axes.items():
        if axis.parent == ("fields", number):
            keep.pop(name, None)
            if axis.unit == "dim":
                keep[name] = np.intersect1d(axis.units, dims).astype(np.int32)
        elif axis.members and name in keep:
            own = np.any([needed == number for _, needed in axis.members], axis=0)
            keep[name] = _joined(keep[name], axis.units[own])
    return Plan(plan.layout_hash, keep, plan.encoding)


@dataclass(frozen=True, eq=False)
class _Way:
    """A plan to try, and how the tables are stored then: one figure for each."""

    unit: str
    name: str
    plan: Plan
    tables: tuple[Tables, ...]


@dataclass(frozen=True, eq=False)
class _Bench:
    """What every way starts from and is given."""

    start: Ranker
    tuning: FineTuning
    layers: Encoding
    seed: int


def _ways(plan: Plan, layout: Layout, ranking: FieldRanking, tables: Tables) -> Iterator[_Way]:
    """Yield what was cut, each with the plan that keeps it, and nothing that was not cut."""
    kept = {layout.axes["fields"].labels[i] for i in plan.resolve(layout)["fields"]}  # type: ignore[index]
    order = np.argsort(-np.asarray(ranking.scores), kind="stable")
    cut = [ranking.fields[i] for i in order if ranking.fields[i] not in kept]
    for field in cut[:MOST_FIELDS]:
        yield _Way("field", field, widened(plan, layout, "field", field), (tables,))
    size = plan.predicted_bytes(layout)
    for unit, (word, whose) in KINDS.items():
        wider = widened(plan, layout, unit)
        if wider.predicted_bytes(layout) > size:
            yield _Way(word, whose, wider, (tables,))


def _measured(bench: _Bench, way: _Way, _: np.random.Generator) -> list[tuple[int, float]]:
    """Cut, fine-tune and store as a way says; return bytes and the AUC of the tune rows, by tables."""
    start, tuning = bench.start, bench.tuning
    model = start.apply(way.plan, repair(start, tuning.rows, way.plan, bench.seed))
    model, out = fine_tune(model, tuning), []
    for tables in way.tables:
        stored = encode(model, tables, bench.layers, tuning.rows)
        tune = stored.aligned(tuning.valid)
        score = held_out_score("auc", tune, stored.logits(tune.rows))
        out.append((stored_size(stored.artifact()), score))
    return out


def _dims(plan: Plan, layout: Layout) -> IntArray:
    """Return the dims that any field has, in the uncut model's coordinates."""
    kept = plan.resolve(layout)
    each = [axis.units[kept[name]] for name, axis in layout.axes.items() if axis.unit == "dim"]
    return np.unique(np.concatenate(each)) if each else np.empty(0, np.int32)


def _joined(units: IntArray, more: Any) -> IntArray:
    return np.union1d(units, more).astype(np.int32)

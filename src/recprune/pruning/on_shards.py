"""Plans for models whose table lies over several processes: scored where the rows are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from recprune.data import Dataset, Split
from recprune.errors import ParameterError, nearest
from recprune.importance import Evidence
from recprune.importance.statistics import chances_of, change_by_cut, norms, use_counts
from recprune.layout import Plan
from recprune.models import Ranker
from recprune.models.parallel import ShardedNet
from recprune.models.parallel.quantile import best_of_all
from recprune.pruning.planning import to_cut, unit_count

__all__ = ["SHARD_METHODS", "plan_rows_on_shards"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Some rows of one field's table.

    Args:
        table: shape (n, W).
        unknown: the field's unknown row, shape (W,).
        count: how often each is looked up in the training rows, shape (n,).
        of: training rows.
        chance: draws returns one a row of the whole axis; the present ones are ``place``.
        place: of these rows in the axis.
    """

    table: NDArray[np.float32]
    unknown: NDArray[np.float32]
    count: Array
    of: int
    chance: Callable[[], Array]
    place: slice


#: The methods that score table rows from the table and counts; the others train, or score on rows.
SHARD_METHODS: dict[str, Callable[[_Rows], Array]] = {
    "l1": lambda rows: norms(rows.table, 1),
    "l2": lambda rows: norms(rows.table, 2),
    "norm_count": lambda rows: change_by_cut(rows.table, rows.unknown, rows.count),
    "activity": lambda rows: rows.count / max(rows.of, 1),
    "random": lambda rows: rows.chance()[rows.place],
}


def plan_rows_on_shards(
    model: Ranker,
    data: Dataset | Split,
    keep: float | int,
    method: str = "norm_count",
    seed: int = 0,
) -> Plan:
    """Make the plan that :func:`recprune.pruning.plan` makes for rows, of a sharded model.

    Every process scores the rows that lie with it; the threshold over all fields and processes is
    found by :func:`best_of_all`, ties as one process breaks them. All processes take part, and all
    return the plan.

    Args:
        model: whose network is a :class:`ShardedNet`, uncut.
        data: whose training rows are counted.
        keep: the share of rows kept (a float) or their number (an int), as for
            :func:`recprune.pruning.plan`.
        method: one of ``SHARD_METHODS``.
        seed: of ``random``.

    Raises:
        ParameterError: no such method, or a share or count out of range.
    """
    if method not in SHARD_METHODS:
        hint = nearest(method, SHARD_METHODS)
        raise ParameterError(f"Method {method!r} does not score the rows of shards.{hint}")
    net = model.net
    assert isinstance(net, ShardedNet)
    train, axes = Evidence.of(data, model).train, to_cut(model, "rows")
    names, held = model.encoder.schema.names, net.shards.held
    unknown = net.shards.look_up(net.table, net.unknown_rows()).numpy()
    table, own = net.table.detach().numpy(), []
    for axis in axes:
        field = names.index(axis.name.removeprefix("rows."))
        start = int(net.offsets[field])
        # Which of the axis's rows, but for those that are pinned, lie here.
        first = max(start + axis.pinned, held.start)
        last = max(min(start + axis.size, held.stop), first)
        place, at = slice(first - start, last - start), slice(first - held.start, last - held.start)
        columns = _columns(net, field)
        rows = _Rows(
            np.ascontiguousarray(table[at][:, columns]),
            unknown[field, columns],
            use_counts(model, train, axis)[place],
            len(train),
            lambda axis=axis: chances_of(axis, seed),  # type: ignore[misc]
            place,
        )
        own.append((place, SHARD_METHODS[method](rows)))
    total = sum(axis.size - axis.pinned for axis in axes)
    group, count = net.shards.group, min(unit_count(keep, total, "rows"), total)
    stays = best_of_all(group, np.concatenate([score for _, score in own]), count)
    kept, start = {}, 0
    for axis, (place, score) in zip(axes, own, strict=True):
        here = place.start + np.flatnonzero(stays[start : start + len(score)])
        start += len(score)
        everyones = torch.cat(group.gathered(torch.from_numpy(here))).numpy()
        kept[axis.name] = axis.units[np.concatenate([np.arange(axis.pinned), everyones])]
    return Plan(model.layout.hash, kept)


def _columns(net: ShardedNet, field: int) -> NDArray[np.int64]:
    """Return the columns of the table that a field has."""
    first = np.arange(int(net.shape.wide))
    return np.concatenate([first, int(net.shape.wide) + net.shape.dims[field]]).astype(np.int64)

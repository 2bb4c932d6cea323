"""Importance from weights and activations alone: norms, use, ReLU zeros, and chance."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data import Split
from recprune.importance.base import Scores, method
from recprune.importance.design import row_weights
from recprune.importance.evidence import Evidence
from recprune.layout import Axis
from recprune.lookups import PADDING, UNKNOWN
from recprune.models import Ranker
from recprune.models.step import tensors

__all__ = [
    "activity",
    "chance",
    "chances_of",
    "change_by_cut",
    "l1_norm",
    "l2_norm",
    "norm_count",
    "norms",
    "use_counts",
]

BLOCK = 8192


@method("l1", ("row", "dim", "neuron", "pair"), "none")
def l1_norm(model: Ranker, rows: Evidence, axis: Axis, seed: int) -> Scores:
    """Sum of |w| over every tensor that shrinks with the unit (Li et al. 2017, section 3.1)."""
    return _norm(model, axis, 1)


@method("l2", ("row", "dim", "neuron", "pair"), "none")
def l2_norm(model: Ranker, rows: Evidence, axis: Axis, seed: int) -> Scores:
    """Root of Σw² over every tensor that shrinks with the unit."""
    return _norm(model, axis, 2)


@method("norm_count", ("row",), "one over the codes")
def norm_count(model: Ranker, rows: Evidence, axis: Axis, seed: int) -> Scores:
    """‖row − unknown row‖₂ · √count: the root of the summed squared change that a cut makes.

    A cut row reads as the unknown row, so what counts is the distance to it; by norm alone rare
    rows with large, noisy weights outlive frequent ones.
    """
    table = model.state[_table(axis)]
    return Scores.exact(change_by_cut(table, table[UNKNOWN], use_counts(model, rows.train, axis)))


def change_by_cut(
    table: NDArray[np.float32], unknown: NDArray[np.float32], count: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return :func:`norm_count` of some rows (n, W), looked up so often (n,), of a table."""
    distance = np.linalg.norm(table - unknown, axis=1).astype(np.float64)
    return np.asarray(distance * np.sqrt(count))


@method("activity", ("row", "neuron"), "one, forward only")
def activity(model: Ranker, rows: Evidence, axis: Axis, seed: int) -> Scores:
    """Share of rows on which the unit is not zero: 1 − APoZ (Hu et al. 2016, eq. 1).

    For a neuron, the share of positive ReLU outputs. For a table row, whose one-hot input is zero
    on all rows but its own, that share is its use. A row of weight w counts w times.
    """
    if axis.unit == "row":
        return Scores.exact(use_counts(model, rows.train, axis) / max(len(rows.train), 1))
    positive = np.zeros(axis.size)
    split, net = rows.held_out, model.net
    weight = row_weights(split)
    with torch.no_grad():
        for at, block in split.rows.blocks(BLOCK):

            def count(value: torch.Tensor, _: torch.Tensor | None, at: slice = at) -> torch.Tensor:
                positive[:] += weight[at] @ (value > 0).double().numpy()
                return value

            net(*tensors(block), {axis.name: count})
    return Scores.exact(positive / max(len(split), 1))


@method("random", ("field", "row", "dim", "neuron", "pair"), "none", False)
def chance(model: Ranker | None, rows: Evidence, axis: Axis, seed: int) -> Scores:
    """Uniform draws: the floor that a method must beat. A unit's draw depends on its name alone."""
    labels = axis.labels or (axis.name,) * len(axis.units)
    if axis.unit == "field":
        return Scores.exact(
            np.array([stream(seed, "random", labels[u]).random() for u in axis.units])
        )
    return Scores.exact(chances_of(axis, seed))


def chances_of(axis: Axis, seed: int) -> NDArray[np.float64]:
    """Return a draw for each unit of an axis that is not of fields."""
    draws = stream(seed, "random", axis.name).random(int(axis.units.max(initial=0)) + 1)
    return draws[axis.units]


def use_counts(
    model: Ranker, split: Split, axis: Axis, *, weighted: bool = True
) -> NDArray[np.float64]:
    """Return how many rows of ``split`` look each table row up, shape (n_units,).

    The split's codes count in the split's own vocabulary; the model must have the same fields' rows.
    A row of weight w (by their mean) counts w times, or, if not ``weighted``, once.
    """
    slots = split.encoder.slots[split.encoder.schema.names.index(_field(axis))]
    codes, weight = split.rows.codes[:, slots], None
    if weighted and split.extras.weight is not None:
        weight = np.repeat(row_weights(split), codes.shape[1])
    counts = np.bincount(codes.ravel(), weight, minlength=axis.size).astype(np.float64)
    counts[PADDING] = 0  # fills up short sequences
    return counts


def _norm(model: Ranker, axis: Axis, power: int) -> Scores:
    state, total = model.state, np.zeros(axis.size)
    for use in axis.uses:
        units = np.moveaxis(state[use.tensor], use.dim, 0)[use.offset : use.offset + axis.size]
        total += _powers(units, power)
    return Scores.exact(total ** (1 / power))


def norms(units: NDArray[np.float32], power: int) -> NDArray[np.float64]:
    """Return the norm of each unit, shape (n,), of weights (n, …)."""
    return np.asarray(_powers(units, power) ** (1 / power))


def _powers(units: NDArray[np.float32], power: int) -> NDArray[np.float64]:
    flat = units.reshape(len(units), math.prod(units.shape[1:])).astype(np.float64)
    return np.asarray((np.abs(flat) ** power).sum(axis=1))


def _table(axis: Axis) -> str:
    return axis.uses[0].tensor


def _field(axis: Axis) -> str:
    return axis.name.removeprefix("rows.")

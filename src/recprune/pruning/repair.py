"""What a cut takes away, given back to the units that stay: folded means and refitted weights.

A cut unit is replaced by its mean on real rows instead of by zero. For a field or a dim this is
exact algebra: its mean share of the first layer goes into the bias, its mean pair products go
into the other fields' first-order weights. For neurons the next layer is fitted again by ridge
regression on its own inputs (least squares after channel pruning: He et al. 2017, eq. 5).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data import Split
from recprune.importance.statistics import use_counts
from recprune.layout import Patch, Plan, state_hash
from recprune.lookups import UNKNOWN
from recprune.models import Ranker

__all__ = ["repair"]

MAX_ROWS = 20_000
RIDGE = 1e-3

Matrix = NDArray[np.float64]


def repair(model: Ranker, split: Split, plan: Plan, seed: int = 0) -> Patch:
    """Return the patch that makes the plan's cut hurt least, from at most 20,000 rows.

    Args:
        model: the ranker that the plan is about to cut.
        split: training rows, in any encoding that the model descends from.
    """
    split = model.aligned(split)
    kept = plan.resolve(model.layout)
    chosen = np.sort(stream(seed, "repair").permutation(len(split.rows))[:MAX_ROWS])
    net, rows = model.net, split.rows[chosen]
    with torch.no_grad():
        value = net.embed(rows)
    ordered = value[:, torch.argsort(net.order)].double().numpy()
    tensors = {name: array.astype(np.float64) for name, array in model.state.items()}
    _refit_layers(model, ordered, kept, tensors)
    _fold_fields_and_dims(model, ordered.mean(axis=0), kept, tensors)
    _pool_rows(model, split, kept, tensors)
    changed = {
        name: array.astype(np.float32)
        for name, array in tensors.items()
        if not np.array_equal(array.astype(np.float32), model.state[name])
    }
    return Patch(state_hash(model.state), changed)


def _gone(
    model: Ranker, kept: dict[str, NDArray[np.int32]]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which fields go, shape (F,), and which of their padded dims go, shape (F, D)."""
    names, shape = model.encoder.schema.names, model.net.shape
    fields = np.array([not len(kept[f"rows.{n}"]) for n in names])
    dims = np.zeros((len(names), shape.dim), bool)
    for i, name in enumerate(names):
        if shape.dim:
            mask = np.ones(len(shape.dims[i]), bool)
            mask[kept[f"dims.{name}"]] = False
            dims[i, shape.dims[i]] = mask
    return fields, dims


def _fold_fields_and_dims(
    model: Ranker, mean: Matrix, kept: dict[str, NDArray[np.int32]], tensors: dict[str, Matrix]
) -> None:
    names, shape = model.encoder.schema.names, model.net.shape
    fields, dims = _gone(model, kept)
    tensors["bias"] += mean[fields, 0].sum()
    if not dims.any():
        return
    embedding = np.where(dims, mean[:, 1:], 0.0)
    if shape.hidden:
        inputs = np.concatenate([embedding[i, d] for i, d in enumerate(shape.dims)])
        tensors["mlp.0.bias"] += tensors["mlp.0.weight"] @ inputs
    if not shape.fm:
        return
    total = embedding.sum(axis=0)
    for i, name in enumerate(names):
        if not fields[i]:
            # Pairs of this field with cut dims of others, to first order around their means.
            others = (total - embedding[i])[shape.dims[i]]
            table = tensors[f"table.{name}"]
            table[:, 0] += table[:, 1:] @ others
    whole, part = embedding[fields], embedding[~fields]
    tensors["bias"] += _pairs(whole) - _pairs(part)


def _pairs(rows: Matrix) -> float:
    return float(0.5 * (rows.sum(axis=0) ** 2 - (rows**2).sum(axis=0)).sum())


def _pool_rows(
    model: Ranker, split: Split, kept: dict[str, NDArray[np.int32]], tensors: dict[str, Matrix]
) -> None:
    """Make each field's unknown row the count-weighted mean of the rows that will read as it."""
    for axis in model.layout.axes.values():
        stay = kept[axis.name]
        if axis.unit != "row" or not len(stay) or len(stay) == axis.size:
            continue
        weight = use_counts(model, split, axis)
        weight[stay] = 0
        weight[UNKNOWN] = 1
        table = tensors[axis.uses[0].tensor]
        table[UNKNOWN] = weight @ table / weight.sum()


def _refit_layers(
    model: Ranker, value: Matrix, kept: dict[str, NDArray[np.int32]], tensors: dict[str, Matrix]
) -> None:
    shape = model.net.shape
    depth = len(shape.hidden)
    if all(len(kept[f"neurons.{n}"]) == size for n, size in enumerate(shape.hidden)):
        return
    full = np.concatenate([value[:, i, 1 + d] for i, d in enumerate(shape.dims)], axis=1)
    cut = full
    for number in range(depth):
        weight, bias = f"mlp.{number}.weight", f"mlp.{number}.bias"
        stay = kept[f"neurons.{number}"]
        full = np.maximum(full @ model.state[weight].T + model.state[bias], 0)
        cut = np.maximum(cut @ tensors[weight].T + tensors[bias], 0)
        after = "mlp.out" if number == depth - 1 else f"mlp.{number + 1}"
        target = full @ model.state[f"{after}.weight"].T
        fitted, constant = _ridge(cut[:, stay], target)
        refitted = np.zeros_like(tensors[f"{after}.weight"])
        refitted[:, stay] = fitted.T
        tensors[f"{after}.weight"] = refitted
        # The last layer has no bias of its own; the model's takes it.
        bias_after = "bias" if after == "mlp.out" else f"{after}.bias"
        tensors[bias_after] += constant
        cut = np.where(np.isin(np.arange(cut.shape[1]), stay), cut, 0.0)


def _ridge(inputs: Matrix, target: Matrix) -> tuple[Matrix, Matrix]:
    """Return weights (inputs, outputs) and constants of the ridge regression of target on inputs."""
    mean, aim = inputs.mean(axis=0), target.mean(axis=0)
    centred = inputs - mean
    gram = centred.T @ centred
    gram[np.diag_indices_from(gram)] += RIDGE * max(float(np.trace(gram)) / len(gram), 1e-12)
    weight = np.linalg.solve(gram, centred.T @ (target - aim))
    return weight, aim - mean @ weight

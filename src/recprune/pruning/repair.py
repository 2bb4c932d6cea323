"""What a cut takes away, given back to the units that stay: folded means and refitted weights.

A cut unit is replaced by its mean on real rows instead of by zero. Where a dense layer reads it,
its mean share goes into the layer's bias; in first order and in pairs of fields, into the bias and
the other fields' first-order weights. For neurons the next layer is fitted again by ridge
regression on its own inputs (least squares after channel pruning: He et al. 2017, eq. 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune.data import Split
from recprune.importance.design import row_weights, some_rows
from recprune.importance.statistics import use_counts
from recprune.layout import Patch, Plan, kept_indices, state_hash
from recprune.lookups import UNKNOWN
from recprune.models import Ranker
from recprune.models.layers import MLP, Dense
from recprune.models.step import tensors as as_tensors

__all__ = ["repair"]

MAX_ROWS = 20_000
RIDGE = 1e-3

Matrix = NDArray[np.float64]


def repair(model: Ranker, split: Split, plan: Plan, seed: int = 0) -> Patch:
    """Return the patch that makes the plan's cut hurt least, from at most 20,000 rows.

    Args:
        model: the ranker that the plan is about to cut.
        split: training rows, in any encoding that the model descends from; by their weights, if
            they have any.
    """
    split = model.aligned(split)
    kept = plan.resolve(model.layout)
    cut = _Cut(
        model,
        kept,
        kept_indices(model.layout, kept),
        {name: array.astype(np.float64) for name, array in model.state.items()},
        _Seen.of(model, some_rows(split, MAX_ROWS, seed, "repair")),
    )
    _refit_layers(cut)
    _fold_into_biases(cut)
    _fold_fields_and_dims(cut)
    _pool_rows(cut, split)
    changed = {
        name: array.astype(np.float32)
        for name, array in cut.tensors.items()
        if not np.array_equal(array.astype(np.float32), model.state[name])
    }
    return Patch(state_hash(model.state), changed)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What flows through a network on some rows, n of them.

    Args:
        value: the fields' values in the schema's order, shape (n, F, W).
        inputs: dense layer, by the prefix of its tensors → its inputs, shape (n, I), columns as
            its weight has them.
        pairs: each pair's product, shape (n, P); None without the axis.
        weight: of each row, with mean 1, shape (n,); None = all count the same.
    """

    value: Matrix
    inputs: Mapping[str, Matrix]
    pairs: Matrix | None
    weight: Matrix | None

    def mean(self, values: Matrix) -> Matrix:
        """Return the rows' mean of values, shape (n, ...)."""
        if self.weight is None:
            return np.asarray(values.mean(axis=0))
        return np.asarray(np.average(values, axis=0, weights=self.weight))

    @classmethod
    def of(cls, model: Ranker, split: Split) -> _Seen:
        rows = split.rows
        net, seen, products = model.net, dict[str, Tensor](), list[Tensor]()
        spans = {
            f"{name}.{parameter}": dims
            for name, part in net.named_parts()
            for parameter, dims in part.spans().items()
        }

        def watch(name: str) -> torch.utils.hooks.RemovableHandle:
            def hook(_: torch.nn.Module, given: tuple[Tensor, ...]) -> None:
                inputs = spans.get(f"{name}.weight", {}).get(1)
                seen[name] = given[0] if inputs is None else given[0][:, inputs.columns]

            return net.parts.get_submodule(name).register_forward_pre_hook(hook)

        def keep(value: Tensor, _: Tensor | None) -> Tensor:
            products.append(value)
            return value

        hooks = [watch(n) for n, m in net.parts.named_modules() if isinstance(m, Dense)]
        try:
            with torch.no_grad():
                net(*as_tensors(rows), {"pairs": keep})
                value = net.embed(rows)[:, torch.argsort(net.order)]
        finally:
            for hook in hooks:
                hook.remove()
        inputs = {name: tensor.double().numpy() for name, tensor in seen.items()}
        weight = None if split.extras.weight is None else row_weights(split)
        pairs = products[0].double().numpy() if products else None
        return cls(value.double().numpy(), inputs, pairs, weight)


@dataclass(frozen=True, eq=False)
class _Cut:
    """A cut about to be made.

    Args:
        model: the ranker before it.
        kept: axis → positions that stay.
        indices: tensor and dim → indices that stay.
        tensors: the weights, changed in place.
        seen: what flows through the model before the cut.
    """

    model: Ranker
    kept: Mapping[str, NDArray[np.int32]]
    indices: Mapping[tuple[str, int], NDArray[np.int32]]
    tensors: dict[str, Matrix]
    seen: _Seen

    def gone(self, tensor: str, dim: int) -> NDArray[np.intp]:
        """Return the indices of a tensor's dim that go."""
        every = np.arange(self.tensors[tensor].shape[dim])
        return np.setdiff1d(every, self.indices.get((tensor, dim), every))

    def add(self, layer: str, amount: Matrix) -> None:
        """Add to a layer's bias, shape (outputs,); one without its own uses the model's."""
        if f"{layer}.bias" in self.tensors:
            self.tensors[f"{layer}.bias"] += amount
            return
        label = layer.split(".")[1] if layer.startswith("shared.") else "0"
        self.tensors["bias"][int(label)] += amount.sum()


def _refit_layers(cut: _Cut) -> None:
    """Fit each layer after a cut one again, so that it gives what it gave."""
    for prefix, mlp in cut.model.net.parts.named_modules():
        if not isinstance(mlp, MLP) or not mlp.layers:
            continue
        stays = [cut.kept.get(axis) for axis, _ in mlp.neurons()]
        if all(
            s is None or len(s) == len(m.weight) for s, m in zip(stays, mlp.layers, strict=True)
        ):
            continue
        after = [f"{prefix}.{n}" for n in range(1, len(mlp.layers))]
        after += [f"{prefix}.out"] if mlp.out is not None else []
        value = cut.seen.inputs[f"{prefix}.0"]
        for number, (name, stay) in enumerate(zip(after, stays, strict=False)):
            layer = mlp.layers[number]
            value = _activations(cut.tensors, f"{prefix}.{number}", layer, value)
            full = cut.seen.inputs[name]
            target = full @ cut.model.state[f"{name}.weight"].T
            assert stay is not None
            # Towards the weights as they are, so that a cut that loses nothing changes nothing.
            own = cut.model.state[f"{name}.weight"][:, stay].astype(np.float64)
            fitted, constant = _ridge(cut.seen, value[:, stay], target - value[:, stay] @ own.T)
            weight = np.zeros_like(cut.tensors[f"{name}.weight"])
            weight[:, stay] = own + fitted.T
            cut.tensors[f"{name}.weight"] = weight
            cut.add(name, constant)


def _activations(tensors: Mapping[str, Matrix], prefix: str, layer: Dense, value: Matrix) -> Matrix:
    """Return a layer's activations, shape (n, H), under the weights as they are now."""
    out = value @ tensors[f"{prefix}.weight"].T + tensors[f"{prefix}.bias"]
    if layer.norm is not None:
        norm = {n: tensors[f"{prefix}.norm.{n}"] for n in ("weight", "bias", "mean", "var")}
        scale = norm["weight"] / np.sqrt(norm["var"] + layer.norm.epsilon)
        out = (out - norm["mean"]) * scale + norm["bias"]
    return np.maximum(out, 0)


def _ridge(seen: _Seen, inputs: Matrix, target: Matrix) -> tuple[Matrix, Matrix]:
    """Return weights (inputs, outputs) and constants of the ridge regression of target on inputs."""
    mean, aim = seen.mean(inputs), seen.mean(target)
    centred = inputs - mean
    counted = centred if seen.weight is None else centred * seen.weight[:, None]
    gram = counted.T @ centred
    gram[np.diag_indices_from(gram)] += RIDGE * max(float(np.trace(gram)) / len(gram), 1e-12)
    weight = np.asarray(np.linalg.solve(gram, counted.T @ (target - aim)), np.float64)
    return weight, aim - mean @ weight


def _fold_into_biases(cut: _Cut) -> None:
    """Let every dense layer's bias stand for the mean of the inputs that go."""
    for name, inputs in cut.seen.inputs.items():
        weight = f"{name}.weight"
        if weight in cut.tensors and len(gone := cut.gone(weight, 1)):
            cut.add(name, cut.tensors[weight][:, gone] @ cut.seen.mean(inputs[:, gone]))


def _fold_fields_and_dims(cut: _Cut) -> None:
    """Fold the cut fields' first order, and their share of pairs with the fields that stay."""
    model, tensors = cut.model, cut.tensors
    names, shape, mean = model.encoder.schema.names, model.net.shape, cut.seen.mean(cut.seen.value)
    first = int(shape.wide)
    fields = np.array([not len(cut.kept[f"rows.{n}"]) for n in names])
    tensors["bias"] += mean[fields, :first].sum()
    if (weights := _pair_weights(cut)) is None:
        return
    if "pairs" in model.parts and cut.seen.pairs is not None:
        _fold_pairs(cut, weights, fields)
    gone = np.zeros((len(names), shape.dim), bool)
    for i, name in enumerate(names):
        gone[i, shape.dims[i]] = True
        gone[i, shape.dims[i][cut.kept[f"dims.{name}"]]] = False
    embedding = np.where(gone, mean[:, first:], 0.0)
    total = weights @ embedding
    for i, name in enumerate(names):
        if not fields[i] and first:
            # Pairs of this field with cut dims of others, to first order around their means.
            table = tensors[f"table.{name}"]
            table[:, 0] += table[:, 1:] @ total[i, shape.dims[i]]
    own = (embedding * total).sum(axis=1)
    cross = (weights[np.ix_(fields, ~fields)] @ embedding[~fields] * embedding[fields]).sum()
    tensors["bias"] += 0.5 * (own[fields].sum() - cross) - 0.5 * (own[~fields].sum() - cross)


def _pair_weights(cut: _Cut) -> Matrix | None:
    """Return how much the product of two fields counts, shape (F, F); None = not at all."""
    model, n = cut.model, len(cut.model.encoder.schema.names)
    if "fm" in model.parts:
        return 1 - np.eye(n)
    if "pairs" not in model.parts:
        return None
    weights = np.zeros((n, n))
    left, right = _pair_fields(model)
    weights[left, right] = weights[right, left] = cut.tensors["pairs.weight"]
    return weights


def _pair_fields(model: Ranker) -> list[NDArray[np.intp]]:
    """Return the positions of each pair's two fields."""
    axes = model.layout.axes
    return [np.searchsorted(axes["fields"].units, m) for _, m in axes["pairs"].members]


def _fold_pairs(cut: _Cut, weights: Matrix, fields: NDArray[np.bool_]) -> None:
    """Fold the mean product of pairs that go though both their fields stay; they count no more."""
    left, right = _pair_fields(cut.model)
    alone = np.ones(len(left), bool)
    alone[cut.kept["pairs"]] = False
    alone &= ~fields[left] & ~fields[right]
    assert cut.seen.pairs is not None
    mean = cut.seen.mean(cut.seen.pairs[:, alone])
    cut.tensors["bias"] += weights[left[alone], right[alone]] @ mean
    weights[left[alone], right[alone]] = weights[right[alone], left[alone]] = 0


def _pool_rows(cut: _Cut, split: Split) -> None:
    """Make each field's unknown row the count-weighted mean of the rows that will read as it."""
    for axis in cut.model.layout.axes.values():
        stay = cut.kept[axis.name]
        if axis.unit != "row" or not len(stay) or len(stay) == axis.size:
            continue
        weight = use_counts(cut.model, split, axis)
        weight[stay] = 0
        weight[UNKNOWN] = 1
        table = cut.tensors[axis.uses[0].tensor]
        table[UNKNOWN] = weight @ table / weight.sum()

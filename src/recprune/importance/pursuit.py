"""Neurons by what the next layer needs of them, and by the scale that batch norm learnt."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from recprune._support import stream
from recprune.data import Split
from recprune.errors import ParameterError
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.layout import Axis
from recprune.models import Ranker
from recprune.models.step import tensors

__all__ = ["batch_norm_scale", "covariance", "omp"]

BLOCK = 8192
#: Of the mean variance of an activation; as the repair of a cut has it.
RIDGE = 1e-3


@method("omp", ("neuron",), "one, forward only, over ≤ 20,000 rows")
def omp(model: Ranker, rows: Evidence, axis: Axis, seed: int, *, max_rows: int = 20_000) -> Scores:
    """How early a greedy choice takes the neuron to rebuild what the next layer reads.

    Orthogonal matching pursuit (Pati et al. 1993) of all next pre-activations at once, in the form
    that takes the neuron with the largest fall of the error after all chosen ones are fitted again
    (Rebollo-Neira & Lowe 2002), with a ridge. Two neurons that tell the same are not both taken
    early, as by any score that looks at one neuron at a time. A cut that is repaired fits the
    next layer likewise (:func:`recprune.pruning.repair`).

    The score is the share of the next pre-activations' variance that was left when the neuron was
    taken: 1 for the first, 0 for those that add nothing.

    Args:
        model: fitted ranker.
        rows: of training rows activations are taken.
        axis: of neurons.
        seed: of the choice of rows.
        max_rows: most rows to read.
    """
    gram, _ = covariance(model, rows.train, axis, seed, max_rows)
    return Scores.exact(_left_when_taken(gram, _readers(model, axis)))


@method("batch_norm_scale", ("neuron",), "none")
def batch_norm_scale(model: Ranker, rows: Evidence, axis: Axis, seed: int) -> Scores:
    """|γ|, the scale that batch norm gives the neuron (network slimming: Liu et al. 2017).

    Raises:
        ParameterError: the layer has no batch norm.
    """
    for use in axis.uses:
        if use.tensor.endswith(".norm.weight"):
            return Scores.exact(
                np.abs(model.state[use.tensor][use.offset : use.offset + axis.size])
            )
    raise ParameterError(
        f"Method 'batch_norm_scale' needs layers with batch norm, and axis {axis.name!r} has none. "
        "Train with hidden=Hidden((128, 64), batch_norm=True), or use omp."
    )


def covariance(
    model: Ranker, split: Split, axis: Axis, seed: int, max_rows: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return covariance, shape (H, H), and mean, shape (H,), of a layer's activations on rows.

    Args:
        model: fitted ranker.
        split: rows in its codes; their weights count.
        axis: of H neurons.
        seed: of the choice of rows.
        max_rows: most rows to read.
    """
    if len(split) > max_rows:
        split = split.take(np.sort(stream(seed, "activations").permutation(len(split))[:max_rows]))
    weight = split.extras.weight
    counted = torch.ones(len(split)) if weight is None else torch.from_numpy(weight)
    total, square = torch.zeros(axis.size).double(), torch.zeros(axis.size, axis.size).double()
    for at, block in split.rows.blocks(BLOCK):

        def add(value: torch.Tensor, _: torch.Tensor | None, at: slice = at) -> torch.Tensor:
            here = counted[at].double()
            total.add_(here @ value.double())
            square.add_((value.double().T * here) @ value.double())
            return value

        with torch.no_grad():
            model.net(*tensors(block), {axis.name: add})
    mean = (total / counted.double().sum()).numpy()
    spread = (square / counted.double().sum()).numpy() - np.outer(mean, mean)
    return spread, mean


def _readers(model: Ranker, axis: Axis) -> NDArray[np.float64]:
    """Return the weights by which others read the neurons, shape (H, outputs).

    What no weights read, the numbers of a tower's vector, is read as it is.
    """
    own = {
        u.tensor.removesuffix("bias") + "weight" for u in axis.uses if u.tensor.endswith(".bias")
    }
    read = []
    for use in axis.uses:
        weight = model.state[use.tensor]
        if use.tensor in own or weight.ndim < 2:
            continue
        units = np.moveaxis(weight, use.dim, 0)[use.offset : use.offset + axis.size]
        read.append(units.reshape(axis.size, -1).astype(np.float64))
    return np.concatenate(read, axis=1) if read else np.eye(axis.size)


def _left_when_taken(gram: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what share of the target's variance is left when each unit is taken, shape (H,).

    Args:
        gram: covariance of the activations, shape (H, H).
        weight: the target is activations · weight, shape (H, outputs).
    """
    target = gram @ weight
    whole = left = float((weight * target).sum())
    size = np.diag(gram).copy()
    if not whole > 0:  # nothing is read of them
        return size
    ridge = RIDGE * float(size.mean())
    gram = gram + ridge * np.eye(len(gram))
    free, score = np.ones(len(gram), bool), np.zeros(len(gram))
    for _ in range(len(gram)):
        spread = np.maximum(np.diag(gram), ridge)
        gain = np.where(free, (target**2).sum(axis=1) / spread, -1.0)
        best = int(np.argmax(gain))
        score[best] = max(left, 0.0) / whole
        left, free[best] = left - gain[best], False
        # What the unit explains is taken from all others, so that the next gain is exact.
        column, aim = gram[:, best] / spread[best], target[best].copy()
        gram = gram - np.outer(column, gram[best])
        target = target - np.outer(column, aim)
    return score

"""First-order importance: what replacing a unit by its mean would do to the loss."""

from __future__ import annotations

import numpy as np
import torch

from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.layout import Axis
from recprune.models import Ranker
from recprune.models.step import tensors

__all__ = ["gradient"]

BLOCK = 8192


@method(
    "gradient",
    ("field", "neuron", "pair"),
    "two: one forward for the means, one forward and backward",
)
def gradient(model: Ranker, rows: Evidence, axis: Axis, seed: int) -> Scores:
    """Mean over rows of |∂loss/∂x · (mean(x) − x)| (SHARK's F-Permutation, Zhang et al. 2023, eq. 4).

    x is the value at the axis's tap: a field's first-order weight and embedding, a neuron's
    activation, or a pair's product. The absolute value is taken row by row: near a minimum the
    signed mean vanishes.
    """
    tap = "fields" if axis.unit == "field" else axis.name
    split, net = rows.held_out, model.net
    label = torch.from_numpy(split.label)
    total: torch.Tensor | None = None

    def add(value: torch.Tensor, _: torch.Tensor | None) -> torch.Tensor:
        nonlocal total
        part = value.sum(dim=0)
        total = part if total is None else total + part
        return value

    with torch.no_grad():
        for _, block in split.rows.blocks(BLOCK):
            net(*tensors(block), {tap: add})
    assert total is not None
    mean = total / len(split)
    sums, squares = np.zeros(axis.size), np.zeros(axis.size)
    for at, block in split.rows.blocks(BLOCK):
        seen: list[torch.Tensor] = []

        def watch(
            value: torch.Tensor, _: torch.Tensor | None, seen: list[torch.Tensor] = seen
        ) -> torch.Tensor:
            leaf = value.detach().requires_grad_()
            seen.append(leaf)
            return leaf

        logit = net(*tensors(block), {tap: watch})
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logit, label[at], reduction="sum"
        )
        (slope,) = torch.autograd.grad(loss, seen)
        moved = slope * (mean - seen[0].detach())
        moved = moved.sum(dim=2).abs() if moved.dim() == 3 else moved.abs()
        sums += moved.double().sum(dim=0).numpy()
        squares += moved.double().square().sum(dim=0).numpy()
    score = sums / len(split)
    std = np.sqrt(np.maximum(squares / len(split) - score**2, 0) / len(split))
    if axis.unit == "field":  # the tap sees the network's own order
        place = np.argsort(net.order.numpy())
        score, std = score[place], std[place]
    return Scores(score, std)

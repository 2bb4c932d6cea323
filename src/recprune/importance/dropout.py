"""Dropout-based importance: a learned dropout rate a unit (variational dropout)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from recprune._support import stream
from recprune.data import Split
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.layout import Axis
from recprune.models import Ranker
from recprune.models.step import Outputs
from recprune.models.taps import Tap

__all__ = ["variational_dropout"]

#: Molchanov et al. 2017, eq. 14: constants of the approximate KL divergence.
K1, K2, K3 = 0.63576, 1.87320, 1.48695
START, RATE = -3.0, 0.1


@method("dropout", ("field", "row", "neuron", "pair"), "one epoch of training, of a copy")
def variational_dropout(model: Ranker, rows: Evidence, axis: Axis, seed: int) -> Scores:
    """Minus the learned log α of each unit's multiplicative noise N(1, α).

    Every unit's value is multiplied by noise whose variance α is learned beside the weights for
    one epoch; the KL term of Molchanov et al. 2017 (eq. 14) pushes α up wherever the likelihood
    does not resist. A unit with a large α (dropout rate α / (1 + α)) carries little. One copy of
    the model learns the rates of all rows, or of all fields, or of one layer's neurons.
    """
    return learned_rates(model, rows.train, [axis], seed)[axis.name]


def learned_rates(model: Ranker, split: Split, axes: list[Axis], seed: int) -> Mapping[str, Scores]:
    """Learn the rates of several axes in one epoch; see :func:`variational_dropout`."""
    twin = model.with_state(model.state)
    draws = torch.Generator().manual_seed(int(stream(seed, "variational").integers(2**62)))
    net, n = twin.net, len(split.rows)
    log_alpha: dict[str, Tensor] = {}
    taps: dict[str, Tap] = {}
    if any(a.unit == "row" for a in axes):
        log_alpha["rows"] = torch.full((net.n_rows,), START, requires_grad=True)
        taps["rows"] = _row_noise(log_alpha["rows"], draws)
    for axis in axes:
        if axis.unit == "field":
            log_alpha["fields"] = torch.full((axis.size,), START, requires_grad=True)
            taps["fields"] = _noise(log_alpha["fields"], draws)
        elif axis.unit in ("neuron", "pair"):
            log_alpha[axis.name] = torch.full((axis.size,), START, requires_grad=True)
            taps[axis.name] = _noise(log_alpha[axis.name], draws)
    optimiser = torch.optim.Adam(log_alpha.values(), lr=RATE)

    def divergence(_: Outputs) -> tuple[Tensor, torch.optim.Optimizer]:
        return sum(_divergence(a) for a in log_alpha.values()) / n, optimiser  # type: ignore[return-value]

    twin.train_on(
        split,
        training=replace(model.training, epochs=1),
        taps=taps,
        extra=divergence,
    )
    out = {}
    for axis in axes:
        if axis.unit == "row":
            i = model.encoder.schema.names.index(axis.name.removeprefix("rows."))
            start = int(net.offsets[i])
            rates = log_alpha["rows"][start : start + axis.size]
        else:
            rates = log_alpha["fields" if axis.unit == "field" else axis.name]
            if axis.unit == "field":  # the tap sees the network's own order
                rates = rates[torch.argsort(net.order)]
        score = -rates.detach().double().numpy()
        out[axis.name] = Scores(score, np.zeros(axis.size))
    return out


def _noise(log_alpha: Tensor, draws: torch.Generator) -> Tap:
    def tap(value: Tensor, _: Tensor | None) -> Tensor:
        spread = (0.5 * log_alpha).exp()
        shape = value.shape[:2]
        factor = 1 + spread * torch.randn(shape, generator=draws)
        return value * (factor.unsqueeze(2) if value.dim() == 3 else factor)

    return tap


def _row_noise(
    log_alpha: Tensor, draws: torch.Generator
) -> Callable[[Tensor, Tensor | None], Tensor]:
    def tap(value: Tensor, index: Tensor | None) -> Tensor:
        assert index is not None
        spread = (0.5 * log_alpha[index]).exp()
        factor = 1 + spread * torch.randn(spread.shape, generator=draws)
        return value * factor.unsqueeze(2)

    return tap


def _divergence(log_alpha: Tensor) -> Tensor:
    negative = K1 * torch.sigmoid(K2 + K3 * log_alpha) - 0.5 * torch.log1p((-log_alpha).exp()) - K1
    return -negative.sum()

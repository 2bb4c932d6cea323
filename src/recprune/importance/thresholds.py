"""Rows by thresholds that are learnt while a copy of the model trains on.

A row e counts as its field's unknown row u plus what is left of e − u beyond the threshold, since a
cut row reads as u. Thresholds are counted in units of each field's own rows, so that tables of any
size and age are cut; the published starts (a threshold of nearly zero that moves by 0.001 a step)
never reach the weights of a small table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from recprune.errors import ParameterError
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.importance.statistics import use_counts
from recprune.layout import Axis
from recprune.lookups import UNKNOWN
from recprune.models import Ranker
from recprune.models.network import FieldNet

__all__ = ["optembed", "pep"]

EPOCHS = 2
PASSES = f"epochs ({EPOCHS}) of training, for all fields at once"


class _Thresholds(ABC):
    """A threshold a field, learnt as training goes on.

    Args:
        net: the network that trains.
        fields: places of the fields that have a threshold.
        unit: what a threshold of 1 is, by field, shape (F,).
        start: first parameters, shape (F,).
        rate: of the thresholds' optimiser.
    """

    def __init__(
        self, net: FieldNet, fields: Sequence[int], unit: Tensor, start: Tensor, rate: float
    ) -> None:
        self.net, self.unit = net, unit
        slots = torch.tensor(net.shape.slots)
        #: The field of each slot, in the network's order, and whether it has a threshold.
        self.field = torch.arange(len(slots)).repeat_interleave(slots)[net.slot_order]
        self.taken = torch.isin(self.field, torch.tensor(fields))[:, None]
        self.theta = start.clone().requires_grad_()
        self.optimiser = torch.optim.Adam([self.theta], rate)

    def tap(self, value: Tensor, index: Tensor | None) -> Tensor:
        """Return what is left of the looked-up rows, shape (B, S, W)."""
        unknown = self.net.table[self.net.slot_offsets[self.net.slot_order] + UNKNOWN].detach()
        kept = unknown + self.left(value - unknown, self.theta[self.field], self.unit[self.field])
        return torch.where(self.taken, kept, value)

    @abstractmethod
    def left(self, change: Tensor, theta: Tensor, unit: Tensor) -> Tensor:
        """Return what is left of rows' distances from the unknown row; theta and unit a slot."""

    @abstractmethod
    def margin(self, change: Tensor, field: int) -> Tensor:
        """Return how far the rows of a field lie beyond its threshold, shape (rows,)."""

    def push(self) -> Tensor:
        """Return what is added to the loss."""
        return torch.zeros(())


class _Soft(_Thresholds):
    """PEP: sign(v) · relu(|v| − σ(s)) of every entry."""

    def left(self, change: Tensor, theta: Tensor, unit: Tensor) -> Tensor:
        """Return the entries, each shrunk by the threshold."""
        cut = (unit * torch.sigmoid(theta))[:, None]
        return torch.sign(change) * torch.relu(change.abs() - cut)

    def margin(self, change: Tensor, field: int) -> Tensor:
        """Return how far the largest entry lies beyond."""
        cut = self.unit[field] * torch.sigmoid(self.theta[field])
        return change.abs().amax(dim=1) - cut


class _Step(_Thresholds):
    """OptEmbed: the whole row, or nothing.

    Args:
        strength: α of the penalty α · Σ exp(−t) that makes thresholds grow.
    """

    strength = 1e-3

    def left(self, change: Tensor, theta: Tensor, unit: Tensor) -> Tensor:
        """Return the rows whose L1 norm lies beyond the threshold, and zeros."""
        beyond = change.abs().sum(dim=2) / unit - theta
        step: Tensor = _LongTail.apply(beyond)  # type: ignore[no-untyped-call]
        return change * step.unsqueeze(2)

    def margin(self, change: Tensor, field: int) -> Tensor:
        """Return how far the norm lies beyond."""
        return change.abs().sum(dim=1) - self.unit[field] * self.theta[field]

    def push(self) -> Tensor:
        """Return the penalty."""
        return self.strength * torch.exp(-self.theta).sum()


class _LongTail(torch.autograd.Function):
    """The unit step, whose slope is taken as 2 − 4|x| up to 0.4, 0.4 up to 1, and 0 beyond."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *slopes: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        size = x.abs()
        return slopes[0] * torch.where(size <= 0.4, 2 - 4 * size, 0.4 * (size <= 1))


def _learnt(
    kind: type[_Thresholds],
    model: Ranker,
    rows: Evidence,
    axes: Sequence[Axis],
    seed: int,
    *,
    epochs: int = EPOCHS,
    quantile: float = 0.25,
    rate: float = 0.01,
) -> Mapping[str, Scores]:
    """Train a copy of the model on under thresholds, and return the margins of its rows."""
    if not (isinstance(epochs, int) and epochs >= 1):
        raise ParameterError.of("epochs", "a learnt threshold", "an int ≥ 1", epochs)
    if not 0 < quantile < 1:
        raise ParameterError.of("quantile", "a learnt threshold", "in (0, 1)", quantile)
    if not 0 < rate < float("inf"):
        raise ParameterError.of("rate", "a learnt threshold", "a float > 0", rate)
    names = model.encoder.schema.names
    places = {axis.name: names.index(axis.name.removeprefix("rows.")) for axis in axes}
    unit, start = torch.ones(len(names)), torch.zeros(len(names))
    for axis in axes:
        i = places[axis.name]
        used = use_counts(model, rows.train, axis) > 0
        used[: UNKNOWN + 1] = False
        change = _change(model, axis)[torch.from_numpy(used)]
        if not len(change):
            continue
        size = change.abs() if kind is _Soft else change.abs().sum(dim=1)
        unit[i] = size.max() if kind is _Soft else size.mean()
        unit[i] = unit[i].clamp(min=1e-12)
        first = torch.quantile(size.flatten()[:1_000_000], quantile) / unit[i]
        start[i] = torch.logit(first, eps=1e-6) if kind is _Soft else first
    twin = model.with_state(model.state)
    limits = kind(twin.net, list(places.values()), unit, start, rate)
    twin.train_on(
        rows.train,
        training=replace(model.training, epochs=epochs, device="cpu"),
        taps={"rows": limits.tap},
        extra=lambda _: (limits.push(), limits.optimiser),
        groups=0,
    )
    with torch.no_grad():
        return {
            axis.name: Scores.exact(limits.margin(_change(twin, axis), places[axis.name]).numpy())
            for axis in axes
        }


def _change(model: Ranker, axis: Axis) -> Tensor:
    """Return the rows of a table less its unknown row, shape (rows, W)."""
    table = model.state[axis.uses[0].tensor]
    return torch.from_numpy(np.asarray(table - table[UNKNOWN], np.float32))


@method("pep", ("row",), PASSES, together=partial(_learnt, _Soft))
def pep(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    epochs: int = EPOCHS,
    quantile: float = 0.25,
    rate: float = 0.01,
) -> Scores:
    """How far the row's largest entry outlives a learnt soft threshold (PEP: Liu et al. 2021).

    A copy of the model trains on while every entry v of a table is read as
    sign(v) · relu(|v| − σ(s)), with a parameter s a field that learns along. Published, the entries
    that are left are a mask, under which training starts again from the first weights
    (:func:`recprune.pruning.rewind` does so); here whole rows are cut, so that the table shrinks.

    Args:
        model: fitted ranker; a copy of it trains.
        rows: training rows are trained on.
        axis: of table rows.
        seed: unused: the copy trains by the model's own.
        epochs: passes over the training rows.
        quantile: of the entries' sizes, where the threshold of each field starts.
        rate: learning rate of s.

    Raises:
        ParameterError: an option out of range.
    """
    options = {"epochs": epochs, "quantile": quantile, "rate": rate}
    return _learnt(_Soft, model, rows, [axis], seed, **options)[axis.name]  # type: ignore[arg-type]


@method("optembed", ("row",), PASSES, together=partial(_learnt, _Step))
def optembed(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    epochs: int = EPOCHS,
    quantile: float = 0.25,
    rate: float = 0.01,
) -> Scores:
    """How far the row's L1 norm lies beyond its field's learnt threshold (OptEmbed: Lyu et al. 2022).

    A copy of the model trains on while a row counts only if its norm exceeds the threshold t of its
    field; t learns along through a step whose slope has a long tail, and α · Σ exp(−t) makes it
    grow. The search for dims that the paper adds is not here; see ``sseds``.

    Args:
        model: fitted ranker; a copy of it trains.
        rows: training rows are trained on.
        axis: of table rows.
        seed: unused: the copy trains by the model's own.
        epochs: passes over the training rows.
        quantile: of the rows' norms, where the threshold of each field starts.
        rate: learning rate of t.

    Raises:
        ParameterError: an option out of range.
    """
    options = {"epochs": epochs, "quantile": quantile, "rate": rate}
    return _learnt(_Step, model, rows, [axis], seed, **options)[axis.name]  # type: ignore[arg-type]

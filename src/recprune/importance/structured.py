"""Units by the group lasso: which weights go to zero together as the penalty on them grows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from recprune.errors import ParameterError
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.layout import Axis
from recprune.lookups import UNKNOWN
from recprune.models import Penalty, Ranker
from recprune.models.state import located
from recprune.models.step import TABLE_RATE, Step

__all__ = ["group_lasso_path"]

UNITS = ("row", "dim", "neuron", "pair")
EPOCHS, ANNEAL = 4, 30.0
#: Within which the path's learning rate is chosen.
SLOWEST, FASTEST = 1e-4, 3e-2


def _learnt(
    model: Ranker,
    rows: Evidence,
    axes: Sequence[Axis],
    seed: int,
    *,
    epochs: int = EPOCHS,
    anneal: float = ANNEAL,
) -> Mapping[str, Scores]:
    """Train a copy of the model on while all groups are drawn to zero ever more."""
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise ParameterError.of("epochs", "group_lasso_path", "an int ≥ 1", epochs)
    if not 1 < anneal < math.inf:
        raise ParameterError.of("anneal", "group_lasso_path", "a float > 1", anneal)
    n, twin = len(rows.train), model.with_state(model.state)
    steps = epochs * math.ceil(n / model.training.batch_of(n))
    groups = [_Groups(twin, axis) for axis in axes]
    path = _Path(groups, steps, anneal)
    training = replace(
        model.training,
        epochs=epochs,
        learning_rate=path.rate,
        penalty=Penalty(),
        device="cpu",
    )
    twin.train_on(rows.train, training=training, groups=0, after=path.take)
    return dict(zip((a.name for a in axes), path.scores(), strict=True))


@method(
    "group_lasso_path",
    UNITS,
    f"epochs ({EPOCHS}) of training, for all axes of a kind at once",
    together=_learnt,
)
def group_lasso_path(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    epochs: int = EPOCHS,
    anneal: float = ANNEAL,
) -> Scores:
    """How long all weights of a unit hold out against a group penalty that grows.

    A copy of the model trains on under λ Σ_g √p_g ‖w_g‖₂ (Yuan & Lin 2006, eq. 2.1), where w_g are
    the p_g weights that go with the unit (structured sparsity learning: Wen et al. 2016, eqs 1 and
    2; of a table row, its way from the unknown row, which is what a cut leaves). After every step of
    Adam each group is made shorter by (learning rate) · λ · √p_g, or zero: the block soft threshold.
    λ grows geometrically to 1, where a weight's slope would have to point the same way at every step
    to hold against it; and the learning rate is such that the largest group would be zero at the
    end if nothing held it, so that small and large models have the same path.

    The score is the share of the steps that the unit was not zero; among units of the same share,
    how long it was in the mean.

    Axes that share weights, such as two layers, are drawn one after the other. Fields have
    ``group_lasso``: on training rows, a field of many weights learns by heart enough to hold out.

    Args:
        model: fitted ranker; a copy of it trains.
        rows: training rows are trained on.
        axis: of rows, dims, neurons or pairs.
        seed: unused: the copy trains by the model's own.
        epochs: passes over the training rows.
        anneal: how many times larger λ is at the end than at the start.

    Raises:
        ParameterError: an option out of range.
    """
    return _learnt(model, rows, [axis], seed, epochs=epochs, anneal=anneal)[axis.name]


class _Groups:
    """The weights that go with each unit of an axis, in a network that trains.

    Args:
        model: whose network it is.
        axis: of U units.
    """

    def __init__(self, model: Ranker, axis: Axis) -> None:
        self.units, self.row = axis.size, axis.unit == "row"
        #: Tensor, dim, and where in it the units are, (U,).
        self.spans: list[tuple[Tensor, int, Tensor]] = []
        #: p, the weights of a unit.
        self.size = 0
        where = located(model.net)
        for use in axis.uses:
            if use.tensor in where:
                values, dims = where[use.tensor]
                places = dims[use.dim][use.offset : use.offset + axis.size]
                self.spans.append((values, use.dim, torch.from_numpy(places)))
                self.size += math.prod(len(d) for i, d in enumerate(dims) if i != use.dim)
        #: How many times faster than the dense layers' these weights are learnt.
        self.speed = TABLE_RATE if self.row else 1.0

    def norms(self) -> Tensor:
        """Return ‖w_g‖₂ / √p_g, shape (U,)."""
        total = torch.zeros(self.units, dtype=torch.float64)
        for values, dim, places in self.spans:
            part = self._from_base(values, values.index_select(dim, places))
            total += part.double().square().movedim(dim, 0).reshape(self.units, -1).sum(dim=1)
        return (total / max(self.size, 1)).sqrt().float()

    def shrink(self, by: float) -> Tensor:
        """Make every group shorter by ``by`` · √p_g, or zero; return the norms then, shape (U,)."""
        norm = self.norms()
        left = torch.clamp(1 - by / norm.clamp(min=1e-20), min=0)
        for values, dim, places in self.spans:
            part = values.index_select(dim, places)
            away = self._from_base(values, part)
            factor = left.view([-1 if i == dim else 1 for i in range(part.dim())])
            values.index_copy_(dim, places, part - away * (1 - factor))
        return norm * left

    def _from_base(self, values: Tensor, part: Tensor) -> Tensor:
        return part - values[UNKNOWN] if self.row else part


class _Path:
    """The growing penalty, step by step.

    Args:
        groups: one an axis.
        steps: how many there will be.
        anneal: how many times larger λ is at the end.
    """

    def __init__(self, groups: Sequence[_Groups], steps: int, anneal: float) -> None:
        self.groups, self.steps, self.taken = groups, steps, 0
        self.strengths = np.geomspace(1 / anneal, 1, steps)
        #: The largest norm of each axis's groups.
        self.most = [float(g.norms().max()) if g.units else 0.0 for g in groups]
        need = max((m / g.speed for m, g in zip(self.most, groups, strict=True)), default=0.0)
        self.rate = float(np.clip(need / self.strengths.sum(), SLOWEST, FASTEST))
        self.alive = [torch.zeros(g.units, dtype=torch.float64) for g in groups]
        self.length = [torch.zeros(g.units, dtype=torch.float64) for g in groups]

    @torch.no_grad()
    def take(self, step: Step) -> None:
        """Draw all groups towards zero."""
        by = step.learning_rate * float(self.strengths[min(self.taken, self.steps - 1)])
        for groups, alive, length in zip(self.groups, self.alive, self.length, strict=True):
            norm = groups.shrink(by * groups.speed)
            alive += norm > 0
            length += norm
        self.taken += 1

    def scores(self) -> list[Scores]:
        """Return how long each group held out."""
        out = []
        for alive, length, most in zip(self.alive, self.length, self.most, strict=True):
            mean = (length / max(self.taken, 1) / max(most, 1e-20)).clamp(max=1)
            out.append(Scores.exact(((alive + mean) / (self.taken + 1)).numpy()))
        return out

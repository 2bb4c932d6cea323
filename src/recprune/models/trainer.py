"""The training loop: blocks of encoded rows, rows touched only, early stopping on a metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune._support import logger, progress, stream
from recprune.encoding import Rows
from recprune.errors import ParameterError, TrainingError
from recprune.models.batches import batches_of, shuffled
from recprune.models.frequency import GROUPS, FrequencyPrior
from recprune.models.network import FieldNet, Tap
from recprune.models.optimiser import LazyAdam, Penalty

__all__ = ["Epoch", "Target", "Training", "predict_logits", "tensors", "train"]

#: The table learns faster than the dense layers: its rows see few steps each.
TABLE_RATE = 3.0
PREDICT_BLOCK = 8192


@dataclass(frozen=True)
class Training:
    """How to train.

    Args:
        epochs: most passes over the rows.
        batch_size: rows a step; None = about a three-hundredth of the rows, within 128 to
            4,096.
        learning_rate: of the dense layers; the table's is three times that.
        penalty: L1, L2 and group penalties.
        patience: epochs without a better score on the held-out rows before stopping.
        unknown_rate: k in p = k / (k + count), the chance that a value is read as unknown. Trains
            the unknown row, and keeps rare rows from learning their own rows' labels by heart.
    """

    epochs: int = 30
    batch_size: int | None = None
    learning_rate: float = 1e-3
    penalty: Penalty = Penalty()  # noqa: RUF009 (frozen)
    patience: int = 2
    unknown_rate: float = 50.0

    def __post_init__(self) -> None:
        checks = {
            "epochs": (isinstance(self.epochs, int) and self.epochs >= 0, "an int ≥ 0"),
            "batch_size": (self.batch_size is None or self.batch_size >= 1, "None or an int ≥ 1"),
            "learning_rate": (0 < self.learning_rate < 1, "a float in (0, 1)"),
            "patience": (self.patience >= 1, "an int ≥ 1"),
            "unknown_rate": (self.unknown_rate >= 0, "a float ≥ 0"),
        }
        for name, (good, constraint) in checks.items():
            if not good:
                raise ParameterError.of(name, "Training", constraint, getattr(self, name))

    def batch_of(self, n_rows: int) -> int:
        """Return the batch size for this many rows."""
        if self.batch_size is not None:
            return self.batch_size
        return 1 << int(np.clip(round(math.log2(max(n_rows, 1) / 300)), 7, 12))


@dataclass(frozen=True)
class Target:
    """What the logits should match.

    Args:
        label: 0 or 1, shape (n,).
        teacher: a larger model's logits, shape (n,), or None.
        weight: share of the teacher in the loss (Hinton et al. 2015, section 2, at temperature 1).
        rows: how much each row counts, mean 1, shape (n,); None = alike.
    """

    label: NDArray[np.float32]
    teacher: NDArray[np.float32] | None = None
    weight: float = 0.5
    rows: NDArray[np.float32] | None = None

    def mixed(self) -> NDArray[np.float32]:
        """Return soft labels: cross-entropy is linear in them, so one loss serves both parts."""
        if self.teacher is None:
            return self.label
        soft = 1 / (1 + np.exp(-self.teacher.astype(np.float64)))
        return ((1 - self.weight) * self.label + self.weight * soft).astype(np.float32)


@dataclass(frozen=True)
class Epoch:
    """One pass: mean training loss and the score on held-out rows (None without them)."""

    epoch: int
    loss: float
    score: float | None


def train(
    net: FieldNet,
    rows: Rows,
    target: Target,
    training: Training,
    *,
    score: Callable[[], float] | None = None,
    seed: int = 0,
    taps: Mapping[str, Tap] | None = None,
    extra: Callable[[], tuple[Tensor, torch.optim.Optimizer]] | None = None,
) -> list[Epoch]:
    """Train ``net`` in place and leave it at its best epoch (the state before training counts).

    Args:
        net: updated in place.
        rows: encoded rows, n of them.
        target: labels or soft labels.
        training: options.
        score: held-out score of ``net`` as it is now, higher = better; None = no early stopping.
        seed: of the row order, the unknown reads and dropout.
        taps: see :mod:`recprune.models.network`.
        extra: called every step for an additional loss term and the optimiser of its parameters.

    Raises:
        TrainingError: the loss is not finite.
    """
    # Shared parts would undo the exact zeros of a sparse penalty.
    groups = 0 if training.penalty.sparse else GROUPS
    prior = FrequencyPrior(net, rows, training.unknown_rate, groups)
    table_rate = TABLE_RATE * training.learning_rate
    lazy = LazyAdam(net.table.data, table_rate, penalty=training.penalty)
    dense = torch.optim.Adam(net.dense_parameters(), lr=training.learning_rate)
    dense.add_param_group({"params": [prior.shared], "eps": lazy.epsilon})
    label = torch.from_numpy(target.mixed())
    weight = None if target.rows is None else torch.from_numpy(target.rows)
    batch, n = training.batch_of(len(rows)), len(rows)
    mean = _RunningMean([*net.parameters(), prior.shared], horizon=math.ceil(n / batch))
    best, best_state, waited = score() if score else -math.inf, _copy(net), 0
    prior.unfold(net)
    history = [Epoch(0, math.nan, best)] if score else []
    for epoch in range(1, training.epochs + 1):
        order = shuffled(n, stream(seed, "order", epoch))
        draws = torch.Generator().manual_seed(int(stream(seed, "draws", epoch).integers(2**62)))
        losses = 0.0
        net.draws = draws
        batches = batches_of(rows, order, batch)
        for chosen, part in progress(batches, f"epoch {epoch}", math.ceil(n / batch)):
            read, share = tensors(part)
            own, share = prior.read(net, read, share, draws)
            index = net.index(own)
            touched, inverse = _touched(index, net.n_rows)
            values = net.table.detach()[touched].requires_grad_()
            value = net.look_up(values, inverse, share) + prior.share(net, read)
            logit = net.finish(value, share, index, taps)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logit, label[chosen], None if weight is None else weight[chosen]
            )
            total, extra_optimiser = loss, None
            if extra is not None:
                term, extra_optimiser = extra()
                total = loss + term
                extra_optimiser.zero_grad()
            dense.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            assert values.grad is not None
            lazy.step(touched, values.detach(), values.grad)
            dense.step()
            if extra_optimiser is not None:
                extra_optimiser.step()
            _penalise(net, prior, training)
            mean.add()
            losses += float(loss.detach()) * len(chosen)
        net.draws = None
        if not math.isfinite(losses):
            raise TrainingError(
                f"The loss is {losses} in epoch {epoch}. Lower the learning rate (it is "
                f"{training.learning_rate}) or check the labels."
            )
        latest = mean.swap_in()
        prior.fold(net)
        if training.penalty.sparse:
            _keep_zeros(net, latest)
        reached = score() if score else None
        history.append(Epoch(epoch, losses / n, reached))
        logger.info("epoch %d: loss %.5f, held-out score %s", epoch, losses / n, reached)
        if reached is None or reached > best:
            best, best_state, waited = reached or best, _copy(net), 0
        else:
            waited += 1
        if waited >= training.patience:
            break
        mean.put(latest)
    net.load_state_dict(best_state)
    return history


def tensors(rows: Rows) -> tuple[Tensor, Tensor]:
    """Return codes and shares as a network takes them."""
    return torch.from_numpy(rows.codes).long(), torch.from_numpy(rows.shares)


@torch.no_grad()
def predict_logits(
    net: FieldNet, rows: Rows, taps: Mapping[str, Tap] | None = None
) -> NDArray[np.float32]:
    """Return the logits of encoded rows, shape (n,), in blocks."""
    out = np.empty(len(rows), np.float32)
    for at, block in rows.blocks(PREDICT_BLOCK):
        out[at] = net(*tensors(block), taps).numpy()
    return out


def _touched(index: Tensor, n_rows: int) -> tuple[Tensor, Tensor]:
    """Return the distinct rows of ``index`` and ``index`` in their numbering.

    A scatter over the table's rows costs less than sorting a batch's many look-ups.
    """
    seen = torch.zeros(n_rows, dtype=torch.bool)
    seen[index.reshape(-1)] = True
    rows = seen.nonzero().squeeze(1)
    number = torch.empty(n_rows, dtype=torch.int64)
    number[rows] = torch.arange(len(rows))
    return rows, number[index]


@torch.no_grad()
def _keep_zeros(net: FieldNet, latest: Sequence[Tensor]) -> None:
    """Set to zero what a proximal step has set to zero: a mean over steps is not."""
    for parameter, value in zip(net.parameters(), latest, strict=False):
        parameter.masked_fill_(value == 0, 0)


@torch.no_grad()
def _penalise(net: FieldNet, prior: FrequencyPrior, training: Training) -> None:
    penalty = training.penalty
    if not (penalty.sparse or penalty.l2):
        return
    decay = 1 - 2 * penalty.l2 * training.learning_rate
    prior.shared.mul_(decay)
    for layer in net.hidden_layers:
        weight: Any = layer.weight
        if penalty.l2:
            weight.mul_(decay)
        if penalty.sparse:
            weight.copy_(penalty.shrink(weight, training.learning_rate))


class _RunningMean:
    """Mean of the weights over about the last epoch: what is scored and kept.

    Averaged weights are as good as a much lower learning rate, without its slowness (Polyak &
    Juditsky 1992; exponential form with the plain mean's weight while there are few steps).
    """

    def __init__(self, parameters: Sequence[Tensor], horizon: int) -> None:
        self.parameters, self.horizon, self.steps = parameters, horizon, 0
        self.mean = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def add(self) -> None:
        self.steps += 1
        weight = max(1 / self.steps, 1 / self.horizon)
        for mean, parameter in zip(self.mean, self.parameters, strict=True):
            mean.lerp_(parameter, weight)

    def swap_in(self) -> list[Tensor]:
        """Put the mean into the parameters and return what was there."""
        latest = [p.detach().clone() for p in self.parameters]
        self.put(self.mean)
        return latest

    @torch.no_grad()
    def put(self, values: Sequence[Tensor]) -> None:
        """Copy ``values`` into the parameters."""
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)


def _copy(net: FieldNet) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}

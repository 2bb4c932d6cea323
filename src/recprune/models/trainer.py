"""The training loop: blocks of encoded rows, rows touched only, early stopping on a metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune._support import logger, progress, stream
from recprune.encoding import UNKNOWN, Rows
from recprune.errors import ParameterError, TrainingError
from recprune.models.network import FieldNet, Tap
from recprune.models.optimiser import LazyAdam, Penalty

__all__ = ["Epoch", "Target", "Training", "predict_logits", "train"]

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
    """

    label: NDArray[np.float32]
    teacher: NDArray[np.float32] | None = None
    weight: float = 0.5

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
    unknown = _unknown_chance(net, rows, training.unknown_rate)
    table_rate = TABLE_RATE * training.learning_rate
    lazy = LazyAdam(net.table.data, table_rate, penalty=training.penalty)
    dense = torch.optim.Adam(net.dense_parameters(), lr=training.learning_rate)
    label = torch.from_numpy(target.mixed())
    codes, shares = torch.from_numpy(rows.codes), torch.from_numpy(rows.shares)
    batch, n = training.batch_of(len(rows)), len(rows)
    mean = _RunningMean(net, horizon=math.ceil(n / batch))
    best, best_state, waited = score() if score else -math.inf, _copy(net), 0
    _spread_from_unknown(net, 1 / (1 - unknown))
    history = [Epoch(0, math.nan, best)] if score else []
    for epoch in range(1, training.epochs + 1):
        order = torch.from_numpy(stream(seed, "order", epoch).permutation(n))
        draws = torch.Generator().manual_seed(int(stream(seed, "draws", epoch).integers(2**62)))
        losses = 0.0
        net.draws = draws
        for start in progress(range(0, n, batch), f"epoch {epoch}", math.ceil(n / batch)):
            chosen = order[start : start + batch]
            low, share = _read_as_unknown(net, codes[chosen].long(), shares[chosen], unknown, draws)
            index = net.index(low)
            touched, inverse = _touched(index, net.n_rows)
            values = net.table.detach()[touched].requires_grad_()
            value = net.embed(values, inverse, share)
            logit = net.head(value, taps, index)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, label[chosen])
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
            _penalise(net, training)
            mean.add()
            losses += float(loss.detach()) * len(chosen)
        net.draws = None
        if not math.isfinite(losses):
            raise TrainingError(
                f"The loss is {losses} in epoch {epoch}. Lower the learning rate (it is "
                f"{training.learning_rate}) or check the labels."
            )
        latest = mean.swap_in()
        _spread_from_unknown(net, 1 - unknown)
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
        net.load_state_dict(latest)
    net.load_state_dict(best_state)
    return history


@torch.no_grad()
def predict_logits(
    net: FieldNet, rows: Rows, taps: Mapping[str, Tap] | None = None
) -> NDArray[np.float32]:
    """Return the logits of encoded rows, shape (n,), in blocks."""
    out = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), PREDICT_BLOCK):
        block = rows[start : start + PREDICT_BLOCK]
        codes = torch.from_numpy(block.codes).long()
        out[start : start + len(block)] = net(codes, torch.from_numpy(block.shares), taps).numpy()
    return out


def _unknown_chance(net: FieldNet, rows: Rows, rate: float) -> Tensor:
    """Return the chance that a table row is read as unknown, shape (R,): k / (k + count).

    A numeric field is looked up in every row of the data, whichever knots it falls between.
    """
    chance = np.empty(net.n_rows, np.float32)
    for i, (offset, size) in enumerate(zip(net.offsets.tolist(), net.shape.sizes, strict=True)):
        count = np.bincount(rows.codes[:, i], minlength=size)
        if i in net.shape.numeric:
            count = np.full(size, len(rows))
        chance[offset : offset + size] = rate / (rate + np.maximum(count, 1))
    return torch.from_numpy(chance)


def _read_as_unknown(
    net: FieldNet, codes: Tensor, shares: Tensor, chance: Tensor, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    hidden = torch.rand(codes.shape, generator=draws) < chance[codes + net.offsets]
    return torch.where(hidden, UNKNOWN, codes), shares.masked_fill(hidden[:, net.numeric], 0)


@torch.no_grad()
def _spread_from_unknown(net: FieldNet, factor: Tensor) -> None:
    """Move every row to its field's unknown row plus ``factor`` times its distance from it.

    A row that training reads as unknown with chance p is scored by the mean of what training saw,
    (1 − p)·row + p·unknown, just as dropout scales its weights. So rare rows stay near the unknown
    row. The inverse, at the start, lets training go on from weights that score.
    """
    sizes = torch.tensor(net.shape.sizes)
    base = net.table[net.unknown_rows().repeat_interleave(sizes)]
    net.table.copy_(torch.lerp(base, net.table, factor.unsqueeze(1)))


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
def _keep_zeros(net: FieldNet, latest: dict[str, Tensor]) -> None:
    """Set to zero what a proximal step has set to zero: a mean over steps is not."""
    for name, parameter in net.named_parameters():
        parameter.masked_fill_(latest[name] == 0, 0)


@torch.no_grad()
def _penalise(net: FieldNet, training: Training) -> None:
    penalty = training.penalty
    if not (penalty.sparse or penalty.l2):
        return
    for layer in net.hidden_layers:
        weight: Any = layer.weight
        if penalty.l2:
            weight.mul_(1 - 2 * penalty.l2 * training.learning_rate)
        if penalty.sparse:
            weight.copy_(penalty.shrink(weight, training.learning_rate))


class _RunningMean:
    """Mean of the weights over about the last epoch: what is scored and kept.

    Averaged weights are as good as a much lower learning rate, without its slowness (Polyak &
    Juditsky 1992; exponential form with the plain mean's weight while there are few steps).
    """

    def __init__(self, net: FieldNet, horizon: int) -> None:
        self.net, self.horizon, self.steps = net, horizon, 0
        self.mean = {name: p.detach().clone() for name, p in net.named_parameters()}

    @torch.no_grad()
    def add(self) -> None:
        self.steps += 1
        weight = max(1 / self.steps, 1 / self.horizon)
        for name, parameter in self.net.named_parameters():
            self.mean[name].lerp_(parameter, weight)

    @torch.no_grad()
    def swap_in(self) -> dict[str, Tensor]:
        """Put the mean into the network and return what was there."""
        latest = _copy(self.net)
        for name, parameter in self.net.named_parameters():
            parameter.copy_(self.mean[name])
        return latest


def _copy(net: FieldNet) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}

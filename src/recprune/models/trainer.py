"""The training loop: blocks of encoded rows, rows touched only, early stopping on a metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recprune._support import logger, progress, stream
from recprune.encoding import Rows
from recprune.errors import ParameterError, TrainingError
from recprune.models.batches import batches_of, shuffled
from recprune.models.frequency import GROUPS, FrequencyPrior
from recprune.models.network import FieldNet
from recprune.models.objective import Objective
from recprune.models.optimiser import Penalty
from recprune.models.step import Extra, Step, Updates, tensors
from recprune.models.taps import Tap

__all__ = ["Epoch", "Training", "predict_logits", "train"]

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
class Epoch:
    """One pass: mean training loss and the score on held-out rows (None without them)."""

    epoch: int
    loss: float
    score: float | None


def train(
    net: FieldNet,
    rows: Rows,
    objective: Objective,
    training: Training,
    *,
    score: Callable[[], float] | None = None,
    seed: int = 0,
    taps: Mapping[str, Tap] | None = None,
    extra: Extra | None = None,
    groups: int = GROUPS,
) -> list[Epoch]:
    """Train ``net`` in place and leave it at its best epoch (the state before training counts).

    Args:
        net: updated in place.
        rows: encoded rows, n of them.
        objective: what is minimised.
        training: options.
        score: held-out score of ``net`` as it is now, higher = better; None = no early stopping.
        seed: of the row order, the unknown reads and dropout.
        taps: see :mod:`recprune.models.taps`.
        extra: called every step for an additional loss term and the optimiser of its parameters.
        groups: most frequency groups of a field whose rows share a part; see
            :mod:`recprune.models.frequency`.

    Raises:
        TrainingError: the loss is not finite.
    """
    # Shared parts would undo the exact zeros of a sparse penalty.
    groups = 0 if training.penalty.sparse else groups
    prior = FrequencyPrior(net, rows, training.unknown_rate, groups)
    batch, n = training.batch_of(len(rows)), len(rows)
    updates = Updates(training.learning_rate, training.penalty, horizon=math.ceil(n / batch))
    step = Step(net, prior, objective, updates)
    best, best_state, waited = score() if score else -math.inf, _copy(net), 0
    prior.unfold(net)
    history = [Epoch(0, math.nan, best)] if score else []
    for epoch in range(1, training.epochs + 1):
        order = shuffled(n, stream(seed, "order", epoch))
        draws = torch.Generator().manual_seed(int(stream(seed, "draws", epoch).integers(2**62)))
        losses = 0.0
        batches = batches_of(rows, order, batch)
        for chosen, part in progress(batches, f"epoch {epoch}", math.ceil(n / batch)):
            losses += step.take(part, chosen, draws, taps, extra) * len(chosen)
        if not math.isfinite(losses):
            raise TrainingError(
                f"The loss is {losses} in epoch {epoch}. Lower the learning rate (it is "
                f"{training.learning_rate}) or check the labels."
            )
        latest = step.mean.swap_in()
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
        step.mean.put(latest)
    net.load_state_dict(best_state)
    return history


@torch.no_grad()
def predict_logits(
    net: FieldNet, rows: Rows, taps: Mapping[str, Tap] | None = None
) -> NDArray[np.float32]:
    """Return the logits of encoded rows, shape (n,) or (n, T), in blocks."""
    labels = net.bias.shape if len(net.bias) > 1 else ()
    out = np.empty((len(rows), *labels), np.float32)
    for at, block in rows.blocks(PREDICT_BLOCK):
        out[at] = net(*tensors(block), taps).numpy()
    return out


@torch.no_grad()
def _keep_zeros(net: FieldNet, latest: Sequence[Tensor]) -> None:
    """Set to zero what a proximal step has set to zero: a mean over steps is not."""
    for parameter, value in zip(net.parameters(), latest, strict=False):
        parameter.masked_fill_(value == 0, 0)


def _copy(net: FieldNet) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}

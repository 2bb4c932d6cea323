"""How to train: the options, and what each epoch comes to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recprune.errors import ParameterError
from recprune.metrics import metric
from recprune.models.device import Device, Precision, check_device, check_precision
from recprune.models.objective import ClassWeight, check_class_weight
from recprune.models.optimiser import Penalty
from recprune.models.schedule import Schedule

__all__ = ["Epoch", "Training"]


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
        unseen_rare: whether a value that was never seen, or was cut, shares the part that the rarest
            values of its field have in common (users never do: most are new, and as active as
            others). Where new items are as likely taken as others, False is better.
        schedule: warm-up and decay of the learning rate; the default is constant.
        metric: of the held-out rows, by its name in :mod:`recprune.metrics`: decides which epoch is
            kept and when to stop. ``"gauc"`` needs users.
        class_weight: how much rows of each class count, beside their own weights, as in scikit-learn:
            ``"balanced"`` (n / (2 · rows of the class)), or the weights of 0 and 1; None = alike.
            Probabilities are then those of rows weighted so, not of the rows as they are: every odds
            is about w1 / w0 times too high. The order of the rows hardly changes.
        precision: of the hidden layers' products: ``"fp32"``, ``"bf16"``, or ``"auto"``: bf16 where
            the processor has instructions for it. Weights, embeddings, the loss and what is scored
            are fp32 in either case.
        keep_zeros: whether weights that are exactly zero when training begins stay so: what was set
            to zero is not to revive. Biases of a ranker that was never trained are zero, too.
        device: where to compute: ``"cpu"``, ``"cuda"``, or ``"auto"``: CUDA where there is one. The
            network comes back to the processor.

    Raises:
        ParameterError: a value out of range, or no such metric.
    """

    epochs: int = 30
    batch_size: int | None = None
    learning_rate: float = 1e-3
    penalty: Penalty = Penalty()  # noqa: RUF009 (frozen)
    patience: int = 2
    unknown_rate: float = 50.0
    unseen_rare: bool = True
    schedule: Schedule = Schedule()  # noqa: RUF009 (frozen)
    metric: str = "auc"
    class_weight: ClassWeight = None
    precision: Precision = "auto"
    keep_zeros: bool = False
    device: Device = "auto"

    def __post_init__(self) -> None:
        size, rate, unknown = self.batch_size, self.learning_rate, self.unknown_rate
        checks = {
            "epochs": (_whole(self.epochs, 0), "an int ≥ 0"),
            "batch_size": (size is None or _whole(size, 1), "None or an int ≥ 1"),
            "learning_rate": (_number(rate) and 0 < rate < 1, "a float in (0, 1)"),
            "patience": (_whole(self.patience, 1), "an int ≥ 1"),
            "keep_zeros": (isinstance(self.keep_zeros, bool), "True or False"),
            "unknown_rate": (_number(unknown) and 0 <= unknown < math.inf, "a finite float ≥ 0"),
        }
        for name, (good, constraint) in checks.items():
            if not good:
                raise ParameterError.of(name, "Training", constraint, getattr(self, name))
        object.__setattr__(self, "metric", metric(self.metric).name)
        check_class_weight(self.class_weight)
        check_precision(self.precision)
        check_device(self.device)

    def batch_of(self, n_rows: int) -> int:
        """Return the batch size for this many rows."""
        if self.batch_size is not None:
            return self.batch_size
        return 1 << int(np.clip(round(math.log2(max(n_rows, 1) / 300)), 7, 12))

    def better(self, score: float, best: float) -> bool:
        """Tell whether a score of ``metric`` is better than the best so far.

        >>> Training(metric="logloss").better(0.3, 0.4)
        True
        """
        return score > best if metric(self.metric).higher_is_better else score < best

    def best_of(self, history: Sequence[Epoch]) -> Epoch:
        """Return the epoch whose weights are kept: the first best, or the last without scores."""
        best = history[-1]
        for epoch in reversed(history):
            if epoch.score is not None and best.score is not None:
                best = best if self.better(best.score, epoch.score) else epoch
        return best


def _whole(value: object, least: int) -> bool:
    return (
        isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)
    )


def _number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


@dataclass(frozen=True)
class Epoch:
    """One pass over the rows; epoch 0 is the state before training.

    Args:
        epoch: which, from 0.
        loss: mean training loss; NaN of epoch 0.
        score: of the held-out rows, by the training's metric; None without them.
        learning_rate: of the dense layers at the epoch's last step.
        seconds: what the pass took, without scoring.
        rows_per_second: training rows by ``seconds``.
    """

    epoch: int
    loss: float
    score: float | None
    learning_rate: float = 0.0
    seconds: float = field(default=0.0, compare=False)
    rows_per_second: float = field(default=0.0, compare=False)

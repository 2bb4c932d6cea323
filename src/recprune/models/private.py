"""The loop of private training: users by coins, clipped gradients, noise, the mean of the weights."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from recprune._support import logger, progress, require, stream
from recprune.encoding import Rows
from recprune.errors import ParameterError, TrainingError
from recprune.lookups import UNKNOWN
from recprune.models.averaging import RunningMean
from recprune.models.network import FieldNet
from recprune.models.objective import CrossEntropy, Objective
from recprune.models.privacy import BEFORE, PrivacyBudget, PrivacySpent, epsilon_of
from recprune.models.private_step import RATE, PrivateStep, UserRows, losses_of
from recprune.models.training import Epoch, Training

if TYPE_CHECKING:
    from recprune.data import Split

__all__ = ["Learner", "train_privately"]

#: Chance that a value reads as unknown. How often it occurs may not decide it, as it does without
#: privacy: counts are the users' own.
UNKNOWN_CHANCE = 0.02
#: Steps an epoch, unless the batch size says otherwise: with few steps of many users, noise is small
#: beside what the users have in common. Then memory asks for more.
STEPS = 5
MOST_USERS = 1024


class Learner(Protocol):
    """What is needed of a :class:`recprune.models.Ranker` that has begun."""

    private: ClassVar[bool]
    training: Training

    @property
    def net(self) -> FieldNet:
        """The torch network."""
        ...

    def aligned(self, split: Split) -> Split:
        """Return the rows in its codes."""
        ...

    def objective(self, split: Split) -> Objective:
        """Return what training minimises."""
        ...

    def held_out(self, valid: Split) -> Callable[[], float]:
        """Return what scores the present weights."""
        ...


def train_privately(
    ranker: Learner,
    rows: Split,
    valid: Split | None,
    budget: PrivacyBudget,
    *,
    checkpoint: str | Path | None = None,
    watch: Callable[[Epoch], None] | None = None,
) -> tuple[list[Epoch], PrivacySpent]:
    """Train a ranker's network in place, and say what was spent.

    It differs from :func:`recprune.models.trainer.train` where that would read users' rows past the
    noise: values of like frequency share nothing, and a value reads as unknown with the same chance
    whatever its count; training losses are not told; all epochs are run, since their ε is spent in
    any case; and held-out rows are scored, and choose the epoch, only where none of their users
    trains: otherwise the last epoch is kept.
    The running mean of the weights follows from noisy weights alone.

    ``Training.batch_size`` counts users (rows, where there are no users); by default a step has a
    fifth of them, up to 1,024. The learning rate is ten times the training's.

    Args:
        ranker: begun; trained on a cross-entropy.
        rows: training rows.
        valid: held-out rows, or None.
        budget: what may be spent.
        checkpoint: None. A second start would draw other noise for steps that were paid for.
        watch: called with every epoch's line of the history.

    Raises:
        ParameterError: an option that cannot be had privately; the message names it.
        TrainingError: a weight is not finite any more.
        MissingExtra: Opacus is not installed.
    """
    require("opacus", "privacy")
    if checkpoint is not None:
        raise ParameterError.of("checkpoint", "train_privately", "None", str(checkpoint))
    rows, valid = ranker.aligned(rows), ranker.aligned(valid) if valid is not None else None
    training, net = ranker.training, ranker.net
    _check(ranker, training)
    objective = ranker.objective(rows)
    assert type(objective) is CrossEntropy
    owners = UserRows(rows.users, len(rows))
    if budget.delta >= 1 / len(owners):
        constraint = f"below 1 / {owners.unit}s, which is {1 / len(owners):.3g}"
        raise ParameterError.of("delta", "PrivacyBudget", constraint, budget.delta)
    wanted = training.batch_size or min(max(len(owners) / STEPS, 1), MOST_USERS)
    rate = min(wanted / len(owners), 1.0)
    steps = math.ceil(1 / rate)
    total = steps * training.epochs
    noise = budget.noise(rate, total) if total else math.inf
    secret = budget.noise_seed
    secret = secrets.randbits(120) if secret is None else secret
    noises, coins, drawn = (stream(secret, name) for name in ("noise", "coins", "rows"))
    masks = torch.Generator().manual_seed(int(stream(secret, "masks").integers(2**62)))
    apart = _apart(rows, valid)
    score = ranker.held_out(valid) if apart and valid is not None else None
    history = [Epoch(0, math.nan, score())] if score else []
    best = {n: t.clone() for n, t in net.state_dict().items()}
    with _stepping(net, budget, noise, rate * len(owners), training, noises) as step:
        mean = RunningMean([*net.parameters()], steps)
        for epoch in range(training.epochs):
            for number in progress(range(steps), f"epoch {epoch + 1}", steps):
                step.set_rate(training.schedule.factor(epoch * steps + number, total))
                chosen = np.flatnonzero(coins.random(len(owners)) < rate).tolist()
                at = owners.draw(chosen, budget.rows_per_user, drawn)
                net.draws = masks
                step.clip(_read(rows.rows, at, net, masks), len(at), losses_of(objective, at))
                net.draws = None
                step.update()
                mean.add()
            if not all(bool(p.isfinite().all()) for p in net.parameters()):
                raise TrainingError(
                    f"A weight is not finite after epoch {epoch + 1} of private training. Lower the "
                    f"learning rate (it is {RATE:g} times {training.learning_rate:g}) or max_grad_norm."
                )
            latest = mean.swap_in()
            line = Epoch(epoch + 1, math.nan, score() if score else None, step.rate)
            history.append(line)
            if training.best_of(history) is line:
                best = {n: t.clone() for n, t in net.state_dict().items()}
            mean.put(latest)
            logger.info("epoch %d: held-out %s", line.epoch, line.score)
            if watch is not None:
                watch(line)
    net.load_state_dict(best)
    gaps = _gaps(rows, valid, apart)
    return history, _spent(budget, owners.unit, (noise, rate, total), gaps)


@contextmanager
def _stepping(net: FieldNet, *options: object) -> Iterator[PrivateStep]:
    step = PrivateStep(net, *options)  # type: ignore[arg-type]
    try:
        yield step
    finally:
        step.close()


def _check(ranker: Learner, training: Training) -> None:
    """Refuse by name what would go past the noise, or is not known to be private."""
    owner = type(ranker).__name__
    if not ranker.private:
        constraint = "None: what its rows teach depends on other users' rows, or train a ranker"
        raise ParameterError.of("privacy", owner, constraint, "a budget")
    if any(layer.norm is not None for layer in ranker.net.hidden_layers):
        constraint = "False where training is private: its means mix the rows of all users"
        raise ParameterError.of("batch_norm", owner, constraint, True)
    if training.class_weight == "balanced":
        constraint = "None or two numbers where training is private: 'balanced' counts the labels"
        raise ParameterError.of("class_weight", "Training", constraint, "balanced")
    for name in ("l1", "group"):
        if strength := getattr(training.penalty, name):
            constraint = "0 where training is private: noise revives what it sets to zero"
            raise ParameterError.of(name, "Penalty", constraint, strength)
    if training.keep_zeros:
        constraint = "False where training is private: noise is added to every weight"
        raise ParameterError.of("keep_zeros", "Training", constraint, True)


def _apart(rows: Split, valid: Split | None) -> bool:
    """Tell whether no user has rows in both; without users, rows are apart anyway."""
    if valid is None:
        return False
    if rows.users is None or valid.users is None:
        return True
    return not np.isin(valid.users, rows.users).any()


def _read(rows: Rows, at: NDArray[np.int64], net: FieldNet, draws: torch.Generator) -> Rows:
    """Return the rows at (U, R), as B rows, some values read as unknown; those at −1 as any."""
    given = rows[np.maximum(at, 0).ravel()]
    hidden = torch.rand(given.codes.shape, generator=draws) < UNKNOWN_CHANCE
    own = hidden.numpy()
    dense = np.repeat(np.array([k == "dense" for k in net.shape.kinds]), net.shape.slots)
    own = own & ~dense  # components of a vector have no unknown row to train
    shares = given.shares.copy()
    shares[own[:, net.share_slots.numpy()] & net.share_is_number.numpy()] = 0
    return Rows(np.where(own, UNKNOWN, given.codes).astype(given.codes.dtype), shares)


def _gaps(rows: Split, valid: Split | None, apart: bool) -> tuple[str, ...]:
    """Return what else came from users' rows; ``apart``: those held out are not of who trains."""
    gaps, schema = [BEFORE], rows.encoder.schema
    if schema.user in schema.names:
        gaps.append(f"who trained at all, which the vocabulary of {schema.user!r} tells by name")
    if rows.rule.negatives is not None:
        gaps.append("negatives drawn by what all users took")
    if apart:
        gaps.append("users of held-out rows, who choose the epoch that is kept, and a threshold")
    elif valid is not None:
        gaps.append("what is read off held-out rows of the same users, such as a threshold")
    return tuple(gaps)


def _spent(
    budget: PrivacyBudget, unit: str, spell: tuple[float, float, int], gaps: tuple[str, ...]
) -> PrivacySpent:
    return PrivacySpent(
        "row" if unit == "row" else "user",
        epsilon_of([spell], budget.delta) if spell[2] else 0.0,
        budget.delta,
        (spell,) if spell[2] else (),
        budget.max_grad_norm,
        budget.rows_per_user if unit == "user" else 1,
        budget.noise_seed is not None,
        gaps,
    )

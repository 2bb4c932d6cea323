"""When to cut: while the model still learns, or before it learns anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from recprune.data import Dataset
from recprune.errors import ParameterError
from recprune.layout import Plan
from recprune.models import Ranker
from recprune.pruning.planning import Keep
from recprune.pruning.rounds import cut, stages

__all__ = ["gradual", "rewind"]


def rewind(model: Ranker, data: Dataset, plan: Plan | None = None, *, epochs: int = 0) -> Ranker:
    """Train the units that a plan keeps from their first weights: the lottery ticket.

    Frankle & Carbin 2019 rewind to the very first weights; Frankle et al. 2020 to those after a few
    epochs, which larger models need. The same seed draws the same weights, so that none are stored.

    Args:
        model: ranker that the plan was made from, or that came of it; unchanged.
        data: the split data set that it was fitted on.
        plan: what to keep; None = what ``model`` kept.
        epochs: to rewind to, 0 = before training.

    Raises:
        ParameterError: epochs out of range.
        PlanError: the plan is of another layout.
    """
    _count("epochs", "rewind", epochs, 0)
    early = model.like(training=replace(model.training, epochs=epochs)).fit(data.train)
    ticket = early.apply(model.plan if plan is None else plan)
    ticket.training = model.training
    ticket.history = ticket.train_on(data.train, valid=data.tune)
    return ticket


def gradual(
    model: Ranker,
    data: Dataset,
    keep: Keep,
    methods: Mapping[str, str] | None = None,
    *,
    warm_up: int = 1,
    rounds: int = 4,
    seed: int = 0,
) -> Ranker:
    """Train a ranker from the start and cut it on the way, a round an epoch.

    After ``warm_up`` epochs a round follows every epoch; of what goes in the end, 1 − (1 − t)³ is
    gone at a share t of the rounds (the cubic schedule of Zhu & Gupta 2017, on whole units), so that
    most goes while much is left to learn. Then the small model trains until its held-out rows stop
    it. Cuts are repaired; the optimiser starts afresh on what is left.

    Args:
        model: says class, options, training and seed; fitted or not, and unchanged.
        data: a split data set.
        keep: what is left at the end; see :func:`recprune.pruning.plan`.
        methods: kind of unit → importance method.
        warm_up: epochs before the first cut, at least 1.
        rounds: cuts, at least 1.
        seed: of the methods' draws.

    Raises:
        ParameterError: an option out of range.
    """
    _count("warm_up", "gradual", warm_up, 1)
    _count("rounds", "gradual", rounds, 1)
    first = model.like(training=replace(model.training, epochs=warm_up)).fit(data.train)
    small, one = first, replace(model.training, epochs=1)
    for number in range(1, rounds + 1):
        step = stages(first, small, keep, number / rounds, cubic=True)
        small = cut(small, data.train, step, methods, scored_on=data.tune, seed=seed)
        if number < rounds:
            small.train_on(data.train, training=one)
    small.training = model.training
    small.history = small.train_on(data.train, valid=data.tune)
    return small


def _count(name: str, owner: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ParameterError.of(name, owner, f"an int ≥ {least}", value)

"""Cut, repair, fine-tune: once or in rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recprune.data import Dataset, Split
from recprune.errors import ParameterError
from recprune.importance import Evidence
from recprune.models import Ranker, Training
from recprune.pruning.planning import (
    UNITS,
    Keep,
    Wanted,
    names_fields,
    per_axis,
    plan,
    to_cut,
    unit_count,
)
from recprune.pruning.repair import repair
from recprune.pruning.rotation import rotate

__all__ = ["FineTuning", "cut", "fine_tune", "prune", "retrain", "stage", "stages"]


@dataclass(frozen=True, eq=False)
class FineTuning:
    """What a cut model is trained on afterwards.

    Args:
        rows: training rows.
        valid: held-out rows for early stopping; the model before fine-tuning is a candidate too.
        teacher: the full model's logits on ``rows``, shape (n_rows,), or None for labels alone.
        training: options.
    """

    rows: Split
    valid: Split
    teacher: NDArray[np.float32] | None
    training: Training

    def short(self, most: int = 100_000) -> FineTuning:
        """Return an epoch over at most so many rows, spread over all: enough to compare cuts."""
        training, n = replace(self.training, epochs=1), len(self.rows)
        if n <= most:
            return replace(self, training=training)
        some = np.linspace(0, n - 1, most).astype(np.int64)
        teacher = None if self.teacher is None else self.teacher[some]
        return replace(self, rows=self.rows.take(some), teacher=teacher, training=training)


def cut(
    model: Ranker,
    split: Split,
    keep: Keep,
    methods: Mapping[str, str] | None = None,
    *,
    scored_on: Split | None = None,
    seed: int = 0,
) -> Ranker:
    """Plan, repair and apply one cut, without fine-tuning.

    Args:
        model: fitted ranker; unchanged.
        split: training rows, for counts, means and refits.
        keep: see :func:`recprune.pruning.plan`.
        methods: see :func:`recprune.pruning.plan`.
        scored_on: held-out rows for methods that look at labels; the default is ``split``.
        seed: of the methods' draws.
    """
    made = plan(model, Evidence(split, scored_on or split), keep, methods, seed)
    return model.apply(made, repair(model, split, made, seed))


def fine_tune(model: Ranker, tuning: FineTuning) -> Ranker:
    """Return the ranker trained further; the one given is unchanged.

    Weights that are exactly zero because their unit was cut do not exist any more, so nothing
    can revive; the optimiser starts afresh on the surviving units.
    """
    tuned = model.with_state(model.state)
    tuned.history = tuned.train_on(
        tuning.rows,
        valid=tuning.valid,
        training=tuning.training,
        teacher=tuning.teacher,
    )
    return tuned


def retrain(model: Ranker, tuning: FineTuning) -> Ranker:
    """Return the ranker trained from first weights of its own sizes, as the full one was.

    What it learns from the teacher is all that it takes over. A small model may come out better so
    than from the weights that a cut left; which, held-out rows tell.
    """
    fresh = model.redrawn()
    fresh.history = fresh.train_on(tuning.rows, valid=tuning.valid, teacher=tuning.teacher)
    return fresh


def prune(
    model: Ranker,
    data: Dataset,
    keep: Keep,
    methods: Mapping[str, str] | None = None,
    *,
    rounds: int = 1,
    epochs: int = 2,
    distil: bool = True,
    seed: int = 0,
) -> Ranker:
    """Prune a fitted ranker to the given shares or counts, in one or many rounds.

    Args:
        model: fitted ranker; unchanged.
        data: a split data set. Methods that use labels score on its tune rows.
        keep: what to keep at the end, by kind of unit; ``{"rows": 0.25, "neurons": 0.5}``.
        methods: kind of unit → importance method.
        rounds: cuts on the way there; shares shrink geometrically, with fine-tuning in between.
        epochs: most epochs of fine-tuning a round; 0 = none.
        distil: half the loss on the full model's logits while fine-tuning.
        seed: of the methods' draws.

    Returns:
        A smaller ranker; ``.plan`` says what it kept of the model it came from.

    Raises:
        ParameterError: an option out of range.
        PlanError: the model has none of a kind of unit.
    """
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise ParameterError.of("rounds", "prune", "an int ≥ 1", rounds)
    teacher = model.logits(model.aligned(data.train).rows) if distil and epochs else None
    tuning = FineTuning(
        data.train, data.tune, teacher, replace(model.training, epochs=epochs, patience=1)
    )
    small = rotate(model, data.train) if "dims" in keep else model
    for number in range(1, rounds + 1):
        step = stages(model, small, keep, number / rounds)
        small = cut(small, data.train, step, methods, scored_on=data.tune, seed=seed)
        if epochs:
            small = fine_tune(small, tuning)
    return small


def stages(
    model: Ranker, small: Ranker, keep: Keep, progress: float, *, cubic: bool = False
) -> Keep:
    """Return what stays after a share of the way from a model to what is wanted at the end.

    Args:
        model: with all units.
        small: what the rounds before have left of it; a kind of unit of which fields took all along
            is left out.
        keep: at the end.
        progress: the share of the way, in (0, 1].
        cubic: see :func:`stage`.
    """
    before, left = (
        {axis.unit for axis in m.layout.axes.values() if axis.min_keep < axis.size}
        for m in (model, small)
    )
    counts = {kind: stage(model, kind, w, progress, cubic=cubic) for kind, w in keep.items()}
    return {kind: count for kind, count in counts.items() if UNITS[kind] not in before - left}


def stage(
    model: Ranker, kind: str, wanted: Wanted, progress: float, *, cubic: bool = False
) -> int | tuple[int, ...] | Sequence[str]:
    """Return how many units stay after a share of the way from all of them to ``wanted``.

    Counts are of the model given, so that rounding never adds up over rounds. They shrink
    geometrically, or with 1 − (1 − t)³ of what goes gone at a share t of the way.
    """
    if names_fields(kind, wanted):
        return wanted  # type: ignore[return-value]
    axes = to_cut(model, kind)
    sizes = [a.size for a in axes] if kind == "neurons" else [axes[0].size]
    if kind == "rows":
        sizes = [sum(a.size - a.pinned for a in axes)]
    if kind == "dims":  # the same in all fields, or in the mean
        sizes = [round(sum(a.size for a in axes) / len(axes))]
    each = per_axis(axes, wanted, kind)[: len(sizes)]
    ends = [unit_count(w, n, kind) for w, n in zip(each, sizes, strict=True)]
    counts = tuple(
        max(1, round(end + (n - end) * (1 - progress) ** 3 if cubic else n * (end / n) ** progress))
        for n, end in zip(sizes, ends, strict=True)
    )
    return counts if kind == "neurons" else counts[0]

"""Importance by training again without a field: the truth that the other methods stand in for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recprune._support import stream
from recprune.data import Split
from recprune.errors import DataError, ParameterError
from recprune.executor import Executor
from recprune.importance.base import Scores, method
from recprune.importance.evidence import Evidence
from recprune.layout import Axis
from recprune.metrics import auc
from recprune.models import Ranker

__all__ = ["Rows", "drop_and_retrain"]


@dataclass(frozen=True)
class Rows:
    """Rows to train on, and others that stop the training and score it.

    Args:
        learnt: encoded as ``judged``.
        judged: held out.
    """

    learnt: Split
    judged: Split

    def only(self, names: tuple[str, ...]) -> Rows:
        """Return the rows with these fields alone, in codes as they are."""
        encoder = self.learnt.encoder.take(names, {})
        return Rows(self.learnt.only(encoder), self.judged.only(encoder))

    def fitted(self, blank: Ranker) -> Ranker:
        """Return the ranker, trained.

        Raises:
            ParameterError: one that needs other fields.
        """
        try:
            return blank.fit(self.learnt, self.judged)
        except DataError as error:
            kind, left = type(blank).__name__, ", ".join(self.learnt.encoder.schema.names)
            raise ParameterError(
                f"{kind} has to be trained on {left} alone here, and cannot be: {error} Take a "
                "method that trains no model again, such as permutation, or another model."
            ) from error

    def auc(self, model: Ranker) -> float:
        """Return the AUC of a ranker on the held-out rows, by their weights."""
        split = self.judged
        return auc(split.label, model.logits(split.rows), split.extras.weight)


@method("drop_and_retrain", ("field",), "seeds × (fields + 1) trainings")
def drop_and_retrain(
    model: Ranker,
    rows: Evidence,
    axis: Axis,
    seed: int,
    *,
    seeds: int = 3,
    executor: Executor | None = None,
) -> Scores:
    """Mean fall of held-out AUC when a ranker is trained from scratch without the field.

    LOCO: leave one covariate out (Lei et al. 2018, section 6). Rankers with and without the field
    have the same options and seed; the held-out rows that stop their training early score them,
    both sides alike. The standard error is over seeds (zero of one alone). What two fields both
    know, neither is missed for.

    Args:
        model: of whose class, options and training all are.
        rows: all learn from training rows and are scored on held-out ones.
        axis: of fields.
        seed: of the trainings' seeds.
        seeds: trainings a field.
        executor: where they are trained; the result does not depend on it. None = one after another.
    """
    if seeds < 1:
        raise ParameterError.of("seeds", "drop_and_retrain", "an int ≥ 1", seeds)
    own = [int(stream(seed, "retraining", s).integers(2**31)) for s in range(seeds)]
    parts: list[tuple[int | None, int]] = [(f, s) for f in (None, *range(axis.size)) for s in own]
    shared = (model.like(), Rows(*rows.apart(seed)))
    found = (executor or Executor()).map(
        _without, parts, shared=shared, seed=seed, text="retraining"
    )
    score = np.array(found).reshape(axis.size + 1, seeds)
    drops = score[:1] - score[1:]
    spread = drops.std(axis=1, ddof=1) / np.sqrt(seeds) if seeds > 1 else np.zeros(axis.size)
    return Scores(drops.mean(axis=1), spread)


def _without(
    shared: tuple[Ranker, Rows], part: tuple[int | None, int], _: np.random.Generator
) -> float:
    (blank, rows), (field, seed) = shared, part
    names = rows.learnt.encoder.schema.names
    left = tuple(n for i, n in enumerate(names) if i != field)
    if not left:
        return 0.5  # nothing to go by
    part_of = rows.only(left)
    return part_of.auc(part_of.fitted(blank.like(seed=seed)))

"""One unit alone, cut to a budget at once: what a descent by all units has to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from recprune.data import Dataset
from recprune.importance import FieldRanking
from recprune.models import Ranker
from recprune.pipeline.recipes import largest_share
from recprune.pipeline.trial import Rough
from recprune.pruning import repair, rotate
from recprune.pruning.planning import (
    PER_FIELD,
    UNITS,
    UnitScores,
    cuttable,
    plan_from_scores,
    score_units,
)

__all__ = ["JUMPS", "cut_to", "jumps"]

#: Unit and method, those that lost least of what was tried alone (docs/pruning.md).
JUMPS = (
    ("fields", "permutation"),
    ("rows", "norm_count"),
    ("dims", "svd"),
    ("dims", "sseds"),
    ("neurons", "omp"),
)

#: Halvings of the share that fits: a thousandth is close enough.
STEPS = 10


def cut_to(
    start: Ranker,
    data: Dataset,
    unit: str,
    method: str,
    seed: int,
    scores: UnitScores | None = None,
) -> Callable[[Callable[[Ranker], bool]], Ranker | None]:
    """Return a function from what fits to the model that keeps as many units as do.

    Units are scored once, if ``scores`` does not say them. It returns None where not even a model
    with the fewest units fits.
    """
    if unit == "dims":
        start = rotate(start, data.train)
    if scores is None:
        scores = score_units(start, data, [unit], {unit: method}, seed)

    def cut(fits: Callable[[Ranker], bool]) -> Ranker | None:
        def of(share: float, mended: bool) -> Ranker:
            made = plan_from_scores(start, {unit: max(share, 1e-9)}, scores, method in PER_FIELD)
            return start.apply(made, repair(start, data.train, made, seed) if mended else None)

        share = largest_share(lambda s: fits(of(s, False)), steps=STEPS)
        return of(share, True) if fits(of(share, False)) else None

    return cut


def jumps(
    start: Ranker,
    data: Dataset,
    ranking: FieldRanking,
    protect: Sequence[str],
    fits: Callable[[Ranker, str], bool],
    bits: Sequence[str],
    seed: int,
) -> Iterator[list[Rough]]:
    """Yield the models that keep a limit by one unit alone, a list a method.

    They are stored in the fewest bits, and in more where those alone are enough.

    Args:
        start: what is cut.
        data: a split data set.
        ranking: of the fields, so that they are not ranked again.
        protect: fields that stay.
        fits: whether a model, stored in some bits, keeps the limit.
        bits: how models may be stored, ever fewer.
        seed: of the methods' draws.
    """
    told: set[str] = set()
    known = dict(zip(ranking.fields, ranking.scores, strict=True)) | dict.fromkeys(protect, np.inf)
    fields = np.array([known[name] for name in start.encoder.schema.names], np.float64)
    protected = set(protect) & set(start.encoder.schema.names)
    for unit, method in JUMPS:
        if not any(axis.unit == UNITS[unit] for axis in start.layout.axes.values()):
            continue
        if not cuttable(start, unit):
            continue
        scores = {"fields": fields} if unit == "fields" else None
        cut = cut_to(start, data, unit, method, seed, scores)
        found = []
        for each in reversed(bits):
            model = cut(lambda m, each=each: fits(m, each))  # type: ignore[misc]
            if model is None or not protected <= set(model.encoder.schema.names):
                break
            # Where fewer bits suffice, nothing is cut, whatever the unit; more bits are tried then.
            whole = model.params == start.params
            label = f"{each} alone" if whole else f"{unit} alone ({method}), {each}"
            if label not in told:
                told.add(label)
                found.append(Rough(label, model, each))
            if not whole:
                break
        yield found

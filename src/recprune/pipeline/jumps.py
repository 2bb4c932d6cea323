"""One unit alone, cut to a budget at once: what a descent by all units has to beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recprune.data import Dataset
from recprune.models import Ranker
from recprune.pipeline.budget import Sizes
from recprune.pipeline.recipes import largest_share
from recprune.pipeline.trial import Rough, Scale
from recprune.pruning import repair, rotate
from recprune.pruning.planning import PER_FIELD, cuttable, plan_from_scores, score_units

__all__ = ["JUMPS", "cut_to", "jumps"]

#: Unit → the method that lost least of those that were tried alone (docs/pruning.md).
JUMPS = {"dims": "svd", "rows": "norm_count", "neurons": "omp"}


def cut_to(
    start: Ranker, data: Dataset, unit: str, method: str, seed: int
) -> Callable[[Callable[[Ranker], bool]], Ranker | None]:
    """Return a function from what fits to the model that keeps as many units as do.

    Units are scored once. It returns None where not even a model with the fewest units fits.
    """
    if unit == "dims":
        start = rotate(start, data.train)
    scores = score_units(start, data, [unit], {unit: method}, seed)

    def cut(fits: Callable[[Ranker], bool]) -> Ranker | None:
        def of(share: float, mended: bool) -> Ranker:
            made = plan_from_scores(start, {unit: max(share, 1e-9)}, scores, method in PER_FIELD)
            return start.apply(made, repair(start, data.train, made, seed) if mended else None)

        share = largest_share(lambda s: fits(of(s, False)))
        return of(share, True) if fits(of(share, False)) else None

    return cut


def jumps(
    start: Ranker, data: Dataset, limit: Sizes, scale: Scale, bits: Sequence[str], seed: int
) -> list[Rough]:
    """Return the models that keep a limit by one unit alone, in each of the bits."""
    found = []
    for unit, method in JUMPS.items():
        if not cuttable(start, unit):
            continue
        cut = cut_to(start, data, unit, method, seed)
        for each in bits:
            model = cut(lambda m, each=each: scale.sizes(m, each).within(limit))  # type: ignore[misc]
            if model is not None:
                found.append(Rough(f"{unit} alone ({method}), {each}", model, each))
    return found

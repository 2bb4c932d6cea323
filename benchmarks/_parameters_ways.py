"""Ways of pruning that compete with the combination: one unit alone, by one method."""

from __future__ import annotations

from collections.abc import Callable

from recprune.data import Dataset
from recprune.models import Ranker
from recprune.pipeline.recipes import largest_share
from recprune.pruning import BITS, encoded_size, repair, rotate
from recprune.pruning.planning import PER_FIELD, plan_from_scores, score_units

__all__ = ["FULL", "WAYS", "cut_to"]

#: Unit and method; ``bits`` cuts nothing.
WAYS = (
    "fields_permutation",
    "rows_norm_count",
    "rows_pep",
    "rows_shuffle_gate",
    "dims_svd",
    "dims_sseds",
    "neurons_omp",
    "neurons_activity",
    "bits_int4_row",
)
#: What ``--full`` adds.
FULL = (
    "fields_shuffle_gate",
    "fields_shark",
    "rows_activity",
    "rows_optembed",
    "rows_gauss_newton",
    "rows_shark",
    "rows_l2",
    "rows_hard_concrete",
    "rows_dropout",
    "rows_random",
    "dims_mixed_dims",
    "dims_shuffle_gate",
    "dims_gauss_newton",
    "dims_l2",
    "dims_random",
    "neurons_gauss_newton",
    "neurons_shark",
    "neurons_l2",
    "neurons_hard_concrete",
    "neurons_random",
)


def cut_to(
    full: Ranker, data: Dataset, unit: str, method: str, seed: int
) -> Callable[[int], Ranker | None]:
    """Return a function from bytes to the model that keeps as many units as fit them.

    Units are scored once. It returns None where not even a model with the fewest units fits, or, of
    bits, where the encoding alone does not.
    """
    if unit == "bits":
        return lambda budget: full if encoded_size(full, *BITS[method]) <= budget else None
    start = rotate(full, data.train) if unit == "dims" else full
    scores = score_units(start, data, [unit], {unit: method}, seed)

    def cut(budget: int) -> Ranker | None:
        def of(share: float, mended: bool) -> Ranker:
            made = plan_from_scores(start, {unit: max(share, 1e-9)}, scores, method in PER_FIELD)
            return start.apply(made, repair(start, data.train, made, seed) if mended else None)

        def fits(share: float) -> bool:
            return encoded_size(of(share, False)) <= budget

        share = largest_share(fits)
        return of(share, True) if fits(share) else None

    return cut

"""Ways of pruning that compete with the combination: one unit alone, by one method."""

from __future__ import annotations

from collections.abc import Callable

from recprune.data import Dataset
from recprune.models import Ranker
from recprune.pipeline.jumps import cut_to
from recprune.pipeline.trial import Rough
from recprune.pruning import BITS, encoded_size

__all__ = ["FEW", "MANY", "WAYS", "single"]

#: Unit and method, one of each; ``bits`` cuts nothing.
FEW = ("fields_permutation", "rows_norm_count", "dims_svd", "neurons_omp", "bits_int4_row")
#: The same, and the strongest others.
WAYS = (*FEW, "rows_pep", "rows_shuffle_gate", "dims_sseds", "neurons_activity")
#: Others.
MANY = (
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


def single(full: Ranker, data: Dataset, way: str, seed: int) -> Callable[[int], Rough | None]:
    """Return a function from bytes to the model that keeps as many units as fit them.

    Units are scored once. It returns None where not even a model with the fewest units fits, or, of
    bits, where the encoding alone does not.
    """
    unit, _, method = way.partition("_")
    bits = method if unit == "bits" else "int8"
    cut = cut_to(full, data, unit, method, seed) if unit != "bits" else None

    def to(budget: int) -> Rough | None:
        def fits(model: Ranker) -> bool:
            return encoded_size(model, *BITS[bits]) <= budget

        small = cut(fits) if cut is not None else full if fits(full) else None
        return None if small is None else Rough(way, small, bits)

    return to

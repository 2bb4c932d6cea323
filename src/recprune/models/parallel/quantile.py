"""The best of scores that lie over several processes: the exact threshold, by counting."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from recprune.models.parallel.group import Group

__all__ = ["best_of_all"]

#: Bits of a score that one round of counting decides.
DIGIT = 16


def best_of_all(group: Group, scores: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Return which of this process's scores are among the ``count`` highest of all processes'.

    Of equal scores those of earlier processes, and of one process earlier ones, go first: as if all
    lay in one array, sorted by a stable sort. The threshold is found digit by digit of the scores'
    bits (radix select), so that four sums of 65,536 counts are all that is sent, however many scores
    there are.

    Args:
        group: the processes.
        scores: shape (n,), finite; n may differ, and be 0.
        count: at most as many as all have.
    """
    keys = _ordered(scores)
    left, prefix = count, np.uint64(0)
    among = np.ones(len(keys), bool)  # those that agree with the threshold so far
    for shift in range(64 - DIGIT, -1, -DIGIT):
        digit = (keys >> np.uint64(shift)).astype(np.int64) & ((1 << DIGIT) - 1)
        here = torch.from_numpy(np.bincount(digit[among], minlength=1 << DIGIT))
        group.add(here)
        above = here.flip(0).cumsum(0).flip(0).numpy() - here.numpy()
        # The threshold's digit: fewer than are left lie above it, and with its own enough.
        found = int(np.flatnonzero(above < max(left, 1))[0])
        left -= int(above[found])
        prefix |= np.uint64(found) << np.uint64(shift)
        among &= digit == found
    stays: NDArray[np.bool_] = keys > prefix
    equal = np.flatnonzero(keys == prefix)
    before = torch.cat(group.gathered(torch.tensor([len(equal)])))[: group.rank].sum()
    stays[equal[: max(left - int(before), 0)]] = True
    return stays if count else np.zeros(len(keys), bool)


def _ordered(scores: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return whole numbers in the scores' order: of negative ones all bits turn, of others the first."""
    bits = (scores + 0.0).view(np.uint64)  # −0 is 0
    first = np.uint64(1 << 63)
    return np.where(bits & first, ~bits, bits | first)

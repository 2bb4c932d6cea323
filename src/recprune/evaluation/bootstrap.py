"""Resamples of paired differences, by row or by user.

A resample gives every cluster a whole number of copies, and a row counts as often as its cluster.
All that does not depend on the counts (sorting, ties) is done once; one pass over the rows then does
several resamples. Both models, and all pairs of models, see the same resamples.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled, stream
from recprune.errors import ParameterError
from recprune.evaluation.ranked import LANES, Ranked
from recprune.executor import Executor

__all__ = ["Clusters", "Paired", "PairedAuc", "PairedMean", "resampled_differences"]

Array = NDArray[np.float64]
Counts = NDArray[np.uint8]

#: Draws in a row that may miss a class before the rows are called too few.
ATTEMPTS = 100
#: Clusters that are drawn at once.
MOST_DRAWN = 1 << 20


class Clusters:
    """Which rows hang together.

    Args:
        n_rows: number of rows.
        owner: each row's user, item, …, shape ``(n_rows,)``; None = every row by itself.
    """

    def __init__(self, n_rows: int, owner: NDArray[Any] | None) -> None:
        self.code, self.size = _numbered(n_rows, owner)

    def draw(self, seed: int, *name: int | str) -> Counts:
        """Return how often each cluster is drawn in some resamples: in each as many draws as
        clusters; shape ``(n_clusters, LANES)``.

        Multinomial counts (drawing with replacement), not Poisson ones: every resample has as
        many users as the data, so that a handful of users never gives an empty resample.
        """
        source, counts = stream(seed, *name), np.zeros((self.size, LANES), np.uint8)
        # As many at once as are quick, and of very many clusters as few as memory is spared.
        step = min(LANES, max(1, MOST_DRAWN // self.size))
        for lane in range(0, LANES, step):
            shape = min(step, LANES - lane), self.size
            # None of many clusters is ever drawn 256 times: the chance is below 1e-500.
            _count(source.integers(0, self.size, shape, np.int32), lane, counts)
        return counts


@compiled
def _count(drawn: NDArray[np.int32], first: int, counts: Counts) -> None:
    """Add one to ``counts[c, first + lane]`` for each ``c`` in ``drawn[lane]``."""
    for lane in range(drawn.shape[0]):
        for i in range(drawn.shape[1]):
            counts[drawn[lane, i], first + lane] += 1


def _numbered(n_rows: int, owner: NDArray[Any] | None) -> tuple[NDArray[np.intp], int]:
    """Return each row's cluster as a number from 0 on, and how many there are."""
    if owner is None:
        return np.arange(n_rows), n_rows
    if owner.dtype.kind in "iu" and len(owner) and owner.min() >= 0 and owner.max() < 4 * n_rows:
        there = np.bincount(owner) > 0  # positions, nearly dense: no need to sort them
        return (np.cumsum(there) - 1)[owner], int(np.count_nonzero(there))
    values, code = np.unique(owner, return_inverse=True)
    return code.ravel(), len(values)


class Paired(Protocol):
    """What differs between pairs of models, and can be computed again under other counts."""

    @property
    def influence(self) -> Array:
        """How far each row moves each difference: sums to 0, shape ``(n_pairs, n_rows)``."""
        ...

    @property
    def observed(self) -> Array:
        """The differences on the rows as they are, shape ``(n_pairs,)``."""
        ...

    def differences(self, counts: Counts) -> Array:
        """Return the differences in some resamples, NaN where one has no value.

        Args:
            counts: how often each cluster occurs, shape ``(n_clusters, LANES)``.

        Returns:
            Shape ``(LANES, n_pairs)``.
        """
        ...


class PairedAuc:
    """AUC(second) − AUC(first), of several pairs.

    Args:
        label: 0 or 1, shape ``(n_rows,)``, both present.
        first, second: scores, shape ``(n_pairs, n_rows)``.
        clusters: how the rows hang together.

    ``gain`` is each row's part in the differences: of a positive, the share of negatives that the
    second model puts below it and the first does not, likewise of a negative; same shape.
    """

    def __init__(
        self,
        label: NDArray[Any],
        first: NDArray[Any],
        second: NDArray[Any],
        clusters: Clusters,
    ) -> None:
        positive = np.asarray(label) == 1
        self._sides = [
            tuple(Ranked(positive, side) for side in pair)
            for pair in zip(first, second, strict=True)
        ]
        self._codes = [tuple(side.codes(clusters.code) for side in pair) for pair in self._sides]
        self.gain: Array = np.stack([b.placements() - a.placements() for a, b in self._sides])
        self.observed: Array = self.gain[:, positive].mean(axis=1)
        of_class = np.where(positive, np.count_nonzero(positive), np.count_nonzero(~positive))
        self.influence: Array = (self.gain - self.observed[:, None]) / of_class

    def differences(self, counts: Counts) -> Array:
        """See :class:`Paired`; NaN where a class is missing."""
        out = np.empty((LANES, len(self._sides)))
        for number, (pair, codes) in enumerate(zip(self._sides, self._codes, strict=True)):
            first, second = (
                side.areas(code, counts) for side, code in zip(pair, codes, strict=True)
            )
            out[:, number] = second - first
        return out


class PairedMean:
    """The mean over rows of a number each, e.g. one model's loss minus the other's.

    Args:
        value: of each row, shape ``(n_pairs, n_rows)``.
        clusters: how the rows hang together.
    """

    def __init__(self, value: Array, clusters: Clusters) -> None:
        code, size = clusters.code, clusters.size
        self.observed: Array = value.mean(axis=1)
        self.influence: Array = (value - self.observed[:, None]) / value.shape[1]
        # A cluster's sum is all that matters.
        self._sums = np.stack([np.bincount(code, each, size) for each in value])
        self._rows = np.bincount(code, minlength=size).astype(np.float64)

    def differences(self, counts: Counts) -> Array:
        """See :class:`Paired`."""
        # Not BLAS: the order of its sums depends on its threads.
        top = np.einsum("ul,pu->lp", counts, self._sums)
        rows = np.einsum("ul,u->l", counts, self._rows)
        return np.asarray(top / rows[:, None])


def resampled_differences(
    pair: Paired,
    clusters: Clusters,
    draws: int,
    seed: int,
    executor: Executor | None = None,
) -> Array:
    """Return the differences under ``draws`` resamples of whole clusters, ``(draws, n_pairs)``.

    Args:
        pair: what is resampled.
        clusters: the same that ``pair`` was made with.
        draws: how many; the first 100 of 400 are the 100.
        seed: of the draws; each block of ``LANES`` has a random stream of its own.
        executor: where blocks of draws run; None = here. The result does not depend on it.

    Raises:
        ParameterError: so few clusters that draws keep missing one class.
    """
    blocks = [range(start, min(start + LANES, draws)) for start in range(0, draws, LANES)]
    if executor is None:
        return np.concatenate([_block((pair, clusters, seed), block) for block in blocks])
    shared = pair, clusters, seed
    return np.concatenate(executor.map(_block, blocks, shared=shared, text="resamples"))


def _block(
    shared: tuple[Paired, Clusters, int], block: range, _: np.random.Generator | None = None
) -> Array:
    """Return the differences under some of the resamples, at most ``LANES``."""
    pair, clusters, seed = shared
    out = np.empty((len(block), len(pair.observed)))
    missing = np.arange(len(block))
    for attempt in range(ATTEMPTS):
        found = pair.differences(clusters.draw(seed, "resamples", block.start, attempt))
        out[missing] = found[: len(missing)]
        missing = missing[~np.isfinite(out[missing]).all(axis=1)]
        if not len(missing):
            return out
    raise ParameterError(
        f"The rows cannot be resampled: in {ATTEMPTS} draws in a row of {clusters.size} clusters, "
        "one class was missing. Give the verdict rows of more users."
    )

"""Resamples of a paired difference: by row, by user, or by user and item.

A resample gives every cluster a whole number of copies; a row's weight is its clusters' product.
All that does not depend on the weights (sorting, ties) is done once, so that a draw costs a few
passes over the rows. Both models see the same draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recprune._support import stream
from recprune.errors import ParameterError

__all__ = ["Clusters", "PairedAuc", "PairedMean", "resampled_differences"]

Array = NDArray[np.float64]
Counts = Sequence[Array]

#: Draws in a row that may miss a class before the rows are called too few.
ATTEMPTS = 100


class Clusters:
    """The ways in which rows hang together; each is resampled by itself.

    Args:
        n_rows: number of rows.
        ways: each row's user, item, …, shape ``(n_rows,)`` each; None = every row by itself.
    """

    def __init__(self, n_rows: int, ways: Sequence[NDArray[Any] | None]) -> None:
        # NumPy's own index type: any other is converted anew in every draw.
        self.codes: list[NDArray[np.intp]] = [
            np.arange(n_rows) if way is None else np.unique(way, return_inverse=True)[1].ravel()
            for way in ways
        ]
        self.sizes = [int(code.max(initial=-1)) + 1 for code in self.codes]

    def draw(self, seed: int, *name: int | str) -> Counts:
        """Return how often each cluster of each way is drawn: as many draws as clusters.

        Multinomial counts (drawing with replacement), not Poisson ones: every resample has as
        many users as the data, so that a handful of users never gives an empty resample.
        """
        source = stream(seed, *name)
        return [
            np.bincount(source.integers(0, size, size), minlength=size).astype(np.float64)
            for size in self.sizes
        ]


class Paired(Protocol):
    """A difference between two models that can be computed again under other weights."""

    def difference(self, counts: Counts) -> float | None:
        """Return the difference when clusters count this often; None if it has no value."""
        ...


class PairedAuc:
    """AUC(second) − AUC(first).

    Args:
        label: 0 or 1, shape ``(n_rows,)``, both present.
        first, second: scores, shape ``(n_rows,)``.
        clusters: how the rows hang together.
    """

    def __init__(
        self,
        label: NDArray[Any],
        first: NDArray[Any],
        second: NDArray[Any],
        clusters: Clusters,
    ) -> None:
        positive = np.asarray(label) == 1
        self._sides = [_Side(positive, np.asarray(s), clusters) for s in (first, second)]

    def difference(self, counts: Counts) -> float | None:
        """Return the difference when clusters count this often; None if a class is missing."""
        first, second = (side.auc(counts) for side in self._sides)
        return None if first is None or second is None else second - first


class _Side:
    """One model's rows in the order of its scores.

    Pairs in order = Σ over rows of the commoner class of weight × (weight of the rarer class on
    the right side of it, plus one half of that of equal ones). The rarer rows below, and below or
    equal, are two entries of one running sum, at places that never change.
    """

    def __init__(
        self, positive: NDArray[np.bool_], score: NDArray[Any], clusters: Clusters
    ) -> None:
        order = np.argsort(score, kind="stable")
        self.turned = 2 * np.count_nonzero(positive) < len(positive)  # positives are the rarer
        rare = positive if self.turned else ~positive
        low, high = order[rare[order]], order[~rare[order]]
        self.low = [code[low] for code in clusters.codes]
        self.high = [code[high] for code in clusters.codes]
        self.left = np.searchsorted(score[low], score[high], side="left")
        right = np.searchsorted(score[low], score[high], side="right")
        self.right = None if np.array_equal(self.left, right) else right
        self.running = np.zeros(len(low) + 1)

    def auc(self, counts: Counts) -> float | None:
        down, up = _product(counts, self.low), _product(counts, self.high)
        np.cumsum(down, out=self.running[1:])
        total = float(up.sum() * self.running[-1])
        if not total:
            return None
        # Whole numbers in 64 bits: these sums are exact, whatever their order.
        pairs = _sum_of_products(up, self.running.take(self.left))
        if self.right is not None:
            pairs = (pairs + _sum_of_products(up, self.running.take(self.right))) / 2
        return 1 - pairs / total if self.turned else pairs / total


class PairedMean:
    """The mean over rows of a number each, e.g. one model's loss minus the other's.

    Args:
        value: of each row, shape ``(n_rows,)``.
        clusters: how the rows hang together.
    """

    def __init__(self, value: Array, clusters: Clusters) -> None:
        self._value, self._codes = value, clusters.codes
        self._sums: tuple[Array, Array] | None = None
        if len(clusters.codes) == 1:  # then a cluster's sum is all that matters
            code, size = clusters.codes[0], clusters.sizes[0]
            rows = np.bincount(code, minlength=size).astype(np.float64)
            self._sums = np.bincount(code, value, size).astype(np.float64), rows

    def difference(self, counts: Counts) -> float | None:
        """Return the mean when clusters count this often; None if nothing is left."""
        if self._sums is not None:
            top, rows = (_sum_of_products(counts[0], s) for s in self._sums)
        else:
            weight = _product(counts, self._codes)
            top, rows = _sum_of_products(weight, self._value), float(weight.sum())
        return top / rows if rows else None


def _sum_of_products(a: Array, b: Array) -> float:
    # Not BLAS: its threads cost more than they bring here, and much more on a busy machine.
    return float(np.einsum("i,i->", a, b))


def _product(counts: Counts, codes: Sequence[NDArray[np.intp]]) -> Array:
    weight: Array = counts[0].take(codes[0])
    for count, code in zip(counts[1:], codes[1:], strict=True):
        weight *= count.take(code)
    return weight


def resampled_differences(
    pair: Paired, clusters: Clusters, draws: int, seed: int, name: str
) -> Array:
    """Return the difference under ``draws`` resamples, shape ``(draws,)``.

    One way of clustering: the bootstrap of whole clusters. Two ways (user and item): a row counts
    the product of its user's and its item's copies, the pigeonhole bootstrap of Owen & Eckles
    2012, "Bootstrapping data arrays of arbitrary order", section 3. It never understates the
    variance of crossed data; where rows hang together little, it overstates it, by up to 3×.

    Args:
        pair: what is resampled.
        clusters: the same that ``pair`` was made with.
        draws: how many. Each has a random stream of its own, so the first 100 of 400 are the 100.
        seed, name: of the streams.

    Raises:
        ParameterError: so few clusters that draws keep missing one class.
    """
    out = np.empty(draws)
    for draw in range(draws):
        for attempt in range(ATTEMPTS):
            value = pair.difference(clusters.draw(seed, name, draw, attempt))
            if value is not None:
                out[draw] = value
                break
        else:
            raise ParameterError(
                f"The rows cannot be resampled: in {ATTEMPTS} draws in a row of "
                f"{' × '.join(map(str, clusters.sizes))} clusters, one class was missing. "
                "Give the verdict rows of more users."
            )
    return out

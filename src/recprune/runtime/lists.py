"""Vectors in lists of near ones: the largest inner products without forming all of them.

An inverted file (Jégou et al. 2011, section 4.1, without the codes): k-means puts each of R vectors
into one of about √R lists. A query goes through the lists whose centres have the largest products with
it, and forms the products with the vectors that lie in them, list by list, side by side in memory.

The same method by the library ``faiss`` 1.15 (IVF, flat) is about as good: of random vectors it
found 52 % in 1.0 ms where these lists found 65 %, of vectors in clusters 99.7 % in 0.8 ms where these
found 98.7 % in 0.9 ms. It would bring a thread pool of its own into every server.
A graph of neighbours (HNSW), the usual choice, did worse here, by the library ``usearch`` 2.26 with 16
neighbours, asked for the best 1,000 of 200,000 vectors of 32 numbers by one thread. Of the vectors of
``benchmarks.first_stage`` a query found 53 % in 4.7 ms and 63 % in 15 ms; by lists 92 % in 1.0 ms. Of
vectors in clusters it was 90 % in 1.4 ms, by lists 89 % in 1.1 ms. The graph took 40 to 60 s to build,
lists take 0.7 s. An inner product is no distance, and vectors that are nobody's neighbour are never
found; and a graph cannot pass over what is not allowed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recprune._support import progress, stream
from recprune.runtime.tensors import F32

__all__ = ["Lists"]

Rows = NDArray[np.intp]
#: Share of the vectors that a query looks at, and how many for each one wanted at least.
SHARE, WIDER = 0.125, 16
#: Vectors of a list that its centre is found by, rounds of k-means, and rows that are put at once.
SAMPLE, ROUNDS, STEP = 64, 8, 8192
#: Of more vectors a bar is shown: they take more than two seconds.
SOON = 500_000


class Lists:
    """Vectors, sorted by list; all positions below are those in this order.

    The same vectors make the same lists: what k-means starts from is drawn from a stream of its own.

    Args:
        vectors: shape ``(R, V)``, R at least 1.
    """

    def __init__(self, vectors: F32) -> None:
        count = max(int(np.sqrt(len(vectors))), 1)
        self.centres = _centres(vectors, count)
        starts = range(0, len(vectors), STEP)
        shown = progress(starts, "first stage", len(starts)) if len(vectors) > SOON else starts
        parts = [_nearest(vectors[i : i + STEP], self.centres) for i in shown]
        of = np.concatenate(parts)
        #: Each one's former position, (R,).
        self.order: Rows = np.argsort(of, kind="stable")
        self.vectors = vectors[self.order]
        self._starts = np.append(0, np.cumsum(np.bincount(of, minlength=count)))

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors and of what finds them."""
        arrays = (self.vectors, self.centres, self.order, self._starts)
        return sum(array.nbytes for array in arrays)

    def best(
        self, query: F32, k: int, allowed: NDArray[np.bool_] | None, *, exact: bool = False
    ) -> Rows:
        """Return the positions of the largest products, best first; ties by former position.

        Args:
            query: shape ``(V,)``.
            k: how many; fewer come back only where fewer are allowed.
            allowed: which may be returned, shape ``(R,)``; None = all.
            exact: whether all products are formed.

        >>> lists = Lists(np.array([[1, 0], [0, 1], [2, 0], [0, 3]], np.float32))
        >>> query = np.array([1, 0.5], np.float32)
        >>> lists.order[lists.best(query, 2, None)].tolist()
        [2, 3]
        """
        n = len(self.vectors)
        open_ = n if allowed is None else int(np.count_nonzero(allowed))
        looked = max(int(SHARE * n), WIDER * k)
        if allowed is not None and open_ <= looked:
            rows = np.flatnonzero(allowed)
            return self._largest(rows, self.vectors[rows] @ query, k)
        if exact:
            looked = n
        order = np.argsort(-(self.centres @ query), kind="stable")
        past = np.cumsum(np.diff(self._starts)[order])
        while True:
            chosen = np.sort(order[: int(np.searchsorted(past, min(looked, n))) + 1])
            spans = [slice(*self._starts[i : i + 2].tolist()) for i in chosen.tolist()]
            rows = np.concatenate([np.arange(s.start, s.stop) for s in spans])
            scores = np.concatenate([self.vectors[s] @ query for s in spans])
            if allowed is not None:
                kept = np.flatnonzero(allowed[rows])
                rows, scores = rows[kept], scores[kept]
            if len(rows) >= k or looked >= n:
                return self._largest(rows, scores, k)
            looked *= 4

    def _largest(self, rows: Rows, scores: F32, k: int) -> Rows:
        if k < len(rows):
            # No number ranks last.
            edge = -np.partition(-scores, k - 1)[k - 1]
            near = np.flatnonzero(~(scores < edge))
            rows, scores = rows[near], scores[near]
        return rows[np.lexsort((self.order[rows], -scores))[:k]]


def _centres(vectors: F32, count: int) -> F32:
    """Return k-means' centres, (count, V), by some of the vectors (Lloyd 1982)."""
    draws = stream(0, "lists")
    some = vectors[draws.permutation(len(vectors))[: count * SAMPLE]]
    centres: F32 = some[:count].copy()
    for _ in range(ROUNDS):
        parts = [_nearest(some[i : i + STEP], centres) for i in range(0, len(some), STEP)]
        of = np.concatenate(parts)
        order = np.argsort(of, kind="stable")
        used, first = np.unique(of[order], return_index=True)
        sums = np.add.reduceat(some[order], first, axis=0)
        # A centre without vectors stays where it is.
        centres[used] = sums / np.diff(np.append(first, len(some)))[:, None]
    return centres


def _nearest(vectors: F32, centres: F32) -> NDArray[np.intp]:
    """Return the centre that each vector is nearest to."""
    half = np.float32(0.5) * np.einsum("cv,cv->c", centres, centres)
    nearest: NDArray[np.intp] = (vectors @ centres.T - half).argmax(axis=1)
    return nearest

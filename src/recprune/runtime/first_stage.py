"""The first of two stages: the items near a user in a retriever's space, found by a graph.

Of a catalogue of millions, a ranker without bounds scores every item. Here a retriever chooses N of
them, and the ranker ranks these alone. A retriever's score is an inner product ⟨u, v⟩, so that its
best items are the nearest vectors; a graph of neighbours (Malkov and Yashunin 2018, *HNSW*) finds
nearly all of them by looking at some thousands.

Named axes: n items that both catalogues have, R of them that the retriever tells apart, V numbers of
a vector.

A graph finds what is near, not what is allowed. So it is asked for more where items are left out, and
for more again where too few are left; where that comes near to all items, the product with all R
vectors is formed instead, which is exact.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recprune._support import progress, require
from recprune.artifact import Artifact
from recprune.catalogue import Catalogue
from recprune.errors import ArtifactError, DataError, InputError, RecpruneWarning
from recprune.runtime.choice import Choice
from recprune.runtime.heads import FirstHead, TowersHead
from recprune.runtime.items import Items
from recprune.runtime.ranking import Ranking
from recprune.runtime.tensors import F32
from recprune.runtime.weights import Weights
from recprune.topk import check_k, top_k
from recprune.users import Users

__all__ = ["FirstStage"]

Places = NDArray[np.intp]
#: Neighbours of a vector in the graph, and how many are looked at while it is built.
NEIGHBOURS, LOOKED_AT = 16, 128
#: A graph that is asked for more than one in so many vectors takes longer than all products do:
#: of 1,000,000 vectors of 32 numbers, for 16,000.
WORTH = 64
#: Vectors that are entered at once, so that a bar can move; of fewer than SOON none is shown.
STEP, SOON = 2048, 16_384


class _Made(NamedTuple):
    """What is computed at first use."""

    items: Items
    vectors: F32
    graph: Any


class FirstStage:
    """A retriever's items by id, and the way from a user to the best of them.

    Items that the retriever lacks are candidates of every request: it cannot tell their worth, and
    a new item would be shown to nobody. Those that it alone has are ignored.

    Args:
        artifact: a retriever's: two towers, or matrix factorisation (an FM without layers).
        catalogue: the ranker's.
        size: how many candidates the ranker gets.

    Raises:
        InputError: no retriever, or one without a catalogue; or no item is in both catalogues.
        ParameterError: ``size`` is not a positive whole number.
        MissingExtra: usearch is not installed.
    """

    def __init__(self, artifact: Artifact, catalogue: Catalogue, size: int) -> None:
        check_k(size, "load", "first_stage_k")
        if not artifact.catalogue:
            raise InputError(f"The first stage has no catalogue: {RETRIEVERS}")
        # Before anything long is begun.
        self._usearch = require("usearch.index", "retrieve")
        self.size, self.n_items = int(size), len(catalogue)
        own = Catalogue.from_tensors(artifact.encoder, artifact.catalogue)
        schema, weights = artifact.encoder.schema, Weights(artifact)
        self._head = weights.heads[0]
        self._to_vectors = _to_vectors(self._head)
        if own.key_values or len(weights.labels) > 1:
            raise InputError(f"The first stage has cross fields or several labels: {RETRIEVERS}")
        index = catalogue.index
        shared = [(i, index[item]) for i, item in enumerate(own.ids) if item in index]
        if not shared:
            raise InputError(
                f"None of the first stage's {len(own)} items is among the ranker's {len(catalogue)}. "
                "Train both on tables with the same item ids."
            )
        chosen, self._place = (np.array(places, np.intp) for places in zip(*shared, strict=True))
        lacking = np.ones(len(catalogue), bool)
        lacking[self._place] = False
        #: Positions of the items that the retriever lacks.
        self.lacking: Places = np.flatnonzero(lacking)
        if len(self.lacking):
            warnings.warn(
                f"The first stage lacks {len(self.lacking)} of the ranker's {len(catalogue)} items. "
                "They are candidates of every request; train the retriever on the newer table.",
                RecpruneWarning,
                stacklevel=4,
            )
        self._ranking = Ranking(artifact.encoder, _taken(own, chosen), weights)
        self._weights_bytes = weights.nbytes
        #: The user's columns that are read, and the one of the user's id.
        self._columns = {f.name for f in schema.fields if f.source == "user" and f.of is None}
        self._user = schema.user
        self._lock = Lock()
        self._made: _Made | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the retriever's weights and, once they are made, its vectors and the graph."""
        made = self._made
        return self._weights_bytes + (
            0 if made is None else made.vectors.nbytes + int(made.graph.memory_usage)
        )

    def make(self) -> None:
        """Compute the vectors and build the graph, if that is not done: some minutes a million.

        One thread enters the vectors in one order: the same answers every time.
        """
        self._ready()

    def record(self, users: Users, index: int) -> dict[str, Any]:
        """Return a stored user's columns as the retriever reads them.

        Raises:
            DataError: the store lacks one of them.
        """
        record = users.record_at(index)
        if self._user is not None:
            record.setdefault(self._user, users.ids[index])
        if absent := sorted(self._columns - record.keys()):
            raise DataError(
                f"The users lack the column {absent[0]!r} that the first stage reads; make the users "
                "folder from the data that the retriever was trained on."
            )
        return record

    def narrowed(self, record: Mapping[str, Any], choice: Choice) -> Choice:
        """Return the choice among the retriever's best candidates alone.

        Args:
            record: raw user and context columns of one row; absent ones count as missing.
            choice: how many items are wanted, and among which.
        """
        best = self.candidates(record, choice)
        if best is None:
            return choice
        new = self.lacking[choice.open(self.n_items)[self.lacking]]
        return Choice(choice.k, np.concatenate([best, new]), np.empty(0, np.int64))

    def candidates(
        self, record: Mapping[str, Any], choice: Choice, *, exact: bool = False
    ) -> Places | None:
        """Return the positions of the retriever's best items that may be returned, best first.

        Args:
            record: see :meth:`narrowed`.
            choice: likewise.
            exact: whether they shall be exactly the retriever's best, or what the graph finds.

        Returns:
            As many as candidates are wanted; None where no more may be returned: all of them are.
        """
        open_ = choice.open(self.n_items)
        left, wanted = int(np.count_nonzero(open_[self._place])), max(self.size, choice.k)
        if left <= wanted:
            return None
        made, vector = self._ready(), self._vector(record)
        # Were the open ones spread evenly, so many would hold as many as are wanted.
        closed = len(self._place) - left
        asked = min(wanted + closed, wanted * len(self._place) // left * 5 // 4)
        while not exact and asked * WORTH <= len(made.vectors):
            rows = made.graph.search(vector, asked, threads=1).keys.astype(np.intp)
            found = self._place[made.items.members(rows)[0]]
            found = found[open_[found]]
            if len(found) >= wanted:
                return found[:wanted]
            asked *= 4
        own = np.flatnonzero(open_[self._place])
        scores = made.vectors @ vector
        return self._place[own[top_k(scores[made.items.row_of[own]], wanted)]]

    def _vector(self, record: Mapping[str, Any]) -> F32:
        """Return the user's vector, (V,)."""
        request, block = self._ranking.user
        rows = request.record(record)
        sums, head = block.one(rows.codes, rows.shares), self._head
        if isinstance(head, TowersHead):
            return head.user(sums)[0]
        assert isinstance(head, FirstHead)
        return np.append(sums[head.linear + 1 : head.inputs], np.float32(1))

    def _ready(self) -> _Made:
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._made = self._make()
        return self._made

    def _make(self) -> _Made:
        encoder, block = self._ranking.item
        catalogue = self._ranking.catalogue
        items = Items(catalogue, encoder, block, self._to_vectors, None, near=False)
        vectors = items.kept
        assert vectors is not None
        if not np.isfinite(vectors).all():
            raise ArtifactError("The first stage gives an item a vector that is no numbers.")
        graph = self._usearch.Index(
            ndim=vectors.shape[1],
            metric="ip",
            dtype="f32",
            connectivity=NEIGHBOURS,
            expansion_add=LOOKED_AT,
        )
        starts = range(0, len(vectors), STEP)
        keys = np.arange(len(vectors), dtype=np.uint64)
        shown = len(vectors) > SOON
        text = "first stage's graph"
        for start in progress(starts, text, len(starts)) if shown else starts:
            part = slice(start, start + STEP)
            # It reads the vectors where they are.
            graph.add(keys[part], vectors[part], copy=False, threads=1)
        return _Made(items, vectors, graph)


RETRIEVERS = (
    "name the folder of a retriever (TwoTower, MF or ALS) that was trained with an item column."
)


def _to_vectors(head: Any) -> Callable[[F32], F32]:
    """Return what makes items' vectors, (n, V), of the sums of their fields, (n, K).

    Of an FM, whose logit is w_u + w_v + ½|u + v|² with w less ½|e|² of each field's own embedding,
    what tells items apart is ⟨u, v⟩ + w_v + ½|v|²: one number more, which meets a one.

    Raises:
        InputError: the model is no retriever.
    """
    if isinstance(head, TowersHead):
        return head.items
    if not isinstance(head, FirstHead) or head.hidden:
        raise InputError(f"The first stage's score is no inner product: {RETRIEVERS}")

    def vectors(total: F32) -> F32:
        sums = total[:, head.linear + 1 : head.inputs]
        own = total[:, head.linear] + 0.5 * np.einsum("ij,ij->i", sums, sums)
        return np.concatenate([sums, own[:, None]], axis=1, dtype=np.float32)

    return vectors


def _taken(catalogue: Catalogue, chosen: Places) -> Catalogue:
    """Return some of the items, without what they can be filtered by."""
    return replace(
        catalogue,
        ids=tuple(catalogue.ids[i] for i in chosen.tolist()),
        codes={name: codes[chosen] for name, codes in catalogue.codes.items()},
        shares={name: shares[chosen] for name, shares in catalogue.shares.items()},
        texts={},
        numbers={},
    )

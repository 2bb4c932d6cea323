"""The first of two stages: the items near a user in a retriever's space.

Of a catalogue of millions, a ranker without bounds scores every item. Here a retriever chooses N of
them, and the ranker ranks these alone. A retriever's score is an inner product ⟨u, v⟩, so that its
best items are found without forming all products (:mod:`recprune.runtime.lists`).

Named axes: n items of the ranker, R vectors of those that the retriever tells apart, V numbers of a
vector.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.artifact import Artifact
from recprune.catalogue import Catalogue
from recprune.errors import ArtifactError, DataError, InputError, RecpruneWarning
from recprune.runtime.choice import Choice
from recprune.runtime.heads import FirstHead, TowersHead
from recprune.runtime.items import Items
from recprune.runtime.lists import Lists
from recprune.runtime.ranking import Ranking
from recprune.runtime.tensors import F32
from recprune.runtime.weights import Weights
from recprune.topk import check_k
from recprune.users import Users

__all__ = ["FirstStage"]

Places = NDArray[np.intp]


class FirstStage:
    """A retriever's items by id, and the way from a user to the best of them.

    The ranker's items that the retriever lacks are candidates of every request: it cannot tell their worth, and
    a new item would be shown to nobody. Those that it alone has are ignored.

    Args:
        artifact: a retriever's: two towers, or matrix factorisation (an FM without layers).
        catalogue: the ranker's.
        size: how many candidates the ranker gets.

    Raises:
        InputError: no retriever, or one without a catalogue; or no item is in both catalogues.
        ParameterError: ``size`` is not a positive whole number.
    """

    def __init__(self, artifact: Artifact, catalogue: Catalogue, size: int) -> None:
        check_k(size, "load", "first_stage_k")
        if not artifact.catalogue:
            raise InputError(f"The first stage has no catalogue: {RETRIEVERS}")
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
        lacking = np.ones(self.n_items, bool)
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
        """Bytes of the retriever's weights and, once they are made, of its lists of vectors."""
        return self._weights_bytes + (0 if self._made is None else self._made.nbytes)

    def make(self) -> None:
        """Compute the vectors and put them into lists, if that is not done: seconds a million."""
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
        new = self.lacking
        if len(new):
            new = new[choice.open(self.n_items)[new]]
        return Choice(choice.k, np.concatenate([best, new]), np.empty(0, np.int64))

    def candidates(
        self, record: Mapping[str, Any], choice: Choice, *, exact: bool = False
    ) -> Places | None:
        """Return the positions of the retriever's best items that may be returned, best first.

        Args:
            record: see :meth:`narrowed`.
            choice: likewise.
            exact: whether they shall be exactly the retriever's best, or what the lists find.

        Returns:
            As many as candidates are wanted; None where no more may be returned: all of them are.
        """
        made, open_ = self._ready(), choice.open(self.n_items)
        wanted = max(self.size, choice.k)
        rows, left = made.allowed(choice, open_)
        if left <= wanted:
            return None
        # A row that is allowed stands for at least one item that may be returned.
        best = made.items(made.lists.best(self._vector(record), wanted, rows, exact=exact))
        return best[open_[best]][:wanted]

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
                    encoder, block = self._ranking.item
                    catalogue = self._ranking.catalogue
                    items = Items(catalogue, encoder, block, self._to_vectors, None, near=False)
                    self._made = _Made(items, self._place, self.n_items)
        return self._made


class _Made:
    """The vectors that differ, in lists, and the items that each stands for.

    Args:
        items: the retriever's, without the ranker's lacking ones.
        place: the position of each among the ranker's.
        n_items: of the ranker.

    Raises:
        ArtifactError: a vector that is not finite.
    """

    def __init__(self, items: Items, place: Places, n_items: int) -> None:
        vectors = items.kept
        assert vectors is not None
        if not np.isfinite(vectors).all():
            raise ArtifactError("The first stage gives an item a vector that is no numbers.")
        # In the order of each one's first item, by which ties go.
        first = np.full(len(vectors), n_items)
        np.minimum.at(first, items.row_of, place)
        order = np.argsort(first)
        self.lists = Lists(vectors[order])
        row = np.empty(len(vectors), np.intp)
        row[order[self.lists.order]] = np.arange(len(vectors))
        #: Each of the ranker's items' row, −1 where the retriever lacks it.
        self.row_of = np.full(n_items, -1)
        self.row_of[place] = row[items.row_of]
        self.known = len(place)
        self.counts = np.bincount(self.row_of[place], minlength=len(vectors))
        self._ends = np.append(0, np.cumsum(self.counts))
        self._items = np.argsort(self.row_of, kind="stable")[n_items - len(place) :]

    @property
    def nbytes(self) -> int:
        """Bytes of the lists and of what leads from items to vectors and back."""
        arrays = (self.row_of, self.counts, self._ends, self._items)
        return self.lists.nbytes + sum(array.nbytes for array in arrays)

    def items(self, rows: Places) -> Places:
        """Return the ranker's items that these rows stand for, row by row."""
        if len(self._items) == len(self.counts):
            return self._items[rows]
        return np.concatenate(
            [self._items[self._ends[r] : self._ends[r + 1]] for r in rows.tolist()]
        )

    def allowed(
        self, choice: Choice, open_: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_] | None, int]:
        """Return which rows have an item that may be returned, None = all; and count such items.

        Args:
            choice: among which items.
            open_: the same as a mask, (n,).
        """
        if choice.only is not None:
            rows = self.row_of[np.flatnonzero(open_)]
            rows = rows[rows >= 0]
            mask = np.zeros(len(self.counts), bool)
            mask[rows] = True
            return mask, len(rows)
        rows = self.row_of[np.unique(choice.without)]
        rows, closed = np.unique(rows[rows >= 0], return_counts=True)
        shut = rows[closed == self.counts[rows]]
        left = self.known - int(closed.sum())
        if not len(shut):
            return None, left
        mask = np.ones(len(self.counts), bool)
        mask[shut] = False
        return mask, left


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

"""One user against the whole catalogue: what depends on items alone is computed once.

What a model's head reads (first layer, first order, FM sums, embeddings) is a sum over fields. So
an item's own fields give one cached row, the user's fields one row a request, and the cross fields
one row for each item value that the user has a history with: a small table, gathered by the item's
value. Of two towers, the item's vector is cached instead, and a request is one product.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.catalogue import Catalogue
from recprune.encoding import Encoder
from recprune.errors import DataError
from recprune.runtime.block import FieldBlock
from recprune.runtime.heads import TowersHead
from recprune.runtime.request import RequestEncoder
from recprune.runtime.tensors import F32
from recprune.runtime.weights import Weights
from recprune.texts import text
from recprune.users import Users

__all__ = ["History", "Ranking"]

IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class History:
    """A user's entries with the values of one item column.

    Args:
        keys: positions among the catalogue's values of the column, shape ``(n_entries,)``.
        fields: cross field → shape ``(n_entries + 1,)``: each entry's number, then the default.
    """

    keys: IntArray
    fields: Mapping[str, NDArray[np.floating[Any]]]


class Ranking:
    """The catalogue under one model's weights.

    The item side is computed at first use and kept: ``n_items × K`` floats, where K = neurons of
    the first layer + 2 + dims (100,000 items under 32 neurons and 8 dims: 17 MB); with parts that
    need the embeddings themselves (:mod:`recprune.runtime.parts`), also fields × dims; of two
    towers, the vector's length alone.
    """

    def __init__(self, encoder: Encoder, catalogue: Catalogue, weights: Weights) -> None:
        self.catalogue, self.heads = catalogue, weights.heads
        whole, fields = encoder, encoder.schema.fields

        def side(names: Sequence[str]) -> tuple[Encoder, FieldBlock]:
            positions = [i for i, f in enumerate(fields) if f.name in names]
            part = whole.take(tuple(fields[i].name for i in positions), {})
            return part, FieldBlock(weights, positions)

        self._items = side([f.name for f in fields if f.source == "item"])
        encoder, block = side([f.name for f in fields if f.source in ("user", "context")])
        self._user = RequestEncoder(encoder), block
        self._cross = {
            by: side([f.name for f in fields if f.by == by]) for by in catalogue.key_values
        }
        self._places = {
            by: {value: i for i, value in enumerate(values)}
            for by, values in catalogue.key_values.items()
        }
        self._lock = Lock()
        self._base: F32 | None = None
        self._bound: weakref.WeakKeyDictionary[Users, dict[str, Any]] = weakref.WeakKeyDictionary()

    @property
    def nbytes(self) -> int:
        """Bytes of the cached item side; 0 before its first use."""
        return 0 if self._base is None else self._base.nbytes

    def logits(
        self,
        record: Mapping[str, Any],
        histories: Mapping[str, History],
        items: NDArray[np.int64] | None = None,
        label: int = 0,
    ) -> F32:
        """Return the logit of each item (or of these positions), shape ``(n_items,)``.

        Args:
            record: raw user and context columns of one row; absent ones count as missing.
            histories: item column → the user's history; see the methods that make them.
            items: positions in the catalogue, increasing; None = all.
            label: position among the model's labels.
        """
        base, head = self._item_side(), self.heads[label]
        base = base if items is None else base[items]
        request, block = self._user
        rows = request.record(record)
        shared = block.one(rows.codes, rows.shares)
        if isinstance(head, TowersHead):
            return head.match(base, shared)
        changes: list[tuple[IntArray, IntArray, F32]] = []
        for by, history in histories.items():
            encoder, block = self._cross[by]
            rows = encoder.encode(history.fields)
            table = block.all(rows)
            shared += table[-1]
            entry = np.full(len(self.catalogue.key_values[by]) + 1, -1, np.intp)
            entry[history.keys] = np.arange(len(history.keys))
            keys = self.catalogue.keys[by]
            chosen = entry[keys if items is None else keys[items]]
            # Most items have no history of their own with the user: only the others are changed.
            touched = np.flatnonzero(chosen >= 0)
            if len(touched):
                changes.append((touched, chosen[touched], table[:-1] - table[-1]))
        logits = np.empty(len(base), np.float32)
        for part in self._items[1].parts(len(base)):
            total = base[part] + shared
            for places, entries, table in changes:
                low, high = np.searchsorted(places, (part.start, part.stop))
                if high - low == len(total):
                    total += table.take(entries[low:high], axis=0)
                elif high > low:
                    total[places[low:high] - part.start] += table.take(entries[low:high], axis=0)
            logits[part] = head(total)
        return logits

    def stored(self, users: Users, index: int | None) -> dict[str, History]:
        """Return a stored user's histories; of an unknown user (None), the defaults alone.

        Raises:
            DataError: the store lacks the history that a cross field needs.
        """
        out = {}
        for by, (encoder, _) in self._cross.items():
            names = encoder.schema.names
            table = users.cross.get(by)
            lacking = [n for n in names if table is None or n not in table.fields]
            if table is None or lacking:
                raise DataError(
                    f"The users' histories with {by!r} lack the cross field {lacking[0]!r}; "
                    "make the users folder from the data that the model was trained on."
                )
            defaults = {n: np.array([table.default(n)]) for n in names}
            if index is None:
                out[by] = History(np.empty(0, np.int32), defaults)
                continue
            keys, numbers = table.of_user(index)
            places = self._bind(users, by)
            known = np.arange(len(keys)) if places is None else np.flatnonzero(places[keys] >= 0)
            keys = keys[known] if places is None else places[keys[known]]
            fields = {n: np.append(numbers[n][known], defaults[n]) for n in names}
            out[by] = History(keys, fields)
        return out

    def sent(self, record: Mapping[str, Any]) -> dict[str, History]:
        """Return the histories that come in a record: cross field → {item value: number}.

        Raises:
            DataError: a cross field's value is not a mapping.
        """
        out = {}
        for by, (encoder, _) in self._cross.items():
            columns: dict[str, dict[int, Any]] = {}
            for name in encoder.schema.names:
                sent = record.get(name)
                if sent is not None and not isinstance(sent, Mapping):
                    raise DataError(
                        f"Cross field {name!r} must map values of {by!r} to numbers. "
                        f"Got {type(sent).__name__} instead."
                    )
                places = self._places[by]
                columns[name] = {
                    places[t]: v for k, v in (sent or {}).items() if (t := text(k)) in places
                }
            keys = sorted(set().union(*columns.values()))
            defaults = {n: self.catalogue.defaults.get(n, np.nan) for n in columns}
            fields = {
                n: _numbers(n, [*(numbers.get(k, defaults[n]) for k in keys), defaults[n]])
                for n, numbers in columns.items()
            }
            out[by] = History(np.array(keys, np.int32), fields)
        return out

    def seen(self, users: Users, index: int | None) -> NDArray[np.int64]:
        """Return the catalogue positions of the items that the user has seen."""
        if users.seen is None or index is None:
            return np.empty(0, np.int64)
        places = self._bind(users, None)
        positions = users.seen.of_user(index)
        if places is not None:
            positions = places[positions]
        return positions[positions >= 0].astype(np.int64)

    def _bind(self, users: Users, by: str | None) -> NDArray[np.int32] | None:
        """Return the store's value (None: item) positions → the catalogue's; None = the same."""
        if by is None:
            theirs, places = users.seen.items if users.seen else (), self.catalogue.index
            same = theirs == self.catalogue.ids
        else:
            theirs, places = users.cross[by].values, self._places[by]
            same = theirs == self.catalogue.key_values[by]
        with self._lock:
            bound = self._bound.setdefault(users, {})
            slot = "seen" if by is None else f"cross.{by}"
            if slot not in bound:
                positions = None
                if not same:
                    positions = np.array([places.get(v, -1) for v in theirs], np.int32)
                bound[slot] = positions
            found: NDArray[np.int32] | None = bound[slot]
            return found

    def _item_side(self) -> F32:
        if self._base is not None:
            return self._base
        with self._lock:
            if self._base is None:
                encoder, block = self._items
                rows = encoder.blank(len(self.catalogue))
                for i, name in enumerate(encoder.schema.names):
                    rows.codes[:, encoder.slots[i]] = self.catalogue.codes[name]
                    if name in self.catalogue.shares:
                        rows.shares[:, encoder.share_slots[i]] = self.catalogue.shares[name]
                head = self.heads[0]
                self._base = block.all(rows, head.items if isinstance(head, TowersHead) else None)
        return self._base


def _numbers(name: str, values: Sequence[Any]) -> NDArray[np.float64]:
    try:
        return np.array([np.nan if v is None else float(v) for v in values], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"Cross field {name!r}: a value is not a number: {error}.") from error

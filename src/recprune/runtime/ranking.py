"""One user against the whole catalogue: what depends on items alone is computed once.

What a model's head reads (first layer, first order, FM sums, embeddings) is a sum over fields. So
an item's own fields give one cached row, the user's fields one row a request, and the cross fields
one row for each item value that the user has a history with: a small table, gathered by the item's
value. Of two towers, the item's vector is cached instead, and a request is one product.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune.catalogue import Catalogue
from recprune.encoding import Encoder
from recprune.errors import DataError, ParameterError
from recprune.runtime import box_kernels, scan_kernels
from recprune.runtime.block import FieldBlock
from recprune.runtime.choice import Choice, Places
from recprune.runtime.filters import passing
from recprune.runtime.heads import FirstHead, TowersHead
from recprune.runtime.history import History, numbers
from recprune.runtime.items import Items
from recprune.runtime.recent import Recent
from recprune.runtime.request import RequestEncoder
from recprune.runtime.scan import Asked, Scan
from recprune.runtime.tensors import F32
from recprune.runtime.weights import Weights
from recprune.texts import text
from recprune.users import Users

__all__ = ["Ranking"]

IntArray = NDArray[np.integer[Any]]
NONE = np.empty(0, np.int64)
#: Bytes of what is kept of the users who were answered last, some thousands; under a limit, nothing.
RECENT_BYTES = 8_000_000


class Ranking:
    """The catalogue under one model's weights.

    The item side is computed at first use and kept: for each distinct item (see
    :mod:`recprune.runtime.items`) K floats, where K = neurons of the first layer + 2 + dims
    (100,000 items under 32 neurons and 8 dims: 17 MB); with parts that need the embeddings
    themselves (:mod:`recprune.runtime.parts`), also fields × dims; of two towers, the vector's
    length alone. A scorer that is loaded anew computes it anew.

    Args:
        encoder: the model's.
        catalogue: the items.
        weights: the model's.
        limit: bytes of the item side that may be kept. A larger one is computed a batch at a time
            for each request. None = no limit.
        compiled: whether numba is loaded, given so many rows of work more; else NumPy does all.
    """

    def __init__(
        self,
        encoder: Encoder,
        catalogue: Catalogue,
        weights: Weights,
        limit: int | None = None,
        compiled: Callable[[int], bool] = lambda rows: False,
    ) -> None:
        self.catalogue, self.heads, self.limit = catalogue, weights.heads, limit
        self._compiled = compiled
        whole, fields = encoder, encoder.schema.fields

        def side(names: Sequence[str]) -> tuple[Encoder, FieldBlock]:
            positions = [i for i, f in enumerate(fields) if f.name in names]
            part = whole.take(tuple(fields[i].name for i in positions), {})
            return part, FieldBlock(weights, positions)

        self.item = side([f.name for f in fields if f.source == "item"])
        encoder, block = side([f.name for f in fields if f.source in ("user", "context")])
        self.user = RequestEncoder(encoder), block
        self._cross = {
            by: side([f.name for f in fields if f.by == by]) for by in catalogue.key_values
        }
        self._places = {
            by: {value: i for i, value in enumerate(values)}
            for by, values in catalogue.key_values.items()
        }
        self._lock = Lock()
        self._made: tuple[Scan, ...] = ()
        self._bound: weakref.WeakKeyDictionary[Users, dict[str, Any]] = weakref.WeakKeyDictionary()
        self._recent = Recent(RECENT_BYTES if limit is None or limit >= RECENT_BYTES else 0)
        self._last: tuple[Callable[[], Users | None], dict[str, Any]] = (lambda: None), {}

    @property
    def nbytes(self) -> int:
        """Bytes of the item side that is kept, of its bounds and of the users who were answered
        last; 0 before their first use."""
        made = self._made
        side = made[0].items.nbytes + sum(scan.nbytes for scan in made) if made else 0
        return side + self._recent.nbytes

    def warm_up(self) -> None:
        """Compute the item side and its bounds now, and load the kernels, if numba is there."""
        for label in range(len(self.heads)):
            _ = self._scan(label).bounds
        if self._compiled(0):
            box_kernels.load()
            scan_kernels.load()

    def logits(
        self, record: Mapping[str, Any], histories: Mapping[str, History], label: int = 0
    ) -> F32:
        """Return the logit of each item, shape ``(n_items,)``.

        Args:
            record: raw user and context columns of one row; absent ones count as missing.
            histories: item column → the user's history; see the methods that make them.
            label: position among the model's labels.
        """
        scan = self._scan(label)
        return scan.all(self._asked(scan, record, histories))

    def best(
        self,
        record: Mapping[str, Any],
        histories: Mapping[str, History],
        choice: Choice,
        label: int = 0,
    ) -> tuple[NDArray[np.intp], F32]:
        """Return the positions and the logits of the best items, best first, ties by position.

        Args:
            record: see :meth:`logits`.
            histories: likewise.
            choice: how many, and among which items.
            label: likewise.
        """
        scan = self._scan(label)
        asked = self._asked(scan, record, histories)
        return scan.best(asked, choice.k, choice.only, choice.without)

    def best_of(
        self,
        users: Users,
        index: int | None,
        choice: Choice,
        label: int = 0,
        context: Mapping[str, Any] | None = None,
    ) -> tuple[NDArray[np.intp], F32]:
        """Do as :meth:`best` for a stored user (None: an unknown one), with a request's columns."""
        scan = self._scan(label)
        # What a history adds is as long as the column has groups: it is not kept.
        key = None if context or self._cross else (index, label, self._compiled(0))
        asked: Asked | None = None if key is None else self._recent.get(users, key)
        if asked is None:
            record = {} if index is None else users.record_at(index)
            asked = self._asked(scan, {**record, **(context or {})}, self.stored(users, index))
            if key is not None:
                self._recent.put(users, key, asked, asked.shift.nbytes + asked.reach.nbytes)
        return scan.best(asked, choice.k, choice.only, choice.without)

    def choice(
        self,
        k: int,
        candidates: Iterable[Any] | None = None,
        filter: Mapping[str, Any] | None = None,
        deny: Iterable[Any] = (),
        hidden: Places | None = None,
        strict: bool = True,
    ) -> Choice:
        """Return how many items are wanted, and the positions of those to choose from.

        Args:
            k: how many.
            candidates: see :class:`recprune.runtime.choice.Among`; likewise what follows.
            filter: likewise.
            deny: likewise.
            hidden: likewise.
            strict: likewise.

        Raises:
            DataError: an unknown candidate, or a value that the filter cannot mean.
            ParameterError: ``k`` is not a positive whole number, one item id in the place of
                several, or a column that the catalogue cannot be filtered by.
        """
        denied = self.known(deny, "deny")
        if hidden is not None and len(hidden.at):
            denied = np.concatenate([denied, hidden.at])
        if candidates is None and filter is None:
            return Choice(k, None, denied)
        mask = np.full(len(self.catalogue), candidates is None)
        if candidates is not None:
            index = self.catalogue.index
            texts = _texts(candidates, "candidates")
            unknown = [t for t in texts if t not in index]
            if strict and unknown:
                more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
                raise DataError(
                    f"Candidates that are not in the catalogue: "
                    f"{', '.join(map(repr, unknown[:5]))}{more}. "
                    "Leave them out, or pass strict=False."
                )
            mask[[index[t] for t in texts if t in index]] = True
        if filter is not None:
            mask &= passing(self.catalogue, filter, strict)
        return Choice(k, np.flatnonzero(mask), denied)

    def known(self, ids: Iterable[Any], name: str) -> NDArray[np.int64]:
        """Return the positions of those items that the catalogue has; the others are ignored.

        Args:
            ids: item ids.
            name: of the parameter that they came by.

        Raises:
            ParameterError: one item id in the place of several.
        """
        if isinstance(ids, list | tuple) and not ids:
            return NONE
        index = self.catalogue.index
        return np.array([index[t] for t in _texts(ids, name) if t in index], np.int64)

    def _scan(self, label: int) -> Scan:
        if not self._made:
            with self._lock:
                if not self._made:
                    (encoder, block), head = self.item, self.heads[0]
                    then = head.items if isinstance(head, TowersHead) else None
                    near = isinstance(head, FirstHead | TowersHead)
                    items = Items(self.catalogue, encoder, block, then, self.limit, near)
                    self._made = tuple(Scan(items, head, self._compiled) for head in self.heads)
        return self._made[label]

    def _asked(
        self, scan: Scan, record: Mapping[str, Any], histories: Mapping[str, History]
    ) -> Asked:
        request, block = self.user
        rows, items = request.record(record), scan.items
        shift, none = block.one(rows.codes, rows.shares), np.empty(0, np.intp)
        if isinstance(scan.head, TowersHead):
            vector, add = scan.head.user(shift)
            return Asked(vector, np.abs(vector), none, lambda own: shift[None][:0], add)
        reach, tables = np.abs(shift), {}
        for by, history in histories.items():
            coarse = by in items.coarse
            # Of a fine column the entries wait: its items may all be left out.
            table = self._table(by, history if coarse else history.none())
            shift += table[-1]
            reach += np.abs(table).max(axis=0) * 2
            if coarse and len(table) > 1:
                tables[by] = table[:-1] - table[-1]
        if tables:
            shift = np.repeat(shift[None], len(items.keys[items.coarse[0]]), axis=0)
            for by, table in tables.items():
                self._add(shift, histories[by], table, by, items.keys[by])
        fine = {by: h for by, h in histories.items() if by not in items.coarse and len(h.keys)}
        compiled = self._compiled(0)
        if not fine:
            return Asked(shift, reach, none, lambda own: shift[None][:0], compiled=compiled)
        touched = [items.having(by, history.keys) for by, history in fine.items()]
        apart = np.unique(np.concatenate([none, *touched]))

        def sums(own: IntArray) -> F32:
            chosen = apart[own]
            group = items.group_of[items.row_of[chosen]]
            out = shift[group] if shift.ndim == 2 else np.repeat(shift[None], len(chosen), axis=0)
            for by, history in fine.items():
                table = self._table(by, history)
                table = table[:-1] - table[-1]
                self._add(out, history, table, by, self.catalogue.keys[by][chosen])
            return out

        return Asked(shift, reach, apart, sums, compiled=compiled)

    def _table(self, by: str, history: History) -> F32:
        """Return what each entry adds to the sums, then the default, (n_entries + 1, K)."""
        encoder, block = self._cross[by]
        rows = encoder.encode(history.fields)
        return block.one(rows.codes, rows.shares)[None] if len(rows) == 1 else block.all(rows)

    def _add(self, sums: F32, history: History, table: F32, by: str, keys: IntArray) -> None:
        """Add to each row of sums what the user's history with its value of a column adds."""
        entry = np.full(len(self.catalogue.key_values[by]) + 1, -1, np.intp)
        entry[history.keys] = np.arange(len(history.keys))
        if self._compiled(0):
            box_kernels.add_entries(sums, table, entry, keys)
            return
        chosen = entry[keys]
        places = np.flatnonzero(chosen >= 0)
        sums[places] += table[chosen[places]]

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
                n: numbers(n, [*(column.get(k, defaults[n]) for k in keys), defaults[n]])
                for n, column in columns.items()
            }
            out[by] = History(np.array(keys, np.int32), fields)
        return out

    def seen(self, users: Users, index: int | None) -> NDArray[np.int64]:
        """Return the catalogue positions of the items that the user has seen."""
        if users.seen is None or index is None:
            return NONE
        kept: NDArray[np.int64] | None = self._recent.get(users, index)
        if kept is not None:
            return kept
        places = self._bind(users, None)
        positions = users.seen.of_user(index)
        if places is not None:
            positions = places[positions]
            positions = positions[positions >= 0]
        kept = positions.astype(np.int64)
        self._recent.put(users, index, kept, kept.nbytes)
        return kept

    def _bind(self, users: Users, by: str | None) -> NDArray[np.int32] | None:
        """Return the store's value (None: item) positions → the catalogue's; None = the same."""
        slot = "seen" if by is None else f"cross.{by}"
        owner, known = self._last
        if owner() is users and slot in known:
            last: NDArray[np.int32] | None = known[slot]
            return last
        with self._lock:
            bound = self._bound.setdefault(users, {})
            if slot not in bound:
                if by is None:
                    theirs, places = users.seen.items if users.seen else (), self.catalogue.index
                    same = theirs == self.catalogue.ids
                else:
                    theirs, places = users.cross[by].values, self._places[by]
                    same = theirs == self.catalogue.key_values[by]
                positions = None
                if not same:
                    positions = np.array([places.get(v, -1) for v in theirs], np.int32)
                bound[slot] = positions
            # Nearly all requests ask the same store: looking it up takes longer than comparing.
            self._last = weakref.ref(users), bound
            found: NDArray[np.int32] | None = bound[slot]
            return found


def _texts(ids: Iterable[Any], name: str) -> list[str]:
    """Return item ids as texts, a missing one as ""; a single text would be gone through by letter."""
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise ParameterError.of(name, "recommend", "several item ids", ids)
    return [text(i) or "" for i in ids]

"""One pool of table rows for all fields, under a byte budget: which values have a row as events flow.

In-training pruning as :mod:`recprune.models.admission` does it, for values that nobody has listed:
uses are counted and decay, a value that is used more than the coldest row's takes its place, and a
value without a row reads its field's unknown row. Which values have rows depends on the values alone,
never on weights, so that a thread can read ahead of the one that learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.bags import Sequence as Bag
from recprune.data.encode import encode_frame
from recprune.encoding import Encoder
from recprune.errors import ParameterError, RunError
from recprune.lookups import FIRST, UNKNOWN, Vocabulary
from recprune.streaming import kernels
from recprune.streaming.columns import Lists, keys_of, salt_of, valid, values_of
from recprune.streaming.kernels import AGE, COLD, COUNTS, LIVE, RENEWED, USED
from recprune.streaming.keys import insert
from recprune.streaming.names import Texts
from recprune.streaming.sketch import new_sketch
from recprune.streaming.views import joined

__all__ = ["Encoded", "Pool", "Renewed", "row_bytes"]

Ints = NDArray[np.int32]

#: Bytes of a row's text, on average; longer ones are admitted while others are shorter.
TEXT = 24
#: Bytes of a row beside its weights and Adagrad's sums: key 8, uses 4, text's length 4, two places of the
#: table 8, eight counters of the sketch 16, coldest rows 1; its place in a step 4, field 2, text's
#: start 8 and length 4, and the text with a quarter of it as slack.
ROW = 8 + 4 + 4 + 8 + 16 + 1 + 4 + 2 + 8 + 4 + TEXT * 5 // 4
#: Of all rows, this part is chosen for eviction at once, or so many where there are few.
COLDEST, FEWEST = 16, 1024
#: Half-lives after which uses are scaled down: by a power of two, so that nothing is rounded.
RESCALED = 32
#: Most of them in a chunk: the weight of a use has to be a number still.
MOST_HALVINGS = 64


def row_bytes(width: int) -> int:
    """Return what a row takes: ``width`` weights, a number each beside them, and what is kept of it.

    >>> row_bytes(1), row_bytes(17)
    (97, 225)
    """
    return 8 * width + ROW


@dataclass(frozen=True, eq=False)
class Renewed:
    """Rows that stand for another value from some block of a chunk on.

    Args:
        rows: of the pool, in order, shape (U,).
        blocks: the block after which each changed hands, not decreasing, shape (U,).
        fields: position of its value's field, shape (U,).
        texts: the values.
    """

    rows: Ints
    blocks: Ints
    fields: Ints
    texts: Texts


@dataclass(frozen=True, eq=False)
class Encoded:
    """Events as rows of the pool.

    Args:
        rows: shape (n, S): one slot of a categorical or numeric (the lower knot) field, several of
            a sequence or a vector; fields in the schema's order.
        shares: shape (n, …), as :class:`recprune.encoding.Rows` has them.
        renewed: rows that changed hands on the way.
        encoder: whose slots these are.
    """

    rows: Ints
    shares: NDArray[np.float32]
    renewed: Renewed
    encoder: Encoder

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Encoded:
        """Return some of the events (positions, a mask or a slice), to be scored."""
        return Encoded(self.rows[index], self.shares[index], _NONE, self.encoder)

    def shuffled(self, field: str, order: NDArray[Any]) -> Encoded:
        """Return the events, to be scored, each with ``field``'s value of event ``order[i]``."""
        at = self.encoder.schema.names.index(field)
        rows, shares = self.rows.copy(), self.shares.copy()
        rows[:, self.encoder.slots[at]] = rows[order][:, self.encoder.slots[at]]
        shares[:, self.encoder.share_slots[at]] = shares[order][:, self.encoder.share_slots[at]]
        return replace(self, rows=rows, shares=shares, renewed=_NONE)


_EMPTY = np.empty(0, np.int32)
_NO_TEXTS = np.empty(0, np.int64), _EMPTY, np.empty(0, np.uint8)
_NONE = Renewed(_EMPTY, _EMPTY, _EMPTY, _NO_TEXTS)


class Pool:
    """Which value each row of the pool stands for, and how much it was used.

    Args:
        encoder: the fields, and the values that have rows at first.
        budget: bytes of the pool and all that is kept of its rows.
        width: weights of a row.
        half_life: events after which a use counts half.
        least: uses without a row, counted by the sketch, before a value may have one.
        batch: events a block; values are admitted after each.

    Raises:
        ParameterError: the values that have rows at first do not fit.
    """

    def __init__(
        self, encoder: Encoder, budget: int, width: int, half_life: int, least: int, batch: int
    ) -> None:
        self.encoder, self.half_life, self.least, self.batch = encoder, half_life, least, batch
        parts = [encoder.parts[name] for name in encoder.schema.names]
        words = [vocabulary_of(part) for part in parts]
        #: Fields whose values come and go; those of the others are all held for good.
        self.open = [i for i, word in enumerate(words) if word is not None]
        sizes = [p.rows if w is None else FIRST for p, w in zip(parts, words, strict=True)]
        #: The first row of each field's block that stays: padding, unknown, and any that are fixed.
        self.starts: Ints = np.cumsum([FIRST, *sizes[:-1]]).astype(np.int32)
        #: The first row that may change hands.
        self.fixed = int(self.starts[-1] + sizes[-1])
        first = {i: w.values for i, w in enumerate(words) if w is not None}
        packed = [
            (v or "").encode("utf-8", "surrogatepass") for some in first.values() for v in some
        ]
        lengths = np.array([len(each) for each in packed], np.int32)
        #: Rows of the pool, and bytes of all texts.
        self.capacity = min(budget // row_bytes(width), np.iinfo(np.int32).max)
        self.room = self.capacity * TEXT
        need = max(self.fixed + len(packed) + 1, -(-int(lengths.sum()) // TEXT))
        if self.capacity < need:
            raise ParameterError.of(
                "bytes", "Learner", f"at least {need * row_bytes(width):,} for this model", budget
            )
        self.keys = np.zeros(self.capacity, np.uint64)
        self.uses = np.zeros(self.capacity, np.float32)
        self.sizes = np.zeros(self.capacity, np.int32)
        self.table = np.full(2 * self.capacity, -1, np.int32)
        self.sketch = new_sketch(8 * self.capacity)
        self.cold = np.empty(0, np.int32), np.empty(0, np.float32)
        self.counts = np.zeros(len(COUNTS), np.int64)
        self.now = 0
        used = self.fixed + len(packed)
        #: Row, field and text of each value that has a row at first.
        self.first = Renewed(
            np.arange(self.fixed, used, dtype=np.int32),
            np.zeros(len(packed), np.int32),
            np.repeat(list(first), [len(some) for some in first.values()]).astype(np.int32),
            (
                np.cumsum(lengths, dtype=np.int64) - lengths,
                lengths,
                np.frombuffer(b"".join(packed), np.uint8),
            ),
        )
        block = slice(self.fixed, used)
        self.keys[block] = np.concatenate(
            [
                np.empty(0, np.uint64),
                *(
                    keys_of(pl.Series(map(valid, v), dtype=pl.String), salt_of(i))[0]
                    for i, v in first.items()
                ),
            ]
        )
        self.uses[block], self.sizes[block] = least, lengths
        self.counts[USED], self.counts[LIVE] = used, lengths.sum()
        insert((self.fixed, used), self.keys, self.table)

    @property
    def used(self) -> int:
        """Rows that stand for something."""
        return int(self.counts[USED])

    def fixed_rows(self, field: int) -> int:
        """Return how many rows a field has that stay: padding, unknown, and any that are fixed."""
        own = self.encoder.schema.names[field]
        return FIRST if field in self.open else self.encoder.parts[own].rows

    def encode(self, frame: pl.DataFrame) -> Encoded:
        """Look up a chunk of events, count their values, and admit and evict on the way.

        Args:
            frame: a column a field, as :class:`recprune.streaming.events.EventReader` gives them; a
                column that is absent counts as missing.

        Raises:
            DataError: a numeric column holds text.
            ParameterError: more events at once than the half-life bears.
        """
        encoder, n = self.encoder, len(frame)
        if n > MOST_HALVINGS * self.half_life:
            least = f"at least {-(-n // MOST_HALVINGS)} for {n:,} events at once"
            raise ParameterError.of("half_life", "Learner", least, self.half_life)
        names, slots = encoder.schema.names, encoder.slots
        rows = np.empty((n, slots[-1].stop), np.int32)
        shares = np.empty((n, encoder.share_slots[-1].stop), np.float32)
        self._fixed(frame, rows, shares)
        self._let_time_pass()
        several = [i for i in self.open if isinstance(encoder.parts[names[i]], Bag)]
        single = [i for i in self.open if i not in several]
        columns = [self._values(frame, i) for i in single]
        keys = np.empty((len(single), n), np.uint64), np.empty((len(single), n), np.int32)
        for k, column in enumerate(columns):
            keys[0][k], keys[1][k] = keys_of(column, salt_of(single[k]))
        lists = Lists([self._values(frame, i) for i in several], [salt_of(i) for i in several], n)
        order = np.array([*single, *several], np.int64)
        fields = (
            self.starts[order] + np.int32(UNKNOWN),
            np.array([slots[i].start for i in single], np.int64),
        )
        found = np.empty(len(lists.keys), np.int32)
        most = self.batch * len(single) + lists.most(self.batch)
        room = int(min(n * len(single) + len(found), self._renewable()))
        new_rows, blocks, new_fields, sizes = (np.empty(room, np.int32) for _ in range(4))
        new = new_rows, blocks, new_fields, sizes, np.empty(room, np.int64)
        wanted = np.empty(most, np.uint64), np.empty(most, np.int32), np.empty(most, np.int64)
        kernels.encode(
            keys,
            (lists.keys, lists.lengths, lists.starts),
            fields,
            (self.keys, self.uses, self.sizes, self.table),
            self.sketch,
            self.cold,
            self.counts,
            (self.batch, self.room, self.least, self.half_life, self.now),
            (rows, found, *new),
            wanted,
        )
        self.now += n
        for i, count, own in zip(several, lists.counts, lists.parts, strict=True):
            self._pack(i, count, found[own], rows, shares)
        sources = [(column, 0) for column in columns]
        sources += [(c, part.start) for c, part in zip(lists.flat, lists.parts, strict=True)]
        return Encoded(rows, shares, self._renewed(new, order, sources), encoder)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what :meth:`restore` goes on from."""
        used = self.used
        return {
            "arguments": self._arguments,
            "keys": self.keys[:used].copy(),
            "uses": self.uses[:used].copy(),
            "sizes": self.sizes[:used].copy(),
            "sketch": self.sketch.copy(),
            "cold.rows": self.cold[0][self.counts[COLD] :].copy(),
            "cold.uses": self.cold[1][self.counts[COLD] :].copy(),
            "counts": np.array([used, self.counts[LIVE], self.counts[AGE], self.now], np.int64),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state of a pool with the same arguments, as if never stopped.

        Raises:
            RunError: it is that of a pool with other arguments.
        """
        if not np.array_equal(self._arguments, state["arguments"]):
            raise RunError(
                "The state is that of a learner with another budget, half-life, least count or "
                "batch. Start with the arguments that it was begun with, or begin anew."
            )
        used, live, age, self.now = (int(v) for v in state["counts"])
        for name in ("keys", "uses", "sizes"):
            array = getattr(self, name)
            array[:used], array[used:] = state[name], 0
        self.sketch[:] = state["sketch"]
        self.cold = state["cold.rows"].copy(), state["cold.uses"].copy()
        self.counts[:] = 0
        self.counts[USED], self.counts[LIVE], self.counts[AGE] = used, live, age
        self.table[:] = -1
        insert((self.fixed, used), self.keys, self.table)

    @property
    def _arguments(self) -> NDArray[np.int64]:
        return np.array([self.capacity, self.half_life, self.least, self.batch], np.int64)

    def _fixed(self, frame: pl.DataFrame, rows: Ints, shares: NDArray[np.float32]) -> None:
        """Look up the fields whose rows are all held for good."""
        encoder = self.encoder
        names = encoder.schema.names
        fixed = [i for i in range(len(names)) if i not in self.open]
        if not fixed:
            return
        own = encoder.take(tuple(names[i] for i in fixed), {})
        looked = encode_frame(own, pl.DataFrame([self._values(frame, i) for i in fixed]))
        for k, i in enumerate(fixed):
            rows[:, encoder.slots[i]] = looked.codes[:, own.slots[k]] + self.starts[i]
            shares[:, encoder.share_slots[i]] = looked.shares[:, own.share_slots[k]]

    def _values(self, frame: pl.DataFrame, field: int) -> pl.Series:
        schema = self.encoder.schema
        own = schema.fields[field]
        return values_of(frame, own, self.encoder.parts[own.name], schema.time)

    def _pack(
        self,
        field: int,
        counts: NDArray[np.int64],
        found: Ints,
        rows: Ints,
        shares: NDArray[np.float32],
    ) -> None:
        part = self.encoder.parts[self.encoder.schema.names[field]]
        assert isinstance(part, Bag)
        slots, weights = part.pack(np.repeat(np.arange(len(counts)), counts), found, len(counts))
        # No value's row is below FIRST: what is, is padding, or the unknown row of an empty list.
        rows[:, self.encoder.slots[field]] = np.where(
            slots < FIRST, slots + self.starts[field], slots
        )
        shares[:, self.encoder.share_slots[field]] = weights

    def _renewable(self) -> int:
        """Return how many rows can change hands before the coldest are chosen again."""
        return self.capacity - self.used + len(self.cold[0]) - int(self.counts[COLD])

    def _let_time_pass(self) -> None:
        """Scale the uses down, if it is time, and choose the coldest rows, if they run out."""
        halvings = self.now // self.half_life
        if halvings >= RESCALED:
            for array in (self.uses, self.cold[1]):
                np.ldexp(array, -halvings, out=array)
            self.now %= self.half_life
        movable = self.capacity - self.fixed
        want = min(max(movable // COLDEST, FEWEST), movable)
        left = len(self.cold[0]) - int(self.counts[COLD])
        if self.used < self.capacity or left * 2 > want:
            return
        uses = self.uses[self.fixed :]
        bar = np.partition(uses, want - 1)[want - 1]
        below, at = np.flatnonzero(uses < bar), np.flatnonzero(uses == bar)
        chosen = np.concatenate([below, at[: want - len(below)]])
        chosen = chosen[np.argsort(uses[chosen], kind="stable")]
        self.cold = (chosen + self.fixed).astype(np.int32), uses[chosen]
        self.counts[COLD] = 0

    def _renewed(
        self, new: tuple[Any, ...], order: Any, sources: list[tuple[pl.Series, int]]
    ) -> Renewed:
        count = int(self.counts[RENEWED])
        rows, blocks, fields, sizes, at = (array[:count].copy() for array in new)
        starts, data, end = np.empty(count, np.int64), [], 0
        for k, (series, start) in enumerate(sources):
            own = np.flatnonzero(fields == k)
            if len(own):
                data.append(joined(series[at[own] - start], sizes[own]))
                starts[own] = end + np.cumsum(sizes[own]) - sizes[own]
                end += len(data[-1])
        texts = starts, sizes, np.concatenate([np.empty(0, np.uint8), *data])
        return Renewed(rows, blocks, order[fields].astype(np.int32), texts)


def vocabulary_of(part: Any) -> Vocabulary | None:
    """Return the values of a field or of its lists' elements; None where it has no vocabulary."""
    part = part.elements if isinstance(part, Bag) else part
    return part if isinstance(part, Vocabulary) else None

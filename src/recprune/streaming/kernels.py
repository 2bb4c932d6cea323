"""What every event goes through, compiled: look its values up, count them, admit new ones; score it.

Values are known by keys (:mod:`recprune.streaming.keys`). Those without a row are counted in a
sketch (:mod:`recprune.streaming.sketch`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled
from recprune.streaming.keys import Hashes, find, remove
from recprune.streaming.sketch import Counters, add, estimate, halve

__all__ = ["COUNTS", "close_up", "encode", "first_order", "put", "residual"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

#: What :func:`encode` keeps between calls: rows used, bytes of the held texts, the next cold row,
#: events since the sketch was halved, and the rows renewed in this call.
COUNTS = USED, LIVE, COLD, AGE, RENEWED = 0, 1, 2, 3, 4


@compiled
def encode(
    columns: tuple[Hashes, Ints],
    elements: tuple[Hashes, Ints, Longs],
    fields: tuple[Ints, Longs],
    held: tuple[Hashes, Floats, Ints, Ints],
    sketch: Counters,
    cold: tuple[Ints, Floats],
    counts: Longs,
    limits: tuple[int, int, int, int, int],
    out: tuple[Ints, Ints, Ints, Ints, Ints, Ints, Longs],
    wanted: tuple[Hashes, Ints, Longs],
) -> None:
    """Look up a chunk of events, block by block; after each block, admit values and evict others.

    Args:
        columns: of F fields with one value an event: keys and bytes of the texts, each (F, n).
        elements: of G fields with several: keys and bytes, each (m,), and where each event's
            begin, (G, n + 1).
        fields: of all F + G the unknown rows, and of the F their columns of the rows.
        held: of the pool's rows: keys, uses (in units of the first weight), bytes of the texts; and
            the table.
        sketch: counts of the values without a row.
        cold: rows to evict, coldest first, and the uses that they had when they were chosen.
        counts: see :data:`COUNTS`.
        limits: events a block; bytes of all texts; least count of an admitted value; events after
            which a use counts half; events since uses were last scaled.
        out: rows (n, S), rows of the elements (m,), and of each renewal row, block, field, bytes of
            the text, and position in its column or in the elements.
        wanted: room for a block's values to admit: keys, fields, positions.
    """
    given, lengths = columns
    more, more_lengths, starts = elements
    unknown, slots = fields
    keys, uses, sizes, table = held
    batch, room, least, half_life, now = limits
    rows, element_rows, new_rows, new_blocks, new_fields, new_sizes, new_at = out
    want_keys, want_fields, want_at = wanted
    single, n = given.shape
    capacity = len(keys)
    counts[RENEWED] = 0
    block = 0
    for start in range(0, n, batch):
        stop = min(start + batch, n)
        weight = np.float32(2.0 ** ((now + start) / half_life))
        found = 0
        for i in range(start, stop):
            for f in range(single):
                key = given[f, i]
                row = table[find(key, keys, table)]
                if row >= 0:
                    uses[row] += weight
                else:
                    row = unknown[f]
                    if add(key, sketch) >= least:
                        want_keys[found], want_fields[found], want_at[found] = key, f, i
                        found += 1
                rows[i, slots[f]] = row
            for g in range(len(starts)):
                for e in range(starts[g, i], starts[g, i + 1]):
                    key = more[e]
                    row = table[find(key, keys, table)]
                    if row >= 0:
                        uses[row] += weight
                    else:
                        row = unknown[single + g]
                        if add(key, sketch) >= least:
                            want_keys[found], want_fields[found] = key, single + g
                            want_at[found] = e
                            found += 1
                    element_rows[e] = row
        for c in range(found):
            key, f, at = want_keys[c], want_fields[c], want_at[c]
            place = find(key, keys, table)
            if table[place] >= 0:
                continue  # it came twice in the block
            size = lengths[f, at] if f < single else more_lengths[at]
            count = np.float32(estimate(key, sketch)) * weight
            if counts[USED] < capacity:
                row = np.int32(counts[USED])
                if counts[LIVE] + size > room:
                    continue
                counts[USED] += 1
            else:
                while counts[COLD] < len(cold[0]):
                    if uses[cold[0][counts[COLD]]] == cold[1][counts[COLD]]:
                        break
                    counts[COLD] += 1  # used since it was chosen
                if counts[COLD] == len(cold[0]):
                    break
                row = cold[0][counts[COLD]]
                if count <= uses[row] or counts[LIVE] - sizes[row] + size > room:
                    continue
                counts[COLD] += 1
                counts[LIVE] -= sizes[row]
                remove(keys[row], keys, table)
                place = find(key, keys, table)
            counts[LIVE] += size
            keys[row], uses[row], sizes[row], table[place] = key, count, size, row
            k = counts[RENEWED]
            new_rows[k], new_blocks[k], new_fields[k], new_sizes[k], new_at[k] = (
                row,
                block,
                f,
                size,
                at,
            )
            counts[RENEWED] += 1
        counts[AGE] += stop - start
        if counts[AGE] >= half_life:
            counts[AGE] -= half_life
            halve(sketch)
        block += 1


@compiled
def put(
    rows: Ints,
    texts: tuple[Longs, Ints, NDArray[np.uint8]],
    held: tuple[Longs, Ints, NDArray[np.uint8]],
    end: int,
) -> tuple[int, int]:
    """Append texts for rows, shape (U,), as far as there is room; return how many, and the end.

    Args:
        rows: one after the other.
        texts: where each begins, its bytes, and all bytes.
        held: likewise, by row.
        end: where the bytes held end.
    """
    starts, sizes, data = texts
    own_starts, own_sizes, own = held
    for k in range(len(rows)):
        row, size = rows[k], sizes[k]
        own_sizes[row] = 0  # what it stood for is no longer held
        if end + size > len(own):
            return k, end
        own_starts[row], own_sizes[row] = end, size
        for i in range(size):
            own[end + i] = data[starts[k] + i]
        end += size
    return len(rows), end


@compiled
def close_up(order: Longs, starts: Longs, sizes: Ints, data: NDArray[np.uint8]) -> int:
    """Move texts together, in the ``order`` in which they stand; return where they end."""
    end = 0
    for row in order:
        start = starts[row]
        starts[row] = end
        for i in range(sizes[row]):
            data[end + i] = data[start + i]
        end += sizes[row]
    return end


@compiled
def first_order(
    rows: Ints, shares: Floats, places: tuple[Longs, NDArray[np.bool_]], table: Floats, bias: float
) -> Floats:
    """Return logits, shape (B,), of a model that has first-order weights alone.

    Args:
        rows: shape (B, S); of a number the lower knot's.
        shares: shape (B, …).
        places: each slot's column of the shares, −1 = none, and whether it is a number; (S,).
        table: shape (R, 1).
        bias: the model's.
    """
    column, number = places
    logits = np.empty(len(rows), np.float32)
    for b in range(len(rows)):
        logit = np.float32(bias)
        for j in range(rows.shape[1]):
            weight = table[rows[b, j], 0]
            if column[j] >= 0:
                share = shares[b, column[j]]
                if number[j]:
                    weight += share * (table[rows[b, j] + 1, 0] - weight)
                else:
                    weight *= share
            logit += weight
        logits[b] = logit
    return logits


@compiled
def residual(
    logits: Floats,
    label: Floats,
    shares: Floats,
    places: tuple[Longs, NDArray[np.bool_]],
    out: Floats,
) -> Any:
    """Write the gradient of the mean cross-entropy by what each slot read; return that by the bias.

    Args:
        logits, label: shape (B,).
        shares, places: as in :func:`first_order`.
        out: shape (B, S, 1).
    """
    column, number = places
    total = np.float32(0)
    for b in range(len(logits)):
        error = np.float32(1) / (np.float32(1) + np.exp(-logits[b])) - label[b]
        error /= np.float32(len(logits))
        total += error
        for j in range(len(column)):
            weighted = column[j] >= 0 and not number[j]
            out[b, j, 0] = error * shares[b, column[j]] if weighted else error
    return total

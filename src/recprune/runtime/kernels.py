"""The forward pass, compiled: gather and sum, relu, whole rows.

Named axes: n rows, S slots, F fields, R table rows, W columns of a table (first-order weight and
dims), N columns of what embeddings are multiplied to, I inputs of that product, H neurons.

A field is *folded* where its table rows have been multiplied beforehand: its folded row, (N + W),
is that product and then the table row itself, and a sum over such fields needs no product any more.
The other fields' rows are written side by side, as inputs of one.

Each of ``fields``, shape (F, 10), has: its first slot, how many there are, its first row of the
table, its rows, kind (0 = one row, 1 = number, 2 = bag), its first column of the shares, its first
folded row or −1, from which to which of the table's columns it is an input, and its first column
among the inputs. Folded ones of kind 0 stand first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["close", "front", "place", "relu", "whole"]

F32 = NDArray[np.float32]
Ints = NDArray[np.int64]

SLOT, SLOTS, BASE, ROWS, KIND, SHARE, FOLDED, FROM, TO, AT = range(10)
ONE, NUMBER = 0, 1


@compiled
def front(
    batch: tuple[NDArray[np.int32], F32],
    fields: Ints,
    tables: tuple[F32, F32, F32],
    shape: tuple[int, int, bool],
    out: tuple[F32, F32, F32],
) -> int:
    """Gather the fields of some rows: the folded ones' sums, and the others' rows.

    Args:
        batch: codes (n, S) and shares (n, …).
        fields: see above.
        tables: the table (R, W); the folded rows, (≥ 0, ≥ N + W); what the sums start from, as wide.
        shape: how many fields of kind 0 are folded; how many are of kind 0; whether there is FM.
        out: sums (n, ≥ N + W) and inputs (n, I), overwritten, and logits (n,), of which the squares
            of numbers and bags are taken off (those of other rows are in their first-order weight).

    Returns:
        −1, or the first row with a code beyond its field's table; nothing from there on is valid.
    """
    codes, shares = batch
    table, folded, start = tables
    plain, single, fm = shape
    sums, inputs, logits = out
    n, width, full = len(codes), table.shape[1], len(start)
    for r in range(n):
        for w in range(full):
            sums[r, w] = start[w]
    # Field by field: a table then stays in the cache for all the rows. Eight at once: the sums are
    # then read and written an eighth as often. Unsigned: a negative code is beyond every table, and
    # no index has to be tested for counting from the end.
    eights = plain - plain % 8
    for j in range(0, eights, 8):
        slot_a, from_a, rows_a = place(fields[j])
        slot_b, from_b, rows_b = place(fields[j + 1])
        slot_c, from_c, rows_c = place(fields[j + 2])
        slot_d, from_d, rows_d = place(fields[j + 3])
        slot_e, from_e, rows_e = place(fields[j + 4])
        slot_f, from_f, rows_f = place(fields[j + 5])
        slot_g, from_g, rows_g = place(fields[j + 6])
        slot_h, from_h, rows_h = place(fields[j + 7])
        for r in range(n):
            a, b = np.uint32(codes[r, slot_a]), np.uint32(codes[r, slot_b])
            c, d = np.uint32(codes[r, slot_c]), np.uint32(codes[r, slot_d])
            e, f = np.uint32(codes[r, slot_e]), np.uint32(codes[r, slot_f])
            g, h = np.uint32(codes[r, slot_g]), np.uint32(codes[r, slot_h])
            # One jump for all eight: hardly any row takes it.
            if (
                (a >= rows_a)
                | (b >= rows_b)
                | (c >= rows_c)
                | (d >= rows_d)
                | (e >= rows_e)
                | (f >= rows_f)
                | (g >= rows_g)
                | (h >= rows_h)
            ):
                return r
            a, b, c, d = from_a + a, from_b + b, from_c + c, from_d + d
            e, f, g, h = from_e + e, from_f + f, from_g + g, from_h + h
            for w in range(full):
                sums[r, w] += ((folded[a, w] + folded[b, w]) + (folded[c, w] + folded[d, w])) + (
                    (folded[e, w] + folded[f, w]) + (folded[g, w] + folded[h, w])
                )
    for j in range(eights, plain):
        slot, first, size = place(fields[j])
        for r in range(n):
            code = np.uint32(codes[r, slot])
            if code >= size:
                return r
            row = first + code
            for w in range(full):
                sums[r, w] += folded[row, w]
    for j in range(plain, single):
        slot, base, size = fields[j, SLOT], fields[j, BASE], fields[j, ROWS]
        first, count, at = fields[j, FROM], fields[j, TO] - fields[j, FROM], fields[j, AT]
        for r in range(n):
            code = codes[r, slot]
            if code < 0 or code >= size:
                return r
            row = base + code
            for w in range(count):
                inputs[r, at + w] = table[row, first + w]
    value = np.empty(width, np.float32)
    for j in range(single, len(fields)):
        slot, share_at, base, fold = (
            fields[j, SLOT],
            fields[j, SHARE],
            fields[j, BASE],
            fields[j, FOLDED],
        )
        first, count, at = fields[j, FROM], fields[j, TO] - fields[j, FROM], fields[j, AT]
        for r in range(n):
            value[:] = 0
            for s in range(fields[j, SLOTS]):
                code, share = codes[r, slot + s], shares[r, share_at + s]
                if code < 0 or code >= fields[j, ROWS]:
                    return r
                low, of_low = base + code, fold + code
                if fields[j, KIND] == NUMBER:
                    # The last row has no step up.
                    step = min(code + 1, fields[j, ROWS] - 1) - code
                    for w in range(width):
                        x = table[low, w]
                        value[w] = x + share * (table[low + step, w] - x)
                    if fold >= 0:
                        for w in range(full):
                            x = folded[of_low, w]
                            sums[r, w] += x + share * (folded[of_low + step, w] - x)
                else:
                    for w in range(width):
                        value[w] += share * table[low, w]
                    if fold >= 0:
                        for w in range(full):
                            sums[r, w] += share * folded[of_low, w]
            for w in range(count):
                inputs[r, at + w] = value[first + w]
            if fm:
                squares = np.float32(0)
                for w in range(1, width):
                    squares += value[w] * value[w]
                logits[r] -= np.float32(0.5) * squares
    return -1


@compiled
def place(field: Ints) -> tuple[Any, Any, Any]:
    """Return a folded field's slot, its first folded row and its rows, unsigned."""
    return np.uint64(field[SLOT]), np.uint64(field[FOLDED]), np.uint32(field[ROWS])


@compiled
def close(total: F32, more: F32, shape: tuple[int, int, int, bool, bool], logits: F32) -> None:
    """Make of all fields' sums the first layer's neurons, and add first order and FM to the logits.

    Args:
        total: sums (n, ≥ N + W), overwritten: the first H columns by their relu.
        more: sums to add, as many; or no rows = nothing.
        shape: H, N, W, whether there is a first-order weight, whether there is FM.
        logits: shape (n,), added to.
    """
    # By two indices always: a view of a row would take longer to make than to work through.
    hidden, wide, width, lead, fm = shape
    for r in range(len(total)):
        if len(more):
            for w in range(total.shape[1]):
                total[r, w] += more[r, w]
        for h in range(hidden):
            total[r, h] = max(total[r, h], np.float32(0))
        if fm:
            squares = np.float32(0)
            for w in range(wide + 1, wide + width):
                squares += total[r, w] * total[r, w]
            logits[r] += np.float32(0.5) * squares
        if lead:
            logits[r] += total[r, wide]


@compiled
def whole(
    codes: NDArray[np.int32],
    shares: F32,
    numbers: Ints,
    tables: tuple[F32, F32],
    weights: F32,
    logits: F32,
) -> int:
    """Answer some rows from codes to logits.

    Each array that is handed over costs a tenth of a microsecond, so they come packed.

    Args:
        codes: shape (n, S).
        shares: shape (n, …).
        numbers: the first two of :func:`front`'s shape, the last four of :func:`close`'s, I, the
            width of the sums, how many sizes there are, the sizes H of all layers, then ``fields``.
        tables: the first two of :func:`front`'s.
        weights: what the sums start from, the inputs' matrix (I, width), then every later layer's
            matrix (H_in, H_out) and bias, in one piece.
        logits: shape (n,), overwritten.

    Returns:
        As :func:`front`.
    """
    plain, single, wide, of_table = numbers[0], numbers[1], numbers[2], numbers[3]
    lead, fm, count, width, layers = numbers[4], numbers[5], numbers[6], numbers[7], numbers[8]
    sizes, fields = numbers[9 : 9 + layers], numbers[9 + layers :].reshape(-1, 10)
    n = len(codes)
    sums, inputs = np.empty((n, width), np.float32), np.empty((n, count), np.float32)
    start, deep = weights[:width], width * (1 + count)
    logits[:] = 0
    bad = front(
        (codes, shares),
        fields,
        (tables[0], tables[1], start),
        (plain, single, fm > 0),
        (sums, inputs, logits),
    )
    if bad >= 0:
        return bad
    for r in range(n):
        for i in range(count):
            x, at = inputs[r, i], width * (1 + i)
            for w in range(width):
                sums[r, w] += x * weights[at + w]
    close(sums, sums[:0], (sizes[0], wide, of_table, lead > 0, fm > 0), logits)
    most = sizes.max()
    here, there = np.empty(most, np.float32), np.empty(most, np.float32)
    for r in range(n):
        for h in range(sizes[0]):
            here[h] = sums[r, h]
        at = deep
        for layer in range(1, layers):
            before, after = sizes[layer - 1], sizes[layer]
            for h in range(after):
                there[h] = weights[at + before * after + h]
            for k in range(before):
                x = here[k]
                if x > 0:
                    row = at + k * after
                    for h in range(after):
                        there[h] += x * weights[row + h]
            here, there = there, here
            at += (before + 1) * after
        logits[r] += here[0]
    return -1


@compiled
def relu(value: F32, bias: F32) -> None:
    """Add a bias (H,) to the first H columns of values (n, ≥ H), and set what is negative to 0."""
    for r in range(len(value)):
        for h in range(len(bias)):
            value[r, h] = max(value[r, h] + bias[h], np.float32(0))

"""The forward pass, compiled: gather and sum, relu, whole rows.

Named axes: n rows, S slots, F fields, R table rows, W columns of a table (first-order weight and
dims), N columns of what embeddings are multiplied to, I inputs of that product, H neurons.

A field is *folded* where its table rows have been multiplied beforehand: its folded row, (N + W),
is that product and then the table row itself, and a sum over such fields needs no product any more.
The other fields' rows are written side by side, as inputs of one.

Each of ``fields``, shape (F, 9), has: its first slot, how many there are, its first row of the
table, its rows, kind (0 = one row, 1 = number, 2 = bag), its first column of the shares, its first
folded row or −1, and from which to which of the table's columns it is an input. Folded ones of kind
0 stand first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled

__all__ = ["close", "front", "relu", "whole"]

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
    # Field by field: a table then stays in the cache for all the rows. Four at once: the sums are
    # then read and written a quarter as often.
    fours = plain - plain % 4
    for j in range(0, fours, 4):
        f, g, h, k = fields[j], fields[j + 1], fields[j + 2], fields[j + 3]
        at_a, at_b, at_c, at_d = f[SLOT], g[SLOT], h[SLOT], k[SLOT]
        of_a, of_b, of_c, of_d = f[FOLDED], g[FOLDED], h[FOLDED], k[FOLDED]
        to_a, to_b, to_c, to_d = f[ROWS], g[ROWS], h[ROWS], k[ROWS]
        for r in range(n):
            a, b, c, d = codes[r, at_a], codes[r, at_b], codes[r, at_c], codes[r, at_d]
            if a < 0 or b < 0 or c < 0 or d < 0:
                return r
            if a >= to_a or b >= to_b or c >= to_c or d >= to_d:
                return r
            one, two, three, four = of_a + a, of_b + b, of_c + c, of_d + d
            for w in range(full):
                sums[r, w] += (folded[one, w] + folded[two, w]) + (
                    folded[three, w] + folded[four, w]
                )
    for j in range(fours, plain):
        slot, fold, size = fields[j, SLOT], fields[j, FOLDED], fields[j, ROWS]
        for r in range(n):
            code = codes[r, slot]
            if code < 0 or code >= size:
                return r
            row = fold + code
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
def close(total: F32, more: F32, shape: tuple[int, int, int, bool, bool], logits: F32) -> None:
    """Make of all fields' sums the first layer's neurons, and add first order and FM to the logits.

    Args:
        total: sums (n, ≥ N + W), overwritten: the first H columns by their relu.
        more: sums to add, as many; or no rows = nothing.
        shape: H, N, W, whether there is a first-order weight, whether there is FM.
        logits: shape (n,), added to.
    """
    hidden, wide, width, lead, fm = shape
    for r in range(len(total)):
        row = total[r]
        if len(more):
            other = more[r]
            for w in range(len(row)):
                row[w] += other[w]
        for h in range(hidden):
            row[h] = max(row[h], np.float32(0))
        if fm:
            squares = np.float32(0)
            for w in range(wide + 1, wide + width):
                squares += row[w] * row[w]
            logits[r] += np.float32(0.5) * squares
        if lead:
            logits[r] += row[wide]


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
        row = value[r]
        for h in range(len(bias)):
            row[h] = max(row[h] + bias[h], np.float32(0))

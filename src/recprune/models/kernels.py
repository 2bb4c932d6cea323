"""What a step does to the table, compiled: read a batch's rows, sum their gradients, update them.

All arrays are NumPy views of the tensors, changed in place. Each function does a part of the work
and shares nothing that it writes with another part: :func:`read` a part of the batch, the others a
part of the fields, whose table rows and groups are their own. So the sums do not depend on the
number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recprune._support import compiled
from recprune.lookups import UNKNOWN

__all__ = ["add_up", "read", "update"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Places = NDArray[np.int64]


@compiled
def read(
    part: tuple[int, int],
    batch: tuple[Ints, Floats, Floats],
    places: tuple[Places, Places, Places],
    prior: tuple[Floats, Places, Floats],
    table: Floats,
    out: tuple[Floats, Places, Ints],
) -> None:
    """Look up rows ``part[0]`` to ``part[1]`` of a batch.

    Args:
        part: first row and the one after the last.
        batch: codes (B, S), shares (B, …), where those of hidden numbers become 0, and draws (B, S)
            of the chance to read a value as unknown.
        places: for each slot in the network's order its column of the codes, its field's first row
            in the table, and its column of the shares if it is a number, else −1; each (S,).
        prior: chance of being read as unknown (R,), group (R,), shared parts (1 + G, W).
        table: shape (R, W).
        out: values (B, S, W), table rows (B, S) (of a number the lower knot's), groups (B, S).
    """
    codes, shares, draws = batch
    slot, offset, number = places
    unknown, group, shared = prior
    value, index, groups = out
    width = table.shape[1]
    for b in range(part[0], part[1]):
        for j in range(len(slot)):
            row = offset[j] + codes[b, slot[j]]
            mine = group[row]
            if draws[b, slot[j]] < unknown[row]:
                row = offset[j] + UNKNOWN
                if number[j] >= 0:
                    shares[b, number[j]] = 0
            index[b, j], groups[b, j] = row, mine
            if number[j] >= 0:
                upper = shares[b, number[j]]
                for d in range(width):
                    low = table[row, d]
                    value[b, j, d] = low + upper * (table[row + 1, d] - low)
            else:
                for d in range(width):
                    value[b, j, d] = table[row, d]
            if mine:
                for d in range(width):
                    value[b, j, d] += shared[mine, d]


@compiled
def add_up(
    part: tuple[int, int],
    batch: tuple[Floats, Places, Ints, Floats],
    number: Places,
    place: Ints,
    out: tuple[Ints, Floats, Floats],
) -> int:
    """Sum the gradients of each table row and group that slots ``part[0]`` to ``part[1]`` read.

    Args:
        part: first slot, in the network's order, and the one after the last.
        batch: gradient (B, S, W), and :func:`read`'s table rows, groups and shares.
        number: each slot's column of the shares if it is a number, else −1, shape (S,).
        place: −1 everywhere, and so again afterwards; shape (R,).
        out: the rows found and their gradients, (≥ U,) and (≥ U, W), and the groups' gradients
            (1 + G, W), to which the sums are added.

    Returns:
        U, the number of rows found.
    """
    gradient, index, groups, shares = batch
    rows, total, shared = out
    width, found = gradient.shape[2], 0
    for b in range(len(gradient)):
        for j in range(part[0], part[1]):
            upper = shares[b, number[j]] if number[j] >= 0 else np.float32(0)
            for side in range(2 if number[j] >= 0 else 1):
                row = index[b, j] + side
                weight = upper if side else np.float32(1) - upper
                k = place[row]
                if k < 0:
                    k = found
                    place[row], rows[k] = k, row
                    found += 1
                    for d in range(width):
                        total[k, d] = weight * gradient[b, j, d]
                else:
                    for d in range(width):
                        total[k, d] += weight * gradient[b, j, d]
            mine = groups[b, j]
            if mine:
                for d in range(width):
                    shared[mine, d] += gradient[b, j, d]
    for k in range(found):
        place[rows[k]] = -1
    return found


@compiled
def update(
    touched: tuple[Ints, Floats, int],
    table: Floats,
    adam: tuple[Floats, Floats, Floats],
    mean: tuple[Floats, Ints, Any, int, float],
) -> None:
    """Do to some rows what :class:`LazyAdam` and :class:`RowMean` do to them, in one pass.

    Args:
        touched: the rows and their gradients, as :func:`add_up` gives them, and their number.
        table: shape (R, W).
        adam: both moments (R, W), and :meth:`LazyAdam.rates`.
        mean: the rows' means (R, W), the step each is of (R,), what each step has kept of those
            before it, the steps since it began, and the weight of this one.
    """
    rows, gradient, count = touched
    first, second, rates = adam
    means, last, kept, steps, weight = mean
    rate, epsilon, one, two, decay, cut, group = rates
    width, one_more = table.shape[1], np.float32(1)
    share = np.float32(weight)
    for k in range(count):
        row = rows[k]
        old = np.float32(kept[steps - 1] / kept[last[row]])
        last[row] = steps
        norm = np.float32(0)
        for d in range(width):
            g = gradient[k, d]
            f = first[row, d] + np.float32(0.1) * (g - first[row, d])
            s = np.float32(0.999) * second[row, d] + np.float32(0.001) * g * g
            first[row, d], second[row, d] = f, s
            w = table[row, d]
            means[row, d] = w + (means[row, d] - w) * old
            w = w * decay - rate * (f * one) / (np.sqrt(s * two) + epsilon)
            if cut:
                w = np.sign(w) * max(abs(w) - cut, np.float32(0))
            norm += w * w
            table[row, d] = w
        if group:
            scale = max(one_more - group / max(np.sqrt(norm), np.float32(1e-12)), np.float32(0))
            for d in range(width):
                table[row, d] *= scale
        for d in range(width):
            means[row, d] += share * (table[row, d] - means[row, d])

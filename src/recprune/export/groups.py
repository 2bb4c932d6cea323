"""Which fields share a table and a gather, where they have different numbers of dims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from recprune.axes import Layout

__all__ = ["by_width", "costs"]

#: What a group more costs for one row, in multiplications of a hidden layer: some four nodes.
GROUP = 20_000


def costs(layout: Layout, names: Sequence[str]) -> list[int]:
    """Return, for each field, the multiplications a row that one dim of it takes part in."""
    found = []
    for name in names:
        axis = layout.axes.get(f"dims.{name}")
        shapes = [(layout.shapes[u.tensor], u.dim) for u in axis.uses[1:]] if axis else []
        found.append(sum(math.prod(shape) // max(1, shape[dim]) for shape, dim in shapes))
    return found


def by_width(widths: Mapping[int, int], cost: Sequence[int]) -> list[list[int]]:
    """Cut fields into groups of similar widths, so that groups and zeros cost least together.

    In a group all tables are as wide as the widest: what a narrow one lacks is zeros.

    >>> by_width({0: 8, 1: 2, 2: 7}, [100, 100, 100])  # small layers behind: one group
    [[1, 2, 0]]
    >>> by_width({0: 8, 1: 2, 2: 7}, [9_000, 9_000, 9_000])
    [[1], [2, 0]]

    Args:
        widths: field → its number of dims.
        cost: of a dim, by field: see :func:`costs`.

    Returns:
        Groups, narrow ones first, and in each the narrow fields first.
    """
    fields: dict[int, list[int]] = {}
    for field in sorted(widths, key=lambda f: widths[f]):
        fields.setdefault(widths[field], []).append(field)
    each = list(fields)
    #: By how many widths are dealt with: the least cost, and the groups that have it.
    best: list[tuple[int, list[list[int]]]] = [(0, [])]
    for end in range(1, len(each) + 1):
        found = []
        for start in range(end):
            group = [f for width in each[start:end] for f in fields[width]]
            zeros = sum((each[end - 1] - widths[f]) * cost[f] for f in group)
            before, groups = best[start]
            found.append((before + GROUP + zeros, [*groups, group]))
        best.append(min(found, key=lambda f: f[0]))
    return best[-1][1]

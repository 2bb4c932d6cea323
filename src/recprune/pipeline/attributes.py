"""Recommendation results by user attribute: who is willing, and what is shown to whom."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data import Dataset

__all__ = ["attribute_groups", "chosen_attributes", "describe_items", "group_of"]

MOST_ATTRIBUTES, MOST_VALUES, SHOWN_ITEMS = 4, 12, 5
AGE_EDGES = (18, 25, 35, 45, 55, 65)
UNKNOWN = "not known"


def chosen_attributes(data: Dataset) -> list[str]:
    """Return the attributes to report by: sensitive fields first, else small categorical ones."""
    fields = [f for f in data.schema.fields if f.source in ("user", "context")]
    sensitive = [f.name for f in fields if f.sensitive and f.kind in ("categorical", "numeric")]
    small = [
        f.name
        for f in fields
        if f.kind == "categorical"
        and f.name not in (data.schema.user, *sensitive)
        and 2 <= data.encoder.sizes[data.schema.names.index(f.name)] - 2 <= MOST_VALUES
    ]
    return [*sensitive, *small][:MOST_ATTRIBUTES]


def group_of(column: pl.Series, name: str) -> NDArray[np.object_]:
    """Return each row's group in words: the value itself, or a range of a numeric column."""
    if not column.dtype.is_numeric():
        return column.cast(pl.String).fill_null(UNKNOWN).to_numpy().astype(object)
    values = column.cast(pl.Float64).to_numpy()
    known = values[np.isfinite(values)]
    distinct = np.unique(known)
    if len(distinct) <= MOST_VALUES:
        return np.array([UNKNOWN if not np.isfinite(v) else f"{v:g}" for v in values], object)
    edges = (
        np.array(AGE_EDGES, float)
        if "age" in name.lower().split("_")
        else np.quantile(known, [0.25, 0.5, 0.75])
    )
    edges = np.unique(edges)
    bounds = [f"under {edges[0]:g}"]
    bounds += [f"{a:g} to {b:g}" for a, b in itertools.pairwise(edges)]
    bounds += [f"{edges[-1]:g} and over"]
    place = np.searchsorted(edges, np.where(np.isfinite(values), values, 0), side="right")
    return np.where(np.isfinite(values), np.array(bounds, object)[place], UNKNOWN)


def attribute_groups(
    data: Dataset,
    probabilities: Mapping[str, NDArray[np.float32]],
    lists: Mapping[int, NDArray[np.int64]],
) -> list[dict[str, Any]]:
    """Return the report's ``recommendations``.

    Args:
        data: the split data set.
        probabilities: ``"full"`` and ``"pruned"``, each of shape (n_test_rows,).
        lists: test user → item positions of the pruned model's top-k list; may be empty.
    """
    test, out = data.test, []
    described = describe_items(data)
    for name in chosen_attributes(data):
        if name not in test.columns.columns:
            continue
        groups = group_of(test.columns[name], name)
        records = []
        for value in sorted(set(groups.tolist()), key=lambda v: (v == UNKNOWN, _order(v))):
            here = groups == value
            users = np.unique(test.users[here]) if test.users is not None else None
            shown = [lists[u] for u in (users.tolist() if users is not None else ()) if u in lists]
            records.append(
                {
                    "value": value,
                    "rows": int(here.sum()),
                    "users": len(users) if users is not None else None,
                    "label_rate": float(test.label[here].mean()),
                    "willingness_full": float(probabilities["full"][here].mean()),
                    "willingness_pruned": float(probabilities["pruned"][here].mean()),
                    "top": _most_shown(shown, described),
                }
            )
        if len(records) > 1:
            out.append({"attribute": name, "groups": records})
    return out


def describe_items(data: Dataset) -> list[tuple[str, str]]:
    """Return each catalogue item's id and a short description from its first text attributes."""
    if data.items is None or data.schema.item is None:
        return []
    ids = [str(v) for v in data.items[data.schema.item].to_list()]
    text = [
        f.name
        for f in data.schema.fields
        if f.source == "item" and f.kind == "categorical" and f.name != data.schema.item
    ]
    columns = [
        data.items[n].cast(pl.String).fill_null("").to_list()
        for n in text[:4]
        if n in data.items.columns
    ]
    joined = [" · ".join(part for part in parts if part) for parts in zip(*columns, strict=True)]
    return list(zip(ids, joined or [""] * len(ids), strict=True))


def _most_shown(
    lists: Sequence[NDArray[np.int64]], described: list[tuple[str, str]]
) -> list[dict[str, Any]]:
    counts = Counter(int(i) for shown in lists for i in shown)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN_ITEMS]
    return [
        {"item": described[i][0], "description": described[i][1], "share": n / len(lists)}
        for i, n in ranked
    ]


def _order(value: str) -> tuple[float, str]:
    """Sort ranges by their first number, words by themselves."""
    digits = "".join(c if c.isdigit() or c == "." else " " for c in value).split()
    if value.lower().startswith("under"):
        return (-1.0, value)
    return (float(digits[0]) if digits and digits[0].strip(".") else float("inf"), value)

"""Recommendation results by user attribute: who is willing, and what is shown to whom."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data import Dataset
from recprune.evaluation.groups import MOST_VALUES, NOT_KNOWN, group_of

__all__ = ["attribute_groups", "chosen_attributes", "describe_items"]

MOST_ATTRIBUTES, SHOWN_ITEMS = 4, 5


def chosen_attributes(data: Dataset) -> list[str]:
    """Return the attributes to report by: sensitive fields first, else small categorical ones."""
    there = data.test.columns.columns
    fields = [f for f in data.schema.fields if f.source in ("user", "context") and f.name in there]
    sensitive = [f.name for f in fields if f.sensitive and f.kind in ("categorical", "numeric")]
    small = [
        f.name
        for f in fields
        if f.kind == "categorical"
        and f.name not in (data.schema.user, *sensitive)
        and 2 <= data.encoder.sizes[data.schema.names.index(f.name)] - 2 <= MOST_VALUES
    ]
    return [*sensitive, *small][:MOST_ATTRIBUTES]


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
        groups = group_of(test.columns[name], name)
        records = []
        for value in sorted(set(groups.tolist()), key=lambda v: (v == NOT_KNOWN, _order(v))):
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
    if value.lower().startswith("under"):
        return (-1.0, value)
    first = re.search(r"\d+(?:\.\d+)?", value)
    return (float(first[0]) if first else float("inf"), value)

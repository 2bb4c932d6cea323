"""The label column as 0 and 1: accepted pairs, and what to do with any other."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.quality import Finding
from recprune.errors import DataError
from recprune.texts import text

__all__ = ["read_label"]

PLAIN = ("0", "1"), ("false", "true")
PAIRS = (*PLAIN, ("no", "yes"), ("f", "t"), ("n", "y"), ("negative", "positive"))
SHOWN = 5


def read_label(column: pl.Series) -> tuple[NDArray[np.float32], list[Finding]]:
    """Return the label as 0, 1 or NaN (missing), shape ``(n,)``, and what was done.

    0/1 and true/false are taken as they are; yes/no, t/f, y/n and positive/negative are mapped
    and reported. Letter case does not matter.

    Raises:
        DataError: other values (the error says how to map them), or one class only.

    >>> label, found = read_label(pl.Series("y", ["no", "Yes", None, "no"]))
    >>> label.tolist(), found[0].action
    ([0.0, 1.0, nan, 0.0], "mapped 'no' to 0 and 'Yes' to 1")
    """
    name = column.name
    distinct = column.drop_nulls().unique(maintain_order=True).head(10_000)
    words = {raw: (text(raw) or "").strip().casefold() for raw in distinct.to_list()}
    words = {raw: _whole(word) for raw, word in words.items() if word}
    if not words:
        raise DataError(f"Label {name!r} has no value at all. Name another column as the label.")
    pair = next((p for p in PAIRS if set(words.values()) <= set(p)), None)
    if pair is None:
        shown = ", ".join(repr(text(raw)) for raw in sorted(words, key=str)[:SHOWN])
        more = ", …" if len(words) > SHOWN else ""
        raise DataError(
            f"Label {name!r} must be 0 or 1 (or a pair such as no/yes); it has "
            f"{len(words)} values: {shown}{more}. Map it to a column of 0 and 1 first, for example "
            f"{_recipe(name, distinct)}, and name that column as the label."
        )
    if len(set(words.values())) < 2:
        raise DataError(
            f"Label {name!r} has one class only: every row is {next(iter(words))!r}. Ranking needs "
            "rows of both classes."
        )
    found = []
    if pair not in PLAIN:
        spelt = [next(str(r) for r, w in words.items() if w == p) for p in pair]
        action = f"mapped {spelt[0]!r} to 0 and {spelt[1]!r} to 1"
        found.append(Finding("label", name, "info", len(column) - column.null_count(), action))
    keys = pl.Series(list(words), dtype=column.dtype)
    values = pl.Series([float(w == pair[1]) for w in words.values()], dtype=pl.Float32)
    mapped = column.replace_strict(keys, values, default=None, return_dtype=pl.Float32)
    label = mapped.to_numpy().astype(np.float32)
    missing = int(np.isnan(label).sum())
    if missing:
        found.append(Finding("missing label", name, "warning", missing, "dropped the rows"))
    return label, found


def _whole(word: str) -> str:
    """Read "1.0" as "1": one file's spelling of the same label."""
    return {"0.0": "0", "1.0": "1"}.get(word, word)


def _recipe(name: str, distinct: pl.Series) -> str:
    if distinct.dtype.is_numeric() or distinct.cast(pl.Float64, strict=False).is_not_null().all():
        middle = np.median(distinct.cast(pl.Float64).to_numpy())
        return f'df["label"] = df[{name!r}] >= {middle:g}'
    return f'df["label"] = df[{name!r}] == {str(distinct.sort()[-1])!r}'

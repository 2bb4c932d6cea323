"""What a person should know about a table before a decision is based on it."""

from __future__ import annotations

from recprune.data.checks_columns import (
    heavy_tails,
    id_like,
    many_values,
    missing_values,
    near_duplicate_columns,
    near_duplicate_values,
    spaces,
)
from recprune.data.checks_rows import (
    conflicting_labels,
    duplicate_rows,
    label_over_time,
    single_interactions,
)
from recprune.data.dataset import Dataset
from recprune.data.drift import drifted
from recprune.data.leaks import leak_suspects
from recprune.data.quality import Finding

__all__ = ["check"]

#: Of a larger table on disk, so many rows are looked at, evenly spread.
MOST_ROWS = 1_000_000
GRAVITY = {"error": 0, "warning": 1, "info": 2}


def check(data: Dataset, by: str = "auto", seed: int = 0) -> tuple[Finding, ...]:
    """Return all findings on a table, the gravest first: repairs made while reading it, and more.

    Args:
        data: as :meth:`Dataset.read` or :meth:`Dataset.from_frame` gives it.
        by: how it will be split (:meth:`Dataset.split`): drift is between training and test rows.
        seed: of the split.

    Raises:
        DataError: the table cannot be split.
    """
    table, split = data.whole_table.loaded(MOST_ROWS), data.split(by, seed=seed)
    frame, schema = table.held, table.schema
    found = [
        *split.findings,
        *missing_values(frame, schema),
        *spaces(frame, schema),
        *near_duplicate_values(frame, schema),
        *near_duplicate_columns(frame, schema),
        *id_like(frame, schema),
        *many_values(frame, schema),
        *heavy_tails(frame, schema),
        *duplicate_rows(table),
        *conflicting_labels(table),
        *single_interactions(table),
        *label_over_time(table),
        *leak_suspects(data.all_rows(), seed),
        *drifted(split.train, split.test),
    ]
    return tuple(sorted(found, key=lambda f: GRAVITY[f.severity]))

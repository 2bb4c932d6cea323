"""What a person should know about a table before a decision is based on it: one function a check."""

from __future__ import annotations

from collections.abc import Callable

from recprune.data.checks.columns import (
    heavy_tails,
    id_like,
    many_values,
    missing_values,
    near_duplicate_values,
    spaces,
)
from recprune.data.checks.drift import drifted
from recprune.data.checks.leaks import leak_suspects
from recprune.data.checks.pairs import duplicates, near_duplicates
from recprune.data.checks.rows import label_over_time, repeated_rows, single_interactions
from recprune.data.checks.sheet import Sheet, some_rows
from recprune.data.dataset import Dataset
from recprune.data.quality import Finding, merged

__all__ = ["CHECKS", "Sheet", "check_dataset", "check_sheet", "some_rows"]

#: Every check, called with the sheet; those that need a label find nothing without one.
CHECKS: tuple[Callable[[Sheet], tuple[Finding, ...]], ...] = (
    missing_values,
    spaces,
    near_duplicate_values,
    id_like,
    many_values,
    heavy_tails,
    duplicates,
    near_duplicates,
    repeated_rows,
    single_interactions,
    label_over_time,
    leak_suspects,
    drifted,
)


def check_sheet(sheet: Sheet) -> tuple[Finding, ...]:
    """Run every check on a table; the gravest findings first."""
    return merged(*(check(sheet) for check in CHECKS))


def check_dataset(data: Dataset) -> tuple[Finding, ...]:
    """Return what reading and splitting a data set found, and what every check finds in its rows.

    The gravest findings come first. Columns that were left out in reading have their findings from
    there. Rows that test are looked at for repeats and drift, never for what predicts the label.

    Raises:
        DataError: the data set is not split.
    """
    return merged(data.findings, check_sheet(Sheet.of_dataset(data)))

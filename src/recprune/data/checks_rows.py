"""Checks that look at whole rows: repeated, contradicting, alone, or changing with time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from recprune.data.quality import Finding, Severity
from recprune.data.table import Table

__all__ = ["conflicting_labels", "duplicate_rows", "label_over_time", "single_interactions"]

#: From this share of repeated rows on, they are worth a warning.
OFTEN = 0.1
#: Stretches of time, equal in rows, whose label rates are compared.
STRETCHES = 10
#: A label rate that is so far from the mean, relative to it, and by so many standard errors.
CHANGED, ERRORS = 0.3, 6.0


def duplicate_rows(table: Table) -> Iterator[Finding]:
    """Report rows that repeat an earlier one in every column, the label too."""
    rows = table.held.with_columns(pl.Series("\0label", table.label))
    repeated = len(rows) - rows.n_unique()
    if repeated:
        severity: Severity = "warning" if repeated > OFTEN * len(rows) else "info"
        action = "kept: they repeat an earlier row in every column"
        yield Finding("duplicate_rows", table.schema.label, severity, repeated, action)


def conflicting_labels(table: Table) -> Iterator[Finding]:
    """Report rows that equal others in every column but the label."""
    rows = table.held.with_columns(pl.Series("\0label", table.label))
    groups = rows.group_by(table.frame.columns).agg(
        pl.len().alias("\0rows"), pl.col("\0label").n_unique().alias("\0labels")
    )
    conflicting = int(groups.filter(pl.col("\0labels") > 1)["\0rows"].sum())
    if conflicting:
        action = "kept: rows with the same fields have both labels"
        yield Finding("conflicting_labels", table.schema.label, "info", conflicting, action)


def single_interactions(table: Table) -> Iterator[Finding]:
    """Report users and items that one row only knows."""
    for role in ("user", "item"):
        name = getattr(table.schema, role)
        if name is None:
            continue
        counts = table.frame[name].alias("id").value_counts()["count"]
        alone = int((counts == 1).sum())
        if alone:
            action = f"kept: {alone:,} of {len(counts):,} {role}s have one row"
            yield Finding(f"single_{role}s", name, "info", alone, action)


def label_over_time(table: Table) -> Iterator[Finding]:
    """Report a label rate that changes with time, beyond chance."""
    if table.time is None or len(table.label) < STRETCHES * STRETCHES:
        return
    order = np.argsort(table.time, kind="stable")
    parts = np.array_split(table.label[order], STRETCHES)
    rates = np.array([part.mean() for part in parts])
    mean = float(table.label.mean())
    farthest = float(rates[np.argmax(np.abs(rates - mean))])
    error = (mean * (1 - mean) / len(parts[-1])) ** 0.5
    if abs(farthest - mean) > max(CHANGED * mean, ERRORS * error):
        action = (
            f"used as it is: a tenth of the rows, in order of time, has label rate {farthest:.3f}, "
            f"all rows {mean:.3f}"
        )
        name = table.schema.time or table.schema.label
        yield Finding("label_over_time", name, "warning", len(table.label), action)

"""Checks that look at whole rows: repeated, contradicting, alone, or changing with time."""

from __future__ import annotations

import numpy as np
import polars as pl

from recprune.data.checks.sheet import Sheet
from recprune.data.quality import Finding, Severity

__all__ = ["label_over_time", "repeated_rows", "single_interactions"]

#: From this share of repeated rows on, they are worth a warning.
OFTEN = 0.1
#: Stretches of time, equal in rows, whose label rates are compared.
STRETCHES = 10
#: A label rate that is so far from the mean, relative to it, and by so many standard errors.
CHANGED, ERRORS = 0.3, 6.0


def repeated_rows(sheet: Sheet) -> tuple[Finding, ...]:
    """Report rows that equal an earlier one in every field, time and label, and rows that equal
    others in all of it but the label; ``value`` = their share.

    Rows are compared by 63 bits of their hashes: of a million different rows, two are taken for
    equal once in 18 million tables.
    """
    frame = sheet.frame
    if sheet.time is not None:
        frame = frame.with_columns(pl.Series("\0time", sheet.time))
    rows = frame.hash_rows(seed=0).to_numpy() if frame.width else np.empty(0, np.uint64)
    positive = np.zeros(len(rows), np.uint64)
    if sheet.label is not None and len(rows):
        known = ~np.isnan(sheet.label)
        rows, positive = rows[known], sheet.label[known].astype(np.uint64)
    n = len(rows)
    if not n:
        return ()
    # The hash with the label as its last bit: equal rows stand together, sorted by label.
    keys = np.sort(rows & ~np.uint64(1) | positive)
    repeated = int((keys[1:] == keys[:-1]).sum())
    starts = np.flatnonzero(np.append(True, (keys[1:] ^ keys[:-1]) > 1))
    sizes = np.diff(np.append(starts, n))
    lows, highs = keys[starts] & np.uint64(1), keys[starts + sizes - 1] & np.uint64(1)
    conflicting = int(sizes[lows != highs].sum())
    found = []
    if repeated:
        severity: Severity = "warning" if repeated > OFTEN * n else "info"
        message = f"{repeated:,} rows equal an earlier row in every field."
        action = "kept; a copy may train while its twin tests"
        found.append(
            Finding("duplicate_rows", "", severity, repeated, action, message, repeated / n)
        )
    if conflicting:
        message = f"{conflicting:,} rows have a twin that is equal in every field but the label."
        action = "kept: no model can tell them apart, so quality has a ceiling"
        column, value = sheet.roles.get("label", ""), conflicting / n
        found.append(
            Finding("conflicting_labels", column, "info", conflicting, action, message, value)
        )
    return tuple(found)


def single_interactions(sheet: Sheet) -> tuple[Finding, ...]:
    """Report users and items that one row only knows; ``rows`` counts them, ``value`` = share."""
    found = []
    for role in ("user", "item"):
        name = sheet.roles.get(role)
        if name is None or name not in sheet.frame.columns:
            continue
        counts = sheet.frame[name].drop_nulls().alias("id").value_counts()["count"]
        alone = int((counts == 1).sum())
        if alone:
            message = f"{alone:,} of {len(counts):,} {role}s have one row."
            action = "kept; what is particular to them cannot be learned"
            value = alone / len(counts)
            found.append(Finding(f"single_{role}s", name, "info", alone, action, message, value))
    return tuple(found)


def label_over_time(sheet: Sheet) -> tuple[Finding, ...]:
    """Report a label rate that changes with time, beyond chance; ``value`` = the farthest rate."""
    if sheet.time is None or sheet.label is None:
        return ()
    known = ~np.isnan(sheet.label)
    time, label = sheet.time[known], sheet.label[known]
    if len(label) < STRETCHES * STRETCHES:
        return ()
    parts = np.array_split(label[np.argsort(time, kind="stable")], STRETCHES)
    rates = np.array([part.mean() for part in parts])
    mean = float(label.mean())
    farthest = float(rates[np.argmax(np.abs(rates - mean))])
    error = (mean * (1 - mean) / len(parts[-1])) ** 0.5
    if abs(farthest - mean) <= max(CHANGED * mean, ERRORS * error):
        return ()
    name = sheet.roles.get("time", "")
    message = (
        f"The label's rate moves with {name!r}: a tenth of the rows has {farthest:.3f}, all have "
        f"{mean:.3f}."
    )
    action = "used as it is; a split by time tests on the last rows"
    kind = "label_over_time"
    return (Finding(kind, name, "warning", len(label), action, message, farthest),)
